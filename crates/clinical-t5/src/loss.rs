//! The training loss, and log-probabilities of given labels.

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor, TensorData};
use clinical_nn::{IGNORED, Loss, LossError};

use crate::batch::{Grid, padded};
use crate::{Error, Seq2SeqBatch, T5};

impl T5 {
    /// Mean cross entropy of the labels that are not negative. Decoder inputs are the labels shifted right after the
    /// start token, negative ones as padding.
    ///
    /// Gradients flow when the model is on a device with autodiff:
    ///
    /// ```
    /// use clinical_t5::{Seq2SeqBatch, T5Config};
    ///
    /// let config = T5Config::from_json(br#"{
    ///     "vocab_size": 50, "d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 1, "num_heads": 4
    /// }"#)?;
    /// let device = clinical_kernels::cpu().autodiff();
    /// let model = config.init(&device)?;
    /// let batch = Seq2SeqBatch::from_rows(&[&[5, 6, 7, 1]], &[&[8, 9, 1]], config.pad_token_id, &device);
    /// let loss = model.loss(&batch)?;
    /// assert_eq!(loss.targets, 3);
    /// let gradients = loss.mean.backward();
    /// assert!(model.shared.weight.val().grad(&gradients).is_some());
    /// # Ok::<(), clinical_t5::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Loss`] when every label is ignored or one has no logit; the errors of [`Self::forward`].
    pub fn loss(&self, batch: &Seq2SeqBatch) -> Result<Loss, Error> {
        let (states, targets) = self.batch_states(batch)?;
        let targets: Vec<i64> = targets.iter().map(|&(_, label)| label).collect();
        let states = self.scaled(states);
        Ok(match &self.lm_head {
            Some(head) => head.cross_entropy(states, &targets)?,
            None => self.shared.cross_entropy(states, None, &targets)?,
        })
    }

    /// The log-probability of every label that is not negative, row by row. Computed without gradients in mind; for a
    /// loss use [`Self::loss`].
    ///
    /// # Errors
    ///
    /// Those of [`Self::loss`].
    pub fn log_probs(&self, batch: &Seq2SeqBatch) -> Result<Vec<Vec<f32>>, Error> {
        let (states, targets) = self.batch_states(batch)?;
        self.log_probs_by_row(states, targets, batch.labels.dims())
    }

    /// The log-probability of every token of several targets of one prompt, which is encoded once; `at_once` targets
    /// are decoded together.
    pub(crate) fn log_probs_of(
        &self,
        prompt: &[u32],
        targets: &[&[u32]],
        at_once: usize,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let decoder = self.decoder()?;
        let encoded = self.encode(&[prompt])?.states;
        let [_, length, d_model] = encoded.dims();
        let mut found = Vec::with_capacity(targets.len());
        for batch in targets.chunks(at_once.max(1)) {
            let labels = padded(batch, IGNORED, &self.device());
            let (states, targets) = self.target_states(&labels, |shifted| {
                let states = encoded.clone().expand([shifted.rows, length, d_model]);
                let x = self.shared.forward(shifted.tensor(&self.device()));
                Ok(decoder.forward(x, states, None, self.training))
            })?;
            found.extend(self.log_probs_by_row(states, targets, labels.dims())?);
        }
        Ok(found)
    }

    fn log_probs_by_row(
        &self,
        states: Tensor<3>,
        targets: Vec<(usize, i64)>,
        [rows, length]: [usize; 2],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let ids: Vec<i64> = targets.iter().map(|&(_, label)| label).collect();
        let count = ids.len();
        let ids =
            Tensor::<3, Int>::from_data(TensorData::new(ids, [1, count, 1]), &states.device());
        let found = log_softmax(self.project(states).cast(DType::F32), 2).gather(2, ids);
        let mut by_row = vec![Vec::new(); rows];
        for ((position, _), value) in targets.into_iter().zip(found.into_data().iter::<f32>()) {
            by_row[position / length].push(value);
        }
        Ok(by_row)
    }

    fn batch_states(&self, batch: &Seq2SeqBatch) -> Result<(Tensor<3>, Vec<(usize, i64)>), Error> {
        self.target_states(&batch.labels, |shifted| {
            self.decoder_states(&batch.input_ids, &batch.input_mask, shifted)
        })
    }

    /// The decoder states of the positions that have a label, `[1, labels, d_model]`, and these positions (in the
    /// flattened `[batch, length]`) with their labels. Positions without one cost no output product. `decode` gives the
    /// states of all positions from the shifted labels.
    fn target_states(
        &self,
        labels: &Tensor<2, Int>,
        decode: impl FnOnce(Grid) -> Result<Tensor<3>, Error>,
    ) -> Result<(Tensor<3>, Vec<(usize, i64)>), Error> {
        let vocabulary = self.vocabulary_out();
        let labels = Grid::read(labels, "labels")?;
        let targets: Vec<(usize, i64)> = labels
            .ids
            .iter()
            .copied()
            .enumerate()
            .filter(|&(_, label)| label >= 0)
            .collect();
        if targets.is_empty() {
            return Err(LossError::NoTargets.into());
        }
        let limit = vocabulary.min(self.shared.vocabulary());
        if let Some(&(position, label)) =
            targets.iter().find(|&&(_, label)| label as usize >= limit)
        {
            return Err(LossError::LabelOutOfRange {
                label,
                position,
                vocabulary,
            }
            .into());
        }
        let states = decode(self.shift_right(&labels))?;
        let [rows, length, d_model] = states.dims();
        let positions: Vec<i64> = targets
            .iter()
            .map(|&(position, _)| position as i64)
            .collect();
        let count = positions.len();
        let positions =
            Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), &states.device());
        let states = states
            .reshape([rows * length, d_model])
            .select(0, positions)
            .reshape([1, count, d_model]);
        Ok((states, targets))
    }

    fn shift_right(&self, labels: &Grid) -> Grid {
        let mut ids = Vec::with_capacity(labels.ids.len());
        for row in labels.ids.chunks(labels.length) {
            ids.push(i64::from(self.start()));
            let before_last = &row[..row.len() - 1];
            ids.extend(before_last.iter().map(|&label| match label {
                ..0 => i64::from(self.pad()),
                label => label,
            }));
        }
        Grid { ids, ..*labels }
    }
}
