//! The decoder with its output projection, uncached: for training, scoring and embeddings.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clinical_nn::{FirstNonFinite, Linear, ModelError, Rope, resize_param, rows_to_tensor};

use crate::attention::Context;
use crate::cache::window_mask;
use crate::layer::LlamaModel;
use crate::{Error, LlamaConfig};

/// A LLaMA or Mistral decoder (Touvron et al. 2023; Jiang et al. 2023).
///
/// Made by [`LlamaConfig::init`]. It is used through `&self` and can be shared between threads. For generation it is a
/// [`StepModel`](clinical_generate::StepModel).
///
/// Rows of a batch are padded on the right. A token sees what stands before it and never the padding after it, so no
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
    #[module(skip)]
    recompute: bool,
}

impl LlamaConfig {
    /// A model with fresh weights on `device`. Weights are drawn at first use, so a model that is loaded from files
    /// afterwards never holds two sets.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<Llama, Error> {
        self.validate()?;
        let (hidden, std) = (self.hidden_size, self.initializer_range);
        let head = || Linear::new(hidden, self.vocab_size, false, std, device);
        Ok(Llama {
            model: LlamaModel::new(self, device),
            lm_head: (!self.tie_word_embeddings).then(head),
            config: self.clone(),
            rope: self.rope()?,
            recompute: false,
        })
    }
}

impl Llama {
    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Whether a layer keeps its input alone for the backward pass, which computes the layer again: less memory for
    /// more time, with the same gradients. It acts on CPU devices with autodiff, in [`Self::loss`] but not in
    /// [`Self::branched_loss`]; a model starts without.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.recompute = recompute;
    }

    /// Gives the embedding table and the output projection `rows` rows, and the configuration with them. New rows are
    /// the mean of the old ones ([`resize_param`]); rows beyond `rows` go. An id without a row is refused wherever ids
    /// come in ([`ModelError::TokenOutOfRange`]).
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::TooBig`]; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<(), Error> {
        let config = LlamaConfig {
            vocab_size: rows,
            ..self.config.clone()
        };
        config.validate()?;
        let table = &mut self.model.embed_tokens.weight;
        *table = resize_param(table.clone(), 0, rows);
        if let Some(head) = &mut self.lm_head {
            head.resize_outputs(rows);
        }
        self.config = config;
        Ok(())
    }

    /// Where the weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.model.embed_tokens.weight.lazy_device()
    }

    /// Logits of the token after each position, `[batch, longest, vocabulary]`. Values after the end of a shorter row
    /// mean nothing.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for no row, an empty row, an id outside the vocabulary or too many positions.
    pub fn forward(&self, ids: &[&[u32]]) -> Result<Tensor<3>, ModelError> {
        Ok(self.logits(self.hidden_states(ids)?))
    }

    /// The last hidden state of each position, after the last norm, `[batch, longest, hidden]`. Values after the end of
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
            recompute: self.recompute,
        }
    }

    /// The first part whose numbers are not finite while these tokens are read in one pass.
    pub(crate) fn non_finite_part(&self, ids: &[u32]) -> Option<String> {
        self.check(&[ids]).ok()?;
        let device = self.device();
        let mut first = FirstNonFinite::default();
        let x = self
            .model
            .embed_tokens
            .forward(rows_to_tensor(&[ids], 0, &device));
        first.look("token embedding", None, &x);
        let context = self.context(0, ids.len(), &[ids.len()], &device);
        let x = self
            .model
            .layers_watched(x, &context, None, |part, layer, x| {
                first.look(part, Some(layer), x);
            });
        let x = self.model.norm.forward(x.narrow(1, ids.len() - 1, 1));
        first.look("last norm", None, &x);
        first.look("output layer", None, &self.logits(x));
        first.into_part()
    }
}
