//! T5's objective on rows of one length: settings of a recipe over [`clinical_t5::SpanCorruption`].

use clinical_t5::SpanCorruption;
pub use clinical_t5::{Corrupted, Sentinels};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{DataError, random};

/// Span corruption as a recipe says it. As TOML, with the defaults, which are those of Clinical-T5:
///
/// ```toml
/// noise_density = 0.15   # part of the tokens that is replaced
/// mean_span = 3.0        # mean length of a replaced span
/// inputs_length = 512    # tokens that the encoder reads, end token included
/// sentinels = "by_name"  # or "top_of_vocabulary", the published numbering
/// ```
///
/// ```
/// use clinical_train::objective::span_corruption::{Sentinels, SpanSettings};
///
/// let named = (32_000..32_100).rev().collect(); // <extra_id_0>, <extra_id_1>, ... of t5-base
/// let spans = SpanSettings::default().spans(Sentinels::ByName(named), 1)?;
/// assert_eq!((spans.tokens_length(), spans.targets_length()), (568, 114));
/// let row: Vec<u32> = (100..668).collect();
/// let example = spans.example(&row, 42, 0, 7)?; // seed, epoch, number of the row
/// assert_eq!((example.input_ids.len(), example.labels.len()), (512, 114));
/// assert_eq!(example, spans.example(&row, 42, 0, 7)?);
/// # Ok::<(), clinical_train::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpanSettings {
    noise_density: f64,
    mean_span: f64,
    inputs_length: usize,
    sentinels: SentinelNaming,
}

/// Which ids stand for spans, before a tokenizer says what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SentinelNaming {
    /// `<extra_id_0>`, `<extra_id_1>`, ... as the tokenizer names them.
    #[default]
    ByName,
    /// The last token, the one before it, ...: what the published script does
    /// ([`Sentinels::TopOfVocabulary`]).
    TopOfVocabulary,
}

impl SentinelNaming {
    /// The ids: `named` are those of `<extra_id_0>`, `<extra_id_1>`, ..., `tokens` is `len(tokenizer)` with its added
    /// tokens.
    #[must_use]
    pub fn sentinels(self, named: Vec<u32>, tokens: u32) -> Sentinels {
        match self {
            Self::ByName => Sentinels::ByName(named),
            Self::TopOfVocabulary => Sentinels::TopOfVocabulary { tokens },
        }
    }
}

impl Default for SpanSettings {
    fn default() -> Self {
        Self {
            noise_density: 0.15,
            mean_span: 3.0,
            inputs_length: 512,
            sentinels: SentinelNaming::default(),
        }
    }
}

impl SpanSettings {
    /// The part of the tokens that is replaced, above 0 and at most 0.9. Default: 0.15.
    #[must_use]
    pub fn with_noise_density(mut self, density: f64) -> Self {
        self.noise_density = density;
        self
    }

    /// The mean length of a replaced span; 1 and some values close to it cannot be had ([`Self::lengths`]). Default: 3.
    #[must_use]
    pub fn with_mean_span(mut self, tokens: f64) -> Self {
        self.mean_span = tokens;
        self
    }

    /// What the encoder reads of a row, the end token included. Default: 512.
    #[must_use]
    pub fn with_inputs_length(mut self, tokens: usize) -> Self {
        self.inputs_length = tokens;
        self
    }

    /// Which ids stand for spans. Default: by name.
    #[must_use]
    pub fn with_sentinels(mut self, naming: SentinelNaming) -> Self {
        self.sentinels = naming;
        self
    }

    /// Which ids stand for spans.
    #[must_use]
    pub fn sentinels(&self) -> SentinelNaming {
        self.sentinels
    }

    /// Tokens of a row before corruption and labels after it: `(568, 114)` by default.
    ///
    /// # Errors
    ///
    /// [`DataError::InconsistentLengths`] where no mask has the lengths that the published arithmetic says: always for
    /// a mean span of 1, for some means close to it, and where the noise of a short row is less than half a mean span
    /// (the arithmetic then counts no span, a mask has one). [`DataError::Spans`] for a density, a mean span or a
    /// length that is out of range.
    pub fn lengths(&self) -> Result<(usize, usize), DataError> {
        self.lengths_of(&self.over(Sentinels::ByName(Vec::new()), 0))
    }

