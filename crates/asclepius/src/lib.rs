#![doc = include_str!("../README.md")]

mod answer;
mod ask;
mod chat;
mod combine;
mod demo;
mod error;
mod head;
mod model;
mod options;
mod plan;
mod process;
mod prompt;
mod save;
mod session;
mod text;

pub use answer::{Answer, Usage, Window};
pub use clinical_generate::{Generation, Score, StopReason};
pub use clinical_prompts::MarkerPolicy;
pub use clinical_prompts::asclepius::Template;
pub use clinical_tokenizer::TokenizerRemark;
pub use clinical_weights::{LoadOptions, Precision};
pub use error::{Error, Result};
pub use model::Asclepius;
pub use options::{AnswerOptions, Combine, LongNote, PromptStyle};
pub use process::answer;
pub use session::Session;

/// The examples of the repository's README are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
