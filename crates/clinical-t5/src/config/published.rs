//! `config.json`, as it lies in the directory.

use std::path::Path;

use clinical_nn::Activation;
use clinical_weights::{Architecture, Checkpoint, Facade};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::{Error, T5Config};

/// Keys that a save writes anew: what the model is, and the type of the weights in the files.
const WRITTEN_ANEW: [&str; 4] = [
    "architectures",
    "is_encoder_decoder",
    "torch_dtype",
    "dtype",
];

impl T5Config {
    /// Reads a `config.json`, or the one in a directory.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] for a file that cannot be read or is not JSON, and those of [`Self::from_value`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::from_value(clinical_weights::read_config(path)?)
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for bytes that are not JSON, and those of [`Self::from_value`].
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::from_value(serde_json::from_slice(json.as_ref())?)
    }

    /// Reads a `config.json` that is parsed already. Keys that this crate does not know are kept in [`Self::other`].
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a field that is missing or has the wrong type, [`clinical_weights::Error::ModelType`] in
    /// [`Error::Weights`], and those of [`Self::validate`].
    pub fn from_value(json: Value) -> Result<Self, Error> {
        Facade::ClinicalT5.expect(&json)?;
        let encoder_only = json["architectures"][0]
            .as_str()
            .is_some_and(|class| class.ends_with("EncoderModel"));
        let mut config: Self = serde_json::from_value(json)?;
        config.encoder_only = encoder_only;
        config
            .other
            .retain(|key, _| !WRITTEN_ANEW.contains(&key.as_str()));
        config.validate()?;
        Ok(config)
    }

    /// The published form, which [`Self::from_value`] and `transformers` read, with the keys that this crate does not
    /// know.
    #[must_use]
    pub fn to_value(&self) -> Value {
        // Every field has a form in JSON.
        let mut json = serde_json::to_value(self).unwrap_or_default();
        let architecture = Architecture::by_model_type(&self.model_type);
        let prefix = architecture.map_or("T5", |one| one.class);
        let class = match self.encoder_only {
            true => "EncoderModel",
            false => "ForConditionalGeneration",
        };
        json["architectures"] = json!([format!("{prefix}{class}")]);
        json["is_encoder_decoder"] = json!(!self.encoder_only);
        json
    }

    /// Decides what the file of the weights says better than the configuration.
    ///
    /// `transformers` 5 writes `tie_word_embeddings: true` for every T5, so a model that does not scale its logits and
    /// has an output layer of its own in the file is a v1.1. And a file without a decoder is an encoder, whatever it is
    /// called.
    pub fn fit(&mut self, weights: &Checkpoint) {
        if self.scale_decoder_outputs == Some(false) && weights.find("lm_head.weight").is_some() {
            self.tie_word_embeddings = false;
        }
        let has = |stack: &str| weights.tensors().any(|tensor| tensor.name.contains(stack));
        if has("decoder.block.") {
            self.encoder_only = false;
        } else if has("encoder.block.") {
            self.encoder_only = true;
        }
    }
}

/// `feed_forward_proj`: an activation, and whether a second product gates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeedForwardKind {
    /// `act(x wi_0) * (x wi_1)` instead of `act(x wi)`.
    pub gated: bool,
    /// The activation.
    pub activation: Activation,
}

impl Default for FeedForwardKind {
    fn default() -> Self {
        Self {
            gated: false,
            activation: Activation::Relu,
        }
    }
}

impl TryFrom<String> for FeedForwardKind {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        let (gated, activation) = match name.strip_prefix("gated-") {
            Some(rest) => (true, rest),
            None => (false, name.as_str()),
        };
        let activation = match activation {
            "relu" => Activation::Relu,
            // `transformers` reads "gated-gelu", and only that, as the tanh form.
            "gelu" if gated => Activation::GeluTanh,
            "gelu" => Activation::Gelu,
            "gelu_new" => Activation::GeluTanh,
            "silu" | "swish" => Activation::Silu,
            _ => {
                let name = clinical_files::shown(&name);
                return Err(Error::FeedForward { name });
            }
        };
        Ok(Self { gated, activation })
    }
}

impl From<FeedForwardKind> for String {
    fn from(kind: FeedForwardKind) -> Self {
        let activation = match (kind.gated, kind.activation) {
            (_, Activation::Relu) => "relu",
            (true, Activation::GeluTanh) | (false, Activation::Gelu) => "gelu",
            (false, Activation::GeluTanh) => "gelu_new",
            // No published name gives a gate of this form; "gated-gelu" would mean the other one.
            (true, Activation::Gelu) => "gelu_erf",
            (_, Activation::Silu) => "silu",
            // No configuration reads so; a kind that `clinical-nn` may add must be named here too.
            _ => "linear",
        };
        format!("{}{activation}", if kind.gated { "gated-" } else { "" })
    }
}

pub(super) fn id_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Ok(Option::<u32>::deserialize(deserializer)?.unwrap_or(0))
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

pub(super) fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<u32>, D::Error> {
    Ok(match Option::<Ids>::deserialize(deserializer)? {
        None => default::eos(),
        Some(Ids::One(id)) => vec![id],
        Some(Ids::Many(ids)) => ids,
    })
}

pub(super) fn as_one_or_many<S: Serializer>(ids: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    match ids {
        [id] => serializer.serialize_u32(*id),
        ids => ids.serialize(serializer),
    }
}

pub(super) mod default {
    pub fn model_type() -> String {
        "t5".to_owned()
    }
    pub fn buckets() -> usize {
        32
    }
    pub fn max_distance() -> usize {
        128
    }
    pub fn dropout() -> f64 {
        0.1
    }
    pub fn epsilon() -> f64 {
        1e-6
    }
    pub fn one() -> f64 {
        1.0
    }
    pub fn yes() -> bool {
        true
    }
    pub fn eos() -> Vec<u32> {
        vec![1]
    }
}
