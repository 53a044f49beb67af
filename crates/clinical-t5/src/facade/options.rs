//! The options of a call.

use clinical_deid::Normalizer;
use clinical_facade::{CallOptions, LongText, call_options};
use clinical_generate::Generation;

use crate::Sentinels;

/// Texts that are computed at once, unless the caller says otherwise: enough to keep a CPU busy, few enough to stay
/// small.
const BATCH: usize = 8;

/// How a text is read, and how one is written. The default reads a text as it is, refuses one that is too long, and
/// writes greedily.
///
/// `with_max_tokens(usize::MAX)` reads a text of any length at once: positions are relative, so nothing breaks, but no
/// T5 has seen more than its [`max_tokens`](crate::ClinicalT5::max_tokens) while it was trained, and memory grows with
/// the square of the length.
///
/// ```
/// use clinical_t5::{Generation, LongText, Normalizer, T5Options};
///
/// let options = T5Options::new()
///     .with_generation(Generation::beam(4))
///     .with_max_new_tokens(32)
///     .with_deid(Normalizer::mimic_iii())
///     .with_long_text(LongText::Windows { overlap: 32 });
/// ```
#[derive(Debug, Clone, Default)]
pub struct T5Options {
    generation: Option<Generation>,
    max_new_tokens: Option<usize>,
    pub(super) deid: Option<Normalizer>,
    sentinels: Option<Sentinels>,
    pub(super) call: CallOptions,
}

call_options!(T5Options);

impl T5Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How tokens are chosen. Default: greedy, at most 256 new tokens.
    #[must_use]
    pub fn with_generation(mut self, generation: Generation) -> Self {
        self.generation = Some(generation);
        self
    }

    /// The largest number of new tokens, whatever [`with_generation`](Self::with_generation) says.
    #[must_use]
    pub fn with_max_new_tokens(mut self, tokens: usize) -> Self {
        self.max_new_tokens = Some(tokens);
        self
    }

    /// Converts de-identification tags before a text is tokenised: Clinical-T5 was trained on notes in which
    /// `[**Hospital 12**]` (MIMIC-III) or `___` (MIMIC-IV) had become tokens such as `[Company]`. Off by default; see
    /// [`clinical_deid`]. Targets are not converted.
    #[must_use]
    pub fn with_deid(mut self, normalizer: Normalizer) -> Self {
        self.deid = Some(normalizer);
        self
    }

    /// The ids that stand for spans in [`fill_with`](crate::ClinicalT5::fill_with), where the model was trained with
    /// others than the tokenizer names: see [`Sentinels::TopOfVocabulary`].
    #[must_use]
    pub fn with_sentinels(mut self, sentinels: Sentinels) -> Self {
        self.sentinels = Some(sentinels);
        self
    }

    /// How tokens are chosen, all options together; `tokens` new ones at most if no option says another number.
    pub(super) fn generation(&self, tokens: Option<usize>) -> Generation {
        let mut generation = match (&self.generation, tokens) {
            (Some(generation), _) => generation.clone(),
            (None, Some(tokens)) => Generation::greedy().with_max_new_tokens(tokens),
            (None, None) => Generation::greedy(),
        };
        if let Some(tokens) = self.max_new_tokens {
            generation.max_new_tokens = tokens;
        }
        if generation.cancel.is_none() {
            generation.cancel.clone_from(&self.call.cancel);
        }
        generation
    }

    pub(super) fn sentinels(&self) -> Option<&Sentinels> {
        self.sentinels.as_ref()
    }

    /// What happens to a text that is too long.
    pub(super) fn long_text(&self) -> LongText {
        self.call.long_text.unwrap_or_default()
    }

    /// Texts that are computed at once.
    pub(super) fn batch(&self) -> usize {
        self.call.batch.unwrap_or(BATCH).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_calls_does_not_matter() {
        let length = |options: T5Options| options.generation(None).max_new_tokens;
        let set = || Generation::sample().with_max_new_tokens(9);
        assert_eq!(length(T5Options::new()), 256);
        assert_eq!(length(T5Options::new().with_generation(set())), 9);
        for options in [
            T5Options::new()
                .with_max_new_tokens(64)
                .with_generation(set()),
            T5Options::new()
                .with_generation(set())
                .with_max_new_tokens(64),
        ] {
            assert_eq!(length(options.clone()), 64);
            assert!(options.generation(None).sample);
        }
        assert_eq!(T5Options::new().generation(Some(5)).max_new_tokens, 5);
        let chosen = T5Options::new().with_max_new_tokens(7);
        assert_eq!(chosen.generation(Some(5)).max_new_tokens, 7);
    }
}
