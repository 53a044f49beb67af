//! `config.json`: its fields, and what they mean when they are absent.

use std::path::Path;

use clinical_weights::Architecture;
use clinical_weights::limits::{MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::check_kind;
use crate::{Error, Gpt2Config, Gpt2Head, Result};

#[cfg(test)]
mod tests;

/// Keys that describe the files and not the model: a save writes them anew.
const OF_THE_FILES: [&str; 2] = ["torch_dtype", "dtype"];

impl Gpt2Config {
    /// Reads a `config.json`, or the one in a directory.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] for a file that cannot be read or is not JSON, and those of [`from_value`](Self::from_value).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_value(clinical_weights::read_config(path)?)
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Json`], and those of [`from_value`](Self::from_value).
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self> {
        Self::from_value(serde_json::from_slice(json.as_ref())?)
    }

    /// Reads a `config.json` that is parsed already. Fields that are absent have the values that `transformers` gives
    /// them; keys that this crate does not know are kept in [`other`](Self::other).
    ///
    /// # Errors
    ///
    /// [`Error::Json`] for a field of the wrong type, one variant for each thing that this crate does not support, and
    /// those of [`validate`](Self::validate).
    pub fn from_value(mut json: Value) -> Result<Self> {
        if json.get("model_type").is_none()
            && let (Some(found), Some(map)) = (Architecture::of(&json), json.as_object_mut())
        {
            // Old files name their class alone.
            map.insert("model_type".to_owned(), found.model_type.into());
        }
        // A wrong model type explains every other oddity, so it is said first.
        if let Some(name) = json.get("model_type").and_then(Value::as_str) {
            check_kind(name)?;
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
#[serde(default)]
struct Published {
    /// First, so that a known key is written last and wins.
    #[serde(flatten)]
    other: Map<String, Value>,
    model_type: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    architectures: Vec<String>,
    vocab_size: Option<u64>,
    n_positions: Option<u64>,
    n_embd: Option<u64>,
    n_layer: Option<u64>,
    n_head: Option<u64>,
    n_inner: Option<u64>,
    activation_function: Option<String>,
    resid_pdrop: Option<f64>,
    embd_pdrop: Option<f64>,
    attn_pdrop: Option<f64>,
    layer_norm_epsilon: Option<f64>,
    initializer_range: Option<f64>,
    scale_attn_weights: Option<bool>,
    scale_attn_by_inverse_layer_idx: Option<bool>,
    reorder_and_upcast_attn: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_cross_attention: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tie_word_embeddings: Option<bool>,
    bos_token_id: Option<i64>,
    eos_token_id: Option<Ids>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pad_token_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_labels: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id2label: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label2id: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Ids {
    One(i64),
    Many(Vec<i64>),
}

impl Published {
    /// The head that the class of the file has. The weights have the last word ([`Gpt2Config::fit`]).
    fn head(&self, labels: &[String]) -> Result<Gpt2Head> {
        let class = self.architectures.first().map(String::as_str);
        Ok(match class {
            Some("GPT2ForSequenceClassification") => {
                let classes = match (labels.len(), self.num_labels) {
                    // The default of every configuration of `transformers`.
                    (0, None) => 2,
                    (0, Some(said)) => size("num_labels", said, usize::MAX)?,
                    (named, _) => named,
                };
                Gpt2Head::Classes(classes)
            }
            Some("GPT2ForQuestionAnswering" | "GPT2ModelForQuestionAnswering") => Gpt2Head::Spans,
            _ => Gpt2Head::Language,
        })
    }

    /// The names of the classes in the order of their numbers; none where the numbers are not 0, 1, 2, ...
    fn labels(&self) -> Result<Vec<String>> {
        let Some(names) = &self.id2label else {
            return Ok(Vec::new());
        };
        let name = |number: usize| names.get(&number.to_string())?.as_str().map(str::to_owned);
        let labels: Option<Vec<String>> = (0..names.len()).map(name).collect();
        match self.num_labels {
            Some(said) if said != names.len() as u64 => Err(Error::ClassCount {
                said,
                named: names.len(),
            }),
            _ => Ok(labels.unwrap_or_default()),
        }
    }
}

impl TryFrom<Published> for Gpt2Config {
    type Error = Error;

    fn try_from(mut json: Published) -> Result<Self> {
        let model_type = json.model_type.clone().unwrap_or_default();
        check_kind(&model_type)?;
        if json.add_cross_attention == Some(true) {
            return Err(Error::CrossAttention);
        }
        let labels = json.labels()?;
        let head = json.head(&labels)?;
        json.other
            .retain(|key, _| !OF_THE_FILES.contains(&key.as_str()));
        let of = |field, value: Option<u64>, default, limit| {
            value.map_or(Ok(default), |value| size(field, value, limit))
        };
        let n_inner = json.n_inner;
        let usual = Self::gpt2();
        Ok(Self {
            model_type,
            vocab_size: of(
                "vocab_size",
                json.vocab_size,
                usual.vocab_size,
                MAX_VOCABULARY,
            )?,
            n_positions: of(
                "n_positions",
                json.n_positions,
                usual.n_positions,
                usize::MAX,
            )?,
            n_embd: of("n_embd", json.n_embd, usual.n_embd, MAX_WIDTH)?,
            n_layer: of("n_layer", json.n_layer, usual.n_layer, MAX_LAYERS)?,
            n_head: of("n_head", json.n_head, usual.n_head, MAX_WIDTH)?,
            n_inner: n_inner
                .map(|inner| size("n_inner", inner, 4 * MAX_WIDTH))
                .transpose()?,
            activation_function: json
                .activation_function
                .unwrap_or(usual.activation_function),
            resid_pdrop: json.resid_pdrop.unwrap_or(usual.resid_pdrop),
            embd_pdrop: json.embd_pdrop.unwrap_or(usual.embd_pdrop),
            attn_pdrop: json.attn_pdrop.unwrap_or(usual.attn_pdrop),
            layer_norm_epsilon: json.layer_norm_epsilon.unwrap_or(usual.layer_norm_epsilon),
            initializer_range: json.initializer_range.unwrap_or(usual.initializer_range),
            scale_attn_weights: json.scale_attn_weights.unwrap_or(true),
            scale_attn_by_inverse_layer_idx: json.scale_attn_by_inverse_layer_idx.unwrap_or(false),
            reorder_and_upcast_attn: json.reorder_and_upcast_attn.unwrap_or(false),
            tie_word_embeddings: json.tie_word_embeddings.unwrap_or(true),
            head,
            bos_token_id: json.bos_token_id,
            eos_token_id: match json.eos_token_id {
                None => Vec::new(),
                Some(Ids::One(id)) => vec![id],
                Some(Ids::Many(ids)) => ids,
            },
            pad_token_id: json.pad_token_id,
            labels,
            other: json.other,
        })
    }
}

impl From<&Gpt2Config> for Published {
    fn from(config: &Gpt2Config) -> Self {
        let class = match config.head {
            Gpt2Head::Language => "GPT2LMHeadModel",
            Gpt2Head::Classes(_) => "GPT2ForSequenceClassification",
            Gpt2Head::Spans => "GPT2ForQuestionAnswering",
        };
        let mut labels = config.labels.clone();
        if let Gpt2Head::Classes(classes) = config.head {
            // `transformers` counts classes by their names.
            labels.truncate(classes);
            labels.extend((labels.len()..classes).map(|number| format!("LABEL_{number}")));
        }
        let by_number = labels.iter().enumerate();
        let id2label: Map<String, Value> = by_number
            .map(|(number, name)| (number.to_string(), json!(name)))
            .collect();
        let by_name = labels.iter().enumerate();
        let label2id: Map<String, Value> = by_name
            .map(|(number, name)| (name.clone(), json!(number)))
            .collect();
        Self {
            model_type: Some(config.model_type.clone()),
            architectures: vec![class.to_owned()],
            vocab_size: Some(config.vocab_size as u64),
            n_positions: Some(config.n_positions as u64),
            n_embd: Some(config.n_embd as u64),
            n_layer: Some(config.n_layer as u64),
            n_head: Some(config.n_head as u64),
            n_inner: config.n_inner.map(|inner| inner as u64),
            activation_function: Some(config.activation_function.clone()),
            resid_pdrop: Some(config.resid_pdrop),
            embd_pdrop: Some(config.embd_pdrop),
            attn_pdrop: Some(config.attn_pdrop),
            layer_norm_epsilon: Some(config.layer_norm_epsilon),
            initializer_range: Some(config.initializer_range),
            scale_attn_weights: Some(config.scale_attn_weights),
            scale_attn_by_inverse_layer_idx: Some(config.scale_attn_by_inverse_layer_idx),
            reorder_and_upcast_attn: Some(config.reorder_and_upcast_attn),
            add_cross_attention: None,
            tie_word_embeddings: Some(config.tie_word_embeddings),
            bos_token_id: config.bos_token_id,
            eos_token_id: match config.eos_token_id.as_slice() {
                [] => None,
                [id] => Some(Ids::One(*id)),
                ids => Some(Ids::Many(ids.to_vec())),
            },
            pad_token_id: config.pad_token_id,
            num_labels: None,
            id2label: (!id2label.is_empty()).then_some(id2label),
            label2id: (!label2id.is_empty()).then_some(label2id),
            other: config.other.clone(),
        }
    }
}

/// A size of the file as a `usize` that is neither zero nor beyond its limit.
fn size(field: &'static str, value: u64, limit: usize) -> Result<usize> {
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
