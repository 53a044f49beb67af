#![doc = include_str!("../README.md")]

mod adapt;
mod config;
mod error;
mod facade;
mod heads;
mod keys;
mod layer;
mod model;
mod pretraining;

pub use clinical_tokenizer::{LowerCase, TokenizerRemark};
pub use clinical_weights::{LoadOptions, Precision};
pub use config::{
    BertConfig, ConfigError, Family, MAX_CONFIG_BYTES, MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH,
};
pub use error::Error;
pub use facade::{
    Aggregation, BertModel, BertOptions, Candidate, Case, Classification, ClassifyOptions,
    ClinicalBert, EmbedOptions, Entity, FilledMask, Head, I2B2_2006, I2B2_2010, I2B2_2012,
    I2B2_2014, LabelScore, LabelSet, LongText, NoAnswer, Pooling, Preview, ProblemType, SpanAnswer,
    SpanCandidate, SpanOptions, TagOptions, ansi, html,
};
pub use heads::{
    BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification,
};
pub use layer::{Activation, FeedForward, Layer, SelfAttention};
pub use model::{Bert, Embeddings, Row};
pub use pretraining::{
    Document, Documents, Examples, PretrainingExample, PretrainingLoss, PretrainingOptions,
    Vocabulary,
};
