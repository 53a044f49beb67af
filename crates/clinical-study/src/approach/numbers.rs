//! From rows to logits, and from logits to scores.

use burn::tensor::Tensor;
use clinical_bert::{Row, TokenRow};
use clinical_facade::{BatchLimits, batches};

use crate::Result;
use crate::error::about;

/// Tokens of a batch of predictions.
const BATCH: usize = 4096;

/// The logits of each row, from batches of like length. `forward` gives all values of a batch and how many a row has.
pub(super) fn logits(
    rows: &[TokenRow],
    forward: impl Fn(&[Row<'_>]) -> Result<(Vec<f32>, usize)>,
) -> Result<Vec<Vec<f32>>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    let mut all = vec![Vec::new(); rows.len()];
    for batch in batches(&lengths, BatchLimits::tokens(BATCH)) {
        let chosen: Vec<Row<'_>> = batch.iter().map(|&row| rows[row].row()).collect();
        let (values, width) = forward(&chosen)?;
        for (row, values) in batch.into_iter().zip(values.chunks_exact(width.max(1))) {
            all[row] = values.to_vec();
        }
    }
    Ok(all)
}

/// The values of logits, which must be numbers.
pub(super) fn values<const D: usize>(logits: Tensor<D>) -> Result<Vec<f32>> {
    let values: Vec<f32> = about(logits.into_data().convert::<f32>().try_into_vec(), || {
        "the logits".to_owned()
    })?;
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(crate::Error::model("the logits")(
            "they are not finite".into(),
        )),
    }
}

pub(super) fn best(logits: &[f32]) -> usize {
    let all = logits.iter().enumerate().rev();
    all.max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(at, _)| at)
}

pub(super) fn softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let raised: Vec<f64> = logits
        .iter()
        .map(|logit| f64::from(logit - most).exp())
        .collect();
    let sum: f64 = raised.iter().sum();
    raised.into_iter().map(|value| value / sum).collect()
}

pub(super) fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}
