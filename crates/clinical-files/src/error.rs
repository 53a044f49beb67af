//! What can go wrong. No message quotes what is in a file.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

#[cfg(feature = "csv")]
use crate::csv::{Encoding, Separator};

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One rule that a path, a file or a folder broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("cannot read {}: {cause}; {}", .path.display(), advice(.cause, "who may read it"))]
    Read {
        /// The file, or "the input" for a reader without a name.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A file or folder could not be created, written or put in its place.
    #[error("cannot write {}: {cause}; {}", .path.display(), advice(.cause, "who may write there"))]
    Write {
        /// The file or folder, or "the output" for a writer without a name.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A path that must name a regular file names a folder, a pipe or a device.
    #[error("{} exists and is not a regular file: name a file", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },

    /// A path that must name a folder names something else.
    #[error("{} exists and is not a folder: name a folder", .path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },

    /// A path ends in `..`, or is the root.
    #[error("{} has no name of its own: write the name of the file or folder at its end", .path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },

    /// A file is larger than its kind may be.
    #[error("{} has {bytes} bytes, and at most {limit} are read: check that it is the right file", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, or as much of it as was read.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },

    /// Another process, or another thread of this one, is writing the same output.
    #[error("another process is writing {}: wait until it has finished, or name another output", .path.display())]
    InUse {
        /// The output.
        path: PathBuf,
    },

    /// The output is the input, perhaps through a link.
    #[error(
        "the output {} is also an input, or another output, which would be replaced: name another file",
        .path.display()
    )]
    OutputIsInput {
        /// The output.
        path: PathBuf,
    },

    /// An unfinished output belongs to another run.
    #[error(
        "{} was begun by another run (other notes, another model or other options): go on with that run, or remove the \
         file",
        .path.display()
    )]
    OtherRun {
        /// The unfinished output.
        path: PathBuf,
    },

    /// A name is none of those that can be chosen.
    #[cfg(feature = "csv")]
    #[error("there is no {what} {name}: choose one of {choices}")]
    UnknownChoice {
        /// What was to be chosen.
        what: &'static str,
        /// The name, escaped and cut.
        name: String,
        /// The names that can be chosen.
        choices: &'static str,
    },

    /// The input is compressed, or no text at all.
    #[cfg(feature = "csv")]
    #[error("the input is {found}, not CSV text: {remedy}")]
    NotCsv {
        /// What the first bytes say it is.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },

    /// The first bytes are those of another encoding.
    #[cfg(feature = "csv")]
    #[error(
        "the input was to be read as {chosen}, but its first bytes are {found}: choose the encoding {found}"
    )]
    WrongEncoding {
        /// What was chosen.
        chosen: Encoding,
        /// What it is.
        found: Encoding,
    },

    /// The header is written with another separator.
    #[cfg(feature = "csv")]
    #[error(
        "the header has no {} between its columns but {}: choose the separator {found}",
        chosen.shown(),
        found.shown()
    )]
    WrongSeparator {
        /// What was chosen.
        chosen: Separator,
        /// What the header has.
        found: Separator,
    },

    /// The input holds no header line.
    #[cfg(feature = "csv")]
    #[error("the input is empty: a CSV file with a header line is needed")]
    NoHeader,

    /// No column has the wanted name.
    #[cfg(feature = "csv")]
    #[error(
        "the header has {columns} column{} and none is named {column}: name one that is there{}",
        if *columns == 1 { "" } else { "s" },
        similar.as_ref().map(|name| format!(", perhaps {name}")).unwrap_or_default()
    )]
    NoColumn {
        /// The name that was looked for, escaped and cut.
        column: String,
        /// How many columns there are.
        columns: usize,
        /// A column whose name differs in case or white space only.
        similar: Option<String>,
    },

    /// A row has more or fewer columns than the header.
    #[cfg(feature = "csv")]
    #[error(
        "{at} has {found} columns but the header has {expected}: check its quotes and separators"
    )]
    RowWidth {
        /// Which row.
        at: RowAt,
        /// Its columns.
        found: usize,
        /// The header's columns.
        expected: usize,
    },

    /// A row is longer than the limit, which mostly means that a quote is never closed.
    #[cfg(feature = "csv")]
    #[error("{at} is longer than {limit} bytes: check whether a quote in it is never closed")]
    RowTooLong {
        /// Which row.
        at: RowAt,
        /// The limit in bytes.
        limit: usize,
    },

    /// The input ends inside a quoted field.
    #[cfg(feature = "csv")]
    #[error(
        "the input ends inside a quoted field of {at}: the file is cut off, or a quote is never closed"
    )]
    UnclosedQuote {
        /// Which row.
        at: RowAt,
    },

    /// Text follows a closing quote.
    #[cfg(feature = "csv")]
    #[error(
        "text follows the closing quote of a field in {at}, at line {line}: {}",
        match backslash {
            true => "if quotes are written with a backslash, as Spark and MySQL do, choose the quoting backslash",
            false => "a quote in or before it is missing, or not doubled",
        }
    )]
    TextAfterQuote {
        /// Which row.
        at: RowAt,
        /// The line with the text, from 1.
        line: u64,
        /// Whether a backslash stands before the quote.
        backslash: bool,
    },

    /// A field that does not begin with a quote has an odd number of them.
    #[cfg(feature = "csv")]
    #[error(
        "a field without quotes around it has an odd number of them in {at}, at line {line}: a quote in or before it \
         is missing, or, if quotes mean nothing in this file, choose the quoting none"
    )]
    OddQuote {
        /// Which row.
        at: RowAt,
        /// The line with the quote, from 1.
        line: u64,
    },

    /// A field is not text in the chosen encoding.
    #[cfg(feature = "csv")]
    #[error(
        "column {column} of {at} is not {encoding} at byte {offset}: choose the encoding of the file, such as \
         windows-1252{}",
        match encoding {
            Encoding::Utf8 => ", or utf-8-lossy to replace what is broken",
            _ => "",
        }
    )]
    NotText {
        /// Which row.
        at: RowAt,
        /// The column's name, escaped and cut.
        column: String,
        /// The encoding.
        encoding: Encoding,
        /// The first wrong byte, from the start of the field in UTF-8.
        offset: usize,
    },
}

