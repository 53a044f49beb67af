//! Batches for training.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use clinical_nn::IGNORED;

use crate::Error;

/// Inputs and targets of a batch, padded.
///
/// ```
/// use clinical_t5::Seq2SeqBatch;
///
/// let device = clinical_kernels::cpu();
/// let batch = Seq2SeqBatch::from_rows(&[&[5, 6, 1], &[7, 1]], &[&[8, 1], &[9, 10, 1]], 0, &device);
/// assert_eq!(batch.input_ids.dims(), [2, 3]);
/// let labels: Vec<i64> = batch.labels.to_data().iter::<i64>().collect();
/// assert_eq!(labels, [8, 1, -100, 9, 10, 1]);
/// ```
#[derive(Debug, Clone)]
pub struct Seq2SeqBatch {
    /// Encoder ids, `[batch, input]`.
    pub input_ids: Tensor<2, Int>,
    /// `[batch, input]`, `true` for tokens, `false` for padding.
    pub input_mask: Tensor<2, Bool>,
    /// Target ids, `[batch, target]`; a negative label takes no part in the loss.
    pub labels: Tensor<2, Int>,
}

impl Seq2SeqBatch {
    /// Pads rows on the right: inputs with `pad`, labels with [`clinical_nn::IGNORED`].
    #[must_use]
    pub fn from_rows(inputs: &[&[u32]], targets: &[&[u32]], pad: u32, device: &Device) -> Self {
        let lengths: Vec<usize> = inputs.iter().map(|row| row.len()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mask: Vec<bool> = lengths
            .iter()
            .flat_map(|&filled| (0..longest).map(move |position| position < filled))
            .collect();
        let shape = [inputs.len(), longest];
        Self {
            input_ids: padded(inputs, i64::from(pad), device),
            input_mask: Tensor::from_data(TensorData::new(mask, shape), device),
            labels: padded(targets, IGNORED, device),
        }
    }
}

/// Rows as one tensor, filled up on the right.
pub(crate) fn padded(rows: &[&[u32]], pad: i64, device: &Device) -> Tensor<2, Int> {
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut ids = Vec::with_capacity(rows.len() * longest);
    for row in rows {
        ids.extend(row.iter().map(|&id| i64::from(id)));
        ids.extend(std::iter::repeat_n(pad, longest - row.len()));
    }
    Tensor::from_data(TensorData::new(ids, [rows.len(), longest]), device)
}

/// Ids that were read back from a tensor and checked.
#[derive(Debug)]
pub(crate) struct Grid {
    pub ids: Vec<i64>,
    pub rows: usize,
    pub length: usize,
}

impl Grid {
    /// Reads ids that must all have an embedding row.
    pub(crate) fn inputs(
        tensor: &Tensor<2, Int>,
        what: &'static str,
        vocabulary: usize,
    ) -> Result<Self, Error> {
        let grid = Self::read(tensor, what)?;
        match grid
            .ids
            .iter()
            .position(|&id| id < 0 || id as usize >= vocabulary)
        {
            None => Ok(grid),
            Some(at) => Err(Error::InputOutsideVocabulary {
                id: grid.ids[at],
                row: at / grid.length,
                vocabulary,
            }),
        }
    }

    pub(crate) fn read(tensor: &Tensor<2, Int>, what: &'static str) -> Result<Self, Error> {
        let [rows, length] = tensor.dims();
        if rows == 0 || length == 0 {
            return Err(Error::EmptyBatch { what });
        }
        Ok(Self {
            ids: tensor.to_data().iter::<i64>().collect(),
            rows,
            length,
        })
    }

    pub(crate) fn tensor(self, device: &Device) -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(self.ids, [self.rows, self.length]), device)
    }
}
