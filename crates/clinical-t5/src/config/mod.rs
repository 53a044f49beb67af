//! The shape of a model, and the rules that it keeps.

mod published;
#[cfg(test)]
mod tests;

use clinical_weights::limits::{MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;

pub use published::FeedForwardKind;
use published::default;

/// Most relative position buckets that a configuration may ask for; the published models have 32.
pub const MAX_BUCKETS: usize = 65_536;

/// The shape of a T5 model, under the names of the published `config.json`.
///
/// One struct serves v1.0 (ReLU, tied embeddings, scaled logits), v1.1 and FLAN (gated GELU, an output layer of its
/// own) and what lies between. Absent keys get the defaults that `transformers` has for them, unknown ones are kept for
/// a save.
///
/// ```
/// use clinical_t5::T5Config;
///
/// let config = T5Config::from_json(br#"{
///     "model_type": "t5", "vocab_size": 32115, "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12,
///     "num_heads": 12
/// }"#)?;
/// assert_eq!(config.decoder_layers(), 12);
/// assert_eq!(config.parameters()?, 222_893_568);
/// assert_eq!(config, T5Config::clinical_t5_base());
/// # Ok::<(), clinical_t5::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct T5Config {
    /// The keys of the file that this library does not know, as they were found; [`to_value`](Self::to_value) keeps
    /// them.
    #[serde(flatten)]
    pub other: Map<String, Value>,
    /// There is no decoder (`T5EncoderModel`): such a model embeds texts and writes none. Default false.
    #[serde(skip)]
    pub encoder_only: bool,
    /// `"t5"` or `"mt5"`.
    #[serde(default = "default::model_type")]
    pub model_type: String,
    /// Rows of the embedding table, and logits. May be more than the tokenizer has (32128 for 32100).
    pub vocab_size: usize,
    /// Width of the residual stream.
    #[serde(alias = "hidden_size")]
    pub d_model: usize,
    /// Width of one attention head; `num_heads * d_kv` need not be `d_model`.
    #[serde(alias = "head_dim")]
    pub d_kv: usize,
    /// Width inside the feed-forward layers.
    pub d_ff: usize,
    /// Encoder blocks.
    #[serde(alias = "num_hidden_layers")]
    pub num_layers: usize,
    /// Decoder blocks; absent: as many as the encoder has.
    #[serde(default)]
    pub num_decoder_layers: Option<usize>,
    /// Attention heads, the same in both stacks.
    #[serde(alias = "num_attention_heads")]
    pub num_heads: usize,
    /// Rows of the relative position table. Default 32.
    #[serde(default = "default::buckets")]
    pub relative_attention_num_buckets: usize,
    /// Distance from which on all positions share the last bucket. Default 128 (old files do not have it).
    #[serde(default = "default::max_distance")]
    pub relative_attention_max_distance: usize,
    /// The dropout that the model was trained with. Default 0.1; see [`T5::with_dropout`](crate::T5::with_dropout).
    #[serde(default = "default::dropout")]
    pub dropout_rate: f64,
    /// Added to the mean square in the norms. Default 1e-6.
    #[serde(default = "default::epsilon")]
    pub layer_norm_epsilon: f64,
    /// Scale of freshly drawn weights. Default 1.
    #[serde(default = "default::one")]
    pub initializer_factor: f64,
    /// The feed-forward layers: `relu` (the default), `gated-gelu`, ...
    #[serde(default)]
    pub feed_forward_proj: FeedForwardKind,
    /// Whether the output layer is the embedding table. Default true.
    #[serde(default = "default::yes")]
    pub tie_word_embeddings: bool,
    /// Whether logits are scaled by `d_model^-0.5`. Absent (before `transformers` 5): as `tie_word_embeddings` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_decoder_outputs: Option<bool>,
    /// The padding id. Default 0.
    #[serde(default, deserialize_with = "published::id_or_zero")]
    pub pad_token_id: u32,
    /// The ids that end an output; a number or a list in the file. Default 1.
    #[serde(
        default = "default::eos",
        rename = "eos_token_id",
        deserialize_with = "published::one_or_many",
        serialize_with = "published::as_one_or_many"
    )]
    pub eos_token_ids: Vec<u32>,
    /// The first decoder input. Default: the padding id.
    #[serde(default)]
    pub decoder_start_token_id: Option<u32>,
    /// The input length of the pretraining. Relative positions set no limit, so this is advice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_positions: Option<usize>,
}

