//! `config.json` of BERT, RoBERTa and Megatron-BERT.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Largest `config.json` that is read; published ones have a few kilobytes.
pub const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// More layers than any published encoder has (the largest have 48).
pub const MAX_LAYERS: usize = 1024;
/// More values in a row than any published encoder has (the largest have 4,096).
pub const MAX_WIDTH: usize = 131_072;
/// More tokens than any published vocabulary has (the largest have 256,000).
pub const MAX_VOCABULARY: usize = 2_000_000;

/// The kinds of scores that `transformers` knows.
const PROBLEM_TYPES: [&str; 3] = [
    "regression",
    "single_label_classification",
    "multi_label_classification",
];

/// A config that describes no encoder that can be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is larger than any config.
    #[error(
        "{path} has {bytes} bytes, which is no config.json: at most {MAX_CONFIG_BYTES} are read"
    )]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// Not the JSON of a config.
    #[error("config.json cannot be understood: {0}")]
    Json(serde_json::Error),
    /// Another kind of model.
    #[error("this is a `{found}` model, not a BERT: open it with the crate for that kind")]
    ModelType {
        /// Its `model_type`.
        found: String,
    },
    /// A number is zero or beyond its limit.
    #[error("config.json says {field} = {value}; it must be between 1 and {limit}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The limit.
        limit: usize,
    },
    /// The width does not divide into the heads.
    #[error(
        "config.json says hidden_size = {hidden} and num_attention_heads = {heads}, which does not divide"
    )]
    Heads {
        /// `hidden_size`.
        hidden: usize,
        /// `num_attention_heads`.
        heads: usize,
    },
    /// The norm's epsilon is no small positive number.
    #[error("config.json says layer_norm_eps = {value}; it must be positive and below 1")]
    Epsilon {
        /// `layer_norm_eps`.
        value: f64,
    },
    /// An activation that no published BERT uses.
    #[error(
        "config.json says hidden_act = `{found}`; known are gelu, gelu_new, gelu_pytorch_tanh, relu, silu"
    )]
    Activation {
        /// `hidden_act`.
        found: String,
    },
    /// Scores of a kind that `transformers` does not know.
    #[error("config.json says problem_type = `{found}`; known are {}", PROBLEM_TYPES.join(", "))]
    ProblemType {
        /// `problem_type`.
        found: String,
    },
    /// Relative position embeddings.
    #[error(
        "config.json says position_embedding_type = `{found}`; only absolute positions are supported"
    )]
    Positions {
        /// `position_embedding_type`.
        found: String,
    },
}

/// The three architectures that share this crate's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Post-norm, positions from 0 (Devlin et al. 2019; Bio_ClinicalBERT).
    #[default]
    Bert,
    /// Post-norm, positions from `pad_token_id + 1`, other head names (Liu et al. 2019; BioClinRoBERTa).
    Roberta,
    /// Pre-norm with a last norm behind the layers, none behind the embeddings (Shoeybi et al. 2019; GatorTron).
    MegatronBert,
}

/// The published config, with the published defaults for what it leaves out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Architecture; absent in old BERT configs.
    #[serde(default, rename = "model_type")]
    pub family: Family,
    /// Rows of the token table.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Activation of the feed-forward layer. Default: `gelu` (exact, by the error function).
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Rows of the position table. Default: 512.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// Rows of the token-type table. Default: 2.
    #[serde(default = "default_types")]
    pub type_vocab_size: usize,
    /// Default: 1e-12.
    #[serde(default = "default_epsilon")]
    pub layer_norm_eps: f64,
    /// Default: 0 (RoBERTa configs say 1).
    #[serde(default, deserialize_with = "null_is_default")]
    pub pad_token_id: usize,
    /// Only `absolute` is supported, the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_embedding_type: Option<String>,
    /// Names of the classes, by index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id2label: Option<std::collections::BTreeMap<String, String>>,
    /// `single_label_classification`, `multi_label_classification` or `regression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<String>,
    /// Classes that the architecture was saved with, by head (`["BertForTokenClassification"]`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
}

pub(crate) use clinical_files::shown;

fn gelu() -> String {
    "gelu".to_owned()
}
fn default_positions() -> usize {
    512
}
fn default_types() -> usize {
    2
}
fn default_epsilon() -> f64 {
    1e-12
}

