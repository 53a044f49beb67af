//! The training loss.

use burn::tensor::{Int, Tensor, TensorData};
use clinical_nn::{IGNORED, Loss, LossError, ModelError};

use crate::{Error, Gpt2, Result};

impl Gpt2 {
    /// Mean cross entropy of each next token, as `GPT2LMHeadModel` computes it: `labels` stand beside `ids` and are
    /// shifted here, so `labels[i]` is the target of position `i - 1` and the first label is not used. A negative
    /// label does not count. Logits are computed only where a label counts.
    ///
    /// On an autodiff device the mean carries gradients.
    ///
    /// # Errors
    ///
    /// [`Error::LabelCount`], [`Error::Loss`] for a label outside the vocabulary or when none counts, and
    /// [`Error::Model`] for ids that cannot be read.
    pub fn loss(&self, ids: &[&[u32]], labels: &[&[i64]]) -> Result<Loss> {
        self.check(ids)?;
        if labels.len() != ids.len() {
            return Err(ModelError::RowMismatch {
                ids: labels.len(),
                rows: ids.len(),
            }
            .into());
        }
        let longest = ids.iter().map(|row| row.len()).max().unwrap_or(0);
        let (mut positions, mut targets) = (Vec::new(), Vec::new());
        for (row, (ids, labels)) in ids.iter().zip(labels).enumerate() {
            if labels.len() != ids.len() {
                return Err(Error::LabelCount {
                    row,
                    labels: labels.len(),
                    ids: ids.len(),
                });
            }
            for (i, &label) in labels.iter().enumerate().skip(1) {
                if label >= 0 {
                    positions.push((row * longest + i - 1) as i64);
                    targets.push(label);
                }
            }
        }
        if targets.is_empty() {
            return Err(LossError::NoTargets.into());
        }
        let hidden = self.hidden_states(ids)?;
        let count = positions.len();
        let device = hidden.device();
        let positions = Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), &device);
        let hidden = hidden
            .reshape([-1, self.config().n_embd as i64])
            .select(0, positions)
            .unsqueeze_dim(0);
        Ok(self.loss_of_states(hidden, &targets)?)
    }

    /// The loss of states `[1, targets, hidden]` after the last norm.
    pub(crate) fn loss_of_states(
        &self,
        states: Tensor<3>,
        targets: &[i64],
    ) -> Result<Loss, LossError> {
        match &self.lm_head {
            Some(head) => head.cross_entropy(states, targets),
            None => {
                let table = &self.transformer.wte;
                table.cross_entropy(states, None, targets)
            }
        }
    }

    /// Labels for [`loss`](Self::loss) that count every token after the first `prompt` ones.
    #[must_use]
    pub fn labels_after(ids: &[u32], prompt: usize) -> Vec<i64> {
        ids.iter()
            .enumerate()
            .map(|(i, &id)| if i < prompt { IGNORED } else { i64::from(id) })
            .collect()
    }
}