impl T5Config {
    /// T5-base, v1.0: 222,903,552 parameters.
    #[must_use]
    pub fn t5_base() -> Self {
        Self::v1_0(768, 3072, 12, 12)
    }

    /// T5-large, v1.0: 737,668,096 parameters.
    #[must_use]
    pub fn t5_large() -> Self {
        Self::v1_0(1024, 4096, 24, 16)
    }

    /// Clinical-T5-Base: T5-base with 32,100 pieces and the 15 tokens of `clinical-deid`, no padding rows. 222,893,568
    /// parameters.
    #[must_use]
    pub fn clinical_t5_base() -> Self {
        Self {
            vocab_size: 32_115,
            ..Self::t5_base()
        }
    }

    fn v1_0(d_model: usize, d_ff: usize, num_layers: usize, num_heads: usize) -> Self {
        Self {
            other: Map::new(),
            encoder_only: false,
            model_type: default::model_type(),
            vocab_size: 32_128,
            d_model,
            d_kv: 64,
            d_ff,
            num_layers,
            num_decoder_layers: None,
            num_heads,
            relative_attention_num_buckets: default::buckets(),
            relative_attention_max_distance: default::max_distance(),
            dropout_rate: default::dropout(),
            layer_norm_epsilon: default::epsilon(),
            initializer_factor: default::one(),
            feed_forward_proj: FeedForwardKind::default(),
            tie_word_embeddings: true,
            scale_decoder_outputs: None,
            pad_token_id: 0,
            eos_token_ids: default::eos(),
            decoder_start_token_id: None,
            n_positions: None,
        }
    }

    /// Decoder blocks; 0 where there is no decoder.
    #[must_use]
    pub fn decoder_layers(&self) -> usize {
        match self.encoder_only {
            true => 0,
            false => self.num_decoder_layers.unwrap_or(self.num_layers),
        }
    }

    /// Width of all heads together, `num_heads * d_kv`.
    #[must_use]
    pub fn inner_dim(&self) -> usize {
        self.num_heads.saturating_mul(self.d_kv)
    }

    /// The first decoder input.
    #[must_use]
    pub fn decoder_start(&self) -> u32 {
        self.decoder_start_token_id.unwrap_or(self.pad_token_id)
    }

    /// Whether logits are scaled by `d_model^-0.5`.
    #[must_use]
    pub fn scales_logits(&self) -> bool {
        self.scale_decoder_outputs
            .unwrap_or(self.tie_word_embeddings)
    }

    /// The number of parameters; a tied output layer counts once.
    ///
    /// # Errors
    ///
    /// [`Error::ParameterCount`] when it does not fit into 64 bits.
    pub fn parameters(&self) -> Result<u64, Error> {
        self.count().ok_or(Error::ParameterCount)
    }

