// Reading order: `config` and `published` (config.json); the parts `attention`, `mlp`, `layer`; `model`; `step` with
// `cache`; `loss`; `heads`; `keys` (names in checkpoints); `facade` (text in, text out).
#![doc = include_str!("../README.md")]

mod adapt;
mod attention;
mod cache;
mod config;
mod dropout;
mod error;
mod facade;
mod heads;
mod keys;
mod layer;
mod loss;
mod mlp;
mod model;
mod published;
mod step;

pub use attention::Gpt2Attention;
pub use burn;
pub use burn::tensor::Device;
pub use cache::Gpt2Cache;
pub use clinical_facade::{
    BatchProgress, CancelFlag, LoadOptions, LoadReport, LongText, Parts, Remark, SaveOptions,
    TextTooLong,
};
pub use clinical_generate::{Generated, Generation, Score, StopReason};
pub use clinical_nn::Loss;
pub use clinical_tokenizer::{AddedToken, Tokenizer};
pub use clinical_weights::Precision;
pub use config::{Gpt2Config, Gpt2Head};
pub use dropout::Gpt2Dropout;
pub use error::{Error, Result};
pub use facade::{AnswerSpan, ClassScores, ClinicalGpt2, Gpt2Options, Output, QuestionRow};
pub use layer::{Gpt2Layer, Gpt2Model};
pub use mlp::Gpt2Mlp;
pub use model::Gpt2;
