//! Where dropout acts, numbered.

use burn::tensor::Tensor;
use clinical_nn::{AttentionOptions, Dropout, attention_with_dropout};

/// The stacks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stack {
    Encoder = 0,
    Decoder = 1,
}

/// What a stack is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// Before the first block and after the last: token vectors ([`DropAt::inside`]) and the states ([`DropAt::output`]).
    Ends = 0,
    SelfAttention = 1,
    CrossAttention = 2,
    FeedForward = 3,
}

/// The dropout of one part, which has two places: inside it, and at its output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DropAt {
    dropout: Dropout,
    /// The site of the first place: `stack * 2^32 + block * 2^8 + part * 2`.
    site: u64,
}

impl DropAt {
    pub(crate) const NONE: Self = Self {
        dropout: Dropout::NONE,
        site: 0,
    };

    pub(crate) fn of(dropout: Dropout, stack: Stack, block: usize, part: Part) -> Self {
        let site = ((stack as u64) << 32) + ((block as u64) << 8) + ((part as u64) << 1);
        Self { dropout, site }
    }

    /// Whether it changes values on the device of `x`.
    pub(crate) fn acts_on<const D: usize>(&self, x: &Tensor<D>) -> bool {
        self.dropout.acts_on(&x.device())
    }

    /// Of token vectors, or between the products of the feed-forward layer.
    pub(crate) fn inside<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.dropout.apply(self.site, x)
    }

    /// Of what a sub-layer adds to its input, or of what a stack gives.
    pub(crate) fn output<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.dropout.apply(self.site + 1, x)
    }

    /// Attention with dropout of its weights: the place inside.
    pub(crate) fn attention(
        &self,
        query: Tensor<4>,
        key: Tensor<4>,
        value: Tensor<4>,
        options: AttentionOptions,
    ) -> Tensor<4> {
        attention_with_dropout(query, key, value, options, self.dropout, self.site)
    }
}
