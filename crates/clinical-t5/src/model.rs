//! The encoder-decoder.

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use clinical_facade::Pooling;
use clinical_nn::{
    Dropout, Embedding, FirstNonFinite, Linear, ModelError, key_mask, resize_param, rows_to_tensor,
};

use crate::batch::Grid;
use crate::encoded::Encoded;
use crate::stack::{Decoder, DecoderBlock, Encoder, Training};
use crate::{Error, T5Config};

/// T5 (Raffel et al. 2020), v1.0 and v1.1.
///
/// Made by [`T5Config::init`] and filled by [`clinical_weights::load`]. It is used through `&self`; text is generated
/// by
/// [`clinical_generate::generate`] through the implementation of [`clinical_generate::StepModel`].
#[derive(Module, Debug)]
pub struct T5 {
    /// Token vectors of both stacks, `[vocabulary, d_model]`.
    pub shared: Embedding,
    /// The encoder.
    pub encoder: Encoder,
    /// The decoder; `None` in an encoder alone ([`T5Config::encoder_only`]).
    pub decoder: Option<Decoder>,
    /// The output layer, `[d_model, vocabulary]`; `None` where it is [`Self::shared`].
    pub lm_head: Option<Linear>,
    #[module(skip)]
    config: T5Config,
    #[module(skip)]
    pub(crate) training: Training,
}

impl T5Config {
    /// A model with fresh weights on `device`. Weights are drawn at first use, so a model that is loaded from files
    /// afterwards never holds two sets.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<T5, Error> {
        self.validate()?;
        let (vocabulary, d_model) = (self.vocab_size, self.d_model);
        let std = self.initializer_factor;
        let head = || Linear::new(d_model, vocabulary, false, std, device);
        let has_head = !self.tie_word_embeddings && !self.encoder_only;
        Ok(T5 {
            shared: Embedding::new(vocabulary, d_model, std, device),
            encoder: Encoder::new(self, device),
            decoder: (!self.encoder_only).then(|| Decoder::new(self, device)),
            lm_head: has_head.then(head),
            config: self.clone(),
            training: Training::default(),
        })
    }
}

impl T5 {
    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// The same model with dropout wherever `transformers` has it while training: token vectors, attention weights,
    /// feed-forward, the output of every sub-layer and stack. It acts on devices with autodiff only. A model starts
    /// with none; the rate of the pretraining is [`T5Config::dropout_rate`].
    ///
    /// What is dropped is a function of the seed and the place in the model, so two passes with one seed drop the same
    /// values: give each step of a training a new one ([`Self::set_dropout`], [`Dropout::seed_of`]).
    #[must_use]
    pub fn with_dropout(mut self, dropout: Dropout) -> Self {
        self.training.dropout = dropout;
        self
    }

    /// [`Self::with_dropout`] in place.
    pub fn set_dropout(&mut self, dropout: Dropout) {
        self.training.dropout = dropout;
    }

    /// Whether a block keeps its input alone for the backward pass, which computes the block again: less memory for
    /// more time, with the same gradients. It acts on CPU devices with autodiff; a model starts without.
    pub fn set_recompute(&mut self, recompute: bool) {
        self.training.recompute = recompute;
    }

