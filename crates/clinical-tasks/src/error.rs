//! What can go wrong with the files, inputs and predictions of a task. No message holds text of a file.

use std::fmt;
use std::path::PathBuf;

use clinical_files::RowAt;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One rule that a file, an argument or a prediction broke.
///
/// Messages name the file, the row and the column, never what stands there: it may be text of a patient. Names of
/// columns are those of the published formats.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read, or is larger than such files are.
    #[error(transparent)]
    File(#[from] clinical_files::Error),

    /// A CSV file is not as it was said to be.
    #[error("{}: {source}", .path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: clinical_files::Error,
    },

    /// A file is compressed, or text in another encoding.
    #[error("{} is {found}, not UTF-8 text: {remedy}", .path.display())]
    WrongFormat {
        /// The file.
        path: PathBuf,
        /// What its first bytes say it is.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },

    /// A line is not UTF-8.
    #[error("{at} is not UTF-8 at byte {offset}: convert the file to UTF-8, or fetch it again")]
    NotText {
        /// Which line.
        at: FieldAt,
        /// The first wrong byte, from the start of the line.
        offset: usize,
    },

    /// A line or a file is not JSON.
    #[error("{at}: {problem} at character {column}")]
    NotJson {
        /// Which line.
        at: FieldAt,
        /// What is wrong.
        problem: &'static str,
        /// Where in the line, from 1.
        column: usize,
    },

    /// A file holds no example.
    #[error("{} holds no {what}: check that it is the right file, and whole", .path.display())]
    NoExamples {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },

    /// A field that must be there is not.
    #[error("{at} is missing: check that it is the right file")]
    Missing {
        /// Where it should be.
        at: FieldAt,
    },

    /// A field is of another type.
    #[error("{at} is not {expected}")]
    WrongType {
        /// Where.
        at: FieldAt,
        /// What it should be.
        expected: &'static str,
    },

    /// A label that the task does not have.
    #[error("{at} is an unknown label, {label}: the labels are {known}")]
    UnknownLabel {
        /// Where.
        at: FieldAt,
        /// The label in quotes if it can only be one; otherwise its length, since it may be text of a note.
        label: String,
        /// The labels of the task.
        known: String,
    },

    /// A field is far longer than those of such a file.
    #[error(
        "{at} has {bytes} bytes, and at most {limit} are read: check whether a quote is missing"
    )]
    TooLong {
        /// Where.
        at: FieldAt,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },

    /// A text that must say something is blank.
    #[error("{at} is blank")]
    Blank {
        /// Where.
        at: FieldAt,
    },

    /// The same name stands twice.
    #[error("{at} was there before, in {first}: each may stand once")]
    Duplicate {
        /// Where it stands again.
        at: FieldAt,
        /// Where it stood first.
        first: Box<FieldAt>,
    },

    /// An answer does not stand in its report where it says.
    #[error(
        "{at} does not stand at character {start} of its report: check that starts count characters, not bytes"
    )]
    NotInContext {
        /// Which answer.
        at: FieldAt,
        /// Its start, in characters.
        start: usize,
    },

    /// A field that Python wrote is not a list or a dictionary of Python.
    #[error("{at} is not written as Python writes it: {expected} is needed at byte {offset}")]
    NotALiteral {
        /// Where.
        at: FieldAt,
        /// What should stand there.
        expected: &'static str,
        /// The byte in the field.
        offset: usize,
    },

    /// A list of notes names one that is not there.
    #[error("{at} names a note that the sentences do not have")]
    NoNote {
        /// Where.
        at: FieldAt,
    },

    /// A line does not have the parts of its format.
    #[error("{at} is not {expected}")]
    WrongLine {
        /// Which line.
        at: FieldAt,
        /// What it should be.
        expected: &'static str,
    },

    /// A concept's words are not those of the note, or not in it.
    #[error("{at} is not what the note has there")]
    OtherWords {
        /// Which concept.
        at: FieldAt,
    },

    /// Two concepts share a word, which labels of words cannot say.
    #[error("{at} shares a word with another concept")]
    Overlap {
        /// Which concept.
        at: FieldAt,
    },

    /// Two folders that go together do not hold the same files.
    #[error("{} has no partner: each .txt file needs a .con file of the same name", .path.display())]
    NoPartner {
        /// The file.
        path: PathBuf,
    },

    /// Tags of a text could not be converted.
    #[error("{what}: {source}")]
    Deid {
        /// Which text, by its number or id.
        what: String,
        /// Why.
        source: clinical_deid::Error,
    },

    /// A text does not fit its prompt.
    #[error("{what}: {source}")]
    Prompt {
        /// Which example, by its id.
        what: String,
        /// Why.
        source: clinical_prompts::Error,
    },

    /// The published code fails on this example.
    #[error(
        "{what}: the published code fails here, {why}; choose the rule that is not the published one"
    )]
    PublishedFails {
        /// Which example.
        what: String,
        /// Where it fails.
        why: &'static str,
    },

    /// A number of tokens leaves no room for a text.
    #[error("{tokens} tokens cannot hold a sentence and its surroundings: give at least {least}")]
    Budget {
        /// The tokens.
        tokens: usize,
        /// The least.
        least: usize,
    },

    /// A part of a data set that cannot be taken.
    #[error("{percent} % is no part of a data set: give 1 to 100")]
    Percent {
        /// What was asked for.
        percent: u32,
    },

    /// More examples are wanted than there are.
    #[error("{wanted} examples were asked for, and there are {found}")]
    TooFew {
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        found: usize,
    },

    /// Predictions and references are not of one number.
    #[error("there are {predicted} predictions for {truth} references")]
    Lengths {
        /// References.
        truth: usize,
        /// Predictions.
        predicted: usize,
    },

    /// There is nothing to measure.
    #[error("there is nothing to measure: no reference was given")]
    Nothing,

    /// A question has no prediction. The published script passes over such questions and says so in its output only.
    #[error("question {index} (the first is 0) has no prediction")]
    NoPrediction {
        /// Index of the question.
        index: usize,
    },

    /// A score is not a number.
    #[error("score {index} (the first is 0) is not a number")]
    NotANumber {
        /// Index of the score.
        index: usize,
    },

    /// A row of labels has another number of them.
    #[error("row {row} (the first is 0) has {found} labels, not {expected}")]
    LabelCount {
        /// Index of the row.
        row: usize,
        /// Its labels.
        found: usize,
        /// The labels of the first row.
        expected: usize,
    },

    /// A rater gave a category that there is not.
    #[error("category {category} is not among 0 to {}", categories.saturating_sub(1))]
    Category {
        /// The category.
        category: usize,
        /// How many there are.
        categories: usize,
    },

    /// An option of a test that makes no sense.
    #[error("{what}")]
    Option {
        /// What is wrong.
        what: &'static str,
    },
}

/// Where in a file something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldAt {
    /// The file.
    pub file: PathBuf,
    /// The row or line.
    pub row: RowOf,
    /// The column, or the path of a field in a JSON file, such as `data[0].paragraphs[2].context`; empty for all of a
    /// row.
    pub column: String,
}

/// A row of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowOf {
    /// The file as a whole.
    File,
    /// A line, from 1.
    Line(u64),
    /// A row of a CSV file.
    Csv(RowAt),
}

impl fmt::Display for FieldAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        match self.row {
            RowOf::File => {}
            RowOf::Line(line) => write!(f, ", line {line}")?,
            RowOf::Csv(at) => write!(f, ", {at}")?,
        }
        match &*self.column {
            "" => Ok(()),
            column => write!(f, ", {column}"),
        }
    }
}

/// How an unknown label is named in an error: quoted if it can only be a label.
pub(crate) fn label(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !text.is_empty() && text.len() <= 24 && text.bytes().all(plain) {
        format!("\"{text}\"")
    } else {
        format!("a text of {} characters", text.chars().count())
    }
}
