// Reading order: `model` (load, from and into parts); `options`, `style` (which prompt); then the way of a question:
// `ask`, `prompt` (ids), `plan` (what fits), `prefix` (what is read once), `run` (the engine), `text`, `answer`,
// `combine` (windows), `evidence`, `support` (whether to show it); `batch`, `session` and `served` (with `kept`) ask
// several, `chat` goes on with a conversation; `save`, `adapter`.
#![doc = include_str!("../README.md")]

mod adapter;
mod answer;
mod ask;
mod batch;
mod chat;
mod combine;
mod demo;
mod error;
mod evidence;
mod kept;
mod model;
mod options;
mod plan;
mod prefix;
mod process;
mod prompt;
mod run;
mod save;
mod served;
mod session;
mod style;
mod support;
mod text;

pub mod device;

pub use answer::{Answer, LikelyToken, Token, Usage, Window, Word};
pub use burn;
pub use burn::tensor::Device;
pub use clinical_facade::{
    BatchProgress, Calibration, CalibrationError, CalibrationOptions, CoveragePoint,
    LabelledAnswer, LongText, Parts, Remark, TextTooLong, model_checksum,
};
pub use clinical_generate::{CancelFlag, EngineLoad, EngineOptions, Generation, Score, StopReason};
pub use clinical_llama::{Llama, LlamaConfig};
pub use clinical_prompts::MarkerPolicy;
pub use clinical_prompts::asclepius::Template;
pub use clinical_tokenizer::{AddedToken, Tokenizer, TokenizerRemark};
pub use clinical_weights::{LoadOptions, LoadReport, Precision, SaveOptions};
pub use demo::embedded_checksum;
pub use error::{Error, Result};
pub use evidence::{Evidence, EvidenceKind, FindEvidence, quotes};
pub use model::Asclepius;
pub use options::{AnswerOptions, Combine};
pub use process::{answer, model_dir};
pub use served::AnswerEngine;
pub use session::Session;
pub use style::{PromptStyle, Style};
pub use support::Support;

/// The examples of the repository's README are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
