//! How far two or more raters agree, beyond what chance would give.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Error, Result};

/// How much a disagreement counts in [`cohen_kappa`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum KappaWeights {
    /// Every disagreement alike.
    #[default]
    None,
    /// By its distance.
    Linear,
    /// By the square of its distance: usual for scores such as 1 to 4.
    Quadratic,
}

/// What the numbers of [`krippendorff_alpha`] mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scale {
    /// Names without an order.
    Nominal,
    /// An order without distances: scores from 1 to 4.
    #[default]
    Ordinal,
    /// Distances without a zero.
    Interval,
}

/// Cohen's kappa of two raters, as `sklearn.metrics.cohen_kappa_score` with all of `0..categories` as labels: 1 for full
/// agreement, 0 for that of chance. `None` where both raters gave one and the same category throughout, so that chance
/// alone agrees fully.
///
/// ```
/// use clinical_tasks::metrics::{KappaWeights, cohen_kappa};
///
/// let (first, second) = ([0, 1, 1, 2, 3, 3], [0, 1, 2, 2, 3, 2]);
/// let kappa = cohen_kappa(&first, &second, 4, KappaWeights::Quadratic)?;
/// assert!((kappa.unwrap() - 0.842_105_263_2).abs() < 1e-9);
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Lengths`] for raters of different lengths, [`Error::Nothing`] for none,
/// [`Error::Category`] for a category of `categories` or more.
pub fn cohen_kappa(
    first: &[usize],
    second: &[usize],
    categories: usize,
    weights: KappaWeights,
) -> Result<Option<f64>> {
    super::comparable(first.len(), second.len())?;
    let mut both = vec![0.0f64; categories * categories];
    let (mut rows, mut columns) = (vec![0.0; categories], vec![0.0; categories]);
    for (&a, &b) in first.iter().zip(second) {
        if let Some(category) = [a, b].into_iter().find(|&one| one >= categories) {
            return Err(Error::Category {
                category,
                categories,
            });
        }
        both[a * categories + b] += 1.0;
        rows[a] += 1.0;
        columns[b] += 1.0;
    }
    let weight = |a: usize, b: usize| match weights {
        KappaWeights::None => f64::from(u8::from(a != b)),
        KappaWeights::Linear => a.abs_diff(b) as f64,
        KappaWeights::Quadratic => (a.abs_diff(b) as f64).powi(2),
    };
    let (mut found, mut chance) = (0.0, 0.0);
    for a in 0..categories {
        for b in 0..categories {
            found += weight(a, b) * both[a * categories + b];
            chance += weight(a, b) * rows[a] * columns[b] / first.len() as f64;
        }
    }
    Ok((chance > 0.0).then(|| 1.0 - found / chance))
}

/// Krippendorff's alpha of any number of raters, some of whose ratings may be missing: `ratings[rater][unit]`. 1 for full
/// agreement, 0 for that of chance. `None` where fewer than two ratings of one unit can be compared, or all are equal.
/// As the package `krippendorff` for Python computes it.
///
/// ```
/// use clinical_tasks::metrics::{Scale, krippendorff_alpha};
///
/// let first = [Some(1.0), Some(2.0), Some(3.0), None, Some(4.0)];
/// let second = [Some(1.0), Some(2.0), Some(3.0), Some(3.0), Some(4.0)];
/// assert_eq!(krippendorff_alpha(&[&first, &second], Scale::Ordinal)?, Some(1.0));
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Lengths`] for raters with different numbers of units, [`Error::Nothing`] without a rater or a
/// unit, [`Error::NotANumber`] for a rating that is not finite.
pub fn krippendorff_alpha(ratings: &[&[Option<f64>]], scale: Scale) -> Result<Option<f64>> {
    let units = ratings.first().map_or(0, |rater| rater.len());
    for rater in ratings {
        super::comparable(units, rater.len())?;
    }
    super::comparable(units, units)?;
    let mut values: Vec<f64> = ratings
        .iter()
        .flat_map(|rater| rater.iter().flatten().copied())
        .collect();
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotANumber { index });
    }
    values.sort_by(f64::total_cmp);
    values.dedup();
    let place = |value: f64| values.partition_point(|other| *other < value);
    // How often two values were given to one unit, over all pairs of its ratings.
    let mut pairs: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    let mut counts = vec![0.0; values.len()];
    for unit in 0..units {
        let given: Vec<usize> = ratings
            .iter()
            .filter_map(|rater| rater[unit].map(place))
            .collect();
        if given.len() < 2 {
            continue;
        }
        for (at, &a) in given.iter().enumerate() {
            counts[a] += 1.0;
            for (other, &b) in given.iter().enumerate() {
                if at != other {
                    *pairs.entry((a, b)).or_default() += 1.0 / (given.len() as f64 - 1.0);
                }
            }
        }
    }
    let total: f64 = counts.iter().sum();
    // Ratings up to each value, for the distance between ranks.
    let mut up_to = vec![0.0];
    for count in &counts {
        up_to.push(up_to[up_to.len() - 1] + count);
    }
    let distance = |a: usize, b: usize| match scale {
        Scale::Nominal => f64::from(u8::from(a != b)),
        Scale::Interval => (values[a] - values[b]).powi(2),
        Scale::Ordinal => {
            let (low, high) = (a.min(b), a.max(b));
            let between = up_to[high + 1] - up_to[low];
            (between - (counts[low] + counts[high]) / 2.0).powi(2)
        }
    };
    let found: f64 = pairs
        .iter()
        .map(|(&(a, b), count)| count * distance(a, b))
        .sum();
    let mut chance = 0.0;
    for a in 0..values.len() {
        for b in 0..values.len() {
            if a != b {
                chance += counts[a] * counts[b] * distance(a, b) / (total - 1.0);
            }
        }
    }
    Ok((total > 1.0 && chance > 0.0).then(|| 1.0 - found / chance))
}
