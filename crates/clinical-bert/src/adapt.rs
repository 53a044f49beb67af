//! The dense layers by their paths, for adapters (LoRA). Embedding tables take none.

use clinical_nn::{Linear, Linears, linears};
use clinical_weights::{FromCheckpoint, KeyMap};

use crate::layers::{FeedForward, Layer, SelfAttention};
use crate::{
    Bert, BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification, BertModel,
};

linears!(Bert: layers, pooler);
linears!(Layer: attention, feed_forward);
linears!(SelfAttention: query, key, value, output);
linears!(FeedForward: intermediate, output);
linears!(BertForPretraining: bert, transform, next_sentence);
linears!(BertForSequenceClassification: bert, dense, classifier);
linears!(BertForTokenClassification: bert, classifier);
linears!(BertForQuestionAnswering: bert, outputs);

impl Linears for BertModel {
    fn linears(&mut self, path: &str, each: &mut dyn FnMut(&str, &mut Linear)) {
        match self {
            Self::Encoder(model) => model.linears(path, each),
            Self::MaskedLanguage(model) => model.linears(path, each),
            Self::Sequence(model) => model.linears(path, each),
            Self::Token(model) => model.linears(path, each),
            Self::Span(model) => model.linears(path, each),
        }
    }
}

impl FromCheckpoint for BertModel {
    fn key_map(&self) -> KeyMap {
        match self {
            Self::Encoder(model) => model.key_map(),
            Self::MaskedLanguage(model) => model.key_map(),
            Self::Sequence(model) => model.key_map(),
            Self::Token(model) => model.key_map(),
            Self::Span(model) => model.key_map(),
        }
    }
}
