//! The two losses of pretraining.

use burn::tensor::{Int, Tensor, TensorData};
use clinical_nn::cross_entropy;

use super::PretrainingExample;
use crate::{BertForPretraining, Error, Row};

/// The losses of one batch.
#[derive(Debug)]
pub struct PretrainingLoss {
    /// `[1]`, the sum of the parts: what is minimised.
    pub total: Tensor<1>,
    /// `[1]`, the mean over the predicted tokens of the batch.
    pub masked: Tensor<1>,
    /// `[1]`, the mean over the pairs; `None` for a model without that head.
    pub next_sentence: Option<Tensor<1>>,
}

impl BertForPretraining {
    /// The loss of a batch of examples. Logits are computed at the predicted positions alone.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for rows that the model cannot read, [`Error::Predictions`] for positions outside their row,
    /// [`Error::Loss`] when nothing is predicted.
    pub fn loss(&self, examples: &[PretrainingExample]) -> Result<PretrainingLoss, Error> {
        let types = self.bert.embeddings.token_type_embeddings.vocabulary();
        let rows: Vec<Row<'_>> = examples
            .iter()
            .map(|example| Row {
                ids: &example.ids,
                // RoBERTa has one type.
                types: if types > 1 { &example.types } else { &[] },
            })
            .collect();
        let states = self.bert.forward(&rows)?;
        let [_, longest, width] = states.dims();
        let (mut places, mut labels) = (Vec::new(), Vec::new());
        for (row, example) in examples.iter().enumerate() {
            let length = example.ids.len();
            if example.positions.len() != example.labels.len() {
                return Err(Error::Predictions { row, length });
            }
            for (&position, &label) in example.positions.iter().zip(&example.labels) {
                if position >= length {
                    return Err(Error::Predictions { row, length });
                }
                places.push((row * longest + position) as i64);
                labels.push(i64::from(label));
            }
        }
        let count = places.len();
        let device = states.device();
        if count == 0 {
            return Err(clinical_nn::LossError::NoTargets.into());
        }
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
        let flat = states.clone().reshape([-1, width as i64]);
        let predicted = flat.select(0, places).reshape([1, count, width]);
        let masked = cross_entropy(self.predict(predicted), &labels)?.mean;
        let next_sentence = match self.next_sentence(states) {
            Some(logits) => {
                let classes: Vec<i64> = examples
                    .iter()
                    .map(|example| i64::from(example.is_random_next))
                    .collect();
                Some(cross_entropy(logits.unsqueeze_dim(1), &classes)?.mean)
            }
            None => None,
        };
        let total = match &next_sentence {
            Some(next) => masked.clone() + next.clone(),
            None => masked.clone(),
        };
        Ok(PretrainingLoss {
            total,
            masked,
            next_sentence,
        })
    }
}
