//! The encoder: embeddings, layers, pooler.

use burn::module::Module;
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clinical_nn::{Activation, LayerNorm, Linear, ModelError, key_mask, rows_to_tensor};

use crate::config::{BertConfig, Family};
use crate::dropout::{BertDropout, Place};
use crate::layers::{Embeddings, Layer, Pass, STD};
use crate::{Result, Row};

/// The BERT encoder (Devlin et al. 2019) and its relatives; see [`Family`].
#[derive(Module, Debug)]
pub struct Bert {
    /// Token, position and type vectors.
    pub embeddings: Embeddings,
    /// The layers.
    pub layers: Vec<Layer>,
    /// After the last layer, in Megatron's layout alone.
    pub last_norm: Option<LayerNorm>,
    /// `tanh(W h[first])`; many checkpoints leave it out.
    pub pooler: Option<Linear>,
    /// Activation of the feed-forward layers.
    #[module(skip)]
    pub activation: Activation,
    /// Which layout the checkpoint has.
    #[module(skip)]
    pub family: Family,
    /// Row of the position table for the first token.
    pub position_offset: usize,
    /// Most tokens of a row.
    pub max_tokens: usize,
    /// What is dropped in training; nothing without a seed.
    #[module(skip)]
    pub dropout: BertDropout,
    /// Whether a layer keeps its input alone for the backward pass, which computes the layer again: less memory for
    /// more time, with the same gradients. It acts on CPU devices with autodiff; a model starts without.
    #[module(skip)]
    pub recompute: bool,
}

impl Bert {
    /// A model with random weights, drawn at first use.
    ///
    /// # Errors
    ///
    /// Those of [`BertConfig::validate`].
    pub fn new(config: &BertConfig, pooler: bool, device: &Device) -> Result<Self> {
        config.validate()?;
        let width = config.hidden_size;
        let norm = || LayerNorm::new(width, config.layer_norm_eps, device);
        Ok(Self {
            embeddings: Embeddings::new(config, device),
            layers: (0..config.num_hidden_layers)
                .map(|_| Layer::new(config, device))
                .collect(),
            last_norm: (config.family == Family::MegatronBert).then(norm),
            pooler: pooler.then(|| Linear::new(width, width, true, STD, device)),
            activation: config.activation()?,
            family: config.family,
            position_offset: config.position_offset(),
            max_tokens: config.max_tokens(),
            dropout: BertDropout::of(config),
            recompute: false,
        })
    }

    /// Width of the hidden states.
    #[must_use]
    pub fn width(&self) -> usize {
        self.embeddings.word_embeddings.weight.lazy_shape()[1]
    }

