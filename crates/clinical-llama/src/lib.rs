#![doc = include_str!("../README.md")]

mod attention;
mod cache;
mod config;
mod error;
mod layer;
mod mlp;
mod model;
mod published;
mod resize;
mod step;
mod weights;

pub use attention::LlamaAttention;
pub use cache::LlamaCache;
pub use clinical_nn::RopeScaling;
pub use config::{LlamaConfig, MAX_POSITIONS};
pub use error::Error;
pub use layer::{LlamaLayer, LlamaModel};
pub use mlp::LlamaMlp;
pub use model::Llama;
