//! `config.json`: its fields, and what they mean when they are absent.

use std::path::Path;

use clinical_files::shown;
use clinical_nn::RopeScaling;
use clinical_weights::limits::{MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH};
use clinical_weights::{Architecture, Facade};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::config::MAX_POSITIONS;
use crate::{Error, LlamaConfig};

#[cfg(test)]
mod tests;

/// Keys that describe the files and not the model: a save writes them anew.
const OF_THE_FILES: [&str; 2] = ["torch_dtype", "dtype"];

impl LlamaConfig {
    /// Reads a `config.json`, or the one in a directory.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] for a file that cannot be read or is not JSON, and those of [`from_value`](Self::from_value).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_value(clinical_weights::read_config(path)?)
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], and those of [`from_value`](Self::from_value).
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::from_value(serde_json::from_slice(json.as_ref())?)
    }

    /// Reads a `config.json` that is parsed already. Fields that are absent have the values that `transformers` gives
    /// them; keys that this crate does not know are kept in [`other`](Self::other).
    ///
    /// # Errors
    ///
    /// [`Error::Json`] for a field of the wrong type, one variant for each thing that this crate does not support, and
    /// those of [`validate`](Self::validate).
    pub fn from_value(mut json: Value) -> Result<Self, Error> {
        if json.get("model_type").is_none()
            && let (Some(found), Some(map)) = (Architecture::of(&json), json.as_object_mut())
        {
            // Old files name their class alone.
            map.insert("model_type".to_owned(), found.model_type.into());
        }
        let config = Self::try_from(serde_json::from_value::<Published>(json)?)?;
        config.validate()?;
        Ok(config)
    }

    /// The published form, which [`from_value`](Self::from_value) and `transformers` read, with the keys that this
    /// crate does not know.
    #[must_use]
    pub fn to_value(&self) -> Value {
        // Maps with string keys and plain numbers always have a form in JSON.
        serde_json::to_value(Published::from(self)).unwrap_or_default()
    }
}

/// `config.json` as it lies in the directory. Sizes are read as 64 bits, so that an absurd one is refused by its name
/// and not as a parse error.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Published {
    /// First, so that a known key is written last and wins.
    #[serde(flatten)]
    other: Map<String, Value>,
    #[serde(default)]
    model_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    architectures: Vec<String>,
    vocab_size: u64,
    hidden_size: u64,
    intermediate_size: u64,
    num_hidden_layers: u64,
    num_attention_heads: u64,
    #[serde(default)]
    num_key_value_heads: Option<u64>,
    #[serde(default)]
    head_dim: Option<u64>,
    #[serde(default)]
    max_position_embeddings: Option<u64>,
    /// Asclepius-7B has both names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_sequence_length: Option<u64>,
    #[serde(default)]
    hidden_act: Option<String>,
    #[serde(default)]
    rms_norm_eps: Option<f64>,
    #[serde(default)]
    rope_theta: Option<f64>,
    #[serde(default)]
    rope_scaling: Option<Scaling>,
    /// The newer spelling of `rope_theta` and `rope_scaling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rope_parameters: Option<Scaling>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partial_rotary_factor: Option<f64>,
    /// Absent and null differ: Mistral's default is a window.
    #[serde(default, deserialize_with = "present")]
    sliding_window: Option<Option<u64>>,
    #[serde(default)]
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    attention_bias: Option<bool>,
    #[serde(default)]
    mlp_bias: Option<bool>,
    #[serde(default)]
    initializer_range: Option<f64>,
    #[serde(default)]
    bos_token_id: Option<i64>,
    #[serde(default)]
    eos_token_id: Option<Ids>,
    #[serde(default)]
    pad_token_id: Option<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct Scaling {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rope_type: Option<String>,
    /// The older name.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    old_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rope_theta: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partial_rotary_factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    low_freq_factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    high_freq_factor: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_max_position_embeddings: Option<u64>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Ids {
    One(i64),
    Many(Vec<i64>),
}

fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(field).map(Some)
}

