//! Encoder states as vectors.

use burn::tensor::Tensor;
use clinical_facade::Pooling;

/// Encoder states of a batch.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// `[rows, longest, d_model]`; positions from a row's length on mean nothing.
    pub states: Tensor<3>,
    /// Tokens of each row.
    pub lengths: Vec<usize>,
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
        pooling.pool(self.states.clone(), &self.lengths)
    }
}
