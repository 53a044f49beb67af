//! The encoder: embeddings, layers, pooler.

use burn::module::Module;
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Int, Tensor, TensorData};
use clinical_nn::ModelError;
use clinical_nn::{Embedding, LayerNorm, Linear, key_mask, rows_to_tensor};

use crate::config::{BertConfig, Family};
use crate::layer::{Activation, Layer, STD};

/// Token, position and type vectors, summed (and normalised, except in Megatron's layout).
#[derive(Module, Debug)]
pub struct Embeddings {
    /// `[vocabulary, hidden]`.
    pub word_embeddings: Embedding,
    /// `[positions, hidden]`.
    pub position_embeddings: Embedding,
    /// `[types, hidden]`.
    pub token_type_embeddings: Embedding,
    /// Absent in Megatron's layout.
    pub norm: Option<LayerNorm>,
}

/// The BERT encoder (Devlin et al. 2019) and its relatives; see [`Family`].
#[derive(Module, Debug)]
pub struct Bert {
    /// Token, position and type vectors.
    pub embeddings: Embeddings,
    /// The layers.
    pub layers: Vec<Layer>,
    /// Behind the last layer, in Megatron's layout alone.
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
    pub max_length: usize,
}

/// One row of input: token ids, and for pairs the type of each.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Token ids with the special tokens.
    pub ids: &'a [u32],
    /// 0 for the first text, 1 for the second; empty means all 0.
    pub types: &'a [u32],
}

impl<'a> From<&'a [u32]> for Row<'a> {
    fn from(ids: &'a [u32]) -> Self {
        Self { ids, types: &[] }
    }
}

impl Bert {
    /// A model with random weights, drawn at first use. The config must have been validated.
    ///
    /// # Panics
    ///
    /// If the config's activation is unknown, which [`BertConfig::validate`] refuses.
    #[must_use]
    pub fn new(config: &BertConfig, pooler: bool, device: &Device) -> Self {
        let width = config.hidden_size;
        let table = |rows| Embedding::new(rows, width, STD, device);
        let norm = || LayerNorm::new(width, config.layer_norm_eps, device);
        let megatron = config.family == Family::MegatronBert;
        Self {
            embeddings: Embeddings {
                word_embeddings: table(config.vocab_size),
                position_embeddings: table(config.max_position_embeddings),
                token_type_embeddings: table(config.type_vocab_size),
                norm: (!megatron).then(norm),
            },
            layers: (0..config.num_hidden_layers)
                .map(|_| Layer::new(config, device))
                .collect(),
            last_norm: megatron.then(norm),
            pooler: pooler.then(|| Linear::new(width, width, true, STD, device)),
            activation: Activation::from_name(&config.hidden_act).expect("a validated config"),
            family: config.family,
            position_offset: config.position_offset(),
            max_length: config.max_length(),
        }
    }

    /// Hidden states of the last layer, `[batch, longest row, hidden]`; what stands behind a shorter row is meaningless.
    ///
    /// Rows are padded here, and padding is hidden: a row gives the same states alone and in a batch.
    ///
    /// # Errors
    ///
    /// [`ModelError`] for no rows, an empty or too long row, or an id without an embedding.
    pub fn forward(&self, rows: &[Row<'_>]) -> Result<Tensor<3>, ModelError> {
        let all = self.hidden_states(rows, false)?;
        Ok(all.into_iter().next_back().expect("the last state"))
    }

    /// The states behind the embeddings and behind each layer (`output_hidden_states` of `transformers`), first to last.
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
        ModelError::check_prompts(&ids, self.embeddings.word_embeddings.vocabulary())?;
        let lengths: Vec<usize> = ids.iter().map(|row| row.len()).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if longest > self.max_length {
            return Err(ModelError::TooLong {
                positions: longest,
                limit: self.max_length,
            });
        }
        let device = self.embeddings.word_embeddings.weight.lazy_device();
        let mut states = self.embed(&ids, rows, longest, &device)?;
        let hidden = key_mask(&lengths, longest, &device);
        let mut kept = Vec::new();
        for layer in &self.layers {
            if all {
                kept.push(states.clone());
            }
            states = layer.forward(states, hidden.clone(), self.activation);
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
        Ok(match &tables.norm {
            Some(norm) => norm.forward(summed),
            None => summed,
        })
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
