//! What can go wrong.

use std::path::PathBuf;

use crate::writer::Cause;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a run stopped, or a file cannot be used. No message quotes a note, a question or an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written, or is not as it was said to be.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
    /// A CSV file is not as it was said to be.
    #[error("{}: {source}", .path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: clinical_files::Error,
    },
    /// The notes, or the answers to judge, could not be given.
    #[error("item {row} (the first is 1) could not be read: {cause}")]
    Input {
        /// Which item.
        row: usize,
        /// What the reader said.
        cause: Cause,
    },
    /// The model did not write.
    #[error(
        "the model stopped at item {row} (the first is 1): {cause}; the same call goes on there"
    )]
    Writer {
        /// Which note or answer.
        row: usize,
        /// What the model said.
        cause: Cause,
    },
    /// A run is gone on with, and its input is another one.
    #[error(
        "item {row} (the first is 1) is not the one with which {} was begun: give the same input, or another output",
        .path.display()
    )]
    OtherInput {
        /// The unfinished output.
        path: PathBuf,
        /// The first item that differs.
        row: usize,
    },
    /// A line of a file of this crate is damaged.
    #[error("line {line} of {} is none that this library wrote", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An output whose name does not say its format.
    #[error("{} does not end in .csv, .json or .jsonl: name the format so", .path.display())]
    Format {
        /// The output.
        path: PathBuf,
    },
    /// A `ROW_ID` that is none.
    #[error("the ROW_ID of question {row} (the first is 1) is no whole number")]
    RowId {
        /// Which question.
        row: usize,
    },
    /// Questions about notes that the file of notes does not have.
    #[error(
        "{missing} questions are about notes that are not there, the first about ROW_ID {first}: give all notes"
    )]
    NoNote {
        /// How many questions.
        missing: usize,
        /// The first `ROW_ID`, in order of the numbers.
        first: u64,
    },
    /// An item to judge has another number of answers than there are models.
    #[error("item {row} (the first is 1) has {found} answers, and there are {models} models")]
    AnswerCount {
        /// Which item.
        row: usize,
        /// Its answers.
        found: usize,
        /// The models.
        models: usize,
    },
    /// Nothing, or too much, to judge at once.
    #[error("{found} models are named: a judge compares 1 to 26")]
    ModelCount {
        /// How many are named.
        found: usize,
    },
    /// Two judges did not judge the same.
    #[error(
        "the two judges scored different items or models: give two results on the same answers"
    )]
    NotTheSame,
    /// The scores say nothing.
    #[error(transparent)]
    Metrics(#[from] clinical_tasks::Error),
}
