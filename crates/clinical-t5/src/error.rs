//! What can go wrong.

use clinical_facade::TextTooLong;
use clinical_nn::{LossError, ModelError};

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a T5 model could not be built, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // --- config.json ---------------------------------------------------------------------------------------------
    /// A key is missing or has the wrong type.
    #[error(
        "config.json does not describe a T5 model ({0}): check that it is the file that was published with the weights"
    )]
    Config(#[from] serde_json::Error),
    /// A size is zero.
    #[error("config.json sets {field} to 0: a model needs at least 1")]
    Zero {
        /// The key.
        field: &'static str,
    },
    /// A size is above its limit.
    #[error(
        "config.json sets {field} to {value}, above the limit of {limit}: it is damaged or hostile"
    )]
    AboveLimit {
        /// The key.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The limit, from [`clinical_weights::limits`] or [`MAX_BUCKETS`](crate::MAX_BUCKETS).
        limit: usize,
    },
    /// There are too few relative position buckets.
    #[error("config.json has {buckets} relative_attention_num_buckets: T5 needs at least 4")]
    Buckets {
        /// The number of buckets.
        buckets: usize,
    },
    /// The logarithmic buckets would cover nothing.
    #[error(
        "config.json has a relative_attention_max_distance of {distance}: {buckets} buckets need more than half their \
         number"
    )]
    MaxDistance {
        /// The distance.
        distance: usize,
        /// The number of buckets.
        buckets: usize,
    },
    /// The norms would divide by zero, or by nothing sensible.
    #[error("config.json has a layer_norm_epsilon of {epsilon}: it must lie between 0 and 1")]
    Epsilon {
        /// The value.
        epsilon: f64,
    },
    /// Dropout is not a probability below 1.
    #[error("config.json has a dropout_rate of {rate}: it must be at least 0 and below 1")]
    Dropout {
        /// The value.
        rate: f64,
    },
    /// Fresh weights would all be zero or not finite.
    #[error("config.json has an initializer_factor of {factor}: it must be positive and finite")]
    InitializerFactor {
        /// The value.
        factor: f64,
    },
    /// The feed-forward layer is of a kind that this crate does not have.
    #[error(
        "config.json has the feed_forward_proj `{name}`: supported are relu, gelu, gelu_new and silu, each also as \
         gated-..."
    )]
    FeedForward {
        /// The name, escaped and cut.
        name: String,
    },
    /// The list of end tokens is empty.
    #[error("config.json has an empty eos_token_id: an output could never end")]
    NoEndToken,
    /// A special token is no token.
    #[error("config.json sets {field} to {id}, outside its vocab_size of {vocabulary}")]
    IdOutsideVocabulary {
        /// The key.
        field: &'static str,
        /// The id.
        id: u32,
        /// The vocabulary.
        vocabulary: usize,
    },

    /// The sizes are absurd together.
    #[error(
        "the number of parameters does not fit into 64 bits: check the sizes in the config.json"
    )]
    ParameterCount,

    // --- batches -------------------------------------------------------------------------------------------------
    /// A batch has no rows, or rows without positions.
    #[error("the batch has no {what}: give at least one row with one token")]
    EmptyBatch {
        /// Which of its tensors.
        what: &'static str,
    },
    /// The tensors of a batch do not have the same rows, or ids and mask not the same shape.
    #[error(
        "the batch has inputs {inputs:?}, a mask {mask:?} and {decoder} target rows: they must match"
    )]
    BatchShape {
        /// Rows and positions of the input ids.
        inputs: [usize; 2],
        /// Rows and positions of the mask.
        mask: [usize; 2],
        /// Rows of the labels or decoder ids.
        decoder: usize,
    },
    /// An input id has no row in the embedding table.
    #[error(
        "token id {id} (row {row}) has no row in the embedding table of {vocabulary}: the tokenizer does not belong to \
         this model, or its embeddings must be resized"
    )]
    InputOutsideVocabulary {
        /// The id.
        id: i64,
        /// The row in the batch.
        row: usize,
        /// Rows of the embedding table.
        vocabulary: usize,
    },
    /// The labels allow no loss.
    #[error(transparent)]
    Loss(#[from] LossError),
    /// The prompts cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),

    // --- span corruption -----------------------------------------------------------------------------------------
    /// Nothing, or nearly everything, would be replaced.
    #[error("the noise density is {density}: it must be above 0 and at most 0.9")]
    NoiseDensity {
        /// The setting.
        density: f64,
    },
    /// Spans would be shorter than a token.
    #[error("the mean span is {mean}: it must be a finite number of at least 1")]
    MeanSpan {
        /// The setting.
        mean: f64,
    },
    /// A text is too short to keep one token and replace another, or too long to count.
    #[error(
        "spans cannot be drawn for a length of {length}: it must be at least 2 and at most {}",
        crate::MAX_SPAN_LENGTH
    )]
    SpanLength {
        /// The length.
        length: usize,
    },
    /// There are more spans than sentinels.
    #[error(
        "there are more spans than the {limit} sentinels: shorten the text or replace less of it"
    )]
    SentinelsUsedUp {
        /// The number of sentinels.
        limit: usize,
    },
    /// Ids and mask are not of one length.
    #[error("{ids} ids and a mask of {mask}: give one mark for each id")]
    MaskLength {
        /// The number of ids.
        ids: usize,
        /// The length of the mask.
        mask: usize,
    },

    // --- texts ---------------------------------------------------------------------------------------------------
    /// A text has more tokens than the model was trained with.
    #[error(transparent)]
    TooLong(#[from] TextTooLong),
    /// A cut leaves nothing of a text.
    #[error("nothing of the text is left to read: raise the limit of tokens")]
    NothingLeft,
    /// A text that is too long was to be read in windows, by a call that cannot put them together.
    #[error(
        "`{call}` cannot read a text in windows: choose LongText::CutStart or CutEnd, or raise the limit with \
         with_max_tokens"
    )]
    NoWindows {
        /// The method.
        call: &'static str,
    },
    /// The windows that were asked for cannot be made.
    #[error(transparent)]
    Windows(#[from] clinical_notes::Error),
    /// The caller's flag ended the call before this text was begun.
    #[error("the call was cancelled before this text was read")]
    Cancelled,
    /// A vector has a value that is infinite or not a number.
    #[error(
        "the {layer} gave a number that is not finite: the weights are damaged or their precision is too low for this \
         model (try f32 or bf16)"
    )]
    NotFinite {
        /// The first part of the model that gave such a number.
        layer: String,
    },
    /// A text to fill has nothing to fill.
    #[error(
        "the text has no sentinel that the tokenizer knows: mark what is missing with <extra_id_0>, <extra_id_1>, ..."
    )]
    NoSentinel,
    /// A text to fill has one sentinel twice.
    #[error("the text has <extra_id_{number}> twice: use each sentinel once")]
    SentinelTwice {
        /// The sentinel's number.
        number: usize,
    },

    // --- the crates below ----------------------------------------------------------------------------------------
    /// The directory or its weights.
    #[error(transparent)]
    Weights(#[from] clinical_weights::Error),
    /// A directory could not be written.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] clinical_tokenizer::Error),
    /// The generation.
    #[error(transparent)]
    Generate(#[from] clinical_generate::Error),
    /// De-identification tags.
    #[error(transparent)]
    Deid(#[from] clinical_deid::Error),
}
