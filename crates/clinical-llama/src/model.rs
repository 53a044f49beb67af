//! The decoder with its output projection, uncached: for training, scoring and embeddings.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clinical_generate::ModelError;
use clinical_nn::{IGNORED, Linear, LossError, Rope, cross_entropy, rows_to_tensor};

use crate::attention::Context;
use crate::cache::window_mask;
use crate::layer::LlamaModel;
use crate::{Error, LlamaConfig};

/// A LLaMA or Mistral decoder (Touvron et al. 2023; Jiang et al. 2023).
///
/// Made by [`LlamaConfig::init`]. It is used through `&self` and can be shared between threads. For generation it is a
/// [`StepModel`](clinical_generate::StepModel).
///
/// Rows of a batch are padded on the right. A token sees what stands before it and never the padding behind it, so no
/// mask is needed, and a row's results are those of the row alone.
#[derive(Module, Debug)]
pub struct Llama {
    /// The decoder.
    pub model: LlamaModel,
    /// `[hidden, vocabulary]`; `None` when the embedding table is the output projection.
    pub lm_head: Option<Linear>,
    #[module(skip)]
    config: LlamaConfig,
    #[module(skip)]
    pub(crate) rope: Rope,
}

impl Llama {
    pub(crate) fn new(config: &LlamaConfig, rope: Rope, device: &Device) -> Result<Self, Error> {
        let lm_head = (!config.tie_word_embeddings).then(|| {
            Linear::new(
                config.hidden_size,
                config.vocab_size,
                false,
                config.initializer_range,
                device,
            )
        });
        Ok(Self {
            model: LlamaModel::new(config, device),
            lm_head,
            config: config.clone(),
            rope,
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    pub(crate) fn set_config(&mut self, config: LlamaConfig) {
        self.config = config;
    }

    /// Where the weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.model.embed_tokens.weight.lazy_device()
    }

    /// Logits of the token after each position, `[batch, longest, vocabulary]`. Values behind the end of a shorter row
    /// mean nothing.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for no row, an empty row, an id outside the vocabulary or too many positions.
    pub fn forward(&self, ids: &[&[u32]]) -> Result<Tensor<3>, ModelError> {
        Ok(self.logits(self.hidden_states(ids)?))
    }

    /// The last hidden state of each position, after the last norm, `[batch, longest, hidden]`. Values behind the end of
    /// a shorter row mean nothing.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn hidden_states(&self, ids: &[&[u32]]) -> Result<Tensor<3>, ModelError> {
        self.check(ids)?;
        let device = self.device();
        let lengths: Vec<usize> = ids.iter().map(|row| row.len()).collect();
        let ids = rows_to_tensor(ids, 0, &device);
        let [_, length] = ids.dims();
        let context = self.context(0, length, &lengths, &device);
        let x = self.model.embed_tokens.forward(ids);
        let x = self.model.layers(x, &context, None);
        Ok(self.model.norm.forward(x))
    }

    /// Hidden states `[batch, length, hidden]` to logits `[batch, length, vocabulary]`.
    #[must_use]
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.model.embed_tokens.project(hidden),
        }
    }

    /// Mean cross entropy `[1]` of each next token, as `LlamaForCausalLM` computes it: `labels` stand beside `ids` and are
    /// shifted here, so `labels[i]` is what position `i - 1` must foretell and the first label is not used. A negative
    /// label does not count. Logits are computed only where a label counts.
    ///
    /// On an autodiff device the result carries gradients.
    ///
    /// # Errors
    ///
    /// [`Error::LabelCount`], [`Error::Loss`] for a label outside the vocabulary or when none counts, and
    /// [`Error::Model`] for ids that cannot be read.
    pub fn loss(&self, ids: &[&[u32]], labels: &[&[i64]]) -> Result<Tensor<1>, Error> {
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
            .reshape([-1, self.config.hidden_size as i64])
            .select(0, positions)
            .unsqueeze_dim(0);
        Ok(cross_entropy(self.logits(hidden), &targets)?.mean)
    }

    /// Labels for [`loss`](Self::loss) that count every token behind the first `prompt` ones.
    #[must_use]
    pub fn labels_after(ids: &[u32], prompt: usize) -> Vec<i64> {
        ids.iter()
            .enumerate()
            .map(|(i, &id)| if i < prompt { IGNORED } else { i64::from(id) })
            .collect()
    }

    /// Whether this model can read the rows.
    pub(crate) fn check(&self, rows: &[&[u32]]) -> Result<(), ModelError> {
        ModelError::check_prompts(rows, self.config.vocab_size)?;
        let positions = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        self.check_length(positions)
    }

    pub(crate) fn check_length(&self, positions: usize) -> Result<(), ModelError> {
        let limit = self.config.max_positions();
        if positions > limit {
            return Err(ModelError::TooLong { positions, limit });
        }
        Ok(())
    }

    /// Angles and mask for the positions `start..start + length` of right-padded rows of the given whole lengths.
    pub(crate) fn context(
        &self,
        start: usize,
        length: usize,
        rows: &[usize],
        device: &Device,
    ) -> Context {
        // Rows turn alike unless their lengths change the frequencies.
        let alike = !self.rope.is_dynamic() || rows.iter().all(|row| *row == rows[0]);
        let read = if alike { &rows[..1] } else { rows };
        let positions: Vec<usize> = read.iter().flat_map(|_| start..start + length).collect();
        Context {
            rope: self.rope.tables(&positions, read, device),
            hidden: window_mask(start, length, self.config.sliding_window, device),
        }
    }
}
