//! What can go wrong with a note or a corpus file.

#[cfg(feature = "csv")]
use clinical_files::RowAt;

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

    /// The file could not be read, or is not CSV as it was said to be, or a row is not.
    #[cfg(feature = "csv")]
    #[error(transparent)]
    Files(#[from] clinical_files::Error),

    /// A field that must be a whole number is not one.
    #[cfg(feature = "csv")]
    #[error("column {column} of {at} is not a whole number")]
    NotANumber {
        /// Which row.
        at: RowAt,
        /// The column.
        column: &'static str,
    },

    /// A field that must be a time is not one.
    #[cfg(feature = "csv")]
    #[error("column {column} of {at} is not a time like 2150-01-31 23:59:00")]
    NotATime {
        /// Which row.
        at: RowAt,
        /// The column.
        column: &'static str,
    },

    /// A field that must be yes or no is neither.
    #[cfg(feature = "csv")]
    #[error("column {column} of {at} is neither 1 nor 0, nor true or false")]
    NotAFlag {
        /// Which row.
        at: RowAt,
        /// The column.
        column: &'static str,
    },

    /// A line of a list of row numbers is not a number.
    #[cfg(feature = "csv")]
    #[error("line {line} of the list is not a row number")]
    NotARowNumber {
        /// Which line, counted from 1.
        line: usize,
    },
}

#[cfg(feature = "csv")]
impl Error {
    /// Whether the error is about one row of a corpus file, after which reading goes on.
    #[must_use]
    pub fn is_about_one_row(&self) -> bool {
        match self {
            Self::Files(error) => error.is_about_one_row(),
            Self::NotANumber { .. } | Self::NotATime { .. } | Self::NotAFlag { .. } => true,
            _ => false,
        }
    }
}
