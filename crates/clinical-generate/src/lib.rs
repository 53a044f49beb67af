#![doc = include_str!("../README.md")]

mod beam;
mod config;
mod constraint;
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
mod row;
mod sampler;
mod score;
mod text;

pub use config::{CancelFlag, EarlyStopping, Generation, Processor};
pub use constraint::{Allowed, Constraint, Matcher, TokenMask};
pub use decode::generate;
pub use distribution::distribution;
pub use error::GenerateError;
#[cfg(feature = "grammar")]
pub use grammar::{Grammar, TokenBytes};
pub use model::{ModelError, StepModel};
pub use output::{Cancel, Generated, Step, StopReason};
pub use prefix::Prefix;
pub use queue::generate_many;
pub use score::{Score, score, score_batch, score_candidates};
pub use text::{EndTokens, TextDecoder, TextStream};
