//! Why a generation could not run, or had to stop.

use burn::tensor::TensorReadError;

use crate::{ModelError, StepModel};

/// What is named where the model cannot tell more.
pub(crate) const OUTPUT_LAYER: &str = "output layer";

/// Why tokens could not be chosen. Messages never quote a prompt or an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model refused an input.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A prompt leaves no room for one new token.
    #[error(
        "prompt {row} has {tokens} tokens and this model reads at most {limit} with the answer included: shorten it to \
         {} tokens or fewer",
        limit.saturating_sub(1)
    )]
    PromptTooLong {
        /// The row in the batch.
        row: usize,
        /// Tokens of the prompt.
        tokens: usize,
        /// Positions that the model has.
        limit: usize,
    },
    /// A logit is infinite or not a number.
    #[error(
        "the {layer} gave a number that is not finite for row {row} at new token {step}: the weights are damaged or \
         their precision is too low for this model (try f32 or bf16)"
    )]
    NonFinite {
        /// The first part of the model that gave such a number, as far as the model can tell; else `output layer`.
        layer: String,
        /// The row in the batch.
        row: usize,
        /// Which new token was to be chosen, counted from 1.
        step: usize,
    },
    /// The options leave no token to choose from.
    #[error(
        "the options forbid every token for row {row} at new token {step}: loosen the constraint, the forbidden tokens \
         or min_new_tokens"
    )]
    NothingAllowed {
        /// The row in the batch.
        row: usize,
        /// Which new token was to be chosen, counted from 1.
        step: usize,
    },
    /// A number in the options is outside its range.
    #[error("{field} is {value}: it must be {range}")]
    OutOfRange {
        /// The field of [`Generation`](crate::Generation), or the argument.
        field: &'static str,
        /// What it was set to.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// An option works with sampling only.
    #[error(
        "{field} has an effect on sampling only: use Generation::sample(), or leave it as it is"
    )]
    NeedsSampling {
        /// The field of [`Generation`](crate::Generation).
        field: &'static str,
    },
    /// `min_new_tokens` is above `max_new_tokens`.
    #[error(
        "min_new_tokens is {min} and max_new_tokens is {max}: the minimum must not be above the maximum"
    )]
    MinAboveMax {
        /// `min_new_tokens`.
        min: usize,
        /// `max_new_tokens`.
        max: usize,
    },
    /// More sequences are asked for than the search can give.
    #[error(
        "num_return_sequences is {asked} and this search gives at most {limit}: raise the number of beams, or sample"
    )]
    TooManySequences {
        /// `num_return_sequences`.
        asked: usize,
        /// What the strategy can give: the number of beams.
        limit: usize,
    },
    /// A list in the options, or one of its entries, is empty.
    #[error("{field} has an empty entry: give each entry at least one token or character")]
    EmptyEntry {
        /// The field of [`Generation`](crate::Generation).
        field: &'static str,
    },
    /// A token id in the options is not in the model's vocabulary.
    #[error("{field} names token id {id}, and the model's vocabulary has {vocabulary} tokens")]
    UnknownToken {
        /// The field of [`Generation`](crate::Generation), or `end tokens`.
        field: &'static str,
        /// The id.
        id: u32,
        /// Logits for each row.
        vocabulary: usize,
    },
    /// A continuation was given to a prompt that an encoder-decoder has read.
    #[error(
        "an encoder-decoder reads its prompt as a whole: read the longer prompt instead of continuing this one"
    )]
    PromptIsWhole,
    /// A grammar, a schema or the vocabulary for it cannot be used.
    #[cfg(feature = "grammar")]
    #[error("the grammar cannot be used: {0}")]
    Grammar(String),
    /// Stop strings were given without a way to turn ids into text.
    #[error("stop_strings needs a text decoder: give one with EndTokens::with_text")]
    StopStringsNeedText,
    /// The model's logits do not have one row for each running sequence.
    #[error(
        "the model gave {got} logits where {expected} were due: its StepModel implementation is wrong"
    )]
    LogitShape {
        /// Numbers that came.
        got: usize,
        /// Rows times vocabulary.
        expected: usize,
    },
    /// A request's prompt does not begin with the tokens of its prefix.
    #[error(
        "the prompt does not begin with the {tokens} tokens of its prefix: give the whole prompt, or leave the prefix \
         out"
    )]
    PrefixMismatch {
        /// Tokens of the prefix.
        tokens: usize,
    },
    /// A request needs more than the engine ever has.
    #[error(
        "the request needs {needed} {of} and the engine has {limit}: ask for fewer tokens or sequences, or give the \
         engine more"
    )]
    NeverFits {
        /// What there is too little of: `slots`, or `bytes of keys and values`.
        of: &'static str,
        /// What the request needs at most.
        needed: u64,
        /// What the engine has.
        limit: u64,
    },
    /// So many requests wait that the engine takes no more.
    #[error("{waiting} requests are waiting already: try again later, or wait for room with admit")]
    QueueFull {
        /// Requests that wait.
        waiting: usize,
    },
    /// The engine was dropped, or its thread ended by a panic, before there was a result.
    #[error("the engine has stopped: start another one")]
    EngineStopped,
    /// The thread of an engine could not be started.
    #[error("no thread could be started for the engine: {0}")]
    Thread(#[source] std::io::Error),
    /// Code that belongs to one prompt panicked: its closure, a processor, a constraint, a text decoder; or the model
    /// did while it read this prompt.
    #[error(
        "code that runs for this prompt panicked (its closure, processors, constraint or decoder, or the model): see \
         the panic's message"
    )]
    Panicked,
    /// The model failed twice in a pass for several prompts, and not for any of them alone.
    #[error("the model failed in a pass for several prompts: {reason}")]
    Pass {
        /// What the model said.
        reason: String,
    },
    /// The device could not give the logits back.
    #[error("the logits could not be read from the device: {0}")]
    Device(#[from] TensorReadError),
}

impl Error {
    /// The same with the caller's number of the prompt, for one that was read alone.
    pub(crate) fn of_row(mut self, number: usize) -> Self {
        if let Self::Model(
            ModelError::EmptyPrompt { row } | ModelError::TokenOutOfRange { row, .. },
        ) = &mut self
        {
            *row = number;
        }
        self
    }

    /// [`Self::NonFinite`] for the token after `new`, with the layer in which the model finds it.
    pub(crate) fn non_finite<M: StepModel>(
        model: &M,
        row: usize,
        prompt: &[u32],
        new: &[u32],
    ) -> Self {
        let layer = model.first_non_finite(prompt, new);
        Self::NonFinite {
            layer: layer.unwrap_or_else(|| OUTPUT_LAYER.to_owned()),
            row,
            step: new.len() + 1,
        }
    }
}
