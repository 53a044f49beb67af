//! Where dropout acts while a model trains.

use burn::tensor::Tensor;
use clinical_nn::{AttentionOptions, Dropout, attention_with_dropout};

use crate::Gpt2Config;

/// The rates of dropout, and the seed without which nothing is dropped.
///
/// It acts on devices with autodiff only, at the places that `transformers` has: on the sum of token and position, on
/// the weights of the attention, and on what attention and feed-forward add. What is dropped is a function of the seed
/// and the place ([`Dropout`]), so give every step of a training a new seed.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Gpt2Dropout {
    /// Of the embeddings (`embd_pdrop`).
    pub embeddings: f64,
    /// Of the weights of the attention (`attn_pdrop`).
    pub attention: f64,
    /// Of what each sub-layer adds (`resid_pdrop`).
    pub residual: f64,
    /// The seed; `None`, as in a new model, drops nothing.
    pub seed: Option<u64>,
}

/// Where something is dropped. A layer is given by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Embeddings,
    Weights(usize),
    Attention(usize),
    FeedForward(usize),
}

impl Place {
    fn site(self) -> u64 {
        let [layer, place] = match self {
            Self::Embeddings => [0, 0],
            Self::Weights(layer) => [layer as u64 + 1, 0],
            Self::Attention(layer) => [layer as u64 + 1, 1],
            Self::FeedForward(layer) => [layer as u64 + 1, 2],
        };
        layer * 4 + place
    }
}

impl Gpt2Dropout {
    /// The rates of a config, without a seed.
    #[must_use]
    pub fn of(config: &Gpt2Config) -> Self {
        Self {
            embeddings: config.embd_pdrop,
            attention: config.attn_pdrop,
            residual: config.resid_pdrop,
            seed: None,
        }
    }

    fn at(&self, place: Place) -> Dropout {
        let rate = match place {
            Place::Embeddings => self.embeddings,
            Place::Weights(_) => self.attention,
            Place::Attention(_) | Place::FeedForward(_) => self.residual,
        };
        self.seed
            .map_or(Dropout::NONE, |seed| Dropout::new(rate, seed))
    }

    /// `x` with dropout at a place.
    pub(crate) fn apply(&self, place: Place, x: Tensor<3>) -> Tensor<3> {
        self.at(place).apply(place.site(), x)
    }

    /// Whether something like `x` is dropped at a place.
    pub(crate) fn acts_on(&self, place: Place, x: &Tensor<3>) -> bool {
        self.seed.is_some() && self.at(place).acts_on(&x.device())
    }

    /// Attention of a layer, with dropout of its weights.
    pub(crate) fn attend(
        &self,
        layer: usize,
        [query, key, value]: [Tensor<4>; 3],
        options: AttentionOptions,
    ) -> Tensor<4> {
        let place = Place::Weights(layer);
        attention_with_dropout(query, key, value, options, self.at(place), place.site())
    }
}
