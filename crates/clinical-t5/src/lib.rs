// Reading order: `config` (config.json); the parts `attention`, `feed_forward`, `bucket` (relative positions), `half` (f16),
// `stack`; `model` with `batch` and `pooling`; `step`; `loss`; `keys` (names in checkpoints). Above the model: `span`
// (pretraining data), and the facade `clinical`.
#![doc = include_str!("../README.md")]

mod attention;
mod batch;
mod bucket;
mod clinical;
mod config;
mod demo;
mod error;
mod feed_forward;
mod fill;
mod half;
mod keys;
mod loss;
mod model;
mod options;
mod pooling;
mod resize;
mod save;
mod span;
mod stack;
mod step;
mod text;

pub use attention::Attention;
pub use batch::Seq2SeqBatch;
pub use bucket::relative_position_bucket;
pub use clinical::ClinicalT5;
pub use clinical_deid::Normalizer;
pub use clinical_generate::{EarlyStopping, Generation, StopReason};
pub use clinical_nn::{Activation, Loss};
pub use clinical_tokenizer::TokenizerRemark;
pub use clinical_weights::{LoadOptions, Precision};
pub use config::{FeedForwardKind, MAX_BUCKETS, MODEL_TYPES, T5Config};
pub use error::Error;
pub use feed_forward::FeedForward;
pub use fill::Span;
pub use model::T5;
pub use options::{LongInput, Output, Score};
pub use pooling::{Encoded, Pooling};
pub use span::{Corrupted, MAX_SPAN_LENGTH, Sentinels, SpanCorruption};
pub use stack::{Decoder, DecoderBlock, Encoder, EncoderBlock};
pub use step::T5Cache;