impl Scaling {
    fn resolve(&self, max_positions: usize) -> Result<Option<RopeScaling>, Error> {
        let kind = self.rope_type.as_deref().or(self.old_type.as_deref());
        let need = |kind, field, value: Option<f64>| value.ok_or(Error::RopeField { kind, field });
        match kind {
            None | Some("default") => Ok(None),
            Some("linear") => Ok(Some(RopeScaling::Linear {
                factor: need("linear", "factor", self.factor)?,
            })),
            Some("dynamic") => Ok(Some(RopeScaling::Dynamic {
                factor: need("dynamic", "factor", self.factor)?,
                max_positions,
            })),
            Some("llama3") => Ok(Some(RopeScaling::Llama3 {
                factor: need("llama3", "factor", self.factor)?,
                low_frequency_factor: need("llama3", "low_freq_factor", self.low_freq_factor)?,
                high_frequency_factor: need("llama3", "high_freq_factor", self.high_freq_factor)?,
                original_positions: size(
                    "rope_scaling.original_max_position_embeddings",
                    self.original_max_position_embeddings
                        .ok_or(Error::RopeField {
                            kind: "llama3",
                            field: "original_max_position_embeddings",
                        })?,
                    MAX_POSITIONS,
                )?,
            })),
            Some(other) => Err(Error::RopeType {
                found: shown(other),
            }),
        }
    }

    fn publish(scaling: RopeScaling) -> Self {
        let named = |kind: &str, factor| Self {
            rope_type: Some(kind.to_owned()),
            factor: Some(factor),
            ..Self::default()
        };
        match scaling {
            RopeScaling::Linear { factor } => named("linear", factor),
            RopeScaling::Dynamic { factor, .. } => named("dynamic", factor),
            RopeScaling::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original_positions,
            } => Self {
                low_freq_factor: Some(low_frequency_factor),
                high_freq_factor: Some(high_frequency_factor),
                original_max_position_embeddings: Some(original_positions as u64),
                ..named("llama3", factor)
            },
            // A kind that `clinical-nn` may add must be added here too; until then it is not lost silently.
            other => named(&format!("{other:?}"), 1.0),
        }
    }
}

impl TryFrom<Published> for LlamaConfig {
    type Error = Error;

