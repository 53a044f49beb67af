//! Named shapes, and shapes from a config file.

use std::path::Path;

use clinical_llama::LlamaConfig;
use clinical_t5::T5Config;

/// The architecture that is timed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Shape {
    /// An encoder-decoder.
    T5(T5Config),
    /// A decoder.
    Llama(LlamaConfig),
}

/// A shape that is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Neither a known name nor a file.
    #[error("`{name}` is neither a known shape ({}) nor a config.json that can be read: {source}", Shape::NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Why it is no file either.
        source: std::io::Error,
    },
    /// The file holds no config of a supported model.
    #[error("{path} is not the config.json of a T5 or a LLaMA: {reason}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Shape {
    /// The names that [`Shape::named`] knows.
    pub const NAMES: [&'static str; 5] = ["t5-base", "t5-large", "llama-1b", "llama-7b", "llama-13b"];

    /// A known shape, or the config file at this path.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] where it is neither.
    pub fn named(name: &str) -> Result<Self, ShapeError> {
        Ok(match name {
            "t5-base" => Self::T5(T5Config::t5_base()),
            "t5-large" => Self::T5(T5Config::t5_large()),
            "llama-1b" => Self::Llama(LlamaConfig::llama_1b()),
            "llama-7b" => Self::Llama(LlamaConfig::llama_7b()),
            "llama-13b" => Self::Llama(LlamaConfig::llama_13b()),
            path => Self::from_file(path)?,
        })
    }

    fn from_file(path: &str) -> Result<Self, ShapeError> {
        let text = std::fs::read_to_string(Path::new(path)).map_err(|source| ShapeError::Unknown {
            name: path.to_owned(),
            source,
        })?;
        let config = |reason: String| ShapeError::Config {
            path: path.to_owned(),
            reason,
        };
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| config(error.to_string()))?;
        match json["model_type"].as_str() {
            Some("t5") => T5Config::from_json(&text)
                .map(Self::T5)
                .map_err(|error| config(error.to_string())),
            Some("llama" | "mistral") => LlamaConfig::from_json(&text)
                .map(Self::Llama)
                .map_err(|error| config(error.to_string())),
            other => Err(config(format!("model_type is {}", other.unwrap_or("missing")))),
        }
    }

    /// The number of token ids.
    pub(crate) fn vocabulary(&self) -> usize {
        match self {
            Self::T5(config) => config.vocab_size,
            Self::Llama(config) => config.vocab_size,
        }
    }
}
