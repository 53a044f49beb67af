//! Everything that can be wrong with a configuration or a call, one variant for each rule.

use clinical_facade::TextTooLong;
use clinical_generate::ModelError;
use clinical_nn::LossError;

use crate::Gpt2Head;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model could not be configured, loaded or run. No message quotes a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is not JSON, or a field has the wrong type or is missing.
    #[error(
        "the configuration is not one of a GPT-2 model ({0}): give the config.json that was published with the weights"
    )]
    Json(#[from] serde_json::Error),
    /// The weights belong to another architecture.
    #[error("the configuration is of a `{found}` model: this crate reads gpt2")]
    ModelType {
        /// What `model_type` says.
        found: String,
    },
    /// The feed-forward activation is none that this crate has.
    #[error(
        "the activation `{found}` is not supported: gelu_new, gelu_fast, gelu_pytorch_tanh, gelu, relu, silu and swish \
         are"
    )]
    Activation {
        /// What `activation_function` says.
        found: String,
    },
    /// The layers look at another sequence as well.
    #[error(
        "the configuration has add_cross_attention: this crate reads decoders that stand alone"
    )]
    CrossAttention,
    /// A size is zero.
    #[error("{field} is zero: a model needs at least one")]
    Zero {
        /// The config field.
        field: &'static str,
    },
    /// A size is beyond any real model.
    #[error(
        "{field} is {value}, more than the {limit} that this crate allows: check the config.json"
    )]
    TooBig {
        /// The config field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The largest value that is allowed.
        limit: usize,
    },
    /// The width cannot be split evenly.
    #[error("n_embd {width} cannot be split into {heads} heads: it must be a multiple of n_head")]
    HeadSize {
        /// `n_embd`.
        width: usize,
        /// `n_head`.
        heads: usize,
    },
    /// A number that must be positive and finite is not.
    #[error("{field} is {value}: it must be a positive, finite number")]
    NotPositive {
        /// The config field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// A rate of dropout is no probability below 1.
    #[error("{field} is {rate}: a rate of dropout is at least 0 and below 1")]
    Dropout {
        /// The config field.
        field: &'static str,
        /// Its value.
        rate: f64,
    },
    /// The file names another number of classes than it says.
    #[error("num_labels is {said} and id2label names {named} classes: one of them is wrong")]
    ClassCount {
        /// `num_labels`.
        said: u64,
        /// Entries of `id2label`.
        named: usize,
    },
    /// The number of parameters does not fit into 64 bits.
    #[error(
        "the number of parameters does not fit into 64 bits: check the sizes in the config.json"
    )]
    ParameterCount,
    /// The files cannot be read, or do not belong to this model.
    #[error(transparent)]
    Weights(#[from] clinical_weights::Error),
    /// A directory could not be written.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
    /// The tokenizer cannot be read, or cannot read a text.
    #[error(transparent)]
    Tokenizer(#[from] clinical_tokenizer::Error),
    /// The ids cannot be read by this model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model stopped with an error.
    #[error(transparent)]
    Generate(#[from] clinical_generate::Error),
    /// The loss cannot be computed.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// The model has another head than the call needs.
    #[error("this model has {found}, and the call needs {wanted}")]
    Head {
        /// The head of the model.
        found: Gpt2Head,
        /// What is needed.
        wanted: &'static str,
    },
    /// A row has not as many labels as ids.
    #[error(
        "row {row} has {labels} labels for {ids} ids: give one label for each id, negative where it does not count"
    )]
    LabelCount {
        /// The row in the batch.
        row: usize,
        /// Labels given.
        labels: usize,
        /// Ids given.
        ids: usize,
    },
    /// There are not as many targets as rows.
    #[error("{targets} targets for {rows} rows: give one for each row")]
    TargetCount {
        /// Targets given.
        targets: usize,
        /// Rows given.
        rows: usize,
    },
    /// A row has not a value for each class.
    #[error("row {row} has {values} values for {classes} classes")]
    TargetWidth {
        /// The row in the batch.
        row: usize,
        /// Values given.
        values: usize,
        /// Classes of the model.
        classes: usize,
    },
    /// A value of a set of classes is no probability.
    #[error(
        "row {row} has a value that is not between 0 and 1: 1 for a class that applies, 0 for others"
    )]
    TargetValue {
        /// The row in the batch.
        row: usize,
    },
    /// The answer of a row does not lie in it.
    #[error("the answer of row {row} does not lie in its {length} tokens")]
    SpanOutOfRange {
        /// The row in the batch.
        row: usize,
        /// Tokens of the row.
        length: usize,
    },
    /// A text does not fit into the model's positions.
    #[error(transparent)]
    TooLong(#[from] TextTooLong),
    /// A cut leaves nothing of a text.
    #[error(
        "there is no room for anything of the text: shorten what stands around it, or leave more room"
    )]
    NothingLeft,
    /// A call cannot read a text in windows.
    #[error(
        "`{call}` does not put windows together: choose LongText::CutStart, LongText::CutEnd or LongText::Error"
    )]
    NoWindows {
        /// The call.
        call: &'static str,
    },
    /// The windows that were asked for cannot be made.
    #[error(transparent)]
    Windows(#[from] clinical_notes::Error),
    /// The tokenizer has not the marks of the study's span head.
    #[error(
        "the tokenizer has no token `{token}`, which the study's span head needs: add it with add_tokens before the \
         fine-tuning"
    )]
    NoMark {
        /// The token.
        token: &'static str,
    },
    /// The question alone fills a row.
    #[error(
        "the question has {tokens} tokens, and a row has room for {room} with a context: shorten the question"
    )]
    QuestionTooLong {
        /// Tokens of the question with its marks.
        tokens: usize,
        /// Tokens of a row.
        room: usize,
    },
    /// The text has no token.
    #[error("the text is empty: give at least one character")]
    NoText,
    /// The call was cancelled before this item began.
    #[error("the call was cancelled before this item began: ask again without the cancel flag")]
    Cancelled,
    /// A number that is not finite came out of the model.
    #[error(
        "the model gave a number that is not finite; the first is in its {layer}: try Precision::F32"
    )]
    NotFinite {
        /// The part.
        layer: String,
    },
}
