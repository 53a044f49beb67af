//! `config.json`.

use std::path::Path;

use burn::tensor::Device;
use clinical_weights::CheckpointDir;
use clinical_weights::limits::{MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, T5};

/// Most relative position buckets that a configuration may ask for; the published models have 32.
pub const MAX_BUCKETS: usize = 65_536;

/// The `model_type` values that describe this architecture.
pub const MODEL_TYPES: [&str; 2] = ["t5", "mt5"];

/// The shape of a T5 model, under the names of the published `config.json`.
///
/// One struct serves v1.0 (ReLU, tied embeddings, scaled logits), v1.1 and FLAN (gated GELU, own output layer) and what
/// lies between. Unknown keys are ignored; absent ones get the defaults that `transformers` has for them.
///
/// ```
/// use clinical_t5::T5Config;
///
/// let config = T5Config::from_json(br#"{
///     "model_type": "t5", "vocab_size": 32115, "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12
/// }"#)?;
/// assert_eq!(config.decoder_layers(), 12);
/// assert_eq!(config.parameters(), 222_893_568);
/// assert_eq!(config, T5Config::clinical_t5_base());
/// # Ok::<(), clinical_t5::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct T5Config {
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
    /// The dropout that the model was trained with. Default 0.1; see [`T5::with_dropout`].
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
    #[serde(default, deserialize_with = "id_or_zero")]
    pub pad_token_id: u32,
    /// The ids that end an output; a number or a list in the file. Default 1.
    #[serde(
        default = "default::eos",
        rename = "eos_token_id",
        deserialize_with = "one_or_many",
        serialize_with = "as_one_or_many"
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
    /// Reads and validates a `config.json` (or the one in a directory).
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] for a file that cannot be read or is not such JSON, [`clinical_weights::Error::ModelType`] among
    /// them, and the errors of [`Self::validate`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let (dir, name) = match (
            path.parent(),
            path.file_name().and_then(|name| name.to_str()),
        ) {
            (Some(parent), Some(name)) if !path.is_dir() => (parent, name),
            _ => (path, "config.json"),
        };
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        Self::from_dir(&CheckpointDir::open(dir)?, name)
    }

    pub(crate) fn from_dir(dir: &CheckpointDir, name: &str) -> Result<Self, Error> {
        let value: serde_json::Value = dir.read_json(name)?;
        Self::from_value(value)
    }

    /// Reads and validates the bytes of a `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for bytes that are no such JSON, and the errors of [`Self::validate`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_value(serde_json::from_slice(bytes)?)
    }

    fn from_value(value: serde_json::Value) -> Result<Self, Error> {
        clinical_weights::expect_model_type(&value, &MODEL_TYPES)?;
        let config: Self = serde_json::from_value(value)?;
        config.validate()?;
        Ok(config)
    }

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

    /// Decoder blocks.
    #[must_use]
    pub fn decoder_layers(&self) -> usize {
        self.num_decoder_layers.unwrap_or(self.num_layers)
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

    /// Decides what `transformers` 5 no longer writes: it says `tie_word_embeddings: true` for every T5, so a model that
    /// does not scale its logits and has an output layer of its own in the file is a v1.1.
    pub(crate) fn find_head(&mut self, file_has_head: bool) {
        if self.scale_decoder_outputs == Some(false) && file_has_head {
            self.tie_word_embeddings = false;
        }
    }

    /// The number of parameters; saturates for shapes that [`Self::validate`] refuses.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.count().unwrap_or(u64::MAX)
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
        let head = if self.tie_word_embeddings { 0 } else { table };
        let attention = mul(mul(4, d_model)?, mul(heads, d_kv)?)?.checked_add(d_model)?;
        let matrices = if self.feed_forward_proj.gated { 3 } else { 2 };
        let feed_forward = mul(mul(matrices, d_model)?, d_ff)?.checked_add(d_model)?;
        let encoder = mul(self.num_layers as u64, attention.checked_add(feed_forward)?)?;
        let block = mul(2, attention)?.checked_add(feed_forward)?;
        let decoder = mul(self.decoder_layers() as u64, block)?;
        let positions = mul(2, mul(buckets, heads)?)?;
        [head, encoder, decoder, positions, mul(2, d_model)?]
            .into_iter()
            .try_fold(table, u64::checked_add)
    }

    /// Checks every rule that the model relies on. [`Self::from_file`] and [`Self::from_json`] do it.
    ///
    /// # Errors
    ///
    /// One variant of [`Error`] a rule: [`Error::Zero`], [`Error::AboveLimit`], [`Error::Buckets`],
    /// [`Error::MaxDistance`], [`Error::Epsilon`], [`Error::Dropout`], [`Error::InitializerFactor`],
    /// [`Error::IdOutsideVocabulary`], [`Error::NoEndToken`].
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
            ("num_decoder_layers", self.decoder_layers(), MAX_LAYERS),
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
        Ok(())
    }

    /// A model of this shape with freshly drawn weights. Nothing is allocated before first use, so a model that is loaded
    /// from a file is never drawn.
    #[must_use]
    pub fn init(&self, device: &Device) -> T5 {
        T5::new(self, device)
    }
}

/// What a feed-forward layer computes between its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `max(x, 0)`: T5 v1.0.
    Relu,
    /// GELU in its tanh form (`gelu_new`): T5 v1.1.
    GeluTanh,
    /// GELU with the error function.
    Gelu,
    /// `x * sigmoid(x)`.
    Silu,
}

