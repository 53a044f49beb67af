//! The options of every call of every facade.

use std::fmt;
use std::sync::Arc;

use clinical_nn::CancelFlag;

use crate::LongText;

/// How far a call with many items has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchProgress {
    /// Items that are done, failed ones included.
    pub done: usize,
    /// All items of the call.
    pub total: usize,
}

impl BatchProgress {
    /// `done` of `total` items.
    #[must_use]
    pub fn new(done: usize, total: usize) -> Self {
        Self { done, total }
    }
}

type OnProgress = Arc<dyn Fn(BatchProgress) + Send + Sync>;

/// The options that all calls of all facades have. Option types hold one and get its builder methods by
/// [`call_options!`](crate::call_options).
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct CallOptions {
    /// What happens to a text that is too long. `None`: the default of the call.
    pub long_text: Option<LongText>,
    /// Another limit for the tokens of a text than the model's. `None`: the model's.
    pub max_tokens: Option<usize>,
    /// How many items are computed at once. `None`: the default of the call.
    pub batch: Option<usize>,
    /// Gets the number of items that are done.
    pub progress: Option<OnProgress>,
    /// Ends the call.
    pub cancel: Option<CancelFlag>,
}

impl CallOptions {
    /// Tells the caller how far it is.
    pub fn done(&self, done: usize, total: usize) {
        if let Some(progress) = &self.progress {
            progress(BatchProgress::new(done, total));
        }
    }

    /// Whether the caller wants an end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(CancelFlag::is_cancelled)
    }
}

impl fmt::Debug for CallOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOptions")
            .field("long_text", &self.long_text)
            .field("max_tokens", &self.max_tokens)
            .field("batch", &self.batch)
            .field("progress", &self.progress.is_some())
            .field("cancel", &self.cancel)
            .finish()
    }
}

/// The builder methods of [`CallOptions`] for a type that holds one in a field `call`: `with_long_text`,
/// `with_max_tokens`, `with_batch`, `with_progress`, `with_cancel`.
#[macro_export]
macro_rules! call_options {
    ($options:ty) => {
        impl $options {
            /// What happens to a text of more tokens than the model reads at once. Default: see the type.
            #[must_use]
            pub fn with_long_text(mut self, policy: $crate::LongText) -> Self {
                self.call.long_text = Some(policy);
                self
            }

            /// Another limit for the tokens of a text than the model's own.
            #[must_use]
            pub fn with_max_tokens(mut self, tokens: usize) -> Self {
                self.call.max_tokens = Some(tokens);
                self
            }

            /// How many items are computed at once. 0 counts as 1.
            #[must_use]
            pub fn with_batch(mut self, items: usize) -> Self {
                self.call.batch = Some(items.max(1));
                self
            }

            /// A closure that is called after each item, or each group of them, how many are done.
            #[must_use]
            pub fn with_progress(
                mut self,
                progress: impl Fn($crate::BatchProgress) + Send + Sync + 'static,
            ) -> Self {
                self.call.progress = Some(::std::sync::Arc::new(progress));
                self
            }

            /// A flag that ends the call from another thread.
            #[must_use]
            pub fn with_cancel(mut self, flag: $crate::CancelFlag) -> Self {
                self.call.cancel = Some(flag);
                self
            }
        }
    };
}