    /// The objective with ids.
    ///
    /// # Errors
    ///
    /// Those of [`Self::lengths`]; [`DataError::Spans`] when a row has more spans than there are sentinels.
    pub fn spans(&self, sentinels: Sentinels, eos: u32) -> Result<Spans, DataError> {
        let spans = self.over(sentinels, eos);
        let (tokens_length, targets_length) = self.lengths_of(&spans)?;
        let (_, count) = spans.counts(tokens_length)?;
        spans.sentinels.id(count - 1)?;
        Ok(Spans {
            spans,
            tokens_length,
            inputs_length: self.inputs_length,
            targets_length,
        })
    }

    fn over(&self, sentinels: Sentinels, eos: u32) -> SpanCorruption {
        let mut spans = SpanCorruption::new(sentinels, eos);
        spans.noise_density = self.noise_density;
        spans.mean_span = self.mean_span;
        spans
    }

    fn lengths_of(&self, spans: &SpanCorruption) -> Result<(usize, usize), DataError> {
        let (tokens_length, targets_length) = spans.lengths(self.inputs_length)?;
        let (noise, count) = spans.counts(tokens_length)?;
        let (inputs, targets) = (tokens_length - noise + count + 1, noise + count + 1);
        if (inputs, targets) != (self.inputs_length, targets_length) {
            return Err(DataError::InconsistentLengths {
                inputs_length: self.inputs_length,
                tokens_length,
                targets_length,
                inputs,
                targets,
            });
        }
        Ok((tokens_length, targets_length))
    }
}

/// Span corruption of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Spans {
    spans: SpanCorruption,
    tokens_length: usize,
    inputs_length: usize,
    targets_length: usize,
}

impl Spans {
    /// Tokens of a row before corruption: the length to cut the stream of notes into
    /// ([`Pieces`](crate::objective::Pieces)).
    #[must_use]
    pub fn tokens_length(&self) -> usize {
        self.tokens_length
    }

    /// Tokens that the encoder reads of such a row, end token included.
    #[must_use]
    pub fn inputs_length(&self) -> usize {
        self.inputs_length
    }

    /// Labels of such a row, end token included.
    #[must_use]
    pub fn targets_length(&self) -> usize {
        self.targets_length
    }

    /// A random mask, `true` for tokens to replace ([`SpanCorruption::random_mask`]).
    ///
    /// # Errors
    ///
    /// [`DataError::Spans`] for fewer than 2 tokens.
    pub fn noise_mask<R: Rng + ?Sized>(
        &self,
        length: usize,
        rng: &mut R,
    ) -> Result<Vec<bool>, DataError> {
        Ok(self.spans.random_mask(length, rng)?)
    }

    /// Replaces what `mask` marks, one end token after inputs and labels each.
    ///
    /// # Errors
    ///
    /// [`DataError::Spans`] if ids and mask differ in length or the sentinels are used up.
    pub fn corrupt(&self, ids: &[u32], mask: &[bool]) -> Result<Corrupted, DataError> {
        Ok(self.spans.corrupt(ids, mask)?)
    }

    /// The example that row `index` is in this epoch: the same row has another mask in every epoch, and the same one
    /// whenever it is asked for. A row of another length than [`Self::tokens_length`] gives another number of inputs.
    ///
    /// # Errors
    ///
    /// Those of [`Self::noise_mask`] and [`Self::corrupt`].
    pub fn example(
        &self,
        ids: &[u32],
        seed: u64,
        epoch: u64,
        index: u64,
    ) -> Result<Corrupted, DataError> {
        let mut rng = random::stream(b"spans   ", seed, epoch, index);
        self.corrupt(ids, &self.noise_mask(ids.len(), &mut rng)?)
    }
}
