//! How a caller reaches into a running generation: a flag that ends it, and a closure that changes logits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancels a generation from another thread. Clones share one flag.
#[derive(Debug, Clone, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every generation that was given this flag, at its next token.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

type Change = dyn Fn(&[u32], &[u32], &mut [f32]) + Send + Sync;

/// A caller's own change to the logits.
///
/// The closure gets the context (the prompt of a decoder, the start token of an encoder-decoder), the new tokens so far,
/// and the logits of the next token, `[vocabulary]`, which it may change; minus infinity forbids a token. In beam search
/// the numbers are log-probabilities.
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
