//! From logits to numbers for people.

use burn::tensor::TensorData;
use clinical_nn::ModelError;

use crate::{Error, Result};

/// The values of a tensor as f32, none of them infinite or not-a-number.
pub(super) fn finite(data: TensorData) -> Result<Vec<f32>> {
    let values: Vec<f32> = data
        .convert::<f32>()
        .try_to_vec()
        .map_err(|_| Error::Model(ModelError::NoRows))?;
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(Error::NotFinite)
    }
}

/// `exp(x - max) / sum`.
pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut scores: Vec<f32> = logits.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    scores
}

/// The first of the largest values; 0 for no values.
pub(super) fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}
