/// Whether a `vocab.txt` tokenizer lower-cases text.
///
/// A checkpoint that holds nothing but `vocab.txt` does not say, and `transformers` then lower-cases. Bio_ClinicalBERT
/// is such a checkpoint, and its vocabulary and training were cased: lower-cased, `Abnormality` becomes two pieces and
/// every name loses its capital.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LowerCase {
    /// As `tokenizer_config.json` says; without it, lower-case exactly when the vocabulary has no capital letters.
    #[default]
    Auto,
    /// As `tokenizer_config.json` says; without it, lower-case, as `transformers` does.
    Transformers,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which tokenizer file of a directory is used when there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Prefer {
    /// `tokenizer.json`, then a SentencePiece model, then a word list: what `transformers` does by default.
    #[default]
    Fast,
    /// A SentencePiece model or word list before `tokenizer.json`: what `use_fast=False` does.
    Slow,
}

/// How a tokenizer is opened. The default does what `transformers` does, except for [`LowerCase`].
///
/// ```
/// use clinical_tokenizer::{LowerCase, OpenOptions, Prefer};
/// let options = OpenOptions::new()
///     .with_prefer(Prefer::Slow)
///     .with_lower_case(LowerCase::Never)
///     .with_max_text_bytes(1 << 20);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    pub(crate) prefer: Prefer,
    pub(crate) lower_case: LowerCase,
    pub(crate) legacy: Option<bool>,
    pub(crate) clean_up: Option<bool>,
    pub(crate) max_text_bytes: usize,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            prefer: Prefer::Fast,
            lower_case: LowerCase::Auto,
            legacy: None,
            clean_up: None,
            max_text_bytes: crate::limits::DEFAULT_MAX_TEXT_BYTES,
        }
    }
}

impl OpenOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which file is used when there are several. Default: [`Prefer::Fast`].
    #[must_use]
    pub fn with_prefer(mut self, prefer: Prefer) -> Self {
        self.prefer = prefer;
        self
    }

    /// Whether a `vocab.txt` tokenizer lower-cases. Default: [`LowerCase::Auto`].
    #[must_use]
    pub fn with_lower_case(mut self, lower_case: LowerCase) -> Self {
        self.lower_case = lower_case;
        self
    }

    /// Sets the `legacy` switch of a SentencePiece tokenizer against what the files say.
    #[must_use]
    pub fn with_legacy(mut self, legacy: bool) -> Self {
        self.legacy = Some(legacy);
        self
    }

    /// Sets whether decoding removes blanks before punctuation and English contractions, against what the files say.
    #[must_use]
    pub fn with_clean_up_spaces(mut self, clean_up: bool) -> Self {
        self.clean_up = Some(clean_up);
        self
    }

    /// Longest text in bytes. Default: 4 MiB; at most 1 GiB.
    #[must_use]
    pub fn with_max_text_bytes(mut self, bytes: usize) -> Self {
        self.max_text_bytes = bytes.min(crate::limits::MAX_TEXT_BYTES);
        self
    }
}
