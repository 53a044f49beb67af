// Reading order: `config` and `published` (config.json); the parts `attention`, `mlp`, `layer`; `model`; `step` with
// `cache`; `loss`; `branches` (many continuations of one prefix); `keys` (names in checkpoints).
#![doc = include_str!("../README.md")]

mod adapt;
mod attention;
mod branches;
mod cache;
mod config;
mod error;
mod keys;
mod layer;
mod loss;
mod mlp;
mod model;
mod published;
mod step;

pub use attention::LlamaAttention;
pub use branches::{Branch, Branches};
pub use cache::LlamaCache;
pub use clinical_nn::{Loss, RopeScaling};
pub use config::{LlamaConfig, MAX_POSITIONS};
pub use error::Error;
pub use layer::{LlamaLayer, LlamaModel};
pub use mlp::LlamaMlp;
pub use model::Llama;
