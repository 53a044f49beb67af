#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod clip;
pub mod entities;
pub mod mednli;
pub mod metrics;
pub mod radqa;

mod error;
mod literal;
mod portions;
mod random;
mod rows;
mod source;

pub use error::{Error, FieldAt, Result, RowOf};
pub use portions::{LOW_DATA_PERCENT, Portion, Portions, low_data, shots};
pub use rows::{ClassRow, RowOptions, SpanRow, WordRow, WritingRow, short_enough};
pub use source::{MAX_FIELD_BYTES, MAX_FILE_BYTES};
