#![doc = include_str!("../README.md")]

mod config;
mod heads;
mod keys;
mod layer;
mod model;

pub use config::{BertConfig, ConfigError, Family, MAX_CONFIG_BYTES, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH};
pub use heads::{BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification};
pub use layer::{Activation, FeedForward, Layer, SelfAttention};
pub use model::{Bert, Embeddings, Row};