    fn count(&self) -> Option<u64> {
        let mul = |a: u64, b: u64| a.checked_mul(b);
        let [vocab, d_model, d_kv, d_ff, heads, buckets] = [
            self.vocab_size,
            self.d_model,
            self.d_kv,
            self.d_ff,
            self.num_heads,
            self.relative_attention_num_buckets,
        ]
        .map(|value| value as u64);
        let table = mul(vocab, d_model)?;
        let head = match self.tie_word_embeddings || self.encoder_only {
            true => 0,
            false => table,
        };
        let attention = mul(mul(4, d_model)?, mul(heads, d_kv)?)?.checked_add(d_model)?;
        let matrices = if self.feed_forward_proj.gated { 3 } else { 2 };
        let feed_forward = mul(mul(matrices, d_model)?, d_ff)?.checked_add(d_model)?;
        let encoder = mul(self.num_layers as u64, attention.checked_add(feed_forward)?)?;
        let block = mul(2, attention)?.checked_add(feed_forward)?;
        let decoder = mul(self.decoder_layers() as u64, block)?;
        // Each stack has a table of positions and a last norm.
        let stacks = if self.encoder_only { 1 } else { 2 };
        let ends = mul(stacks, mul(buckets, heads)?.checked_add(d_model)?)?;
        [head, encoder, decoder, ends]
            .into_iter()
            .try_fold(table, u64::checked_add)
    }

    /// Checks every rule that the model relies on. Every way into a model does it.
    ///
    /// # Errors
    ///
    /// One variant of [`Error`] a rule: [`Error::Zero`], [`Error::AboveLimit`], [`Error::Buckets`],
    /// [`Error::MaxDistance`], [`Error::Epsilon`], [`Error::Dropout`], [`Error::InitializerFactor`],
    /// [`Error::IdOutsideVocabulary`], [`Error::NoEndToken`], [`Error::ParameterCount`].
    pub fn validate(&self) -> Result<(), Error> {
        let inner = self.num_heads.saturating_mul(self.d_kv);
        let buckets = self.relative_attention_num_buckets;
        for (field, value, limit) in [
            ("vocab_size", self.vocab_size, MAX_VOCABULARY),
            ("d_model", self.d_model, MAX_WIDTH),
            ("d_kv", self.d_kv, MAX_WIDTH),
            ("d_ff", self.d_ff, MAX_WIDTH),
            ("num_heads", self.num_heads, MAX_WIDTH),
            ("num_heads * d_kv", inner, MAX_WIDTH),
            ("num_layers", self.num_layers, MAX_LAYERS),
            (
                "num_decoder_layers",
                self.num_decoder_layers.unwrap_or(1),
                MAX_LAYERS,
            ),
            ("relative_attention_num_buckets", buckets, MAX_BUCKETS),
        ] {
            if value == 0 {
                return Err(Error::Zero { field });
            }
            if value > limit {
                return Err(Error::AboveLimit {
                    field,
                    value,
                    limit,
                });
            }
        }
        // Encoder buckets are halved for the direction and halved again for the exact distances.
        if buckets < 4 {
            return Err(Error::Buckets { buckets });
        }
        let distance = self.relative_attention_max_distance;
        if distance <= buckets / 2 {
            return Err(Error::MaxDistance { distance, buckets });
        }
        let epsilon = self.layer_norm_epsilon;
        if !(epsilon > 0.0 && epsilon < 1.0) {
            return Err(Error::Epsilon { epsilon });
        }
        let rate = self.dropout_rate;
        if !(0.0..1.0).contains(&rate) {
            return Err(Error::Dropout { rate });
        }
        let factor = self.initializer_factor;
        if !(factor > 0.0 && factor.is_finite()) {
            return Err(Error::InitializerFactor { factor });
        }
        if self.eos_token_ids.is_empty() {
            return Err(Error::NoEndToken);
        }
        let vocabulary = self.vocab_size;
        let named = [
            ("pad_token_id", self.pad_token_id),
            ("decoder_start_token_id", self.decoder_start()),
        ];
        let ends = self.eos_token_ids.iter().map(|&id| ("eos_token_id", id));
        for (field, id) in named.into_iter().chain(ends) {
            if id as usize >= vocabulary {
                return Err(Error::IdOutsideVocabulary {
                    field,
                    id,
                    vocabulary,
                });
            }
        }
        self.parameters()?;
        Ok(())
    }
}
