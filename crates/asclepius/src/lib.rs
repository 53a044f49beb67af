#![doc = include_str!("../README.md")]

// Reading order: options, style (which prompt), prompt (ids), plan (what fits), run (the engine), ask (one question), batch,
// session; model holds what they share, and load and save make and keep it.

mod adapter;
mod answer;
mod ask;
mod batch;
mod combine;
mod demo;
mod error;
mod model;
mod options;
mod plan;
mod prefix;
mod process;
mod prompt;
mod run;
mod save;
mod session;
mod style;
mod text;

pub mod device;

pub use answer::{Answer, Token, Usage, Window, Word};
pub use burn;
pub use burn::tensor::Device;
pub use clinical_facade::{BatchProgress, LongText, Parts, Remark, TextTooLong};
pub use clinical_generate::{CancelFlag, Generation, Score, StopReason};
pub use clinical_llama::{Llama, LlamaConfig};
pub use clinical_prompts::MarkerPolicy;
pub use clinical_prompts::asclepius::Template;
pub use clinical_tokenizer::{AddedToken, Tokenizer, TokenizerRemark};
pub use clinical_weights::{LoadOptions, LoadReport, Precision, SaveOptions};
pub use error::{Error, Result};
pub use model::Asclepius;
pub use options::{AnswerOptions, Combine};
pub use process::{answer, model_dir};
pub use session::Session;
pub use style::{PromptStyle, Style};

/// The examples of the repository's README are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
