//! What can go wrong.

use clinical_facade::{CalibrationError, TextTooLong};

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A question that was not answered. No message quotes a note or a question.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory or its weights cannot be read.
    #[error(transparent)]
    Weights(#[from] clinical_weights::Error),
    /// A directory could not be written.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
    /// The tokenizer cannot be read, or cannot read a text.
    #[error(transparent)]
    Tokenizer(#[from] clinical_tokenizer::Error),
    /// `config.json` describes no model that can be built.
    #[error(transparent)]
    Config(#[from] clinical_llama::Error),
    /// The prompt refuses the note or the question.
    #[error(transparent)]
    Prompt(#[from] clinical_prompts::Error),
    /// The windows that were asked for cannot be made.
    #[error(transparent)]
    Windows(#[from] clinical_notes::Error),
    /// The model stopped with an error.
    #[error(transparent)]
    Generate(#[from] clinical_generate::Error),
    /// The note does not fit into the model's positions.
    #[error(transparent)]
    TooLong(#[from] TextTooLong),
    /// There is nothing of the note to read.
    #[error(
        "there is nothing of the note to read: it is empty, or a cut between words leaves none of it because its first \
         or last word alone is too long; give a note with text, or choose LongText::Windows"
    )]
    NothingLeft,
    /// The call was cancelled before anything was written.
    #[error("the call was cancelled before this answer began: ask again without the cancel flag")]
    Cancelled,
    /// Even without a note the question does not fit.
    #[error(
        "the question is too long: its prompt has at least {tokens} tokens without the note, and the model has room \
         for {room}; shorten the question"
    )]
    QuestionTooLong {
        /// Tokens of the prompt with an empty note; of a very long question not all are counted.
        tokens: usize,
        /// Tokens that a prompt may have.
        room: usize,
    },
    /// A text contains the spelling of a special token, which the tokenizer would read as one.
    #[error(
        "the {field} contains the special token `{token}` at byte {offset}; remove it, or choose MarkerPolicy::Escape"
    )]
    SpecialToken {
        /// `note`, `question`, `answer`, `message` or `text`.
        field: &'static str,
        /// The token.
        token: String,
        /// Byte offset in the text as given.
        offset: usize,
    },
    /// The chat template of the files cannot be used.
    #[error("{0}; or choose PromptStyle::Published")]
    ChatTemplate(#[from] clinical_chat::Error),
    /// A chat prompt was asked for, but the files have no template.
    #[error("this model has no chat template: choose PromptStyle::Published")]
    NoChatTemplate,
    /// There is no answer to score.
    #[error("the answer is empty: give the text of the answer that is to be scored")]
    NoAnswer,
    /// A threshold cannot be chosen, or a file with one cannot be used.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// No prompt style has this name.
    #[error(
        "unknown prompt style `{name}`: use auto, chat, asclepius, asclepius-training, not-fine-tuned, alpaca, \
         medalpaca or vicuna"
    )]
    UnknownPromptStyle {
        /// The name that was given.
        name: String,
    },
}
