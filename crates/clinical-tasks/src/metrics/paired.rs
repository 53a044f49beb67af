//! Whether two runs on the same examples differ by more than chance.

use serde::Serialize;

use super::comparable;
use crate::random::Stream;
use crate::{Error, Result};

/// Approximate randomization (Noreen 1989; Yeh 2000): for each example the predictions of the two runs are swapped or
/// not, and the p-value is the share of such shufflings whose difference is at least that of the runs, in either
/// direction. It fits any metric, also those that are no mean over examples, such as a macro F1.
///
/// Where there are no more shufflings than samples (13 examples, by default) all of them are tried, and the p-value is
/// exact; otherwise it is `(found + 1) / (samples + 1)`. A shuffling is a function of the seed and its number alone.
///
/// ```
/// use clinical_tasks::metrics::PairedTest;
///
/// let first = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0];
/// let second = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
/// let test = PairedTest::new(17).means(&first, &second)?;
/// assert_eq!(test.difference, 0.75);
/// assert_eq!(test.p_value, 2.0 / 64.0); // six of the eight examples differ
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairedTest {
    seed: u64,
    samples: usize,
}

/// What a paired test found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Significance {
    /// The metric of the first run minus that of the second.
    pub difference: f64,
    /// How often chance alone gives such a difference.
    pub p_value: f64,
    /// Whether all shufflings were tried.
    pub exact: bool,
}

impl PairedTest {
    /// 10,000 samples.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            samples: 10_000,
        }
    }

    /// The number of samples. Default: 10,000.
    #[must_use]
    pub const fn with_samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// Compares two runs by a metric of all `examples` examples.
    ///
    /// `difference` gets for each example whether the predictions of the two runs are swapped, and gives the metric of
    /// the first run minus that of the second. Without a swap it is the difference that is tested.
    ///
    /// # Errors
    ///
    /// [`Error::Nothing`] without examples, [`Error::Option`] for no samples, [`Error::NotANumber`] where the
    /// difference is none.
    pub fn metric(
        &self,
        examples: usize,
        mut difference: impl FnMut(&[bool]) -> f64,
    ) -> Result<Significance> {
        if examples == 0 {
            return Err(Error::Nothing);
        }
        if self.samples == 0 {
            let what = "a test needs samples";
            return Err(Error::Option { what });
        }
        let mut swapped = vec![false; examples];
        let observed = difference(&swapped);
        if observed.is_nan() {
            return Err(Error::NotANumber { index: 0 });
        }
        // Sums in another order differ in their last digits.
        let least = observed.abs() * (1.0 - 1e-12);
        let all = u32::try_from(examples)
            .ok()
            .and_then(|bits| 1_usize.checked_shl(bits));
        let all = all.filter(|&all| examples < usize::BITS as usize && all <= self.samples);
        let mut found = 0;
        for sample in 0..all.unwrap_or(self.samples) as u64 {
            let stream = Stream::new(self.seed, sample);
            for (index, swap) in (0_u64..).zip(&mut swapped) {
                let bits = match all {
                    Some(_) => sample >> index,
                    None => stream.at(index / 64) >> (index % 64),
                };
                *swap = bits & 1 == 1;
            }
            found += usize::from(difference(&swapped).abs() >= least);
        }
        Ok(Significance {
            difference: observed,
            p_value: match all {
                Some(all) => found as f64 / all as f64,
                None => (found + 1) as f64 / (self.samples + 1) as f64,
            },
            exact: all.is_some(),
        })
    }

    /// Compares two runs by the means of their values, one for each example. Examples on which they agree change
    /// nothing and are left out.
    ///
    /// # Errors
    ///
    /// Those of [`PairedTest::metric`]; [`Error::Lengths`].
    pub fn means(&self, first: &[f64], second: &[f64]) -> Result<Significance> {
        comparable(first.len(), second.len())?;
        let differences = first
            .iter()
            .zip(second)
            .map(|(first, second)| first - second);
        let differences: Vec<f64> = differences.filter(|value| *value != 0.0).collect();
        if differences.is_empty() {
            return Ok(Significance {
                difference: 0.0,
                p_value: 1.0,
                exact: true,
            });
        }
        self.metric(differences.len(), |swapped| {
            let values = differences.iter().zip(swapped);
            let sum: f64 = values
                .map(|(value, swap)| if *swap { -value } else { *value })
                .sum();
            sum / first.len() as f64
        })
    }
}

/// The exact test of McNemar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct McNemar {
    /// Examples that only the first run has right.
    pub only_first: usize,
    /// Examples that only the second run has right.
    pub only_second: usize,
    /// How often chance alone gives so uneven numbers.
    pub p_value: f64,
}

/// Compares which examples two runs have right by the exact test of McNemar (1947): of the examples that one of them
/// alone has right, half should be each one's. For accuracy and exact match it is [`PairedTest::means`] without samples.
///
/// ```
/// use clinical_tasks::metrics::mcnemar;
///
/// let test = mcnemar(&[true, true, true, false], &[false, false, true, true])?;
/// assert_eq!((test.only_first, test.only_second, test.p_value), (2, 1, 1.0));
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Nothing`], [`Error::Lengths`].
pub fn mcnemar(first: &[bool], second: &[bool]) -> Result<McNemar> {
    comparable(first.len(), second.len())?;
    let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|&(a, b)| *a && !*b).count();
    let (only_first, only_second) = (only(first, second), only(second, first));
    Ok(McNemar {
        only_first,
        only_second,
        p_value: binomial_two_sided(only_first.min(only_second), only_first + only_second),
    })
}

/// Twice the probability of at most `least` heads among `all` fair coins, at most 1.
fn binomial_two_sided(least: usize, all: usize) -> f64 {
    let (k, n) = (least as f64, all as f64);
    // The largest term, and the sum of all terms as parts of it.
    let choose: f64 = (1..=least)
        .map(|i| ((n - k + i as f64) / i as f64).ln())
        .sum();
    let (mut term, mut sum) = (1.0, 1.0);
    for i in (1..=least).rev() {
        term *= i as f64 / (n - i as f64 + 1.0);
        sum += term;
    }
    (2.0 * (choose - n * std::f64::consts::LN_2).exp() * sum).min(1.0)
}
