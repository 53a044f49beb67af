//! Intervals by resampling the examples.

use serde::Serialize;

use crate::random::Stream;
use crate::{Error, Result};

/// Intervals of a metric by the percentile bootstrap (Efron 1979): the metric of many samples of the examples, drawn
/// with replacement, and the quantiles of these values.
///
/// A sample is a function of the seed and its number alone.
///
/// ```
/// use clinical_tasks::metrics::Bootstrap;
///
/// let right = [1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0];
/// let interval = Bootstrap::new(17).mean(&right)?;
/// assert!(interval.low < 0.7 && interval.high > 0.7);
/// assert_eq!(interval, Bootstrap::new(17).mean(&right)?);
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    seed: u64,
    samples: usize,
    level: f64,
}

/// An interval of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Samples for which the metric has no value; they are left out.
    pub undefined: usize,
}

impl Bootstrap {
    /// 1,000 samples and intervals of 95 %.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            seed,
            samples: 1000,
            level: 0.95,
        }
    }

    /// The number of samples. Default: 1,000.
    #[must_use]
    pub const fn with_samples(mut self, samples: usize) -> Self {
        self.samples = samples;
        self
    }

    /// The share of the values that the interval holds, between 0 and 1. Default: 0.95.
    #[must_use]
    pub const fn with_level(mut self, level: f64) -> Self {
        self.level = level;
        self
    }

    /// The interval of a metric of `examples` examples. `metric` gets the indices of a sample, and gives `None` where it
    /// has no value, such as a ROC-AUC of examples of one class.
    ///
    /// # Errors
    ///
    /// [`Error::Nothing`] without examples, or where no sample has a value; [`Error::Option`] for no samples, or a level
    /// that is none.
    pub fn interval(
        &self,
        examples: usize,
        mut metric: impl FnMut(&[usize]) -> Option<f64>,
    ) -> Result<Interval> {
        if examples == 0 {
            return Err(Error::Nothing);
        }
        if self.samples == 0 || !(self.level > 0.0 && self.level < 1.0) {
            return Err(Error::Option {
                what: "a bootstrap needs samples and a level between 0 and 1",
            });
        }
        let mut indices = vec![0; examples];
        let mut values = Vec::with_capacity(self.samples);
        for sample in 0..self.samples as u64 {
            let stream = Stream::new(self.seed, sample);
            for (position, index) in (0..).zip(&mut indices) {
                *index = stream.below(position, examples);
            }
            values.extend(metric(&indices).filter(|value| !value.is_nan()));
        }
        values.sort_by(f64::total_cmp);
        let tail = (1.0 - self.level) / 2.0;
        Ok(Interval {
            low: quantile(&values, tail).ok_or(Error::Nothing)?,
            high: quantile(&values, 1.0 - tail).ok_or(Error::Nothing)?,
            undefined: self.samples - values.len(),
        })
    }

    /// The interval of the mean of values, one for each example: accuracy, exact match, F1 of answers.
    ///
    /// # Errors
    ///
    /// Those of [`Bootstrap::interval`].
    pub fn mean(&self, values: &[f64]) -> Result<Interval> {
        self.interval(values.len(), |sample| {
            let sum: f64 = sample.iter().map(|&index| values[index]).sum();
            Some(sum / sample.len() as f64)
        })
    }
}

/// A quantile of sorted values, between two of them in proportion (NumPy's default).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let at = share * (sorted.len().checked_sub(1)? as f64);
    let low = sorted[at.floor() as usize];
    let high = sorted[at.ceil() as usize];
    Some(low + (high - low) * at.fract())
}
