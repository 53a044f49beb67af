//! Data for pretraining: spans of a text replaced by sentinels.

use rand::Rng;

use crate::Error;

/// Longest input for which [`SpanCorruption::lengths`] is computed; it takes a step for each token.
pub const MAX_SPAN_LENGTH: usize = 1 << 24;

/// T5's objective (Raffel et al. 2020, section 3.1.4): random spans of a text are replaced by one sentinel each, and
/// the target is these spans, each after its sentinel.
///
/// The arithmetic is that of the published Clinical-T5 pretraining (`run_t5_mlm_flax.py`), rounding half to even
/// included.
///
/// ```
/// use clinical_t5::{Sentinels, SpanCorruption};
///
/// let spans = SpanCorruption::new(Sentinels::TopOfVocabulary { tokens: 32100 }, 1);
/// assert_eq!(spans.lengths(512)?, (568, 114));
/// let mask = [false, false, true, true, false];
/// let example = spans.corrupt(&[10, 11, 12, 13, 14], &mask)?;
/// assert_eq!(example.input_ids, [10, 11, 32099, 14, 1]);
/// assert_eq!(example.labels, [32099, 12, 13, 32098, 1]);
/// # Ok::<(), clinical_t5::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SpanCorruption {
    /// The part of the tokens that is replaced. Default 0.15.
    pub noise_density: f64,
    /// The mean length of a replaced span. Default 3.
    pub mean_span: f64,
    /// Which ids stand for spans.
    pub sentinels: Sentinels,
    /// Appended to inputs and labels.
    pub eos: u32,
}

/// Which id stands for the k-th span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sentinels {
    /// The ids of `<extra_id_0>`, `<extra_id_1>`, ... as the tokenizer names them. What a model should be asked with,
    /// and what any new pretraining should use.
    ByName(Vec<u32>),
    /// `tokens - 1`, `tokens - 2`, ...: what the published script does. It equals the names for a plain T5 tokenizer
    /// (32,100 tokens) only: after 15 added tokens the first 15 sentinels are those tokens, and a tokenizer trained
    /// from scratch numbers its sentinels the other way round. Whether the released Clinical-T5 weights were trained so
    /// is not known.
    TopOfVocabulary {
        /// `len(tokenizer)`, added tokens included.
        tokens: u32,
    },
}

/// A text with spans replaced, and the spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupted {
    /// The text, one sentinel instead of each span, then the end token.
    pub input_ids: Vec<u32>,
    /// The spans, each after its sentinel, then the end token.
    pub labels: Vec<u32>,
}

impl Sentinels {
    /// The id for the span with this number, from 0.
    ///
    /// # Errors
    ///
    /// [`Error::SentinelsUsedUp`].
    pub fn id(&self, span: usize) -> Result<u32, Error> {
        let (id, limit) = match self {
            Self::ByName(ids) => (ids.get(span).copied(), ids.len()),
            Self::TopOfVocabulary { tokens } => {
                let below = u32::try_from(span)
                    .ok()
                    .and_then(|span| span.checked_add(1));
                (
                    below.and_then(|below| tokens.checked_sub(below)),
                    *tokens as usize,
                )
            }
        };
        id.ok_or(Error::SentinelsUsedUp { limit })
    }
}

impl SpanCorruption {
    /// Density 0.15 and mean span 3: the published settings.
    #[must_use]
    pub fn new(sentinels: Sentinels, eos: u32) -> Self {
        Self {
            noise_density: 0.15,
            mean_span: 3.0,
            sentinels,
            eos,
        }
    }

    /// Checks the settings; every other method does it too.
    ///
    /// # Errors
    ///
    /// [`Error::NoiseDensity`], [`Error::MeanSpan`].
    pub fn validate(&self) -> Result<(), Error> {
        if !(self.noise_density > 0.0 && self.noise_density <= 0.9) {
            return Err(Error::NoiseDensity {
                density: self.noise_density,
            });
        }
        if !(self.mean_span >= 1.0 && self.mean_span.is_finite()) {
            return Err(Error::MeanSpan {
                mean: self.mean_span,
            });
        }
        Ok(())
    }

