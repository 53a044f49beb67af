#![doc = include_str!("../README.md")]

mod beam;
mod config;
mod constraint;
mod control;
mod decode;
mod distribution;
mod error;
#[cfg(feature = "grammar")]
mod grammar;
mod math;
mod model;
mod output;
mod prefix;
mod processors;
mod queue;
mod rank;
mod row;
mod sampler;
mod score;
mod shortlist;
mod text;
mod validate;

pub use clinical_nn::{CancelFlag, ModelError};
pub use config::{EarlyStopping, Generation};
pub use constraint::{Allowed, Constraint, Matcher, TokenMask};
pub use control::Processor;
pub use decode::generate;
pub use distribution::distribution;
pub use error::Error;
#[cfg(feature = "grammar")]
pub use grammar::{Grammar, TokenBytes};
pub use model::StepModel;
pub use output::{Cancel, Generated, Step, StopReason};
pub use prefix::Prefix;
pub use queue::{Each, generate_each, generate_many};
pub use score::{Score, score, score_batch, score_candidates};
pub use text::{EndTokens, TextDecoder, TextStream};
