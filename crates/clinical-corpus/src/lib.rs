#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod columns;
mod error;
mod job;
#[cfg(feature = "parquet")]
mod parquet;
mod record;
mod resume;
mod texts;
mod value;

pub use columns::{Columns, Kind};
pub use error::{Error, Result};
pub use job::{Done, Job, Progress};
pub use record::{ReadError, Record};
pub use texts::{Text, Texts, unique};
pub use value::{Row, Value};

pub use clinical_files::csv::{CsvOptions, Encoding, Quoting, Separator};