    /// How many tokens a text must have so that its corrupted form has at most `inputs` (end token included), and how
    /// many labels it then has: `(568, 114)` for 512.
    ///
    /// # Errors
    ///
    /// [`Error::SpanLength`] for fewer than 2 or more than [`MAX_SPAN_LENGTH`] inputs, and [`Self::validate`]'s.
    pub fn lengths(&self, inputs: usize) -> Result<(usize, usize), Error> {
        self.validate()?;
        if !(2..=MAX_SPAN_LENGTH).contains(&inputs) {
            return Err(Error::SpanLength { length: inputs });
        }
        let lengths = |tokens: usize| {
            let noise = round(tokens as f64 * self.noise_density);
            let spans = round(noise as f64 / self.mean_span);
            (tokens - noise + spans + 1, noise + spans + 1)
        };
        let mut tokens = inputs;
        while lengths(tokens + 1).0 <= inputs {
            tokens += 1;
        }
        let (corrupted, mut targets) = lengths(tokens);
        // As published, so that half of the tokens give targets no longer than the inputs.
        if self.noise_density == 0.5 && targets > corrupted {
            tokens -= 1;
            targets -= 1;
        }
        Ok((tokens, targets))
    }

    /// The number of replaced tokens and of spans in a text of `length` tokens.
    ///
    /// # Errors
    ///
    /// [`Error::SpanLength`] for fewer than 2 tokens, and [`Self::validate`]'s.
    pub fn counts(&self, length: usize) -> Result<(usize, usize), Error> {
        self.validate()?;
        if length < 2 {
            return Err(Error::SpanLength { length });
        }
        let noise = round(length as f64 * self.noise_density).clamp(1, length - 1);
        let spans = round(noise.min(length - noise) as f64 / self.mean_span).max(1);
        Ok((noise, spans))
    }

    /// A random mask, `true` for tokens to replace: lengths of replaced and kept spans are uniform random compositions,
    /// in turn, a kept one first. So a mask always ends in a replaced token.
    ///
    /// # Errors
    ///
    /// Those of [`Self::counts`].
    pub fn random_mask<R: Rng + ?Sized>(
        &self,
        length: usize,
        rng: &mut R,
    ) -> Result<Vec<bool>, Error> {
        let (noise, spans) = self.counts(length)?;
        let replaced = composition(noise, spans, rng);
        let kept = composition(length - noise, spans, rng);
        let mut mask = Vec::with_capacity(length);
        for (kept, replaced) in kept.into_iter().zip(replaced) {
            mask.extend(std::iter::repeat_n(false, kept));
            mask.extend(std::iter::repeat_n(true, replaced));
        }
        Ok(mask)
    }

    /// Replaces the spans that `mask` marks.
    ///
    /// # Errors
    ///
    /// [`Error::MaskLength`] if ids and mask differ in length, [`Error::SentinelsUsedUp`].
    pub fn corrupt(&self, ids: &[u32], mask: &[bool]) -> Result<Corrupted, Error> {
        if ids.len() != mask.len() {
            return Err(Error::MaskLength {
                ids: ids.len(),
                mask: mask.len(),
            });
        }
        Ok(Corrupted {
            input_ids: self.replace(ids, mask, true)?,
            labels: self.replace(ids, mask, false)?,
        })
    }

    /// [`Self::random_mask`] and [`Self::corrupt`].
    ///
    /// # Errors
    ///
    /// Theirs.
    pub fn random_example<R: Rng + ?Sized>(
        &self,
        ids: &[u32],
        rng: &mut R,
    ) -> Result<Corrupted, Error> {
        self.corrupt(ids, &self.random_mask(ids.len(), rng)?)
    }