    /// Rows of the token table.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.embeddings.word_embeddings.vocabulary()
    }

    /// Where the weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.embeddings.word_embeddings.weight.lazy_device()
    }

    /// The same model with the dropout that its config has for training, from this seed; `None` stops dropping. It acts
    /// on devices with autodiff only; see [`BertDropout`].
    #[must_use]
    pub fn with_dropout(mut self, seed: impl Into<Option<u64>>) -> Self {
        self.set_dropout_seed(seed);
        self
    }

    /// [`Self::with_dropout`] in place, for every step of a training.
    pub fn set_dropout_seed(&mut self, seed: impl Into<Option<u64>>) {
        self.dropout.seed = seed.into();
    }

    /// Hidden states of the last layer, `[batch, longest row, hidden]`; what stands after a shorter row is meaningless.
    ///
    /// Rows are padded here, and padding is hidden: a row gives the same states alone and in a batch.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for no rows, an empty or too long row, or an id without an embedding.
    pub fn forward(&self, rows: &[Row<'_>]) -> Result<Tensor<3>, ModelError> {
        let mut all = self.hidden_states(rows, false)?;
        all.pop().ok_or(ModelError::NoRows)
    }

    /// The states after the embeddings and after each layer (`output_hidden_states` of `transformers`), first to last.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn all_hidden_states(&self, rows: &[Row<'_>]) -> Result<Vec<Tensor<3>>, ModelError> {
        self.hidden_states(rows, true)
    }

    /// `tanh(W h[first])`, `[batch, hidden]`; `None` for a model without a pooler.
    #[must_use]
    pub fn pool(&self, states: Tensor<3>) -> Option<Tensor<2>> {
        let pooler = self.pooler.as_ref()?;
        Some(tanh(pooler.forward(first(states))))
    }

    fn hidden_states(&self, rows: &[Row<'_>], all: bool) -> Result<Vec<Tensor<3>>, ModelError> {
        let ids: Vec<&[u32]> = rows.iter().map(|row| row.ids).collect();
        ModelError::check_prompts(&ids, self.vocabulary())?;
        let lengths: Vec<usize> = ids.iter().map(|row| row.len()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if longest > self.max_tokens {
            return Err(ModelError::TooLong {
                positions: longest,
                limit: self.max_tokens,
            });
        }
        let device = self.device();
        let mut states = self.embed(&ids, rows, longest, &device)?;
        let pass = Pass {
            hidden: key_mask(&lengths, longest, &device),
            activation: self.activation,
            dropout: self.dropout,
            recompute: self.recompute,
        };
        let mut kept = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            if all {
                kept.push(states.clone());
            }
            states = layer.forward(states, &pass, number);
        }
        if let Some(norm) = &self.last_norm {
            states = norm.forward(states);
        }
        kept.push(states);
        Ok(kept)
    }

    fn embed(
        &self,
        ids: &[&[u32]],
        rows: &[Row<'_>],
        longest: usize,
        device: &Device,
    ) -> Result<Tensor<3>, ModelError> {
        let tables = &self.embeddings;
        let words = tables
            .word_embeddings
            .forward(rows_to_tensor(ids, 0, device));
        let positions: Vec<i64> = (0..longest)
            .map(|position| (position + self.position_offset) as i64)
            .collect();
        let positions =
            Tensor::<2, Int>::from_data(TensorData::new(positions, [1, longest]), device);
        let positions = tables.position_embeddings.forward(positions);
        let kinds = tables.token_type_embeddings.vocabulary();
        let types: Vec<&[u32]> = rows.iter().map(|row| row.types).collect();
        for (row, (types, ids)) in types.iter().zip(ids).enumerate() {
            if types.len() > ids.len() {
                return Err(ModelError::RowMismatch {
                    ids: types.len(),
                    rows: ids.len(),
                });
            }
            if let Some(&id) = types.iter().find(|&&id| id as usize >= kinds) {
                return Err(ModelError::TokenOutOfRange {
                    id,
                    row,
                    vocabulary: kinds,
                });
            }
        }
        let summed = words + positions + self.type_vectors(&types, longest, device);
        let states = match &tables.norm {
            Some(norm) => norm.forward(summed),
            None => summed,
        };
        Ok(self.dropout.apply(Place::Embeddings, states))
    }

    fn type_vectors(&self, types: &[&[u32]], longest: usize, device: &Device) -> Tensor<3> {
        let table = &self.embeddings.token_type_embeddings;
        if types.iter().all(|types| types.iter().all(|&id| id == 0)) {
            return table.forward(Tensor::zeros([1, 1], device));
        }
        let ids: Vec<i64> = types
            .iter()
            .flat_map(|types| (0..longest).map(|at| types.get(at).map_or(0, |&id| i64::from(id))))
            .collect();
        table.forward(Tensor::from_data(
            TensorData::new(ids, [types.len(), longest]),
            device,
        ))
    }
}

/// States of the first position, `[batch, hidden]`.
pub(crate) fn first(states: Tensor<3>) -> Tensor<2> {
    let [batch, _, width] = states.dims();
    states.narrow(1, 0, 1).reshape([batch, width])
}