    fn try_from(mut json: Published) -> Result<Self, Error> {
        let model_type = json.model_type.unwrap_or_default();
        // A wrong model type explains every other oddity, so it is said first.
        let known = Architecture::by_model_type(&model_type);
        if known.is_none_or(|one| one.facade != Facade::Asclepius) {
            return Err(Error::ModelType {
                found: shown(&model_type),
            });
        }
        // What sets it apart: a window of attention, no biases, and other defaults.
        let mistral = model_type == "mistral";
        let activation = json.hidden_act.as_deref().unwrap_or("silu");
        if !matches!(activation, "silu" | "swish") {
            return Err(Error::Activation {
                found: shown(activation),
            });
        }
        let hidden_size = size("hidden_size", json.hidden_size, MAX_WIDTH)?;
        let heads = size("num_attention_heads", json.num_attention_heads, MAX_WIDTH)?;
        let key_value_heads = match json.num_key_value_heads {
            Some(heads) => size("num_key_value_heads", heads, MAX_WIDTH)?,
            // `MistralConfig` was written with grouped heads in mind.
            None if mistral => 8,
            None => heads,
        };
        let head_dim = match json.head_dim {
            Some(head_dim) => size("head_dim", head_dim, MAX_WIDTH)?,
            None if !hidden_size.is_multiple_of(heads) => {
                return Err(Error::HeadSize {
                    hidden: hidden_size,
                    heads,
                });
            }
            None => hidden_size / heads,
        };
        let max_position_embeddings = size(
            "max_position_embeddings",
            json.max_position_embeddings
                .or(json.max_sequence_length)
                .unwrap_or(if mistral { 131_072 } else { 2048 }),
            MAX_POSITIONS,
        )?;
        let rope = json.rope_parameters.as_ref();
        let partial = rope
            .and_then(|rope| rope.partial_rotary_factor)
            .or(json.partial_rotary_factor);
        if let Some(value) = partial.filter(|&value| value != 1.0) {
            return Err(Error::PartialRotary { value });
        }
        let rope_scaling = match rope.or(json.rope_scaling.as_ref()) {
            Some(scaling) => scaling.resolve(max_position_embeddings)?,
            None => None,
        };
        // Only Mistral has a window; `LlamaModel` of `transformers` does not look at the field.
        let sliding_window = match json.sliding_window {
            _ if !mistral => None,
            None => Some(4096),
            Some(None) => None,
            Some(Some(window)) => Some(size("sliding_window", window, usize::MAX)?),
        };
        json.other
            .retain(|key, _| !OF_THE_FILES.contains(&key.as_str()));
        Ok(Self {
            vocab_size: size("vocab_size", json.vocab_size, MAX_VOCABULARY)?,
            hidden_size,
            intermediate_size: size("intermediate_size", json.intermediate_size, MAX_WIDTH)?,
            num_hidden_layers: size("num_hidden_layers", json.num_hidden_layers, MAX_LAYERS)?,
            num_attention_heads: heads,
            num_key_value_heads: key_value_heads,
            head_dim,
            max_position_embeddings,
            rms_norm_eps: json.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: rope
                .and_then(|rope| rope.rope_theta)
                .or(json.rope_theta)
                .unwrap_or(10_000.0),
            rope_scaling,
            sliding_window,
            tie_word_embeddings: json.tie_word_embeddings.unwrap_or(false),
            // Mistral's layers have none, whatever the file says.
            attention_bias: !mistral && json.attention_bias.unwrap_or(false),
            mlp_bias: !mistral && json.mlp_bias.unwrap_or(false),
            initializer_range: json.initializer_range.unwrap_or(0.02),
            bos_token_id: json.bos_token_id,
            eos_token_id: match json.eos_token_id {
                None => Vec::new(),
                Some(Ids::One(id)) => vec![id],
                Some(Ids::Many(ids)) => ids,
            },
            pad_token_id: json.pad_token_id,
            other: json.other,
            model_type,
        })
    }
}

impl From<&LlamaConfig> for Published {
    fn from(config: &LlamaConfig) -> Self {
        let architecture = Architecture::by_model_type(&config.model_type);
        let class = architecture.map_or("Llama", |one| one.class);
        Self {
            model_type: Some(config.model_type.clone()),
            architectures: vec![format!("{class}ForCausalLM")],
            vocab_size: config.vocab_size as u64,
            hidden_size: config.hidden_size as u64,
            intermediate_size: config.intermediate_size as u64,
            num_hidden_layers: config.num_hidden_layers as u64,
            num_attention_heads: config.num_attention_heads as u64,
            num_key_value_heads: Some(config.num_key_value_heads as u64),
            head_dim: Some(config.head_dim as u64),
            max_position_embeddings: Some(config.max_position_embeddings as u64),
            hidden_act: Some("silu".to_owned()),
            rms_norm_eps: Some(config.rms_norm_eps),
            rope_theta: Some(config.rope_theta),
            rope_scaling: config.rope_scaling.map(Scaling::publish),
            sliding_window: Some(config.sliding_window.map(|window| window as u64)),
            tie_word_embeddings: Some(config.tie_word_embeddings),
            attention_bias: Some(config.attention_bias),
            mlp_bias: Some(config.mlp_bias),
            initializer_range: Some(config.initializer_range),
            bos_token_id: config.bos_token_id,
            eos_token_id: match config.eos_token_id.as_slice() {
                [] => None,
                [id] => Some(Ids::One(*id)),
                ids => Some(Ids::Many(ids.to_vec())),
            },
            pad_token_id: config.pad_token_id,
            other: config.other.clone(),
            ..Self::default()
        }
    }
}

/// A size of the file as a `usize` that is neither zero nor beyond its limit.
fn size(field: &'static str, value: u64, limit: usize) -> Result<usize, Error> {
    match usize::try_from(value) {
        Ok(0) => Err(Error::Zero { field }),
        Ok(value) if value <= limit => Ok(value),
        _ => Err(Error::TooBig {
            field,
            value,
            limit,
        }),
    }
}
