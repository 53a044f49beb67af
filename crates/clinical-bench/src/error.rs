//! What can go wrong.

use clinical_nn::ModelError;
use clinical_weights::Precision;

use crate::{Shape, Workload};

/// A measurement that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a known name nor a file.
    #[error(
        "`{name}` is neither a known shape ({}) nor a config.json that can be read: {source}",
        Shape::NAMES.join(", ")
    )]
    UnknownShape {
        /// What was asked for.
        name: String,
        /// Why it is no file either.
        source: std::io::Error,
    },
    /// The file holds no config of a supported model.
    #[error("{path} is not the config.json of a T5, a LLaMA or a BERT: {reason}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The workload is not known.
    #[error("unknown workload `{name}`: use encode, prefill, decode, greedy, forward or train")]
    UnknownWorkload {
        /// What was asked for.
        name: String,
    },
    /// The model has no such workload.
    #[error(
        "`{workload}` does not apply to {model}: see the table in the README of clinical-bench"
    )]
    NotForThisModel {
        /// What was asked for.
        workload: Workload,
        /// The model.
        model: String,
    },
    /// Packed weights cannot be trained.
    #[error(
        "a model in precision {precision} cannot be trained: use f32, f16 or bf16, or train adapters (--lora-rank)"
    )]
    Precision {
        /// What was asked for.
        precision: Precision,
    },
    /// A count is zero.
    #[error("{field} must be at least 1")]
    Zero {
        /// The argument.
        field: &'static str,
    },
    /// Rows and their tokens are more than any machine can hold.
    #[error("{batch} rows of {length} tokens are too many")]
    TooLarge {
        /// Rows.
        batch: usize,
        /// Tokens of a row.
        length: usize,
    },
    /// The model refused the input.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The engine refused the input.
    #[error(transparent)]
    Generate(#[from] clinical_generate::Error),
    /// The loss cannot be computed, or the model not be built.
    #[error("{0}")]
    Build(String),
    /// Text could not be measured.
    #[error("{0}")]
    Quality(String),
}
