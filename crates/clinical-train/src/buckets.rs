//! Batches of examples of like length.

use serde::{Deserialize, Serialize};

use crate::{DataError, Order, random};

/// How many examples are a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// So many examples, in the order of the epoch, whatever their lengths: what the published recipes do. The last
    /// batch of an epoch has what is left.
    Rows(usize),
    /// As many examples of like length as fit: rows times the longest of them is at most this. An example that is
    /// longer is a batch by itself.
    Tokens(usize),
}

/// How examples become batches. As TOML, with the defaults:
///
/// ```toml
/// batching = { rows = 8 }  # or { tokens = 8192 }
/// window = 1024            # with a budget of tokens: examples that are sorted by length at a time
/// ```
///
/// **Padding** of batches by a budget of `B` tokens: in a window whose shortest example has `a` tokens and its longest
/// `b`, fewer than `B * ln(b / a)` places are padding (and none when `a = b`). A batch of `r` rows from `x` to `y`
/// tokens pads at most `(r - 1)(y - x)`, less than `r * y * ln(y / x)`, so less than `B * ln(y / x)`; the batches of a
/// window follow one another in length, so these logarithms add up to at most `ln(b / a)`. Examples of 32 to 512
/// tokens, 200 on average, 8192 tokens a batch, windows of 1024: below 10 % of all places, whatever their distribution;
/// a window twice as long about halves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    batching: Batching,
    window: usize,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self {
            batching: Batching::Rows(8),
            window: 1024,
        }
    }
}

impl BatchSettings {
    /// How many examples are a batch. Default: 8 rows.
    #[must_use]
    pub fn with_batching(mut self, batching: Batching) -> Self {
        self.batching = batching;
        self
    }

    /// How many examples, in the order of the epoch, are sorted by length at a time for [`Batching::Tokens`]. More pad
    /// less and mix less. Default: 1024.
    #[must_use]
    pub fn with_window(mut self, examples: usize) -> Self {
        self.window = examples;
        self
    }

    /// How many examples are a batch.
    #[must_use]
    pub fn batching(&self) -> Batching {
        self.batching
    }

    /// Examples that are sorted by length at a time.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// Checks the settings; [`Batches::new`] does it too.
    ///
    /// # Errors
    ///
    /// [`DataError::Zero`].
    pub fn validate(&self) -> Result<(), DataError> {
        let (setting, size) = match self.batching {
            Batching::Rows(rows) => ("batching.rows", rows),
            Batching::Tokens(tokens) => ("batching.tokens", tokens),
        };
        for (setting, value) in [(setting, size), ("window", self.window)] {
            if value == 0 {
                return Err(DataError::Zero { setting });
            }
        }
        Ok(())
    }
}

/// A place in a run: all that must be saved of the data to go on exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchPosition {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The number of batches of this epoch that were taken.
    pub batch: u64,
}

/// The batches of every epoch: a pure function of (seed, epoch), the lengths and the settings. Every example is in
/// exactly one batch of an epoch.
///
/// ```
/// use clinical_train::{BatchPosition, BatchSettings, Batches, Batching, Order};
///
/// let lengths = vec![3, 9, 4, 8, 3, 40];
/// let settings = BatchSettings::default().with_batching(Batching::Tokens(18));
/// let batches = Batches::new(Order::new(1, lengths.len())?, lengths, settings)?;
/// let epoch: Vec<Vec<usize>> = batches.epoch(0).collect();
/// let mut sorted = epoch.clone();
/// sorted.iter_mut().for_each(|batch| batch.sort());
/// sorted.sort();
/// assert_eq!(sorted, [vec![0, 2, 4], vec![1, 3], vec![5]]);
/// let rest: Vec<Vec<usize>> = batches.resume(BatchPosition { epoch: 0, batch: 1 })?.collect();
/// assert_eq!(rest, epoch[1..]);
/// # Ok::<(), clinical_train::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Batches {
    order: Order,
    lengths: Vec<u32>,
    settings: BatchSettings,
}

