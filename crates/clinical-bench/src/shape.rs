//! Named shapes, and shapes from a config file.

use std::path::Path;

use clinical_bert::BertConfig;
use clinical_llama::LlamaConfig;
use clinical_t5::T5Config;
use clinical_weights::{Architecture, Facade};

use crate::Error;

/// The architecture that is timed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Shape {
    /// An encoder-decoder.
    T5(T5Config),
    /// A decoder.
    Llama(LlamaConfig),
    /// An encoder.
    Bert(BertConfig),
}

impl Shape {
    /// The names that [`Shape::named`] knows.
    pub const NAMES: [&'static str; 7] = [
        "t5-base",
        "t5-large",
        "smollm2-135m",
        "llama-1b",
        "llama-7b",
        "llama-13b",
        "bert-base",
    ];

    /// A known shape, or the config file at this path.
    ///
    /// # Errors
    ///
    /// [`Error`] where it is neither.
    pub fn named(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "t5-base" => Self::T5(T5Config::t5_base()),
            "t5-large" => Self::T5(T5Config::t5_large()),
            "smollm2-135m" => Self::Llama(smollm2()),
            "llama-1b" => Self::Llama(LlamaConfig::llama_1b()),
            "llama-7b" => Self::Llama(LlamaConfig::llama_7b()),
            "llama-13b" => Self::Llama(LlamaConfig::llama_13b()),
            "bert-base" => Self::Bert(BertConfig::bert_base()),
            path => Self::from_file(path)?,
        })
    }

    fn from_file(path: &str) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(Path::new(path)).map_err(|source| Error::UnknownShape {
                name: path.to_owned(),
                source,
            })?;
        let config = |reason: String| Error::Config {
            path: path.to_owned(),
            reason,
        };
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| config(error.to_string()))?;
        let architecture = Architecture::of(&json).ok_or_else(|| {
            config("its model_type is missing or none that this library runs".to_owned())
        })?;
        match architecture.facade {
            Facade::ClinicalT5 => T5Config::from_value(json)
                .map(Self::T5)
                .map_err(|error| config(error.to_string())),
            Facade::Asclepius => LlamaConfig::from_value(json)
                .map(Self::Llama)
                .map_err(|error| config(error.to_string())),
            Facade::ClinicalBert => BertConfig::from_value(json)
                .map(Self::Bert)
                .map_err(|error| config(error.to_string())),
            other => Err(config(format!("{other} is not timed"))),
        }
    }

    /// The number of token ids.
    pub(crate) fn vocabulary(&self) -> usize {
        match self {
            Self::T5(config) => config.vocab_size,
            Self::Llama(config) => config.vocab_size,
            Self::Bert(config) => config.vocab_size,
        }
    }
}

/// `HuggingFaceTB/SmolLM2-135M`.
fn smollm2() -> LlamaConfig {
    LlamaConfig {
        vocab_size: 49_152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        tie_word_embeddings: true,
        ..LlamaConfig::llama_1b()
    }
}

/// Multiplications and additions of matrix products, two per multiply-add.
impl Shape {
    /// An encoder over `batch` rows of `length`.
    pub(crate) fn encoder_flops(&self, batch: usize, length: usize) -> f64 {
        let n = length as f64;
        let (layers, layer) = match self {
            Self::T5(c) => {
                let (d, inner) = (c.d_model as f64, c.inner_dim() as f64);
                let layer = 4.0 * d * inner + t5_feed_forward(c) + 2.0 * n * inner;
                (c.num_layers, layer)
            }
            Self::Bert(c) => {
                let (d, inner) = (c.hidden_size as f64, c.intermediate_size as f64);
                let layer = 4.0 * d * d + 2.0 * d * inner + 2.0 * n * d;
                (c.num_hidden_layers, layer)
            }
            Self::Llama(_) => return 0.0,
        };
        2.0 * batch as f64 * n * layers as f64 * layer
    }

    /// A decoder with logits at every one of `length` positions; `source` is the length of T5's encoder states, whose
    /// keys and values are counted too.
    pub(crate) fn decoder_flops(&self, batch: usize, length: usize, source: usize) -> f64 {
        let (rows, n) = (batch as f64, length as f64);
        // On average a position sees half of the positions.
        let seen = (n + 1.0) / 2.0;
        rows * n * (self.token_flops(seen, source) + self.head_flops())
            + rows * self.cross_flops(source)
    }

    /// Reading a prompt: logits for the last position alone.
    pub(crate) fn prefill_flops(&self, batch: usize, length: usize) -> f64 {
        let n = length as f64;
        batch as f64 * (n * self.token_flops((n + 1.0) / 2.0, 0) + self.head_flops())
    }

    /// Single steps after a prompt.
    pub(crate) fn decode_flops(&self, batch: usize, length: usize, steps: usize) -> f64 {
        let (before, source) = match self {
            Self::T5(_) => (1.0, length),
            _ => (length as f64, 0),
        };
        let seen = before + (steps as f64 + 1.0) / 2.0;
        (batch * steps) as f64 * (self.token_flops(seen, source) + self.head_flops())
    }

    /// One decoder position that sees `seen` positions and `source` encoder states, without the output projection.
    fn token_flops(&self, seen: f64, source: usize) -> f64 {
        match self {
            Self::Llama(c) => {
                let (d, h) = (c.hidden_size as f64, c.head_dim as f64);
                let (heads, kv) = (c.num_attention_heads as f64, c.num_key_value_heads as f64);
                let projections = 2.0 * d * h * (heads + kv) + 3.0 * d * c.intermediate_size as f64;
                2.0 * c.num_hidden_layers as f64 * (projections + 2.0 * seen * heads * h)
            }
            Self::T5(c) => {
                let (d, inner) = (c.d_model as f64, c.inner_dim() as f64);
                let own = 4.0 * d * inner + 2.0 * seen * inner;
                let cross = 2.0 * d * inner + 2.0 * source as f64 * inner;
                2.0 * c.decoder_layers() as f64 * (own + cross + t5_feed_forward(c))
            }
            Self::Bert(_) => 0.0,
        }
    }

    /// The output projection of one position.
    fn head_flops(&self) -> f64 {
        2.0 * match self {
            Self::T5(c) => (c.d_model * c.vocab_size) as f64,
            Self::Llama(c) => (c.hidden_size * c.vocab_size) as f64,
            Self::Bert(_) => 0.0,
        }
    }

    /// Keys and values of the encoder states, once a row.
    fn cross_flops(&self, source: usize) -> f64 {
        match self {
            Self::T5(c) => {
                4.0 * c.decoder_layers() as f64 * (source * c.d_model * c.inner_dim()) as f64
            }
            Self::Llama(_) | Self::Bert(_) => 0.0,
        }
    }
}

fn t5_feed_forward(config: &T5Config) -> f64 {
    let matrices = if config.feed_forward_proj.gated {
        3.0
    } else {
        2.0
    };
    matrices * (config.d_model * config.d_ff) as f64
}
