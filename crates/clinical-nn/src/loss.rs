//! The training loss.

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor, TensorData};

/// The label that takes no part in the loss (PyTorch's `ignore_index`). Every negative label is ignored alike.
pub const IGNORED: i64 = -100;

/// A training loss: a mean, and over how many targets it was taken, so that batches of different size can be averaged.
#[derive(Debug, Clone)]
pub struct Loss {
    /// The mean over the targets in nats, `[1]`.
    pub mean: Tensor<1>,
    /// How many targets it is the mean of: at least 1.
    pub targets: usize,
}

/// A loss that cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// Every label is ignored: the mean over nothing would be not-a-number.
    #[error(
        "every label is ignored, so there is nothing to learn from: give at least one target token"
    )]
    NoTargets,
    /// A label has no row in the vocabulary.
    #[error(
        "label {label} at position {position} is outside the vocabulary of {vocabulary} tokens"
    )]
    LabelOutOfRange {
        /// The label.
        label: i64,
        /// Its position in the flattened `[batch, length]` labels.
        position: usize,
        /// The number of logits.
        vocabulary: usize,
    },
    /// Labels and logits do not have the same `[batch, length]`.
    #[error("{labels} labels for {positions} positions: give one label for each decoder position")]
    LengthMismatch {
        /// The number of labels.
        labels: usize,
        /// The number of positions that have logits.
        positions: usize,
    },
}

/// Mean cross entropy over the labels that are not negative.
///
/// Chosen by label, not by padding id: a model whose padding id is also its end id (or, as in Asclepius, its start id)
/// would otherwise lose real targets.
///
/// # Shapes
///
/// - `logits`: `[batch, length, vocabulary]`
/// - `labels`: `batch * length` ids, row by row
/// - mean: `[1]`
///
/// # Errors
///
/// See [`LossError`].
pub fn cross_entropy(logits: Tensor<3>, labels: &[i64]) -> Result<Loss, LossError> {
    let [batch, length, vocabulary] = logits.dims();
    if labels.len() != batch * length {
        return Err(LossError::LengthMismatch {
            labels: labels.len(),
            positions: batch * length,
        });
    }
    let mut rows: Vec<i64> = Vec::new();
    let mut targets: Vec<i64> = Vec::new();
    for (position, &label) in labels.iter().enumerate() {
        if label < 0 {
            continue;
        }
        if label as usize >= vocabulary {
            return Err(LossError::LabelOutOfRange {
                label,
                position,
                vocabulary,
            });
        }
        rows.push(position as i64);
        targets.push(label);
    }
    let count = targets.len();
    if count == 0 {
        return Err(LossError::NoTargets);
    }
    let device = logits.device();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device);
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [count, 1]), &device);
    // Rows without a target are dropped before the softmax: no work, and no gradient, for them.
    let logits = logits
        .reshape([batch * length, vocabulary])
        .select(0, rows)
        .cast(DType::F32);
    Ok(Loss {
        mean: log_softmax(logits, 1).gather(1, targets).mean().neg(),
        targets: count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_negative_labels_and_refuses_bad_ones() {
        let device = clinical_kernels::cpu();
        let logits = Tensor::<3>::from_floats([[[0.0, 0.0], [9.0, -9.0]]], &device);
        let loss = cross_entropy(logits.clone(), &[1, IGNORED]).unwrap();
        assert_eq!(loss.targets, 1);
        assert!((loss.mean.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
        assert!(matches!(
            cross_entropy(logits.clone(), &[-1, -100]),
            Err(LossError::NoTargets)
        ));
        assert!(matches!(
            cross_entropy(logits.clone(), &[0, 2]),
            Err(LossError::LabelOutOfRange { position: 1, .. })
        ));
        assert!(matches!(
            cross_entropy(logits, &[0]),
            Err(LossError::LengthMismatch { .. })
        ));
    }
}
