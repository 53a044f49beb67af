//! The dense layers by their paths, for adapters (LoRA). Embedding tables take none.

use clinical_nn::{Linear, Linears, linears};

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