/// `feed_forward_proj`: an activation, and whether a second product gates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
                let name = name.chars().take(40).flat_map(char::escape_debug).collect();
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
        };
        format!("{}{activation}", if kind.gated { "gated-" } else { "" })
    }
}

fn id_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    Ok(Option::<u32>::deserialize(deserializer)?.unwrap_or(0))
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    Ok(match Option::<Ids>::deserialize(deserializer)? {
        None => default::eos(),
        Some(Ids::One(id)) => vec![id],
        Some(Ids::Many(ids)) => ids,
    })
}

fn as_one_or_many<S: Serializer>(ids: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
    match ids {
        [id] => serializer.serialize_u32(*id),
        ids => ids.serialize(serializer),
    }
}

mod default {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(change: impl FnOnce(&mut serde_json::Value)) -> Result<T5Config, Error> {
        let mut value = json!({
            "vocab_size": 100, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4
        });
        change(&mut value);
        T5Config::from_json(value.to_string().as_bytes())
    }

    #[test]
    fn published_sizes() {
        assert_eq!(T5Config::t5_base().parameters(), 222_903_552);
        assert_eq!(T5Config::clinical_t5_base().parameters(), 222_893_568);
        assert_eq!(T5Config::t5_large().parameters(), 737_668_096);
    }

    #[test]
    fn old_files_lack_keys() {
        let config = parse(|_| ()).unwrap();
        assert_eq!(config.relative_attention_max_distance, 128);
        assert_eq!(config.feed_forward_proj, FeedForwardKind::default());
        assert!(config.tie_word_embeddings && config.scales_logits());
        assert_eq!(config.decoder_layers(), 2);
        assert_eq!((config.decoder_start(), config.pad_token_id), (0, 0));
        assert_eq!(config.eos_token_ids, [1]);
    }

    #[test]
    fn newer_files_have_more() {
        let config = parse(|value| {
            value["num_decoder_layers"] = json!(3);
            value["feed_forward_proj"] = json!("gated-gelu");
            value["tie_word_embeddings"] = json!(true);
            value["scale_decoder_outputs"] = json!(false);
            value["eos_token_id"] = json!([1, 7]);
            value["decoder_start_token_id"] = json!(5);
            value["pad_token_id"] = json!(null);
            value["some_new_key"] = json!({});
        })
        .unwrap();
        assert_eq!(config.decoder_layers(), 3);
        assert!(config.feed_forward_proj.gated && !config.scales_logits());
        assert_eq!(config.feed_forward_proj.activation, Activation::GeluTanh);
        assert_eq!(config.eos_token_ids, [1, 7]);
        assert_eq!((config.decoder_start(), config.pad_token_id), (5, 0));
        let again = serde_json::to_vec(&config).unwrap();
        assert_eq!(T5Config::from_json(&again).unwrap(), config);
    }

    #[test]
    fn every_rule_has_its_error() {
        macro_rules! refused {
            ($key:literal, $value:expr, $error:pat) => {
                let result = parse(|value| value[$key] = json!($value));
                assert!(matches!(result, Err($error)), "{}: {result:?}", $key);
            };
        }
        refused!("num_heads", 0, Error::Zero { field: "num_heads" });
        refused!("num_decoder_layers", 0, Error::Zero { .. });
        refused!(
            "num_layers",
            1u64 << 40,
            Error::AboveLimit {
                field: "num_layers",
                ..
            }
        );
        refused!(
            "d_kv",
            131_072,
            Error::AboveLimit {
                field: "num_heads * d_kv",
                ..
            }
        );
        refused!(
            "d_model",
            u64::MAX,
            Error::AboveLimit {
                field: "d_model",
                ..
            }
        );
        refused!("relative_attention_num_buckets", 3, Error::Buckets { .. });
        refused!(
            "relative_attention_max_distance",
            16,
            Error::MaxDistance { .. }
        );
        refused!("layer_norm_epsilon", 0.0, Error::Epsilon { .. });
        refused!("dropout_rate", 1.0, Error::Dropout { .. });
        refused!("initializer_factor", -1.0, Error::InitializerFactor { .. });
        refused!("eos_token_id", json!([]), Error::NoEndToken);
        refused!(
            "eos_token_id",
            100,
            Error::IdOutsideVocabulary {
                field: "eos_token_id",
                ..
            }
        );
        refused!("pad_token_id", 100, Error::IdOutsideVocabulary { .. });
        refused!("pad_token_id", -1, Error::Config(_));
        refused!("feed_forward_proj", "gated-tanh", Error::Config(_));
        refused!("d_ff", "64", Error::Config(_));
        refused!(
            "model_type",
            "llama",
            Error::Weights(clinical_weights::Error::ModelType { .. })
        );
        let nan = T5Config {
            layer_norm_epsilon: f64::NAN,
            ..T5Config::t5_base()
        };
        assert!(matches!(nan.validate(), Err(Error::Epsilon { .. })));
    }

    #[test]
    fn names_of_feed_forward_layers() {
        for name in [
            "relu",
            "gelu",
            "gelu_new",
            "silu",
            "gated-relu",
            "gated-gelu",
            "gated-silu",
        ] {
            let kind = FeedForwardKind::try_from(name.to_owned()).unwrap();
            assert_eq!(String::from(kind), name);
        }
        let same = |a: &str, b: &str| {
            FeedForwardKind::try_from(a.to_owned()).unwrap()
                == FeedForwardKind::try_from(b.to_owned()).unwrap()
        };
        assert!(same("gated-gelu_new", "gated-gelu") && !same("gelu", "gelu_new"));
    }
}
