//! Sizes and constants of a model.

use clinical_nn::{Rope, RopeScaling};
use clinical_weights::limits::{MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH};
use clinical_weights::{Architecture, Facade};
use serde_json::{Map, Value};

use crate::Error;

/// Most positions: beyond this, angles in f32 no longer tell neighbours apart.
pub const MAX_POSITIONS: usize = 1 << 24;

/// Sizes and constants of a LLaMA or Mistral model, under the names of the published `config.json`.
///
/// Read one with [`from_file`](Self::from_file), [`from_json`](Self::from_json) or [`from_value`](Self::from_value), or
/// take a preset and change it; [`init`](Self::init) makes the model. Every way into a model goes through
/// [`validate`](Self::validate).
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// `llama` or `mistral`.
    pub model_type: String,
    /// Rows of the embedding table, and logits.
    pub vocab_size: usize,
    /// Size of a token's vector.
    pub hidden_size: usize,
    /// Inner size of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Query heads of each layer.
    pub num_attention_heads: usize,
    /// Key and value heads of each layer; fewer than query heads in grouped-query attention.
    pub num_key_value_heads: usize,
    /// Size of one head.
    pub head_dim: usize,
    /// The trained length; see [`max_positions`](Self::max_positions).
    pub max_position_embeddings: usize,
    /// Added to the mean square in each norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How positions are stretched beyond the trained length.
    pub rope_scaling: Option<RopeScaling>,
    /// How many of the last positions a token sees (Mistral v0.1), itself included; `None` for all.
    pub sliding_window: Option<usize>,
    /// Whether the output projection is the embedding table.
    pub tie_word_embeddings: bool,
    /// Whether the projections of attention have biases.
    pub attention_bias: bool,
    /// Whether the projections of the feed-forward layer have biases.
    pub mlp_bias: bool,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// `bos_token_id` as the file has it. Asclepius-7B's is wrong (0): take ids from the tokenizer.
    pub bos_token_id: Option<i64>,
    /// `eos_token_id` as the file has it, a number or a list. Asclepius-7B's is wrong (1): take ids from the tokenizer.
    pub eos_token_id: Vec<i64>,
    /// `pad_token_id` as the file has it. Asclepius-7B's is -1.
    pub pad_token_id: Option<i64>,
    /// The keys of the file that this library does not know, as they were found; [`to_value`](Self::to_value) keeps
    /// them.
    pub other: Map<String, Value>,
}