impl Error {
    /// Whether the error is about one row and those after it can be read all the same. After other errors of reading
    /// CSV nobody knows where the next row begins.
    #[cfg(feature = "csv")]
    #[must_use]
    pub fn is_about_one_row(&self) -> bool {
        matches!(self, Self::RowWidth { .. } | Self::NotText { .. })
    }

    /// Names the file in an error about "the input".
    #[must_use]
    pub fn with_input(mut self, input: &Path) -> Self {
        if let Self::Read { path, .. } = &mut self
            && path == Path::new("the input")
        {
            input.clone_into(path);
        }
        self
    }

    /// Names the file in an error about "the output".
    #[must_use]
    pub fn with_output(mut self, output: &Path) -> Self {
        if let Self::Write { path, .. } = &mut self
            && path == Path::new("the output")
        {
            output.clone_into(path);
        }
        self
    }
}

/// Where a row of a CSV file is.
#[cfg(feature = "csv")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowAt {
    /// Number of the row, from 1; 0 for the header.
    pub row: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
}

#[cfg(feature = "csv")]
impl std::fmt::Display for RowAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.row {
            0 => f.write_str("the header"),
            row => write!(
                f,
                "row {row} (the header is not counted; it begins at line {})",
                self.line
            ),
        }
    }
}

/// What can be done about an error of the system; `who` is what to check where something is forbidden.
fn advice(cause: &io::Error, who: &'static str) -> &'static str {
    match cause.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "check the path",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there",
        ErrorKind::FileTooLarge => "the limit on the size of a file is too low for it",
        ErrorKind::ReadOnlyFilesystem => "name a place that can be written",
        ErrorKind::OutOfMemory => "the process may not take more memory",
        ErrorKind::PermissionDenied => match who {
            "who may read it" => "check who may read it",
            _ => "check who may write there",
        },
        _ => "try again, or look at the disk",
    }
}
