// Reading order: `config` (config.json); the parts `attention`, `feed_forward`, `bucket` (relative positions), `half`
// (f16), `dropout`, `stack`; `model` with `batch` and `encoded`; `step`; `loss`; `keys` (names in checkpoints). Above
// the model: `span` (pretraining data), and `facade` (text in, text out).
#![doc = include_str!("../README.md")]

mod adapt;
mod attention;
mod batch;
mod bucket;
mod config;
pub mod device;
mod dropout;
mod encoded;
mod error;
mod facade;
mod feed_forward;
mod half;
mod keys;
mod loss;
mod model;
mod span;
mod stack;
mod step;

pub use attention::Attention;
pub use batch::Seq2SeqBatch;
pub use bucket::relative_position_bucket;
pub use burn;
pub use burn::tensor::Device;
pub use clinical_deid::Normalizer;
pub use clinical_facade::{
    BatchProgress, CancelFlag, LongText, Parts, Pooling, Remark, TextTooLong,
};
pub use clinical_generate::{EarlyStopping, Generation, Score, StopReason};
pub use clinical_nn::{Activation, Dropout, Loss};
pub use clinical_tokenizer::{AddedToken, Tokenizer, TokenizerRemark};
pub use clinical_weights::{LoadOptions, LoadReport, Precision, SaveOptions};
pub use config::{FeedForwardKind, MAX_BUCKETS, T5Config};
pub use encoded::Encoded;
pub use error::{Error, Result};
pub use facade::{ClinicalT5, Output, Sequence, Span, T5Options, Window};
pub use feed_forward::FeedForward;
pub use model::T5;
pub use span::{Corrupted, MAX_SPAN_LENGTH, Sentinels, SpanCorruption};
pub use stack::{Decoder, DecoderBlock, Encoder, EncoderBlock};
pub use step::T5Cache;