impl LlamaConfig {
    /// Checks every rule that a model relies on.
    ///
    /// # Errors
    ///
    /// One variant of [`Error`] for each rule.
    pub fn validate(&self) -> Result<(), Error> {
        let known = Architecture::by_model_type(&self.model_type);
        if known.is_none_or(|one| one.facade != Facade::Asclepius) {
            return Err(Error::ModelType {
                found: self.model_type.clone(),
            });
        }
        let attention_width = self.num_attention_heads.saturating_mul(self.head_dim);
        for (field, value, limit) in [
            ("vocab_size", self.vocab_size, MAX_VOCABULARY),
            ("hidden_size", self.hidden_size, MAX_WIDTH),
            ("intermediate_size", self.intermediate_size, MAX_WIDTH),
            ("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS),
            ("num_attention_heads", self.num_attention_heads, MAX_WIDTH),
            ("num_key_value_heads", self.num_key_value_heads, MAX_WIDTH),
            ("head_dim", self.head_dim, MAX_WIDTH),
            ("num_attention_heads * head_dim", attention_width, MAX_WIDTH),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                MAX_POSITIONS,
            ),
            (
                "sliding_window",
                self.sliding_window.unwrap_or(1),
                usize::MAX,
            ),
        ] {
            if value == 0 {
                return Err(Error::Zero { field });
            }
            if value > limit {
                return Err(Error::TooBig {
                    field,
                    value: value as u64,
                    limit,
                });
            }
        }
        if !self
            .num_attention_heads
            .is_multiple_of(self.num_key_value_heads)
        {
            return Err(Error::KeyValueHeads {
                heads: self.num_attention_heads,
                key_value_heads: self.num_key_value_heads,
            });
        }
        for (field, value) in [
            ("rms_norm_eps", self.rms_norm_eps),
            ("initializer_range", self.initializer_range),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::NotPositive { field, value });
            }
        }
        self.rope()?;
        self.parameters()?;
        Ok(())
    }

    /// The number of parameters; a tied output projection counts once.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterCount`] when it does not fit into 64 bits.
    pub fn parameters(&self) -> Result<u64, Error> {
        self.checked_parameters().ok_or(Error::ParameterCount)
    }

    fn checked_parameters(&self) -> Option<u64> {
        let product = |a: usize, b: usize| (a as u64).checked_mul(b as u64);
        let sum = |terms: &[u64]| {
            terms
                .iter()
                .try_fold(0u64, |sum, &term| sum.checked_add(term))
        };
        let hidden = self.hidden_size as u64;
        let inner = self.intermediate_size as u64;
        let queries = product(self.num_attention_heads, self.head_dim)?;
        let keys = product(self.num_key_value_heads, self.head_dim)?;
        let mut layer = vec![
            hidden.checked_mul(queries)?.checked_mul(2)?,
            hidden.checked_mul(keys)?.checked_mul(2)?,
            hidden.checked_mul(inner)?.checked_mul(3)?,
            hidden.checked_mul(2)?,
        ];
        if self.attention_bias {
            layer.extend([queries, keys, keys, hidden]);
        }
        if self.mlp_bias {
            layer.extend([inner, inner, hidden]);
        }
        let table = product(self.vocab_size, self.hidden_size)?;
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        sum(&[
            sum(&layer)?.checked_mul(self.num_hidden_layers as u64)?,
            table.checked_mul(tables)?,
            hidden,
        ])
    }

    /// The most positions a row may have: the trained length, times the factor where scaling stretches it (`linear`,
    /// `dynamic`; the length of a `llama3` config is the stretched one already).
    #[must_use]
    pub fn max_positions(&self) -> usize {
        let factor = match self.rope_scaling {
            Some(RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. }) => {
                factor.max(1.0)
            }
            _ => 1.0,
        };
        ((self.max_position_embeddings as f64 * factor) as usize).min(MAX_POSITIONS)
    }

    pub(crate) fn rope(&self) -> Result<Rope, Error> {
        Ok(Rope::new(
            self.head_dim,
            self.rope_theta,
            self.rope_scaling,
        )?)
    }

    /// Shapes of a model of 1.26 billion parameters: hidden 2048, 22 layers, 32 heads, vocabulary 32,000. For
    /// measurements without files.
    #[must_use]
    pub fn llama_1b() -> Self {
        Self::plain(2048, 5632, 22, 32)
    }

    /// Shapes of LLaMA 7B and Asclepius-7B.
    #[must_use]
    pub fn llama_7b() -> Self {
        Self::plain(4096, 11_008, 32, 32)
    }

    /// Shapes of LLaMA 13B and Asclepius-13B.
    #[must_use]
    pub fn llama_13b() -> Self {
        Self::plain(5120, 13_824, 40, 40)
    }

    fn plain(hidden: usize, inner: usize, layers: usize, heads: usize) -> Self {
        Self {
            model_type: "llama".to_owned(),
            vocab_size: 32_000,
            hidden_size: hidden,
            intermediate_size: inner,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: heads,
            head_dim: hidden / heads,
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            sliding_window: None,
            tie_word_embeddings: false,
            attention_bias: false,
            mlp_bias: false,
            initializer_range: 0.02,
            bos_token_id: Some(1),
            eos_token_id: vec![2],
            pad_token_id: None,
            other: Map::new(),
        }
    }
}