impl Batches {
    /// Batches of examples with these lengths in tokens. For pairs take the longer of input and target: then each of
    /// the two keeps to the budget.
    ///
    /// # Errors
    ///
    /// [`DataError::LengthCount`], [`DataError::EmptyExample`], and those of [`BatchSettings::validate`].
    pub fn new(
        order: Order,
        lengths: Vec<u32>,
        settings: BatchSettings,
    ) -> Result<Self, DataError> {
        settings.validate()?;
        if lengths.len() != order.examples() {
            return Err(DataError::LengthCount {
                lengths: lengths.len(),
                examples: order.examples(),
            });
        }
        if let Some(example) = lengths.iter().position(|&length| length == 0) {
            return Err(DataError::EmptyExample { example });
        }
        Ok(Self {
            order,
            lengths,
            settings,
        })
    }

    /// The order that batches are cut from.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> BatchSettings {
        self.settings
    }

    /// The batches of an epoch, each a list of examples. They are made a window at a time.
    #[must_use]
    pub fn epoch(&self, epoch: u64) -> EpochBatches<'_> {
        EpochBatches {
            batches: self,
            epoch,
            permutation: self.order.permutation(epoch),
            taken: 0,
            window: 0,
            ready: Vec::new().into_iter(),
        }
    }

    /// The number of batches of an epoch. With [`Batching::Tokens`] epochs may differ, as their windows hold other
    /// examples.
    #[must_use]
    pub fn count(&self, epoch: u64) -> u64 {
        match self.settings.batching {
            Batching::Rows(rows) => self.order.examples().div_ceil(rows) as u64,
            Batching::Tokens(_) => self.epoch(epoch).count() as u64,
        }
    }

    /// What is left of an epoch. Lengths are looked at again up to there, data are not.
    ///
    /// # Errors
    ///
    /// [`DataError::PastTheEnd`]; the end itself is a place, and nothing is left there.
    pub fn resume(&self, position: BatchPosition) -> Result<EpochBatches<'_>, DataError> {
        let mut rest = self.epoch(position.epoch);
        for batch in 0..position.batch {
            if rest.next().is_none() {
                return Err(DataError::PastTheEnd {
                    epoch: position.epoch,
                    batch: position.batch,
                    batches: batch,
                });
            }
        }
        Ok(rest)
    }

    /// The length of an example of this data.
    fn length(&self, example: u32) -> usize {
        self.lengths[example as usize] as usize
    }
}

/// What is left of an epoch.
#[derive(Debug, Clone)]
pub struct EpochBatches<'a> {
    batches: &'a Batches,
    epoch: u64,
    permutation: Vec<u32>,
    /// Examples of the permutation that are in batches.
    taken: usize,
    window: u64,
    ready: std::vec::IntoIter<Vec<usize>>,
}

impl EpochBatches<'_> {
    /// The batches of the next window, `None` after the last.
    fn next_window(&mut self, budget: usize) -> Option<Vec<Vec<usize>>> {
        let size = self.batches.settings.window;
        let end = self.taken.saturating_add(size).min(self.permutation.len());
        let mut examples = self.permutation.get(self.taken..end)?.to_vec();
        if examples.is_empty() {
            return None;
        }
        // Stable: examples of one length stay in the order of the epoch.
        examples.sort_by_key(|&example| self.batches.length(example));
        let mut found = Vec::new();
        let mut batch: Vec<usize> = Vec::new();
        for example in examples {
            let longest = self.batches.length(example);
            if !batch.is_empty() && (batch.len() + 1).saturating_mul(longest) > budget {
                found.push(std::mem::take(&mut batch));
            }
            batch.push(example as usize);
        }
        found.push(batch);
        let seed = self.batches.order.seed();
        let mut rng = random::stream(b"windows ", seed, self.epoch, self.window);
        random::shuffle(&mut rng, &mut found);
        self.taken = end;
        self.window += 1;
        Some(found)
    }
}

impl Iterator for EpochBatches<'_> {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batches.settings.batching {
            Batching::Rows(rows) => {
                let end = self.taken.saturating_add(rows).min(self.permutation.len());
                let batch = self.permutation.get(self.taken..end)?;
                self.taken = end;
                (!batch.is_empty()).then(|| batch.iter().map(|&example| example as usize).collect())
            }
            Batching::Tokens(budget) => loop {
                if let Some(batch) = self.ready.next() {
                    return Some(batch);
                }
                self.ready = self.next_window(budget)?.into_iter();
            },
        }
    }
}
