//! The order of examples.

use crate::{DataError, random};

/// The order of the examples in every epoch: a permutation that is a pure function of (seed, epoch).
///
/// The place in a run is one integer, the number of examples that were taken: nothing else has to be saved, and
/// resuming reads no data.
///
/// ```
/// use clinical_train::Order;
///
/// let order = Order::new(42, 5)?;
/// let run: Vec<(u64, usize)> = order.resume(0).take(12).collect();
/// let resumed: Vec<(u64, usize)> = order.resume(7).take(5).collect();
/// assert_eq!(resumed, run[7..]);
/// # Ok::<(), clinical_train::DataError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    seed: u64,
    examples: u32,
}

/// Examples in order, epoch after epoch without end: (epoch, example).
#[derive(Debug, Clone)]
pub struct Positions {
    order: Order,
    epoch: u64,
    permutation: Vec<u32>,
    next: usize,
}

impl Order {
    /// The order of so many examples.
    ///
    /// # Errors
    ///
    /// [`DataError::NoExamples`], [`DataError::TooManyExamples`] for more than `u32::MAX`.
    pub fn new(seed: u64, examples: usize) -> Result<Self, DataError> {
        if examples == 0 {
            return Err(DataError::NoExamples);
        }
        match u32::try_from(examples) {
            Ok(examples) => Ok(Self { seed, examples }),
            Err(_) => Err(DataError::TooManyExamples { examples }),
        }
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The number of examples, at least 1.
    #[must_use]
    pub fn examples(&self) -> usize {
        self.examples as usize
    }

    /// The permutation of an epoch, 4 bytes an example: Fisher-Yates with ChaCha8 keyed by (seed, epoch).
    #[must_use]
    pub fn permutation(&self, epoch: u64) -> Vec<u32> {
        let mut permutation: Vec<u32> = (0..self.examples).collect();
        let mut rng = random::stream(b"order   ", self.seed, epoch, 0);
        random::shuffle(&mut rng, &mut permutation);
        permutation
    }

    /// What follows after `position` examples of the run, counted from the beginning of epoch 0.
    #[must_use]
    pub fn resume(&self, position: u64) -> Positions {
        let epoch = position / u64::from(self.examples);
        Positions {
            order: *self,
            epoch,
            permutation: self.permutation(epoch),
            next: (position % u64::from(self.examples)) as usize,
        }
    }
}

impl Positions {
    /// The number of examples of the run that were taken: what to save.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.epoch
            .saturating_mul(u64::from(self.order.examples))
            .saturating_add(self.next as u64)
    }
}

impl Iterator for Positions {
    type Item = (u64, usize);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.permutation.len() {
            self.epoch = self.epoch.checked_add(1)?;
            self.permutation = self.order.permutation(self.epoch);
            self.next = 0;
        }
        let example = *self.permutation.get(self.next)?;
        self.next += 1;
        Some((self.epoch, example as usize))
    }
}
