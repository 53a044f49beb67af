//! Texts as vectors.

use burn::tensor::{Bool, DType, Tensor};

/// How the encoder states of a row become one vector. Padding never counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Pooling {
    /// The mean of all states.
    #[default]
    Mean,
    /// The state of the first token.
    First,
    /// The largest value of each component.
    Max,
}

/// Encoder states of a batch.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// `[rows, longest, d_model]`; positions from a row's length on mean nothing.
    pub states: Tensor<3>,
    /// Tokens of each row.
    pub lengths: Vec<usize>,
    /// `[rows, 1, 1, longest]`, `true` for padding; `None` if there is none.
    pub(crate) hidden: Option<Tensor<4, Bool>>,
}

impl Encoded {
    /// The states of each row, `[1, length, d_model]`.
    pub(crate) fn rows(&self) -> Vec<Tensor<3>> {
        let rows = self.lengths.iter().enumerate();
        rows.map(|(row, &length)| self.states.clone().narrow(0, row, 1).narrow(1, 0, length))
            .collect()
    }

    /// One vector a row, `[rows, d_model]`, in f32.
    #[must_use]
    pub fn pool(&self, pooling: Pooling) -> Tensor<2> {
        let [rows, longest, d_model] = self.states.dims();
        let states = self.states.clone().cast(DType::F32);
        let padding = |states: Tensor<3>, value: f32| match &self.hidden {
            None => states,
            Some(hidden) => {
                let hidden = hidden.clone().reshape([rows, longest, 1]);
                states.mask_fill(hidden.expand([rows, longest, d_model]), value)
            }
        };
        let pooled = match pooling {
            Pooling::First => states.narrow(1, 0, 1),
            Pooling::Max => padding(states, f32::NEG_INFINITY).max_dim(1),
            Pooling::Mean => {
                let lengths: Vec<f32> = self.lengths.iter().map(|&length| length as f32).collect();
                let device = states.device();
                let lengths = Tensor::<1>::from_floats(lengths.as_slice(), &device);
                padding(states, 0.0).sum_dim(1) / lengths.reshape([rows, 1, 1])
            }
        };
        pooled.reshape([rows, d_model])
    }
}
