//! How a prompt treats the texts it is given.

use crate::MarkerPolicy;

/// How a prompt treats the texts it is given. The default is the strict one: markers in a text
/// are an error, and the texts go in as they are.
///
/// ```
/// use clinical_prompts::{MarkerPolicy, Options};
///
/// let options = Options::new().with_markers(MarkerPolicy::Escape).with_trim_newlines(true);
/// # assert_ne!(options, Options::default());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    pub(crate) markers: MarkerPolicy,
    pub(crate) trim_newlines: bool,
}

impl Options {
    /// The strict options: [`MarkerPolicy::Error`], nothing trimmed.
    pub const fn new() -> Self {
        Self {
            markers: MarkerPolicy::Error,
            trim_newlines: false,
        }
    }

    /// What to do with a prompt marker inside a text. Default: [`MarkerPolicy::Error`].
    pub const fn with_markers(mut self, policy: MarkerPolicy) -> Self {
        self.markers = policy;
        self
    }

    /// Whether `\n` is removed from both ends of every text first. Default: `false`.
    ///
    /// The published training and evaluation scripts of Asclepius do this to every field
    /// (`src/instruction_ft.py`, `src/evaluate.py`); its demo and its model cards do not.
    pub const fn with_trim_newlines(mut self, trim: bool) -> Self {
        self.trim_newlines = trim;
        self
    }
}
