#![doc = include_str!("../README.md")]
//!
//! # Reading order
//!
//! The model: `config` (the shape), `row` (what goes in), `layers` (embeddings, attention, feed-forward, one layer),
//! `dropout`, `model` (the encoder), `heads` (what stands on top), `task` (any of them), `loss` with `targets` and `align` (what
//! is minimised), `keys` (the names of checkpoints), `resize`; `pretraining` makes examples. Then the facade:
//! `sentence` (what a directory says about vectors) and `facade`, one file for each job; `show` and `labels` are for
//! people.

mod adapt;
mod align;
mod config;
mod dropout;
mod error;
mod facade;
mod heads;
mod keys;
pub mod labels;
pub mod layers;
mod loss;
mod model;
pub mod pretraining;
mod resize;
mod row;
mod sentence;
pub mod show;
mod targets;
mod task;

pub use align::{PieceLabels, align_labels};
pub use burn;
pub use burn::tensor::Device;
pub use clinical_facade::{
    BatchProgress, Calibration, CalibrationError, CalibrationOptions, CancelFlag, CoveragePoint,
    LabelledAnswer, LongText, Parts, Pooling, Remark, TextTooLong, model_checksum,
};
pub use clinical_nn::{Dropout, IGNORED, Loss};
pub use clinical_tokenizer::{AddedToken, LowerCase, Tokenizer, TokenizerRemark};
pub use clinical_weights::{LoadOptions, LoadReport, Precision, SaveOptions};
pub use config::{BertConfig, Family};
pub use dropout::BertDropout;
pub use error::{Error, Result};
pub use facade::{
    Aggregation, BertOptions, Candidate, Case, Classification, ClassifyOptions, ClinicalBert,
    EmbedOptions, Entity, FillOptions, FilledMask, LabelScore, NoAnswer, Preview, ProblemType,
    QuestionRow, SpanAnswer, SpanCandidate, SpanOptions, TagOptions,
};
pub use heads::{
    BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification,
};
pub use model::Bert;
pub use row::{Row, TokenRow};
pub use sentence::SentenceConfig;
pub use targets::Targets;
pub use task::{BertModel, TaskHead};

pub mod device {
    //! Where a model runs, and the settings of the process.

    pub use clinical_kernels::{Error, cpu, keep_freed_memory, parse, set_threads, threads};
}
