//! The decoder with its head, uncached: for training, scoring and embeddings.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use clinical_nn::{FirstNonFinite, Linear, ModelError, resize_param, rows_to_tensor};

use crate::attention::Context;
use crate::dropout::Place;
use crate::layer::Gpt2Model;
use crate::{Gpt2Config, Gpt2Dropout, Gpt2Head, Result};

/// A GPT-2 decoder (Radford et al. 2019) with a language head, a head of classes or a span head.
///
/// Made by [`Gpt2Config::init`]. It is used through `&self` and can be shared between threads. With a language head it is
/// a [`StepModel`](clinical_generate::StepModel) for generation; another head is asked by
/// [`classes`](Self::classes) and [`spans`](Self::spans).
///
/// Rows of a batch are padded on the right. A token sees what stands before it and never the padding after it, so no
/// mask is needed, and a row's results are those of the row alone. `transformers` gives the same for rows padded on the
/// left, with their mask, as it counts positions from the first real token.
#[derive(Module, Debug)]
pub struct Gpt2 {
    /// The decoder.
    pub transformer: Gpt2Model,
    /// `[n_embd, vocabulary]`; `None` when the embedding table is the output projection, and with another head.
    pub lm_head: Option<Linear>,
    /// `[n_embd, classes]`, without biases.
    pub score: Option<Linear>,
    /// `[n_embd, 2]`: first and last token of an answer.
    pub qa_outputs: Option<Linear>,
    #[module(skip)]
    pub(crate) config: Gpt2Config,
    #[module(skip)]
    recompute: bool,
    #[module(skip)]
    dropout: Gpt2Dropout,
}

impl Gpt2Config {
    /// A model with fresh weights on `device`. Weights are drawn at first use, so a model that is loaded from files
    /// afterwards never holds two sets.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<Gpt2> {
        self.validate()?;
        let mut model = Gpt2 {
            transformer: Gpt2Model::new(self, device)?,
            lm_head: None,
            score: None,
            qa_outputs: None,
            config: self.clone(),
            recompute: false,
            dropout: Gpt2Dropout::of(self),
        };
        model.put_head(device);
        Ok(model)
    }
}

impl Gpt2 {
    /// The head that the configuration says, with fresh weights.
    pub(crate) fn put_head(&mut self, device: &Device) {
        let config = &self.config;
        let dense = |outputs, bias| {
            Linear::new(
                config.n_embd,
                outputs,
                bias,
                config.initializer_range,
                device,
            )
        };
        (self.lm_head, self.score, self.qa_outputs) = match config.head {
            Gpt2Head::Language if config.tie_word_embeddings => (None, None, None),
            Gpt2Head::Language => (Some(dense(config.vocab_size, false)), None, None),
            Gpt2Head::Classes(classes) => (None, Some(dense(classes, false)), None),
            Gpt2Head::Spans => (None, None, Some(dense(2, true))),
        };
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Gpt2Config {
        &self.config
    }

    /// Whether a layer keeps its input alone for the backward pass, which computes the layer again: less memory for
    /// more time, with the same gradients. It acts on CPU devices with autodiff; a model starts without.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.recompute = recompute;
    }

    /// Dropout while the model trains; a model starts with the rates of its configuration and without a seed.
    pub fn set_dropout(&mut self, dropout: Gpt2Dropout) {
        self.dropout = dropout;
    }

    /// Gives the embedding table and the output projection `rows` rows, and the configuration with them. New rows are
    /// the mean of the old ones ([`resize_param`]); rows beyond `rows` go. An id without a row is refused wherever ids
    /// come in ([`ModelError::TokenOutOfRange`]).
    ///
    /// # Errors
    ///
    /// [`Error::Zero`](crate::Error::Zero), [`Error::TooBig`](crate::Error::TooBig); the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<()> {
        let config = Gpt2Config {
            vocab_size: rows,
            ..self.config.clone()
        };
        config.validate()?;
        let table = &mut self.transformer.wte.weight;
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
        self.transformer.wte.weight.lazy_device()
    }

    /// Logits of the token after each position, `[batch, longest, vocabulary]`. Values after the end of a shorter row
    /// mean nothing. A model with another head predicts by its embedding table.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for no row, an empty row, an id outside the vocabulary or too many positions
    /// ([`ModelError::TooLong`] with both numbers).
    pub fn forward(&self, ids: &[&[u32]]) -> Result<Tensor<3>, ModelError> {
        Ok(self.logits(self.hidden_states(ids)?))
    }

    /// The last hidden state of each position, after the last norm, `[batch, longest, n_embd]`. Values after the end of
    /// a shorter row mean nothing.
    ///
    /// # Errors
    ///
    /// Those of [`forward`](Self::forward).
    pub fn hidden_states(&self, ids: &[&[u32]]) -> Result<Tensor<3>, ModelError> {
        self.check(ids)?;
        let device = self.device();
        let ids = rows_to_tensor(ids, 0, &device);
        let [_, length] = ids.dims();
        let context = self.context();
        let x = self
            .transformer
            .embed(ids, positions(0..length as u32, &device));
        let x = context.dropout.apply(Place::Embeddings, x);
        let x = self.transformer.layers(x, &context, None);
        Ok(self.transformer.ln_f.forward(x))
    }

    /// Hidden states `[batch, length, n_embd]` to logits `[batch, length, vocabulary]`.
    #[must_use]
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.transformer.wte.project(hidden),
        }
    }

    /// Whether this model can read the rows.
    pub(crate) fn check(&self, rows: &[&[u32]]) -> Result<(), ModelError> {
        ModelError::check_prompts(rows, self.config.vocab_size)?;
        self.check_length(rows.iter().map(|row| row.len()).max().unwrap_or(0))
    }

    pub(crate) fn check_length(&self, positions: usize) -> Result<(), ModelError> {
        let limit = self.config.n_positions;
        if positions > limit {
            return Err(ModelError::TooLong { positions, limit });
        }
        Ok(())
    }

    fn context(&self) -> Context {
        Context {
            recompute: self.recompute,
            dropout: self.dropout,
        }
    }

    /// What layers share where nothing is trained.
    pub(crate) fn still(&self) -> Context {
        Context {
            recompute: false,
            dropout: Gpt2Dropout {
                seed: None,
                ..self.dropout
            },
        }
    }

    /// The first part whose numbers are not finite while these tokens are read in one pass.
    pub(crate) fn non_finite_part(&self, ids: &[u32]) -> Option<String> {
        self.check(&[ids]).ok()?;
        let device = self.device();
        let mut first = FirstNonFinite::default();
        let tokens = rows_to_tensor(&[ids], 0, &device);
        let x = self
            .transformer
            .embed(tokens, positions(0..ids.len() as u32, &device));
        first.look("embeddings", None, &x);
        let context = self.still();
        let x = self
            .transformer
            .layers_watched(x, &context, None, |part, layer, x| {
                first.look(part, Some(layer), x);
            });
        let x = self.transformer.ln_f.forward(x.narrow(1, ids.len() - 1, 1));
        first.look("last norm", None, &x);
        first.look("output layer", None, &self.logits(x));
        first.into_part()
    }
}

/// Positions as a tensor `[1, length]`.
pub(crate) fn positions(of: impl Iterator<Item = u32>, device: &Device) -> Tensor<2, Int> {
    let row: Vec<u32> = of.collect();
    rows_to_tensor(&[&row], 0, device)
}
