//! Logits in the host's memory.

use burn::tensor::Tensor;

use crate::Error;

/// A token and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Token {
    pub(crate) id: u32,
    pub(crate) score: f32,
}

/// The logits in the host's memory, `rows * vocabulary` numbers.
pub(crate) fn host(logits: Tensor<2>, rows: usize, vocabulary: usize) -> Result<Vec<f32>, Error> {
    check_shape(&logits, rows, vocabulary)?;
    Ok(logits.try_into_vec_as::<f32>()?)
}

/// Refuses logits that are not `[rows, vocabulary]`, before any is read.
pub(crate) fn check_shape(logits: &Tensor<2>, rows: usize, vocabulary: usize) -> Result<(), Error> {
    let shape = logits.dims();
    if shape != [rows, vocabulary] {
        return Err(Error::LogitShape {
            got: shape[0] * shape[1],
            expected: rows * vocabulary,
        });
    }
    Ok(())
}
