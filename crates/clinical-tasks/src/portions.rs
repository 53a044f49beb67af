//! The parts of a data set, and smaller ones for the study of how much data a model needs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::random::permutation;
use crate::{Error, Result};

/// A part of a data set as it was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Portion {
    /// For training.
    Train,
    /// For choosing a model: dev, val.
    Development,
    /// For the figures that are reported.
    Test,
}

impl Portion {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Train, Self::Development, Self::Test];
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "train",
            Self::Development => "development",
            Self::Test => "test",
        })
    }
}

/// By its name, or that of the published files: `dev`, `val`.
impl FromStr for Portion {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "train" => Ok(Self::Train),
            "development" | "dev" | "val" => Ok(Self::Development),
            "test" => Ok(Self::Test),
            _ => Err(Error::Option {
                what: "the parts of a data set are train, development and test",
            }),
        }
    }
}

/// Something for each part of a data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Portions<T> {
    /// For training.
    pub train: T,
    /// For choosing a model.
    pub development: T,
    /// For the figures that are reported.
    pub test: T,
}

impl<T> Portions<T> {
    /// One of the parts.
    pub fn get(&self, portion: Portion) -> &T {
        match portion {
            Portion::Train => &self.train,
            Portion::Development => &self.development,
            Portion::Test => &self.test,
        }
    }

    /// One of the parts, to be changed.
    pub fn get_mut(&mut self, portion: Portion) -> &mut T {
        match portion {
            Portion::Train => &mut self.train,
            Portion::Development => &mut self.development,
            Portion::Test => &mut self.test,
        }
    }

    /// A value for each part from a function.
    ///
    /// # Errors
    ///
    /// The first error of the function.
    pub fn try_from_fn<E>(mut make: impl FnMut(Portion) -> Result<T, E>) -> Result<Self, E> {
        Ok(Self {
            train: make(Portion::Train)?,
            development: make(Portion::Development)?,
            test: make(Portion::Test)?,
        })
    }
}

/// The parts of the training data that the study compares, in percent.
pub const LOW_DATA_PERCENT: [u32; 5] = [1, 5, 10, 25, 100];

/// Which of `count` examples are a part of so many percent: indices in order, as many as scikit-learn and `datasets`
/// take (rounded up).
///
/// The parts of one seed are nested: all examples of 1 % are among those of 5 %. The study drew each part for itself,
/// from a random state that was not fixed, so the same examples cannot be had. It drew single sentences of CLIP; give
/// the number of notes to draw notes.
///
/// ```
/// use clinical_tasks::low_data;
///
/// let one = low_data(11_232, 1, 42)?;
/// let five = low_data(11_232, 5, 42)?;
/// assert_eq!((one.len(), five.len()), (113, 562));
/// assert!(one.iter().all(|index| five.binary_search(index).is_ok()));
/// assert_eq!(low_data(3, 100, 42)?, [0, 1, 2]);
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Percent`] for 0 and more than 100.
pub fn low_data(count: usize, percent: u32, seed: u64) -> Result<Vec<usize>> {
    if !(1..=100).contains(&percent) {
        return Err(Error::Percent { percent });
    }
    let wanted = (count as u128 * u128::from(percent)).div_ceil(100) as usize;
    let mut chosen = permutation(seed, count);
    chosen.truncate(wanted);
    chosen.sort_unstable();
    Ok(chosen)
}

/// Which of `count` examples a few-shot prompt shows: indices in the order in which they are shown.
///
/// # Errors
///
/// [`Error::TooFew`].
pub fn shots(count: usize, wanted: usize, seed: u64) -> Result<Vec<usize>> {
    if wanted > count {
        let found = count;
        return Err(Error::TooFew { wanted, found });
    }
    let mut chosen = permutation(seed, count);
    chosen.truncate(wanted);
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_nested_and_seeds_differ() {
        for count in [0, 1, 7, 1000] {
            let mut before: Vec<usize> = Vec::new();
            for percent in LOW_DATA_PERCENT {
                let part = low_data(count, percent, 9).unwrap();
                assert_eq!(part.len(), (count * percent as usize).div_ceil(100));
                assert!(before.iter().all(|index| part.binary_search(index).is_ok()));
                before = part;
            }
            assert!(before.into_iter().eq(0..count));
        }
        assert_ne!(low_data(1000, 5, 1).unwrap(), low_data(1000, 5, 2).unwrap());
        for percent in [0, 101] {
            assert!(matches!(
                low_data(10, percent, 1),
                Err(Error::Percent { .. })
            ));
        }
    }

    #[test]
    fn shots_are_different_examples() {
        let mut chosen = shots(5, 5, 3).unwrap();
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 1, 2, 3, 4]);
        assert!(matches!(
            shots(2, 3, 1),
            Err(Error::TooFew {
                wanted: 3,
                found: 2
            })
        ));
    }
}
