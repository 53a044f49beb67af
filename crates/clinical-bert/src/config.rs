//! `config.json` of BERT, RoBERTa and Megatron-BERT.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use clinical_nn::Activation;
use clinical_weights::limits::{MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH};
use clinical_weights::{CheckpointDir, Facade};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::dropout::{check_rates, read_rate, usual_rate};
use crate::model::Bert;
use crate::sentence::SentenceConfig;
use crate::task::{BertModel, TaskHead, architecture};
use crate::{Error, Result};

/// The kinds of scores that `transformers` knows.
pub(crate) const PROBLEM_TYPES: [&str; 3] = [
    "regression",
    "single_label_classification",
    "multi_label_classification",
];

/// Switches that make another model of an encoder.
const DECODER_SWITCHES: [&str; 3] = ["is_decoder", "is_encoder_decoder", "add_cross_attention"];

/// Classes of a head for which the config has no names, as in `transformers`.
const DEFAULT_CLASSES: usize = 2;

/// The three architectures that share this crate's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Post-norm, positions from 0 (Devlin et al. 2019; Bio_ClinicalBERT).
    #[default]
    Bert,
    /// Post-norm, positions from `pad_token_id + 1`, other head names (Liu et al. 2019; BioClinRoBERTa).
    Roberta,
    /// Pre-norm with a last norm after the layers, none after the embeddings (Shoeybi et al. 2019; GatorTron).
    MegatronBert,
}

/// The published config, with the published defaults for what it leaves out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Architecture; absent in old BERT configs.
    #[serde(default, rename = "model_type", deserialize_with = "null_is_default")]
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
    /// Dropout of hidden states in training ([`BertDropout`](crate::BertDropout)). Default: 0.1.
    #[serde(default = "usual_rate", deserialize_with = "read_rate")]
    pub hidden_dropout_prob: f64,
    /// Dropout of the attention's weights in training. Default: 0.1.
    #[serde(default = "usual_rate", deserialize_with = "read_rate")]
    pub attention_probs_dropout_prob: f64,
    /// Dropout in front of a classifier in training. Default: that of hidden states.
    #[serde(default)]
    pub classifier_dropout: Option<f64>,
    /// Default: 0 (RoBERTa configs say 1).
    #[serde(default, deserialize_with = "null_is_default")]
    pub pad_token_id: usize,
    /// Only `absolute` is supported, the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_embedding_type: Option<String>,
    /// Names of the classes by index: `id2label`. Empty where the config has none.
    #[serde(
        default,
        rename = "id2label",
        deserialize_with = "read_labels",
        serialize_with = "write_labels",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub labels: Vec<String>,
    /// `single_label_classification`, `multi_label_classification` or `regression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<String>,
    /// Classes that the architecture was saved with, by head (`["BertForTokenClassification"]`).
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub architectures: Vec<String>,
    /// What the files of sentence-transformers beside the config say about vectors.
    #[serde(skip)]
    pub sentence: Option<SentenceConfig>,
    /// The keys that this library does not know. They are kept when the config is written.
    #[serde(flatten)]
    pub other: Map<String, Value>,
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

fn null_is_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `{"0": "O", "1": "B-test"}`, each index once and none left out. Names that are numbers are written as numbers by
/// some.
fn read_labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<String>, D::Error> {
    let Some(map) = Option::<BTreeMap<String, Value>>::deserialize(deserializer)? else {
        return Ok(Vec::new());
    };
    let mut names = vec![None; map.len()];
    for (id, name) in map {
        let slot = id.parse().ok().and_then(|id: usize| names.get_mut(id));
        let slot = slot.ok_or_else(|| {
            serde::de::Error::custom("the keys of id2label must be the numbers from 0 on")
        })?;
        *slot = Some(match name {
            Value::String(name) => name,
            other => other.to_string(),
        });
    }
    // Two keys of one number leave another one without a name.
    let names: Option<Vec<String>> = names.into_iter().collect();
    names.ok_or_else(|| {
        serde::de::Error::custom("the keys of id2label must be the numbers from 0 on")
    })
}

fn write_labels<S: Serializer>(
    labels: &[String],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(
        labels
            .iter()
            .enumerate()
            .map(|(id, name)| (id.to_string(), name)),
    )
}

/// That a number of the config is between 1 and `limit`.
pub(crate) fn within(field: &'static str, value: usize, limit: usize) -> Result<()> {
    if value == 0 || value > limit {
        return Err(Error::OutOfRange {
            field,
            value,
            limit,
        });
    }
    Ok(())
}

