//! Everything that can go wrong.

use clinical_nn::LossError;
use clinical_nn::ModelError;

use crate::config::ConfigError;
use crate::facade::Head;

/// Everything that can go wrong in this crate. No message quotes a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `config.json` describes no encoder that can be built.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directory or its weights cannot be read, or do not fit the config.
    #[error(transparent)]
    Weights(#[from] clinical_weights::Error),
    /// A directory could not be written.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
    /// The directory's tokenizer cannot be read, or a text cannot be split.
    #[error(transparent)]
    Tokenizer(#[from] clinical_tokenizer::Error),
    /// A text that cannot be cut into windows.
    #[error(transparent)]
    Windows(#[from] clinical_notes::Error),
    /// Token ids that the model cannot read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Labels that no loss can be computed from.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// The directory holds a model for another job.
    #[error(
        "{job} needs {needed}, and this directory holds {found}: load a model that was trained for it"
    )]
    Head {
        /// What was asked for.
        job: &'static str,
        /// The head that does it.
        needed: Head,
        /// The head that the directory holds.
        found: Head,
    },
    /// The head that was asked for is not in the weights.
    #[error("the weights hold no {head}: they have no tensor `{tensor}`")]
    NoHead {
        /// The head.
        head: Head,
        /// A tensor that it would have.
        tensor: &'static str,
    },
    /// The config names more or fewer classes than the head has.
    #[error(
        "{names} label names for the {classes} classes of the head: correct `id2label` in config.json, or give the names when loading"
    )]
    LabelCount {
        /// Names.
        names: usize,
        /// Rows of the classifier.
        classes: usize,
    },
    /// The tokenizer lacks a token that every BERT needs.
    #[error("the tokenizer has no {token} token: it does not belong to a BERT")]
    NoSpecialToken {
        /// What is missing: start, separator.
        token: &'static str,
    },
    /// The model has fewer positions than one token with its special tokens takes.
    #[error(
        "the model reads at most {limit} tokens in a row, which leaves no room between the special tokens"
    )]
    NoRoom {
        /// The model's limit.
        limit: usize,
    },
    /// A text that the model cannot read in one piece, where the caller did not choose what to do with it.
    #[error(
        "text {index} has at least {tokens} tokens with its special tokens, and the model reads {limit}: shorten it, or choose windows or a cut in the options"
    )]
    TooLong {
        /// Which of the texts.
        index: usize,
        /// Its tokens, the special ones included; of a very long text not all are counted.
        tokens: usize,
        /// The model's limit.
        limit: usize,
    },
    /// Windows that would never reach the end of a text.
    #[error(
        "an overlap of {overlap} tokens leaves no progress in windows of {window} tokens: choose less than half of a window"
    )]
    Overlap {
        /// The overlap.
        overlap: usize,
        /// Tokens of the text in a window.
        window: usize,
    },
    /// Nothing to fill in.
    #[error("the text has no mask: write {mask} where a token is to be filled in")]
    NoMask {
        /// The tokenizer's mask token.
        mask: String,
    },
    /// An option that must be positive is zero.
    #[error("{option} is 0: give at least 1")]
    Zero {
        /// The option.
        option: &'static str,
    },
    /// A name that is none of those known.
    #[error("`{name}` is no {what}: known are {known}")]
    UnknownName {
        /// What was named.
        what: &'static str,
        /// The name, cut to 40 characters.
        name: String,
        /// The known names.
        known: &'static str,
    },
    /// A question without any token.
    #[error("the {part} is empty: there is nothing to {verb}")]
    Empty {
        /// `question` or `context`.
        part: &'static str,
        /// `ask` or `read`.
        verb: &'static str,
    },
    /// A question that leaves no room for the context.
    #[error(
        "the question has {tokens} tokens, and at most {limit} are read: ask a shorter one, or raise `max_question`"
    )]
    QuestionTooLong {
        /// Its tokens.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// Windows of a context that are too small.
    #[error(
        "`max_length` = {length} leaves {room} tokens for the context behind the question, fewer than the stride of {stride}: raise it, or lower `stride`"
    )]
    WindowTooSmall {
        /// `max_length`, the model's limit applied.
        length: usize,
        /// What is left for the context.
        room: usize,
        /// The stride.
        stride: usize,
    },
    /// A result that is no number.
    #[error(
        "the model gives values that are no numbers: its weights are damaged, or overflow in this precision (try f32)"
    )]
    NotFinite,
    /// A probability outside `[0, 1]`.
    #[error("{option} = {value} is no probability: give a number from 0 to 1")]
    Probability {
        /// The option.
        option: &'static str,
        /// Its value.
        value: f64,
    },
    /// Examples shorter than a pair of one-token texts.
    #[error(
        "max_seq_length = {length} is too short: two texts and three special tokens need at least {minimum}"
    )]
    SequenceTooShort {
        /// `max_seq_length`.
        length: usize,
        /// The least.
        minimum: usize,
    },
    /// A special token outside the vocabulary, or a vocabulary without tokens.
    #[error("token id {id} is outside the vocabulary of {vocabulary} tokens")]
    OutsideVocabulary {
        /// The id.
        id: u32,
        /// Tokens of the vocabulary.
        vocabulary: usize,
    },
    /// Predictions that do not belong to their example.
    #[error(
        "example {row} has {length} tokens, and its predictions are not one label for each of some of them"
    )]
    Predictions {
        /// The example in the batch.
        row: usize,
        /// Its tokens.
        length: usize,
    },
    /// The corpus cannot be read.
    #[error("the corpus cannot be read: {0}")]
    Corpus(std::io::Error),
}