    /// `ids` with one sentinel for each run of `marked`, then the end token.
    fn replace(&self, ids: &[u32], mask: &[bool], marked: bool) -> Result<Vec<u32>, Error> {
        let mut out = Vec::with_capacity(ids.len() + 1);
        let mut spans = 0;
        let mut inside = false;
        for (&id, &mark) in ids.iter().zip(mask) {
            if mark != marked {
                out.push(id);
            } else if !inside {
                out.push(self.sentinels.id(spans)?);
                spans += 1;
            }
            inside = mark == marked;
        }
        out.push(self.eos);
        Ok(out)
    }
}

/// Half to even, as Python and numpy round.
fn round(value: f64) -> usize {
    value.round_ties_even() as usize
}

/// A uniform random composition: `items` in `parts` positive parts, in order. `parts` is at most `items`.
fn composition<R: Rng + ?Sized>(items: usize, parts: usize, rng: &mut R) -> Vec<usize> {
    let ends = chosen(items - 1, parts - 1, rng).into_iter();
    let mut start = 0;
    ends.map(|cut| cut + 1)
        .chain([items])
        .map(|end| end - std::mem::replace(&mut start, end))
        .collect()
}

/// `count` different numbers below `all`, in order, each set equally likely (Knuth's algorithm S). Only raw words of the
/// generator are used, so that no release of `rand` changes what a seed gives.
fn chosen<R: Rng + ?Sized>(all: usize, count: usize, rng: &mut R) -> Vec<usize> {
    let mut chosen = Vec::with_capacity(count);
    for number in 0..all {
        let (left, wanted) = (all - number, count - chosen.len());
        // The high word of a product: uniform but for 2^-40 or less.
        let drawn = (u128::from(rng.next_u64()) * left as u128) >> 64;
        if drawn < wanted as u128 {
            chosen.push(number);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    enum Golden {
        Lengths {
            inputs_length: usize,
            noise_density: f64,
            mean_noise_span_length: f64,
            tokens_length: usize,
            targets_length: usize,
        },
        Corrupt {
            len_tokenizer: u32,
            ids: Vec<u32>,
            mask: Vec<u8>,
            input_ids: Vec<u32>,
            labels: Vec<u32>,
            n_noise: Option<usize>,
            n_spans: Option<usize>,
        },
    }

    fn spans(tokens: u32) -> SpanCorruption {
        SpanCorruption::new(Sentinels::TopOfVocabulary { tokens }, 1)
    }

    /// Every pair out of five is as likely as another.
    #[test]
    fn chosen_sets_are_equally_likely() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut found = std::collections::BTreeMap::<Vec<usize>, usize>::new();
        for _ in 0..20_000 {
            *found.entry(chosen(5, 2, &mut rng)).or_default() += 1;
        }
        assert_eq!(found.len(), 10);
        // Three standard deviations of 2,000 are 127.
        assert!(found.values().all(|count| count.abs_diff(2000) < 170));
        assert_eq!(chosen(3, 3, &mut rng), [0, 1, 2]);
        assert!(chosen(3, 0, &mut rng).is_empty() && chosen(0, 0, &mut rng).is_empty());
        // What a seed gives stays what it is.
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert_eq!(chosen(12, 4, &mut rng), [3, 9, 10, 11]);
    }

    #[test]
    fn equals_the_published_script() {
        let (mut lengths, mut corrupted) = (0, 0);
        for line in include_str!("../tests/data/span_golden.jsonl").lines() {
            match serde_json::from_str(line).unwrap() {
                Golden::Lengths {
                    inputs_length,
                    noise_density,
                    mean_noise_span_length,
                    tokens_length,
                    targets_length,
                } => {
                    let mut spans = spans(32_100);
                    spans.noise_density = noise_density;
                    spans.mean_span = mean_noise_span_length;
                    assert_eq!(
                        spans.lengths(inputs_length).unwrap(),
                        (tokens_length, targets_length),
                        "{line}"
                    );
                    lengths += 1;
                }
                Golden::Corrupt {
                    len_tokenizer,
                    ids,
                    mask,
                    input_ids,
                    labels,
                    n_noise,
                    n_spans,
                } => {
                    let mask: Vec<bool> = mask.into_iter().map(|mark| mark == 1).collect();
                    let spans = spans(len_tokenizer);
                    assert_eq!(
                        spans.corrupt(&ids, &mask).unwrap(),
                        Corrupted { input_ids, labels }
                    );
                    if let (Some(noise), Some(count)) = (n_noise, n_spans) {
                        assert_eq!(spans.counts(ids.len()).unwrap(), (noise, count));
                    }
                    corrupted += 1;
                }
            }
        }
        assert_eq!((lengths, corrupted), (75, 12));
    }

    #[test]
    fn masks_have_the_published_shape() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let spans = spans(32_100);
        let mut starts = vec![0; 568];
        for _ in 0..400 {
            let mask = spans.random_mask(568, &mut rng).unwrap();
            assert_eq!(mask.len(), 568);
            assert_eq!(mask.iter().filter(|&&mark| mark).count(), 85);
            assert!(!mask[0] && mask[567]);
            let runs = mask.windows(2).filter(|pair| !pair[0] && pair[1]).count();
            assert_eq!(runs, 28);
            let ids: Vec<u32> = (100..668).collect();
            let example = spans.corrupt(&ids, &mask).unwrap();
            assert_eq!((example.input_ids.len(), example.labels.len()), (512, 114));
            for (count, &mark) in starts.iter_mut().zip(&mask) {
                *count += usize::from(mark);
            }
        }
        // Every position but the ends is about as likely as any other: 0.15 of 400, give or take five deviations.
        assert!(
            starts[20..548]
                .iter()
                .all(|&count| (25..=96).contains(&count)),
            "{starts:?}"
        );
    }

    #[test]
    fn short_texts_and_one_seed() {
        for length in 2..40 {
            let example = |seed| {
                let ids: Vec<u32> = (0..length).collect();
                spans(32_100)
                    .random_example(&ids, &mut ChaCha8Rng::seed_from_u64(seed))
                    .unwrap()
            };
            assert_eq!(example(1), example(1));
            // Every token is in exactly one of both.
            let mut found: Vec<u32> = [example(2).input_ids, example(2).labels].concat();
            found.retain(|&id| id < length);
            found.sort_unstable();
            let mut expected: Vec<u32> = (0..length).collect();
            // The end token, 1, comes once more in each.
            expected.extend([1, 1]);
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn named_sentinels_may_run_out() {
        let named = SpanCorruption::new(Sentinels::ByName(vec![160, 161]), 1);
        let ids = [5, 6, 7, 8, 9];
        let example = named
            .corrupt(&ids, &[false, true, false, true, true])
            .unwrap();
        assert_eq!(example.input_ids, [5, 160, 7, 161, 1]);
        assert_eq!(example.labels, [160, 6, 161, 8, 9, 1]);
        let many = named.corrupt(&ids, &[true, false, true, false, true]);
        assert!(matches!(many, Err(Error::SentinelsUsedUp { limit: 2 })));
        assert!(matches!(
            spans(1).corrupt(&ids, &[false, true, false, true, true]),
            Err(Error::SentinelsUsedUp { .. })
        ));
        assert!(matches!(
            named.corrupt(&ids, &[true]),
            Err(Error::MaskLength { ids: 5, mask: 1 })
        ));
    }

    #[test]
    fn settings_are_checked() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for density in [0.0, -0.1, 0.91, f64::NAN] {
            let spans = SpanCorruption {
                noise_density: density,
                ..spans(32_100)
            };
            assert!(matches!(
                spans.lengths(512),
                Err(Error::NoiseDensity { .. })
            ));
        }
        for mean in [0.5, f64::INFINITY, f64::NAN] {
            let spans = SpanCorruption {
                mean_span: mean,
                ..spans(32_100)
            };
            assert!(matches!(
                spans.random_mask(10, &mut rng),
                Err(Error::MeanSpan { .. })
            ));
        }
        assert!(matches!(
            spans(32_100).lengths(usize::MAX),
            Err(Error::SpanLength { .. })
        ));
        assert!(matches!(
            spans(32_100).random_mask(1, &mut rng),
            Err(Error::SpanLength { length: 1 })
        ));
    }
}
