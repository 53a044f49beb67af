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
    let [_, _, vocabulary] = logits.dims();
    let targets = Targets::of(labels, &logits, vocabulary)?;
    Ok(targets.loss(targets.rows(logits)))
}

/// [`cross_entropy`] of logits that are made from states `[batch, length, width]`, only where there is a target: by
/// `fused` a few rows at a time, given states `[targets, width]` and a label for each, or by `project` all at once.
pub(crate) fn of_states(
    states: Tensor<3>,
    labels: &[i64],
    vocabulary: usize,
    fused: impl FnOnce(&Tensor<2>, &[usize]) -> Option<Tensor<1>>,
    project: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Result<Loss, LossError> {
    let targets = Targets::of(labels, &states, vocabulary)?;
    let states = targets.rows(states);
    if let Some(mean) = fused(&states, &targets.labels) {
        return Ok(Loss {
            mean,
            targets: targets.labels.len(),
        });
    }
    Ok(targets.loss(project(states.unsqueeze_dim(0)).squeeze_dim(0)))
}

/// The labels that are not negative, one at least, and where they stand.
struct Targets {
    positions: Vec<i64>,
    labels: Vec<usize>,
    /// Positions in all.
    all: usize,
}

impl Targets {
    /// Of the positions of `[batch, length, width]`.
    fn of(labels: &[i64], positions: &Tensor<3>, vocabulary: usize) -> Result<Self, LossError> {
        let [batch, length, _] = positions.dims();
        let all = batch * length;
        if labels.len() != all {
            return Err(LossError::LengthMismatch {
                labels: labels.len(),
                positions: all,
            });
        }
        let mut targets = Self {
            positions: Vec::new(),
            labels: Vec::new(),
            all,
        };
        for (position, &label) in labels.iter().enumerate() {
            if label < 0 {
                continue;
            }
            if label as u64 >= vocabulary as u64 {
                return Err(LossError::LabelOutOfRange {
                    label,
                    position,
                    vocabulary,
                });
            }
            targets.positions.push(position as i64);
            targets.labels.push(label as usize);
        }
        match targets.labels.is_empty() {
            true => Err(LossError::NoTargets),
            false => Ok(targets),
        }
    }

    /// The rows that have a target, `[targets, width]`: no work, and no gradient, for the others.
    fn rows(&self, of: Tensor<3>) -> Tensor<2> {
        let [_, _, width] = of.dims();
        let device = of.device();
        let rows = of.reshape([self.all, width]);
        let count = self.positions.len();
        if count == self.all {
            return rows;
        }
        let positions = TensorData::new(self.positions.clone(), [count]);
        rows.select(0, Tensor::<1, Int>::from_data(positions, &device))
    }

    /// Of logits `[targets, vocabulary]`.
    fn loss(&self, logits: Tensor<2>) -> Loss {
        let count = self.labels.len();
        let labels: Vec<i64> = self.labels.iter().map(|&label| label as i64).collect();
        let labels = TensorData::new(labels, [count, 1]);
        let labels = Tensor::<2, Int>::from_data(labels, &logits.device());
        let found = log_softmax(logits.cast(DType::F32), 1).gather(1, labels);
        Loss {
            mean: found.mean().neg(),
            targets: count,
        }
    }
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