fn null_is_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl BertConfig {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], one variant for each rule.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let io = |cause| ConfigError::Io {
            path: path.display().to_string(),
            cause,
        };
        let bytes = std::fs::metadata(path).map_err(io)?.len();
        if bytes > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge {
                path: path.display().to_string(),
                bytes,
            });
        }
        Self::from_json(&std::fs::read_to_string(path).map_err(io)?)
    }

    /// Reads and checks the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Self::from_value(serde_json::from_str(text).map_err(ConfigError::Json)?)
    }

    /// Checks a `config.json` that is parsed already.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn from_value(json: serde_json::Value) -> Result<Self, ConfigError> {
        if let Some(found) = json.get("model_type").and_then(|kind| kind.as_str())
            && !matches!(found, "bert" | "roberta" | "megatron-bert")
        {
            return Err(ConfigError::ModelType {
                found: shown(found),
            });
        }
        let config: Self = serde_json::from_value(json).map_err(ConfigError::Json)?;
        config.validate()?;
        Ok(config)
    }

    /// Checks every rule.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub fn validate(&self) -> Result<(), ConfigError> {
        let within = |field, value: usize, limit| {
            if value == 0 || value > limit {
                Err(ConfigError::OutOfRange {
                    field,
                    value,
                    limit,
                })
            } else {
                Ok(())
            }
        };
        within("vocab_size", self.vocab_size, MAX_VOCABULARY)?;
        within("hidden_size", self.hidden_size, MAX_WIDTH)?;
        within("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        within("num_attention_heads", self.num_attention_heads, MAX_WIDTH)?;
        within("intermediate_size", self.intermediate_size, MAX_WIDTH)?;
        within(
            "max_position_embeddings",
            self.max_position_embeddings,
            MAX_VOCABULARY,
        )?;
        within("type_vocab_size", self.type_vocab_size, MAX_WIDTH)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(ConfigError::Heads {
                hidden: self.hidden_size,
                heads: self.num_attention_heads,
            });
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(ConfigError::Epsilon {
                value: self.layer_norm_eps,
            });
        }
        if self.family == Family::Roberta {
            within(
                "pad_token_id + 1",
                self.pad_token_id.saturating_add(1),
                self.max_position_embeddings - 1,
            )?;
        }
        crate::layer::Activation::from_name(&self.hidden_act)?;
        if let Some(found) = &self.problem_type
            && !PROBLEM_TYPES.contains(&found.as_str())
        {
            return Err(ConfigError::ProblemType {
                found: shown(found),
            });
        }
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => Ok(()),
            Some(found) => Err(ConfigError::Positions {
                found: shown(found),
            }),
        }
    }

    /// The number of parameters of the encoder without pooler and head; saturates for shapes that
    /// [`validate`](Self::validate) refuses.
    ///
    /// ```
    /// use clinical_bert::BertConfig;
    /// assert_eq!(BertConfig::bert_base().parameters(), 107_719_680); // and 590,592 in the pooler
    /// ```
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.count().unwrap_or(u64::MAX)
    }

    fn count(&self) -> Option<u64> {
        let [width, inner] = [self.hidden_size, self.intermediate_size].map(|size| size as u64);
        let norm = width.checked_mul(2)?;
        let rows = (self.vocab_size as u64)
            .checked_add(self.max_position_embeddings as u64)?
            .checked_add(self.type_vocab_size as u64)?;
        // Four square matrices and two of the feed-forward layer, each with a bias, and two norms.
        let square = width.checked_add(1)?.checked_mul(width)?;
        let layer = square
            .checked_mul(4)?
            .checked_add(width.checked_mul(inner)?.checked_mul(2)?)?
            .checked_add(inner)?
            .checked_add(width)?
            .checked_add(norm.checked_mul(2)?)?;
        layer
            .checked_mul(self.num_hidden_layers as u64)?
            .checked_add(rows.checked_mul(width)?)?
            .checked_add(norm)
    }

    /// The most tokens that one row may have, special tokens included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_position_embeddings - self.position_offset()
    }

    /// The row of the position table that the first token takes.
    #[must_use]
    pub fn position_offset(&self) -> usize {
        match self.family {
            Family::Roberta => self.pad_token_id + 1,
            Family::Bert | Family::MegatronBert => 0,
        }
    }

    /// The names of the classes in order; `LABEL_0`, `LABEL_1` where the config has none, as in `transformers`.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        match &self.id2label {
            Some(names) => {
                let mut names: Vec<(usize, &String)> = names
                    .iter()
                    .filter_map(|(id, name)| Some((id.parse().ok()?, name)))
                    .collect();
                names.sort();
                names.into_iter().map(|(_, name)| name.clone()).collect()
            }
            None => vec!["LABEL_0".to_owned(), "LABEL_1".to_owned()],
        }
    }

    /// The published form, which [`from_json`](Self::from_json) and `transformers` read.
    ///
    /// # Errors
    ///
    /// None in practice: every field has a form in JSON.
    pub fn to_json(&self) -> Result<String, ConfigError> {
        serde_json::to_string_pretty(self).map_err(ConfigError::Json)
    }

    /// The shape of bert-base (110 million parameters).
    #[must_use]
    pub fn bert_base() -> Self {
        Self {
            family: Family::Bert,
            vocab_size: 28_996,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: gelu(),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
            position_embedding_type: None,
            id2label: None,
            problem_type: None,
            architectures: Vec::new(),
        }
    }
}