impl BertConfig {
    /// Checks a `config.json` that is parsed already.
    ///
    /// # Errors
    ///
    /// [`Error::ConfigJson`], [`Error::Weights`] for another kind of model, and those of [`validate`](Self::validate).
    pub fn from_value(mut json: Value) -> Result<Self> {
        let architecture = Facade::ClinicalBert.expect(&json)?;
        if let (Some(architecture), Some(map)) = (architecture, json.as_object_mut()) {
            // Old files name their class alone, or nothing.
            map.insert("model_type".to_owned(), architecture.model_type.into());
        }
        let config: Self = serde_json::from_value(json).map_err(Error::ConfigJson)?;
        config.validate()?;
        Ok(config)
    }

    /// Reads and checks the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// As [`from_value`](Self::from_value).
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_value(serde_json::from_str(text).map_err(Error::ConfigJson)?)
    }

    /// Reads and checks a `config.json` of at most 1 MiB.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] for a file that cannot be read, and those of [`from_value`](Self::from_value).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let folder = path.parent().filter(|folder| folder != &Path::new(""));
        let dir = CheckpointDir::open(folder.unwrap_or(Path::new(".")))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::from_value(dir.read_python_json(&name)?.0)
    }

    /// The published form, which [`from_value`](Self::from_value) and `transformers` read, with all keys that came in.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let (Some(map), false) = (value.as_object_mut(), self.labels.is_empty()) {
            let ids = self.labels.iter().enumerate();
            let ids: Map<String, Value> = ids.map(|(id, name)| (name.clone(), id.into())).collect();
            map.insert("label2id".to_owned(), Value::Object(ids));
        }
        value
    }

    /// Checks every rule.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfRange`], [`Error::AttentionHeads`], [`Error::Epsilon`], [`Error::Dropout`],
    /// [`Error::Activation`], [`Error::ProblemType`], [`Error::Positions`], [`Error::Decoder`], [`Error::PrunedHeads`].
    pub fn validate(&self) -> Result<()> {
        within("vocab_size", self.vocab_size, MAX_VOCABULARY)?;
        within("hidden_size", self.hidden_size, MAX_WIDTH)?;
        within("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?;
        within("num_attention_heads", self.num_attention_heads, MAX_WIDTH)?;
        within("intermediate_size", self.intermediate_size, MAX_WIDTH)?;
        let positions = self.max_position_embeddings;
        within("max_position_embeddings", positions, MAX_VOCABULARY)?;
        within("type_vocab_size", self.type_vocab_size, MAX_WIDTH)?;
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(Error::AttentionHeads {
                hidden: self.hidden_size,
                heads: self.num_attention_heads,
            });
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            return Err(Error::Epsilon {
                value: self.layer_norm_eps,
            });
        }
        check_rates(self)?;
        if self.family == Family::Roberta {
            let first = self.pad_token_id.saturating_add(1);
            within("pad_token_id + 1", first, positions - 1)?;
        }
        self.activation()?;
        self.validate_words()
    }

    /// The rules about what is spelled out.
    fn validate_words(&self) -> Result<()> {
        if let Some(found) = &self.problem_type
            && !PROBLEM_TYPES.contains(&found.as_str())
        {
            return Err(Error::ProblemType {
                found: shown(found),
            });
        }
        if let Some(found) = self.position_embedding_type.as_deref()
            && found != "absolute"
        {
            return Err(Error::Positions {
                found: shown(found),
            });
        }
        let set = |value: &Value| !matches!(value, Value::Null | Value::Bool(false));
        for key in DECODER_SWITCHES {
            if self.other.get(key).is_some_and(set) {
                return Err(Error::Decoder { key });
            }
        }
        let pruned = self.other.get("pruned_heads").and_then(Value::as_object);
        if pruned.is_some_and(|heads| !heads.is_empty()) {
            return Err(Error::PrunedHeads);
        }
        Ok(())
    }

    /// The activation that `hidden_act` names.
    ///
    /// # Errors
    ///
    /// [`Error::Activation`] for a name that no published BERT uses.
    pub fn activation(&self) -> Result<Activation> {
        Ok(match self.hidden_act.as_str() {
            "gelu" | "gelu_python" => Activation::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            "silu" | "swish" => Activation::Silu,
            found => {
                return Err(Error::Activation {
                    found: shown(found),
                });
            }
        })
    }

    /// The number of parameters of the encoder without pooler and head.
    ///
    /// ```
    /// use clinical_bert::BertConfig;
    /// assert_eq!(BertConfig::bert_base().parameters()?, 107_719_680); // and 590,592 in the pooler
    /// # Ok::<(), clinical_bert::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate): a config that describes no encoder has no number of parameters.
    pub fn parameters(&self) -> Result<u64> {
        self.validate()?;
        // The limits of `validate` keep all of this far below 2^64.
        let [width, inner] = [self.hidden_size, self.intermediate_size].map(|size| size as u64);
        let rows = self.vocab_size + self.max_position_embeddings + self.type_vocab_size;
        let norm = 2 * width;
        // Four square matrices and two of the feed-forward layer, each with a bias, and two norms.
        let layer = 4 * (width + 1) * width + 2 * width * inner + inner + width + 2 * norm;
        Ok(layer * self.num_hidden_layers as u64 + rows as u64 * width + norm)
    }

    /// A model with random weights, drawn at first use: the encoder with the head that `architectures` names
    /// ([`head`](Self::head)).
    ///
    /// # Errors
    ///
    /// Those of [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<BertModel> {
        let head = self.head();
        let pooler = match head {
            TaskHead::Encoder => true,
            TaskHead::MaskedLanguage => self.has_next_sentence(),
            TaskHead::Sequence => self.family != Family::Roberta,
            TaskHead::Token | TaskHead::Span => false,
        };
        Ok(BertModel::on(Bert::new(self, pooler, device)?, self, head))
    }

    /// The head that `architectures` names; an encoder alone where it names none.
    #[must_use]
    pub fn head(&self) -> TaskHead {
        for (ending, head) in [
            ("ForPreTraining", TaskHead::MaskedLanguage),
            ("ForMaskedLM", TaskHead::MaskedLanguage),
            ("ForSequenceClassification", TaskHead::Sequence),
            ("ForTokenClassification", TaskHead::Token),
            ("ForQuestionAnswering", TaskHead::Span),
        ] {
            if self.architectures.iter().any(|name| name.ends_with(ending)) {
                return head;
            }
        }
        TaskHead::Encoder
    }

    /// Whether `architectures` names a head for next sentence.
    #[must_use]
    pub fn has_next_sentence(&self) -> bool {
        let mut names = self.architectures.iter();
        names.any(|name| name.ends_with("ForPreTraining"))
    }

    /// The same encoder with another head, in the words of `architectures`.
    #[must_use]
    pub fn with_head(mut self, head: TaskHead) -> Self {
        let next_sentence = self.has_next_sentence();
        self.architectures = vec![architecture(self.family, head, next_sentence)];
        self
    }

    /// The same config with other names of classes.
    #[must_use]
    pub fn with_labels(mut self, labels: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.labels = labels.into_iter().map(Into::into).collect();
        for stale in ["label2id", "num_labels", "_num_labels"] {
            self.other.remove(stale);
        }
        self
    }

    /// Gives classes without names those of `transformers`.
    pub(crate) fn name_classes(&mut self, classes: usize) -> Result<()> {
        if self.labels.is_empty() {
            self.labels = (0..classes).map(|class| format!("LABEL_{class}")).collect();
        }
        match self.labels.len() {
            names if names == classes && classes > 0 => Ok(()),
            names => Err(Error::LabelCount { names, classes }),
        }
    }

    /// How many classes a classifier has: one for each label; without labels two, as in `transformers`.
    #[must_use]
    pub fn classes(&self) -> usize {
        match self.labels.len() {
            0 => DEFAULT_CLASSES,
            labels => labels,
        }
    }

    /// The most tokens that one row may have, special tokens included; 0 for a config that [`validate`](Self::validate)
    /// refuses.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        let positions = self.max_position_embeddings;
        positions.saturating_sub(self.position_offset())
    }

    /// The row of the position table that the first token takes.
    #[must_use]
    pub fn position_offset(&self) -> usize {
        match self.family {
            Family::Roberta => self.pad_token_id.saturating_add(1),
            Family::Bert | Family::MegatronBert => 0,
        }
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
            hidden_dropout_prob: usual_rate(),
            attention_probs_dropout_prob: usual_rate(),
            classifier_dropout: None,
            pad_token_id: 0,
            position_embedding_type: None,
            labels: Vec::new(),
            problem_type: None,
            architectures: Vec::new(),
            sentence: None,
            other: Map::new(),
        }
    }
}
