//! Where dropout acts while a model trains.

use burn::tensor::Tensor;
use clinical_nn::{AttentionOptions, Dropout, attention_with_dropout};
use serde::{Deserialize, Deserializer};

use crate::config::{BertConfig, Family};
use crate::{Error, Result};

/// The rates of dropout, and the seed without which nothing is dropped.
///
/// The rates are those of the config. It acts on devices with autodiff only, at the places that `transformers` has: on
/// the vectors after the embeddings, the weights of the attention, what attention and feed-forward add, and in front of
/// a classifier of rows or tokens (in RoBERTa's head for rows in front of each of the two layers). What is dropped is a
/// function of the seed and the place ([`Dropout`]), so give every step of a training a new seed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct BertDropout {
    /// Of embeddings and of what each sub-layer adds (`hidden_dropout_prob`).
    pub hidden: f64,
    /// Of the weights of the attention (`attention_probs_dropout_prob`).
    pub attention: f64,
    /// In front of a classifier (`classifier_dropout`).
    pub classifier: f64,
    /// The seed; `None`, as in a new model, drops nothing.
    pub seed: Option<u64>,
}

impl BertDropout {
    /// The rates of a config, without a seed. Megatron's classifiers have that of the hidden states, as in
    /// `transformers`.
    #[must_use]
    pub fn of(config: &BertConfig) -> Self {
        let own = config.classifier_dropout;
        let own = own.filter(|_| config.family != Family::MegatronBert);
        Self {
            hidden: config.hidden_dropout_prob,
            attention: config.attention_probs_dropout_prob,
            classifier: own.unwrap_or(config.hidden_dropout_prob),
            seed: None,
        }
    }

    fn at_rate(&self, rate: f64) -> Dropout {
        self.seed
            .map_or(Dropout::NONE, |seed| Dropout::new(rate, seed))
    }

    /// `x` with dropout at a place of hidden states or in front of a classifier.
    pub(crate) fn apply<const D: usize>(&self, place: Place, x: Tensor<D>) -> Tensor<D> {
        let rate = match place {
            Place::Classifier | Place::Projection => self.classifier,
            _ => self.hidden,
        };
        self.at_rate(rate).apply(place.site(), x)
    }

    /// Whether hidden states like `x` are changed.
    pub(crate) fn acts_on<const D: usize>(&self, x: &Tensor<D>) -> bool {
        self.at_rate(self.hidden).acts_on(&x.device())
    }

    /// Attention of a layer, with dropout of its weights.
    pub(crate) fn attend(
        &self,
        layer: usize,
        [query, key, value]: [Tensor<4>; 3],
        options: AttentionOptions,
    ) -> Tensor<4> {
        let dropout = self.at_rate(self.attention);
        let site = Place::Weights(layer).site();
        attention_with_dropout(query, key, value, options, dropout, site)
    }
}

/// The rate of a config that has none, as in `transformers`.
pub(crate) fn usual_rate() -> f64 {
    0.1
}

/// A rate; `null` is the usual one.
pub(crate) fn read_rate<'de, D>(deserializer: D) -> std::result::Result<f64, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_else(usual_rate))
}

/// That every rate of a config is a probability below 1.
pub(crate) fn check_rates(config: &BertConfig) -> Result<()> {
    let attention = config.attention_probs_dropout_prob;
    for (field, rate) in [
        ("hidden_dropout_prob", Some(config.hidden_dropout_prob)),
        ("attention_probs_dropout_prob", Some(attention)),
        ("classifier_dropout", config.classifier_dropout),
    ] {
        if let Some(rate) = rate.filter(|rate| !(0.0..1.0).contains(rate)) {
            return Err(Error::Dropout { field, rate });
        }
    }
    Ok(())
}

/// Where something is dropped. A layer is given by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Embeddings,
    /// In front of the layer that gives classes, or of RoBERTa's `classifier.dense`.
    Classifier,
    /// In front of RoBERTa's `classifier.out_proj`.
    Projection,
    /// The weights of the attention.
    Weights(usize),
    /// What the attention adds.
    Attention(usize),
    /// What the feed-forward part adds.
    FeedForward(usize),
}

impl Place {
    fn site(self) -> u64 {
        let [layer, place] = match self {
            Self::Embeddings => [0, 0],
            Self::Classifier => [0, 1],
            Self::Projection => [0, 2],
            Self::Weights(layer) => [layer as u64 + 1, 0],
            Self::Attention(layer) => [layer as u64 + 1, 1],
            Self::FeedForward(layer) => [layer as u64 + 1, 2],
        };
        layer * 4 + place
    }
}
