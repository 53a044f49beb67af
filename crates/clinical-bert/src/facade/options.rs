//! What the calls of [`ClinicalBert`](super::ClinicalBert) have in common.

/// Most tokens of a batch, padding included, unless a call says otherwise. Larger batches need more memory and, on a
/// CPU, are no faster.
pub(super) const BATCH_TOKENS: usize = 4096;

/// The builder methods that all options of calls have: those of [`clinical_facade::call_options!`], and
/// `with_batch_tokens` for a field of that name.
macro_rules! bert_call_options {
    ($options:ty) => {
        clinical_facade::call_options!($options);

        impl $options {
            /// The defaults.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            /// Most tokens that are computed at once, padding included. Default: 4096. A row of more is computed alone.
            #[must_use]
            pub fn with_batch_tokens(mut self, tokens: usize) -> Self {
                self.batch_tokens = Some(tokens);
                self
            }
        }
    };
}

pub(super) use bert_call_options;
