//! What can go wrong with a note or a corpus file.

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// One rule that a note, an argument or a file broke. No message quotes a note.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The published section splitter fails: it counted more list items than it can find. The
    /// published pipeline silently loses the whole note.
    #[error("the published splitter fails on an enumerated list of this note; use Mode::Fixed")]
    ListCount,

    /// The published section splitter fails: the note ends after its line of dates. The published
    /// pipeline silently loses the whole note.
    #[error("the published splitter fails on a note with nothing after its dates; use Mode::Fixed")]
    NothingAfterDates,

    /// A window cannot hold even one character.
    #[error(
        "a budget of {budget} tokens cannot hold the character at byte {offset}; raise the budget"
    )]
    Budget {
        /// The budget in tokens.
        budget: usize,
        /// Byte offset of the character in the note.
        offset: usize,
    },

    /// Windows that repeat as much as they hold make no progress.
    #[error("an overlap of {overlap} tokens must be less than the budget of {budget} tokens")]
    Overlap {
        /// The overlap in tokens.
        overlap: usize,
        /// The budget in tokens.
        budget: usize,
    },

    /// The file could not be read.
    #[cfg(feature = "csv")]
    #[error("the file could not be read after {records} records")]
    Read {
        /// How many records were read before.
        records: u64,
        /// The reason.
        source: std::io::Error,
    },

    /// The header line lacks a column.
    #[cfg(feature = "csv")]
    #[error("the header line has no column {column}; check that this is the right file")]
    MissingColumn {
        /// The column, as the data set spells it.
        column: &'static str,
    },

    /// A record has another number of fields than the header line.
    #[cfg(feature = "csv")]
    #[error("record {record} has {found} fields, but the header line has {expected}")]
    FieldCount {
        /// Which record, counted from 1 without the header line.
        record: u64,
        /// The number of columns of the header line.
        expected: usize,
        /// The number of fields of the record.
        found: usize,
    },

    /// A field is not UTF-8.
    #[cfg(feature = "csv")]
    #[error("column {column} of record {record} is not UTF-8; convert the file first")]
    NotUtf8 {
        /// Which record, counted from 1 without the header line.
        record: u64,
        /// The column.
        column: &'static str,
    },

    /// A field that must be a whole number is not one.
    #[cfg(feature = "csv")]
    #[error("column {column} of record {record} is not a whole number")]
    NotANumber {
        /// Which record, counted from 1 without the header line.
        record: u64,
        /// The column.
        column: &'static str,
    },

    /// A field that must be a time is not one.
    #[cfg(feature = "csv")]
    #[error("column {column} of record {record} is not a time like 2150-01-31 23:59:00")]
    NotATime {
        /// Which record, counted from 1 without the header line.
        record: u64,
        /// The column.
        column: &'static str,
    },

    /// A record is larger than any note.
    #[cfg(feature = "csv")]
    #[error("record {record} is larger than {limit} bytes; look for a missing quote before it")]
    RecordSize {
        /// Which record, counted from 1 without the header line.
        record: u64,
        /// The limit, [`corpus::MAX_RECORD`](crate::corpus::MAX_RECORD).
        limit: u64,
    },

    /// A line of a list of row numbers is not a number.
    #[cfg(feature = "csv")]
    #[error("line {line} of the list is not a row number")]
    NotARowNumber {
        /// Which line, counted from 1.
        line: usize,
    },
}
