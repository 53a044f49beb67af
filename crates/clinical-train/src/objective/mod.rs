//! Objectives: what a model reads, and which tokens it learns.

pub mod causal;
mod pieces;
pub mod seq2seq;
pub mod span_corruption;
mod truncation;

pub use pieces::Pieces;
pub use truncation::Truncation;
