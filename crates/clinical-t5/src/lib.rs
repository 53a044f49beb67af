#![doc = include_str!("../README.md")]

mod attention;
mod batch;
mod bucket;
mod config;
mod error;
mod feed_forward;
mod half;
mod model;
mod names;
mod pooling;
mod span;
mod stack;
mod step;

pub use attention::Attention;
pub use batch::Seq2SeqBatch;
pub use bucket::relative_position_bucket;
pub use config::{Activation, FeedForwardKind, MAX_BUCKETS, MODEL_TYPES, T5Config};
pub use error::Error;
pub use feed_forward::FeedForward;
pub use model::T5;
pub use pooling::{Encoded, Pooling};
pub use span::{Corrupted, MAX_SPAN_LENGTH, Sentinels, SpanCorruption};
pub use stack::{Decoder, DecoderBlock, Encoder, EncoderBlock};
pub use step::T5Cache;
