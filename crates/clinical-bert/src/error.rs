//! Everything that can go wrong.

use clinical_facade::TextTooLong;
use clinical_nn::LossError;
use clinical_nn::ModelError;

use crate::TaskHead;
use crate::config::PROBLEM_TYPES;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in this crate. No message quotes a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not the JSON of a config.
    #[error("config.json cannot be understood: {0}; compare it with that of a published BERT")]
    ConfigJson(serde_json::Error),
    /// A number is zero or beyond its limit.
    #[error("config.json says {field} = {value}; it must be between 1 and {limit}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The limit.
        limit: usize,
    },
    /// The width does not divide into the attention heads.
    #[error(
        "config.json says hidden_size = {hidden} and num_attention_heads = {heads}, which does not divide"
    )]
    AttentionHeads {
        /// `hidden_size`.
        hidden: usize,
        /// `num_attention_heads`.
        heads: usize,
    },
    /// The norm's epsilon is no small positive number.
    #[error("config.json says layer_norm_eps = {value}; it must be positive and below 1")]
    Epsilon {
        /// `layer_norm_eps`.
        value: f64,
    },
    /// A rate of dropout that is no probability below 1.
    #[error("config.json says {field} = {rate}; it must be at least 0 and below 1")]
    Dropout {
        /// The key.
        field: &'static str,
        /// The rate.
        rate: f64,
    },
    /// An activation that no published BERT uses.
    #[error(
        "config.json says hidden_act = `{found}`; known are gelu, gelu_new, gelu_pytorch_tanh, relu, silu"
    )]
    Activation {
        /// `hidden_act`.
        found: String,
    },
    /// Scores of a kind that `transformers` does not know.
    #[error("config.json says problem_type = `{found}`; known are {}", PROBLEM_TYPES.join(", "))]
    ProblemType {
        /// `problem_type`.
        found: String,
    },
    /// Relative position embeddings.
    #[error(
        "config.json says position_embedding_type = `{found}`; only absolute positions are supported"
    )]
    Positions {
        /// `position_embedding_type`.
        found: String,
    },
    /// A decoder, which reads in one direction and has other numbers.
    #[error(
        "config.json says {key}: this is a decoder built from BERT, and an encoder alone is read here; load the \
         encoder that it was made from"
    )]
    Decoder {
        /// The key that says it.
        key: &'static str,
    },
    /// Attention heads were taken out.
    #[error(
        "config.json lists pruned_heads: layers with fewer attention heads than the others are not supported; load the \
         model before it was pruned"
    )]
    PrunedHeads,
    /// The files of sentence-transformers ask for a step that is not computed here.
    #[error(
        "modules.json sends the vectors through {module}, which is not computed here: choose a pooling to get the \
         vectors before it"
    )]
    VectorModule {
        /// The step.
        module: String,
    },
    /// The parts of a facade do not belong together.
    #[error(
        "the model has {model} where its config says {config} {what}: change both, for example with resize_embeddings \
         or with_labels"
    )]
    Parts {
        /// What differs.
        what: &'static str,
        /// What the model has.
        model: usize,
        /// What the config says.
        config: usize,
    },
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
        needed: TaskHead,
        /// The head that the directory holds.
        found: TaskHead,
    },
    /// The head that was asked for is not in the weights.
    #[error("the weights hold no {head}: they have no tensor `{tensor}`")]
    NoHead {
        /// The head.
        head: TaskHead,
        /// A tensor that it would have.
        tensor: &'static str,
    },
    /// There are more or fewer names of classes than the head has classes.
    #[error(
        "{names} label names for the {classes} classes of the head: correct `id2label` in config.json, or give the \
         names when loading"
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
    /// A text that the model cannot read at once, where the caller did not choose what to do with it.
    #[error(transparent)]
    TooLong(#[from] TextTooLong),
    /// A cut that leaves nothing of a text.
    #[error("nothing of the text is left after the cut: read it in windows, or clean it")]
    NothingLeft,
    /// The caller ended the call before this item was computed.
    #[error("the call was cancelled before this text was read")]
    Cancelled,
    /// Windows that would never reach the end of a text.
    #[error(
        "an overlap of {overlap} tokens leaves no progress in windows of {window} tokens: choose less than half of a \
         window"
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
        "the question has {tokens} tokens, and at most {limit} are read: ask a shorter one, or allow more with \
         `with_max_question`"
    )]
    QuestionTooLong {
        /// Its tokens.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// Windows of a context that are too small.
    #[error(
        "rows of {length} tokens leave {room} for the context after the question, fewer than the stride of {stride}: \
         allow more tokens, or lower the stride"
    )]
    WindowTooSmall {
        /// Tokens of a row, the model's limit applied.
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
    /// Targets of another kind than the head learns from.
    #[error("{found} is not what {head} learns from")]
    TargetKind {
        /// The head.
        head: TaskHead,
        /// The kind that was given.
        found: &'static str,
    },
    /// More or fewer targets than rows.
    #[error("{targets} targets for {rows} rows: give one for each row")]
    TargetCount {
        /// Targets.
        targets: usize,
        /// Rows.
        rows: usize,
    },
    /// More or fewer labels than tokens.
    #[error(
        "row {row} has {tokens} tokens and {labels} labels: give one for each token, special tokens included"
    )]
    TargetLength {
        /// The row in the batch.
        row: usize,
        /// Its labels.
        labels: usize,
        /// Its tokens.
        tokens: usize,
    },
    /// More or fewer targets than outputs.
    #[error("row {row} has {targets} targets for {classes} classes: give one for each class")]
    TargetWidth {
        /// The row in the batch.
        row: usize,
        /// Its targets.
        targets: usize,
        /// Outputs of the head.
        classes: usize,
    },
    /// A target without meaning.
    #[error("a target of row {row} is outside its range: 0 to 1 for classes, finite for values")]
    TargetValue {
        /// The row in the batch.
        row: usize,
    },
    /// A class that the head does not have.
    #[error("row {row} has the label {label}, and there are {classes} classes, counted from 0")]
    ClassOutOfRange {
        /// The row in the batch.
        row: usize,
        /// The label.
        label: i64,
        /// Classes of the head, or tokens of the vocabulary.
        classes: usize,
    },
    /// An answer outside its row.
    #[error("the answer of row {row} does not lie within its {length} tokens, first before last")]
    SpanOutOfRange {
        /// The row in the batch.
        row: usize,
        /// Its tokens.
        length: usize,
    },
    /// A word without a label.
    #[error("word {word} has no label: there are {labels} labels, give one for each word")]
    WordLabels {
        /// The word, counted from 0.
        word: usize,
        /// Labels.
        labels: usize,
    },
    /// The corpus cannot be read.
    #[error("the corpus cannot be read: {0}")]
    Corpus(std::io::Error),
}

/// That a name is none of those known.
pub(crate) fn unknown(what: &'static str, name: &str, known: &'static str) -> Error {
    Error::UnknownName {
        what,
        name: crate::config::shown(name),
        known,
    }
}
