//! What can go wrong with a job. No message quotes a note.

use std::path::PathBuf;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error of the caller's.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a job stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written, or belongs to another run.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),

    /// A record could not be read.
    #[error("record {number} cannot be read: {cause}")]
    Read {
        /// Which record of those that were given, from 1.
        number: u64,
        /// Why.
        cause: Cause,
    },

    /// The function failed for a record.
    #[error("record {number}{} failed: {cause}", name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default())]
    Record {
        /// Which record of those that were given, from 1.
        number: u64,
        /// What the record is called.
        name: Option<String>,
        /// Why.
        cause: Cause,
    },

    /// The function gave results for more or fewer records than it got.
    #[error(
        "the function gave {found} results for {expected} records: give one result for each, in order"
    )]
    ResultCount {
        /// Records that it got.
        expected: usize,
        /// Results that it gave.
        found: usize,
    },

    /// A row does not have the columns of the job.
    #[error("a row for record {number} has {found} values, but the job has {expected} columns")]
    RowLength {
        /// Which record, from 1.
        number: u64,
        /// Values of the row.
        found: usize,
        /// Columns of the job.
        expected: usize,
    },

    /// A value is of another kind than its column.
    #[error(
        "a row for record {number} has a value of another kind in column {column}, which holds {kind}"
    )]
    ValueKind {
        /// Which record, from 1.
        number: u64,
        /// The column.
        column: String,
        /// What the column holds.
        kind: String,
    },

    /// The job has no columns, or two of one name, or a vector without values.
    #[error(
        "the columns of a job need names, each its own, and vectors at least one value: {column} breaks that"
    )]
    Columns {
        /// The column at fault, or "a job without columns".
        column: String,
    },

    /// A chunk of no records.
    #[error("a chunk needs at least one record")]
    EmptyChunk,

    /// A Parquet file was asked for in a build that cannot write one.
    #[error("{} would be a Parquet file, which this build cannot write: build with --features parquet", path.display())]
    NoParquet {
        /// The output.
        path: PathBuf,
    },

    /// A Parquet file could not be written.
    #[cfg(feature = "parquet")]
    #[error("the Parquet file {} cannot be written: {cause}", path.display())]
    Parquet {
        /// The output.
        path: PathBuf,
        /// Why.
        cause: ::parquet::errors::ParquetError,
    },
}
