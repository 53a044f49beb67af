//! A closure of the caller that changes logits.

use std::fmt;
use std::sync::Arc;

type Change = dyn Fn(&[u32], &[u32], &mut [f32]) + Send + Sync;

/// A caller's own change to the logits.
///
/// The closure gets the context (the prompt of a decoder, the start token of an encoder-decoder), the new tokens so
/// far, and the logits of the next token, `[vocabulary]`, which it may change; minus infinity forbids a token. In beam
/// search the numbers are log-probabilities.
#[derive(Clone)]
pub struct Processor(Arc<Change>);

impl Processor {
    /// Wraps a closure `(context, new tokens, logits)`.
    #[must_use]
    pub fn new(change: impl Fn(&[u32], &[u32], &mut [f32]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }

    pub(crate) fn apply(&self, context: &[u32], new: &[u32], scores: &mut [f32]) {
        (self.0)(context, new, scores);
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Processor")
    }
}
