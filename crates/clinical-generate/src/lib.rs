#![doc = include_str!("../README.md")]

// Tests of both kinds use one model for tests.
#[cfg(test)]
extern crate self as clinical_generate;

mod answer;
mod batch;
mod beam;
mod call;
mod chooser;
mod config;
mod constraint;
mod control;
mod distribution;
mod engine;
mod error;
#[cfg(feature = "grammar")]
mod grammar;
mod logits;
mod math;
mod model;
mod output;
mod prefix;
mod processors;
mod queue;
mod rank;
mod reader;
mod request;
mod row;
mod sampler;
mod scheduler;
mod score;
mod shortlist;
mod text;
mod validate;

pub use batch::Each;
pub use clinical_nn::{CancelFlag, ModelError};
pub use config::{EarlyStopping, Generation};
pub use constraint::{Allowed, Constraint, Matcher, TokenMask};
pub use control::Processor;
pub use distribution::distribution;
pub use engine::{Engine, EngineLoad, EngineOptions};
pub use error::Error;
#[cfg(feature = "grammar")]
pub use grammar::{Grammar, TokenBytes};
pub use model::StepModel;
pub use output::{Cancel, Generated, Step, StopReason, TopToken};
pub use prefix::Prefix;
pub use queue::{generate, generate_each, generate_many};
pub use request::{Request, Ticket};
pub use score::{Score, score, score_batch, score_candidates};
pub use text::{EndTokens, TextDecoder, TextStream};
