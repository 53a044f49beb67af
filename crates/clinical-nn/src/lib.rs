#![doc = include_str!("../README.md")]

mod activation;
mod adapter;
mod attention;
mod cache;
mod cancel;
mod diagnose;
mod dropout;
mod embedding;
mod error;
mod linear;
mod loss;
mod mask;
mod norm;
mod recompute;
mod resize;
mod rope;

pub use activation::{activate, gated};
pub use adapter::{
    ADAPTER_CONTAINER, Adapter, AdapterError, Linears, adapted_layers, dense_layers,
    detach_adapters, joined, merge_adapters, set_adapter_dropout_seed, train_adapters_only,
};
pub use attention::{AttentionOptions, attention, attention_with_dropout};
pub use cache::{KvCache, KvKind, KvSizes, Pass};
pub use cancel::CancelFlag;
pub use clinical_kernels::Activation;
pub use diagnose::FirstNonFinite;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use error::ModelError;
pub use linear::Linear;
pub use loss::{IGNORED, Loss, LossError, cross_entropy};
pub use mask::{key_mask, rows_to_tensor};
pub use norm::{LayerNorm, RmsNorm};
pub use recompute::{LayerInputs, recompute};
pub use resize::resize_param;
pub use rope::{Rope, RopeError, RopeScaling, RopeTables};
