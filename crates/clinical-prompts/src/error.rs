//! What can be wrong with the texts of a prompt.

use std::fmt;

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// One rule of a prompt that its texts broke. No message quotes a note or a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that the prompt asks about is empty or only white space.
    #[error("the {field} is empty; give the prompt some text to work on")]
    Empty {
        /// The empty text.
        field: Field,
    },

    /// A text contains a marker of the prompt it goes into, so it could end its block early.
    #[error(
        "the {field} contains the prompt marker `{marker}` at byte {offset}; \
         remove it, or choose MarkerPolicy::Escape (or Allow, if the text is trusted)"
    )]
    MarkerInText {
        /// The text that contains the marker.
        field: Field,
        /// The marker as the template spells it (the text may use other case or spacing).
        marker: &'static str,
        /// Byte offset of the marker in the text as it was given.
        offset: usize,
    },

    /// No template of this family has this number.
    #[error("there is no {family} template number {number}; the published numbers are {known:?}")]
    UnknownTemplate {
        /// The family, for example `MedNLI zero-shot`.
        family: &'static str,
        /// The number that was asked for.
        number: u8,
        /// The numbers that exist.
        known: &'static [u8],
    },

    /// A few-shot template was given the wrong number of solved examples.
    #[error("{family} template {number} shows {expected} solved examples, but got {found}")]
    ExampleCount {
        /// The family, for example `MedNLI few-shot`.
        family: &'static str,
        /// The template.
        number: u8,
        /// How many examples the published template shows.
        expected: usize,
        /// How many examples were given.
        found: usize,
    },

    /// A text is not one of the fixed names of a label or a task.
    #[error("the text is not the name of a {kind}; compare with the names in ALL")]
    UnknownName {
        /// What was looked for, for example `MedNLI label`.
        kind: &'static str,
    },

    /// The judging prompt names its answers by one capital letter each.
    #[error("the judging prompt compares 1 to 26 answers, but got {found}")]
    AnswerCount {
        /// How many answers were given.
        found: usize,
    },

    /// The order in which answers are shown is not a permutation of the answers.
    #[error("the order must name each of the {answers} answers exactly once")]
    AnswerOrder {
        /// How many answers there are.
        answers: usize,
    },

    /// The judge wrote something else than a score from 1 to 4.
    #[error("value {position} of the judge's reply is not a score from 1 to 4; ask again")]
    NotAScore {
        /// Which value of the reply, counted from 1.
        position: usize,
    },
}

/// The text of a prompt that an [`Error`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The clinical note (discharge summary).
    Note,
    /// The question or instruction.
    Question,
    /// The case report that a note is generated from.
    CaseReport,
    /// The sample questions of the instruction-generation prompt, by position from 0.
    Sample(usize),
    /// An answer shown to the judge, by position from 0 in the caller's order.
    Answer(usize),
    /// MedNLI `sentence1`.
    Premise,
    /// MedNLI `sentence2`.
    Hypothesis,
    /// RadQA report.
    Context,
    /// CLIP text around the sentence.
    Chunk,
    /// CLIP sentence.
    Sentence,
    /// A solved example of a few-shot prompt, by position from 0.
    Example(usize),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note => f.write_str("note"),
            Self::Question => f.write_str("question"),
            Self::CaseReport => f.write_str("case report"),
            Self::Sample(i) => write!(f, "sample question {}", i + 1),
            Self::Answer(i) => write!(f, "answer {}", i + 1),
            Self::Premise => f.write_str("premise"),
            Self::Hypothesis => f.write_str("hypothesis"),
            Self::Context => f.write_str("context"),
            Self::Chunk => f.write_str("chunk"),
            Self::Sentence => f.write_str("sentence"),
            Self::Example(i) => write!(f, "solved example {}", i + 1),
        }
    }
}
