//! What can be wrong with training data and its settings.

/// Why token ids cannot become training data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    // --- settings ------------------------------------------------------------------------------------------------
    /// A number that counts something is 0.
    #[error("{setting} is 0: set it to at least 1")]
    Zero {
        /// The setting.
        setting: &'static str,
    },
    /// A row would have no room for a token and one that follows it.
    #[error("{setting} is {tokens}: a row needs at least 2 tokens")]
    TooFewTokens {
        /// The setting.
        setting: &'static str,
        /// Its value.
        tokens: usize,
    },

    // --- span corruption -----------------------------------------------------------------------------------------
    /// Density, mean span, lengths or sentinels cannot be used.
    #[error(transparent)]
    Spans(#[from] Box<clinical_t5::Error>),
    /// The published arithmetic gives lengths that its own masks do not have; the published script stops there, too.
    #[error(
        "{inputs_length} inputs cannot be had: {tokens_length} tokens give {inputs} inputs and {targets} targets \
         instead of {targets_length}; choose another mean span or length"
    )]
    InconsistentLengths {
        /// The inputs that were asked for.
        inputs_length: usize,
        /// Tokens before corruption, as the published script computes them.
        tokens_length: usize,
        /// Labels, as the published script computes them.
        targets_length: usize,
        /// Inputs that so many tokens really give.
        inputs: usize,
        /// Labels that so many tokens really give.
        targets: usize,
    },

    // --- examples ------------------------------------------------------------------------------------------------
    /// No token of a row carries loss.
    #[error(
        "no token would carry loss: the prompt has {prompt} tokens and the row ends after {limit}; shorten the prompt \
         or leave the row out"
    )]
    NoTarget {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of the row.
        limit: usize,
    },
    /// A prompt is not the beginning of prompt and answer, so its length says nothing about where the answer begins.
    #[error(
        "the prompt and the full text differ at token {at}: tokenize both alike, the prompt ending at a token border"
    )]
    NotAPrefix {
        /// The first position that differs.
        at: usize,
    },
    /// The input of a pair has no tokens but the end token.
    #[error("the input is empty: leave the pair out")]
    EmptyInput,
    /// The target of a pair has no tokens but the end token.
    #[error(
        "the target is empty: leave the pair out, or set `empty_targets` if nothing is an answer"
    )]
    EmptyTarget,

    // --- order and batches ---------------------------------------------------------------------------------------
    /// There is nothing to train on.
    #[error("there are no examples")]
    NoExamples,
    /// Examples are numbered in 32 bits.
    #[error("there are {examples} examples, above the limit of {}", u32::MAX)]
    TooManyExamples {
        /// The number of examples.
        examples: usize,
    },
    /// Order and lengths belong to different data.
    #[error("{lengths} lengths were given for {examples} examples: give one for each")]
    LengthCount {
        /// The number of lengths.
        lengths: usize,
        /// The number of examples.
        examples: usize,
    },
    /// An example has no tokens.
    #[error("example {example} has no tokens: leave it out")]
    EmptyExample {
        /// Its number.
        example: usize,
    },
    /// A saved position lies behind the end of its epoch: the data or the batches have changed since.
    #[error(
        "batch {batch} of epoch {epoch} does not exist, the epoch has {batches}: resume with the data and the batch \
         settings of the run"
    )]
    PastTheEnd {
        /// The epoch.
        epoch: u64,
        /// The batch that was asked for.
        batch: u64,
        /// The batches of that epoch.
        batches: u64,
    },

    // --- preview -------------------------------------------------------------------------------------------------
    /// Ids and labels of a decoder-only row are not of one length.
    #[error("{labels} labels were given for {ids} ids: give one for each")]
    LabelCount {
        /// The number of ids.
        ids: usize,
        /// The number of labels.
        labels: usize,
    },
    /// A label of a decoder-only row is another token than the one that stands there.
    #[error("the label of token {at} is {label}, but the token is {id}: labels are not shifted")]
    OtherLabel {
        /// The position.
        at: usize,
        /// The label.
        label: i64,
        /// The id at this position.
        id: u32,
    },
    /// A label is neither a token nor ignored.
    #[error("label {label} at position {at} is no token id")]
    BadLabel {
        /// The position.
        at: usize,
        /// The label.
        label: i64,
    },
    /// Ids could not be decoded.
    #[error("a row cannot be decoded: {0}")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<clinical_t5::Error> for DataError {
    fn from(error: clinical_t5::Error) -> Self {
        Self::Spans(Box::new(error))
    }
}