    /// Where the weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.shared.weight.lazy_device()
    }

    /// Gives the embedding table, and the output layer where it has one of its own, `rows` rows, and the configuration
    /// with them. New rows are the mean of the old ones ([`resize_param`]); rows beyond `rows` go. An id without a row
    /// is refused wherever ids come in.
    ///
    /// # Errors
    ///
    /// [`Error::Zero`], [`Error::AboveLimit`], and [`Error::IdOutsideVocabulary`] where the padding, start or end token
    /// would lose its row; the model is unchanged.
    pub fn resize_embeddings(&mut self, rows: usize) -> Result<(), Error> {
        let config = T5Config {
            vocab_size: rows,
            ..self.config.clone()
        };
        config.validate()?;
        self.shared.weight = resize_param(self.shared.weight.clone(), 0, rows);
        if let Some(head) = &mut self.lm_head {
            head.resize_outputs(rows);
        }
        self.config = config;
        Ok(())
    }

    /// Encoder states of prompts that may have different lengths.
    ///
    /// # Errors
    ///
    /// [`Error::Model`] for no prompt, an empty prompt, or an id without an embedding row.
    pub fn encode(&self, prompts: &[&[u32]]) -> Result<Encoded, Error> {
        ModelError::check_prompts(prompts, self.shared.vocabulary())?;
        Ok(self.encode_checked(prompts))
    }

    /// One vector a prompt, `[rows, d_model]` in f32: its pooled encoder states.
    ///
    /// # Errors
    ///
    /// Those of [`Self::encode`].
    pub fn embed(&self, prompts: &[&[u32]], pooling: Pooling) -> Result<Tensor<2>, Error> {
        Ok(self.encode(prompts)?.pool(pooling))
    }

    /// Logits of all decoder positions, `[batch, length, vocabulary]`, without a cache: for losses, scores and tests.
    ///
    /// # Shapes
    ///
    /// - `input_ids`: `[batch, input]`; `input_mask`: the same, `true` for tokens
    /// - `decoder_ids`: `[batch, length]`, the start token first
    ///
    /// # Errors
    ///
    /// [`Error::EmptyBatch`], [`Error::BatchShape`], [`Error::InputOutsideVocabulary`], and [`ModelError::NoDecoder`].
    pub fn forward(
        &self,
        input_ids: &Tensor<2, Int>,
        input_mask: &Tensor<2, Bool>,
        decoder_ids: &Tensor<2, Int>,
    ) -> Result<Tensor<3>, Error> {
        let decoder = Grid::inputs(decoder_ids, "decoder ids", self.shared.vocabulary())?;
        Ok(self.project(self.decoder_states(input_ids, input_mask, decoder)?))
    }

    /// Decoder states of all positions, `[batch, length, d_model]`.
    pub(crate) fn decoder_states(
        &self,
        input_ids: &Tensor<2, Int>,
        input_mask: &Tensor<2, Bool>,
        decoder: Grid,
    ) -> Result<Tensor<3>, Error> {
        let stack = self.decoder()?;
        let inputs = Grid::inputs(input_ids, "input ids", self.shared.vocabulary())?;
        let (rows, length) = (inputs.rows, inputs.length);
        if input_mask.dims() != [rows, length] || decoder.rows != rows {
            return Err(Error::BatchShape {
                inputs: [rows, length],
                mask: input_mask.dims(),
                decoder: decoder.rows,
            });
        }
        let device = self.device();
        let hidden = hidden(input_mask, &device);
        let x = self.shared.forward(inputs.tensor(&device));
        let states = self.encoder.forward(x, hidden.clone(), self.training);
        let x = self.shared.forward(decoder.tensor(&device));
        Ok(stack.forward(x, states, hidden, self.training))
    }

    pub(crate) fn encode_checked(&self, prompts: &[&[u32]]) -> Encoded {
        let device = self.device();
        let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.len()).collect();
        let ids = rows_to_tensor(prompts, self.pad(), &device);
        let hidden = key_mask(&lengths, ids.dims()[1], &device);
        let x = self.shared.forward(ids);
        let states = self.encoder.forward(x, hidden, self.training);
        Encoded { states, lengths }
    }

    /// Decoder states `[batch, length, d_model]` to logits `[batch, length, vocabulary]`.
    pub(crate) fn project(&self, states: Tensor<3>) -> Tensor<3> {
        let states = self.scaled(states);
        match &self.lm_head {
            Some(head) => head.forward(states),
            None => self.shared.project(states),
        }
    }

    /// Decoder states as the output product reads them.
    pub(crate) fn scaled(&self, states: Tensor<3>) -> Tensor<3> {
        match self.config.scales_logits() {
            true => states.mul_scalar((self.config.d_model as f64).powf(-0.5)),
            false => states,
        }
    }

    /// The number of logits.
    pub(crate) fn vocabulary_out(&self) -> usize {
        match &self.lm_head {
            Some(head) => head.weight.lazy_shape()[1],
            None => self.shared.vocabulary(),
        }
    }

    /// The first decoder input.
    pub(crate) fn start(&self) -> u32 {
        self.config.decoder_start()
    }

    /// What fills up a batch.
    pub(crate) fn pad(&self) -> u32 {
        self.config.pad_token_id
    }

    /// The decoder, without which nothing is written or scored.
    pub(crate) fn decoder(&self) -> Result<&Decoder, ModelError> {
        self.decoder.as_ref().ok_or(ModelError::NoDecoder)
    }

    /// The blocks of the decoder; none in an encoder alone.
    pub(crate) fn decoder_blocks(&self) -> &[DecoderBlock] {
        self.decoder.as_ref().map_or(&[], |decoder| &decoder.block)
    }

    /// The first part whose numbers are not finite while the encoder reads `prompt` and the decoder `answer`, its start
    /// token first.
    pub(crate) fn non_finite_part(&self, prompt: &[u32], answer: &[u32]) -> Option<String> {
        ModelError::check_prompts(&[prompt, answer], self.shared.vocabulary()).ok()?;
        let device = self.device();
        let none = Training::default();
        let mut first = FirstNonFinite::default();
        let x = self.shared.forward(rows_to_tensor(&[prompt], 0, &device));
        first.look("token embedding", None, &x);
        let states = self
            .encoder
            .forward_watched(x, None, none, |part, block, x| {
                first.look(&format!("encoder's {part}"), Some(block), x);
            });
        first.look("encoder's last norm", None, &states);
        if let Some(decoder) = &self.decoder {
            let x = self.shared.forward(rows_to_tensor(&[answer], 0, &device));
            let x = decoder.forward_watched(x, states, None, none, |part, block, x| {
                first.look(&format!("decoder's {part}"), Some(block), x);
            });
            first.look("decoder's last norm", None, &x);
            first.look("output layer", None, &self.project(x));
        }
        first.into_part()
    }
}

/// A mask of tokens as a mask `[batch, 1, 1, length]` of what is hidden; `None` when all is visible.
fn hidden(mask: &Tensor<2, Bool>, device: &Device) -> Option<Tensor<4, Bool>> {
    let [rows, length] = mask.dims();
    let hidden: Vec<bool> = mask.to_data().iter::<bool>().map(|token| !token).collect();
    hidden
        .contains(&true)
        .then(|| Tensor::from_data(TensorData::new(hidden, [rows, 1, 1, length]), device))
}
