//! Sizes and constants of a model.

use std::path::Path;

use burn::tensor::Device;
use clinical_nn::{Rope, RopeScaling};
use clinical_weights::limits::{MAX_JSON_BYTES, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH};

use crate::published::Published;
use crate::{Error, Llama};

/// Most positions: beyond this, angles in f32 no longer tell neighbours apart.
pub const MAX_POSITIONS: usize = 1 << 24;

/// Sizes and constants of a LLaMA or Mistral model, under the names of the published `config.json`.
///
/// Read one with [`from_file`](Self::from_file) or [`from_json`](Self::from_json), or take a preset and change it; every
/// way into a model goes through [`validate`](Self::validate).
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
}

impl LlamaConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`], [`Error::TooLarge`], and those of [`from_json`](Self::from_json).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        use std::io::Read;
        let path = path.as_ref();
        let unreadable = |source| Error::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut json = String::new();
        // One byte more than the limit tells a file that is too large without trusting its length.
        file.take(MAX_JSON_BYTES + 1)
            .read_to_string(&mut json)
            .map_err(unreadable)?;
        if json.len() as u64 > MAX_JSON_BYTES {
            return Err(Error::TooLarge {
                path: path.to_owned(),
                bytes: path.metadata().map_or(json.len() as u64, |meta| meta.len()),
                limit: MAX_JSON_BYTES,
            });
        }
        Self::from_json(&json)
    }

    /// Reads the text of a `config.json`. Fields that are absent have the values that `transformers` gives them; fields
    /// that do not change the numbers (`use_cache`, `torch_dtype`, dropout, ...) are not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], one variant for each thing that this crate does not support, and those of
    /// [`validate`](Self::validate).
    pub fn from_json(json: &str) -> Result<Self, Error> {
        Self::checked(serde_json::from_str(json)?)
    }

    /// Reads a `config.json` that is parsed already.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(json: serde_json::Value) -> Result<Self, Error> {
        Self::checked(serde_json::from_value(json)?)
    }

    fn checked(published: Published) -> Result<Self, Error> {
        let config = Self::try_from(published)?;
        config.validate()?;
        Ok(config)
    }

    /// The published form, which [`from_json`](Self::from_json) and `transformers` read.
    #[must_use]
    pub fn to_json(&self) -> String {
        Published::from(self).to_json()
    }

    /// Checks every rule that a model relies on.
    ///
    /// # Errors
    ///
    /// One variant of [`Error`] for each rule.
    pub fn validate(&self) -> Result<(), Error> {
        if !matches!(self.model_type.as_str(), "llama" | "mistral") {
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

    /// A model with fresh weights on `device`. Weights are drawn at first use, so a model that is loaded from files
    /// afterwards never holds two sets.
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<Llama, Error> {
        self.validate()?;
        Llama::new(self, self.rope()?, device)
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields that `transformers` has no default for.
    const SIZES: &str = r#""vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 8"#;

    fn read(model_type: &str, more: &str) -> Result<LlamaConfig, Error> {
        LlamaConfig::from_json(&format!(
            r#"{{"model_type": "{model_type}", {SIZES}{more}}}"#
        ))
    }

    #[test]
    fn absent_fields_have_the_defaults_of_transformers() {
        let llama = read("llama", "").unwrap();
        assert_eq!((llama.num_key_value_heads, llama.head_dim), (8, 8));
        assert_eq!(
            (llama.max_position_embeddings, llama.rope_theta),
            (2048, 1e4)
        );
        assert_eq!((llama.rms_norm_eps, llama.initializer_range), (1e-6, 0.02));
        assert_eq!((llama.rope_scaling, llama.sliding_window), (None, None));
        assert!(!llama.tie_word_embeddings && !llama.attention_bias && !llama.mlp_bias);
        let mistral = read("mistral", "").unwrap();
        assert_eq!(
            (mistral.num_key_value_heads, mistral.sliding_window),
            (8, Some(4096))
        );
        assert_eq!(mistral.max_positions(), 131_072);
        let whole = read(
            "mistral",
            r#", "sliding_window": null, "attention_bias": true"#,
        )
        .unwrap();
        assert_eq!((whole.sliding_window, whole.attention_bias), (None, false));
    }

    /// The fields of Asclepius-7B that are odd: two names for the length, ids that are wrong.
    #[test]
    fn asclepius_7b() {
        let config = read(
            "llama",
            r#", "architectures": ["LlamaForCausalLM"], "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": -1,
            "max_position_embeddings": 2048, "max_sequence_length": 2048, "rms_norm_eps": 1e-06, "torch_dtype": "float32",
            "hidden_act": "silu", "tie_word_embeddings": false, "transformers_version": "4.28.1", "use_cache": true"#,
        )
        .unwrap();
        assert_eq!(
            (config.bos_token_id, config.pad_token_id),
            (Some(0), Some(-1))
        );
        assert_eq!(config.eos_token_id, [1]);
        let only_old = read("llama", r#", "max_sequence_length": 300"#).unwrap();
        assert_eq!(only_old.max_positions(), 300);
        let list = read("llama", r#", "eos_token_id": [128001, 128009]"#).unwrap();
        assert_eq!(list.eos_token_id, [128_001, 128_009]);
    }

    #[test]
    fn scaling_in_every_spelling() {
        let scaling = |json: &str| read("llama", json).map(|config| config.rope_scaling);
        let linear = Some(RopeScaling::Linear { factor: 2.0 });
        for json in [
            r#", "rope_scaling": {"type": "linear", "factor": 2.0}"#,
            r#", "rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 2}"#,
            r#", "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 9.0}"#,
        ] {
            assert_eq!(scaling(json).unwrap(), linear, "{json}");
        }
        assert_eq!(scaling(r#", "rope_scaling": null"#).unwrap(), None);
        assert_eq!(
            scaling(r#", "rope_scaling": {"rope_type": "default"}"#).unwrap(),
            None
        );
        let nested = r#", "rope_theta": 1.0, "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}"#;
        assert_eq!(read("llama", nested).unwrap().rope_theta, 5e5);
        let dynamic =
            r#", "max_position_embeddings": 100, "rope_scaling": {"type": "dynamic", "factor": 4}"#;
        assert_eq!(read("llama", dynamic).unwrap().max_positions(), 400);
        assert!(matches!(
            scaling(r#", "rope_scaling": {"rope_type": "yarn", "factor": 2.0}"#),
            Err(Error::RopeType { found }) if found == "yarn"
        ));
        assert!(matches!(
            scaling(r#", "rope_scaling": {"type": "linear"}"#),
            Err(Error::RopeField {
                kind: "linear",
                field: "factor"
            })
        ));
        assert!(matches!(
            scaling(
                r#", "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}"#
            ),
            Err(Error::RopeField { kind: "llama3", .. })
        ));
        assert!(matches!(
            scaling(r#", "rope_scaling": {"type": "linear", "factor": -2.0}"#),
            Err(Error::Rope(_))
        ));
    }

    #[test]
    fn what_is_not_supported_or_makes_no_sense_is_refused() {
        let refusal = |json: &str| read("llama", json).unwrap_err();
        let sizes = |json: &str| {
            let fields = SIZES.replace(json.split(':').next().unwrap_or_default(), r#""was""#);
            LlamaConfig::from_json(&format!(r#"{{"model_type": "llama", {fields}, {json}}}"#))
                .unwrap_err()
        };
        assert!(
            matches!(read("gpt2", "").unwrap_err(), Error::ModelType { found } if found == "gpt2")
        );
        assert!(matches!(
            LlamaConfig::from_json(&format!("{{{SIZES}}}")),
            Err(Error::ModelType { .. })
        ));
        assert!(matches!(LlamaConfig::from_json("{}"), Err(Error::Json(_))));
        assert!(matches!(
            LlamaConfig::from_json("<html>"),
            Err(Error::Json(_))
        ));
        assert!(matches!(
            refusal(r#", "hidden_act": "gelu""#),
            Error::Activation { .. }
        ));
        assert!(matches!(
            refusal(r#", "partial_rotary_factor": 0.5"#),
            Error::PartialRotary { .. }
        ));
        assert!(matches!(
            sizes(r#""num_hidden_layers": 1099511627776"#),
            Error::TooBig {
                field: "num_hidden_layers",
                ..
            }
        ));
        assert!(matches!(
            sizes(r#""vocab_size": 2000001"#),
            Error::TooBig {
                field: "vocab_size",
                ..
            }
        ));
        assert!(matches!(
            sizes(r#""num_attention_heads": 0"#),
            Error::Zero {
                field: "num_attention_heads"
            }
        ));
        assert!(matches!(
            sizes(r#""num_attention_heads": -1"#),
            Error::Json(_)
        ));
        assert!(matches!(
            sizes(r#""num_attention_heads": 7"#),
            Error::HeadSize {
                hidden: 64,
                heads: 7
            }
        ));
        assert!(matches!(
            refusal(r#", "num_key_value_heads": 3"#),
            Error::KeyValueHeads {
                heads: 8,
                key_value_heads: 3
            }
        ));
        assert!(matches!(refusal(r#", "head_dim": 7"#), Error::Rope(_)));
        assert!(matches!(
            refusal(r#", "head_dim": 131072"#),
            Error::TooBig {
                field: "num_attention_heads * head_dim",
                ..
            }
        ));
        assert!(matches!(
            refusal(r#", "rms_norm_eps": 0.0"#),
            Error::NotPositive {
                field: "rms_norm_eps",
                ..
            }
        ));
        assert!(matches!(
            refusal(r#", "max_position_embeddings": 99999999"#),
            Error::TooBig { .. }
        ));
        assert!(matches!(
            read("mistral", r#", "sliding_window": 0"#),
            Err(Error::Zero {
                field: "sliding_window"
            })
        ));
        assert!(
            refusal(r#", "rope_theta": 0"#)
                .to_string()
                .contains("rope_theta")
        );
    }

    #[test]
    fn a_config_changed_by_hand_is_checked_before_a_model_is_made() {
        let mut config = LlamaConfig::llama_1b();
        config.num_key_value_heads = 5;
        let device = clinical_kernels::cpu();
        assert!(matches!(
            config.init(&device),
            Err(Error::KeyValueHeads { .. })
        ));
        config.num_key_value_heads = 0;
        assert!(matches!(config.init(&device), Err(Error::Zero { .. })));
    }

    #[test]
    fn the_published_form_reads_back() {
        for json in [
            r#", "eos_token_id": [1, 2], "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#,
            r#", "rope_scaling": {"type": "dynamic", "factor": 3.0}, "tie_word_embeddings": true, "bos_token_id": 1"#,
            r#", "rope_scaling": {"type": "linear", "factor": 3.0}, "attention_bias": true, "mlp_bias": true"#,
        ] {
            for model_type in ["llama", "mistral"] {
                let config = read(model_type, json).unwrap();
                assert_eq!(LlamaConfig::from_json(&config.to_json()).unwrap(), config);
            }
        }
    }

    #[test]
    fn a_file_that_is_missing_or_too_large_is_named() {
        let missing = LlamaConfig::from_file("/there/is/no/config.json").unwrap_err();
        assert!(missing.to_string().contains("/there/is/no/config.json"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, vec![b' '; 2 << 20]).unwrap();
        assert!(matches!(
            LlamaConfig::from_file(&path),
            Err(Error::TooLarge {
                bytes: 2_097_152,
                ..
            })
        ));
    }
}
