//! A model with any of the heads.

use std::fmt;

use burn::module::Module;
use clinical_nn::Loss;
use serde::{Deserialize, Serialize};

use crate::config::{BertConfig, Family};
use crate::dropout::BertDropout;
use crate::heads::{
    BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification,
};
use crate::model::Bert;
use crate::{Result, Row, Targets};

/// What stands on top of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TaskHead {
    /// Nothing: an encoder alone.
    Encoder,
    /// The masked-language-model head, with or without next sentence.
    MaskedLanguage,
    /// One label, or several, for a text or a pair.
    Sequence,
    /// A label for each token.
    Token,
    /// The start and the end of an answer.
    Span,
}

impl TaskHead {
    /// Whether it has classes, which have names.
    #[must_use]
    pub fn has_labels(self) -> bool {
        matches!(self, Self::Sequence | Self::Token)
    }
}

impl fmt::Display for TaskHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encoder => "an encoder without a head",
            Self::MaskedLanguage => "a masked-language-model head",
            Self::Sequence => "a sequence classification head",
            Self::Token => "a token classification head",
            Self::Span => "a question answering head",
        })
    }
}

/// An encoder with the head that it has.
#[derive(Module, Debug)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "one value lives for as long as the process uses the model"
)]
pub enum BertModel {
    /// The encoder alone.
    Encoder(Bert),
    /// With the pretraining heads.
    MaskedLanguage(BertForPretraining),
    /// With a sequence classifier.
    Sequence(BertForSequenceClassification),
    /// With a token classifier.
    Token(BertForTokenClassification),
    /// With a span head.
    Span(BertForQuestionAnswering),
}

impl BertModel {
    /// A new head with random weights on an encoder. A classifier has a class for each of the config's labels
    /// ([`BertConfig::classes`]). The rates of dropout become those of the config.
    #[must_use]
    pub fn on(mut bert: Bert, config: &BertConfig, head: TaskHead) -> Self {
        bert.dropout = BertDropout {
            seed: bert.dropout.seed,
            ..BertDropout::of(config)
        };
        match head {
            TaskHead::Encoder => Self::Encoder(bert),
            TaskHead::MaskedLanguage => {
                let next_sentence = config.has_next_sentence() && bert.pooler.is_some();
                Self::MaskedLanguage(BertForPretraining::on(bert, config, next_sentence))
            }
            TaskHead::Sequence => {
                let classes = config.classes();
                Self::Sequence(BertForSequenceClassification::on(bert, classes))
            }
            TaskHead::Token => Self::Token(BertForTokenClassification::on(bert, config.classes())),
            TaskHead::Span => Self::Span(BertForQuestionAnswering::on(bert)),
        }
    }

    /// The encoder under the head.
    #[must_use]
    pub fn encoder(&self) -> &Bert {
        match self {
            Self::Encoder(model) => model,
            Self::MaskedLanguage(model) => &model.bert,
            Self::Sequence(model) => &model.bert,
            Self::Token(model) => &model.bert,
            Self::Span(model) => &model.bert,
        }
    }

    /// The encoder under the head, to change it.
    fn encoder_mut(&mut self) -> &mut Bert {
        match self {
            Self::Encoder(model) => model,
            Self::MaskedLanguage(model) => &mut model.bert,
            Self::Sequence(model) => &mut model.bert,
            Self::Token(model) => &mut model.bert,
            Self::Span(model) => &mut model.bert,
        }
    }

    /// The same model with the dropout that its config has for training, from this seed; `None` stops dropping. It acts
    /// on devices with autodiff only; see [`BertDropout`].
    #[must_use]
    pub fn with_dropout(mut self, seed: impl Into<Option<u64>>) -> Self {
        self.set_dropout_seed(seed);
        self
    }

    /// Dropout at other rates than those of the config.
    pub fn set_dropout(&mut self, dropout: BertDropout) {
        self.encoder_mut().dropout = dropout;
    }

    /// Whether a layer keeps its input alone for the backward pass ([`Bert::recompute`](crate::Bert::recompute)).
    pub fn set_recompute(&mut self, recompute: bool) {
        self.encoder_mut().recompute = recompute;
    }

    /// [`Self::with_dropout`] in place, for every step of a training.
    pub fn set_dropout_seed(&mut self, seed: impl Into<Option<u64>>) {
        self.encoder_mut().set_dropout_seed(seed);
    }

    /// The encoder without the head, for [`Self::on`] with another one.
    #[must_use]
    pub fn into_encoder(self) -> Bert {
        match self {
            Self::Encoder(model) => model,
            Self::MaskedLanguage(model) => model.bert,
            Self::Sequence(model) => model.bert,
            Self::Token(model) => model.bert,
            Self::Span(model) => model.bert,
        }
    }

    /// Which head it is.
    #[must_use]
    pub fn head(&self) -> TaskHead {
        match self {
            Self::Encoder(_) => TaskHead::Encoder,
            Self::MaskedLanguage(_) => TaskHead::MaskedLanguage,
            Self::Sequence(_) => TaskHead::Sequence,
            Self::Token(_) => TaskHead::Token,
            Self::Span(_) => TaskHead::Span,
        }
    }

    /// The classes of the classifier; 0 without one.
    #[must_use]
    pub fn classes(&self) -> usize {
        match self {
            Self::Sequence(model) => model.classifier.dims()[1],
            Self::Token(model) => model.classifier.dims()[1],
            _ => 0,
        }
    }

    /// The loss of a batch, by the formula that `transformers` has for the head and the kind of `targets`.
    ///
    /// # Errors
    ///
    /// [`Error::TargetKind`](crate::Error::TargetKind) for targets of another head, and those of the head's own `loss`.
    pub fn loss(&self, rows: &[Row<'_>], targets: Targets<'_>) -> Result<Loss> {
        match self {
            Self::Encoder(_) => Err(targets.refused(TaskHead::Encoder)),
            Self::MaskedLanguage(model) => model.loss(rows, targets),
            Self::Sequence(model) => model.loss(rows, targets),
            Self::Token(model) => model.loss(rows, targets),
            Self::Span(model) => model.loss(rows, targets),
        }
    }

    /// The class of `transformers` that has this head.
    #[must_use]
    pub(crate) fn architecture(&self, family: Family) -> String {
        let next = matches!(self, Self::MaskedLanguage(model) if model.next_sentence.is_some());
        architecture(family, self.head(), next)
    }
}

/// The class of `transformers` for a head.
pub(crate) fn architecture(family: Family, head: TaskHead, next_sentence: bool) -> String {
    let family = match family {
        Family::Bert => "Bert",
        Family::Roberta => "Roberta",
        Family::MegatronBert => "MegatronBert",
    };
    let head = match head {
        TaskHead::Encoder => "Model",
        TaskHead::MaskedLanguage if next_sentence => "ForPreTraining",
        TaskHead::MaskedLanguage => "ForMaskedLM",
        TaskHead::Sequence => "ForSequenceClassification",
        TaskHead::Token => "ForTokenClassification",
        TaskHead::Span => "ForQuestionAnswering",
    };
    format!("{family}{head}")
}
