//! Which examples a step reads.

use super::checkpoint::State;
use crate::{Batches, Error, Order, Recipe, Result, TrainingSet};

/// The steps of a run. Every epoch has each example once, in an order that follows from the seed and the number of the
/// epoch.
pub(super) struct Plan {
    batches: Batches,
    accumulate: usize,
    steps: u64,
    /// The batches of one epoch.
    epoch: Option<(u64, Vec<Vec<usize>>)>,
}

impl Plan {
    pub(super) fn new<M>(recipe: &Recipe, set: &dyn TrainingSet<Model = M>) -> Result<Self> {
        if set.is_empty() {
            return Err(Error::NoExamples { what: "training" });
        }
        let length = |example| u32::try_from(set.tokens(example)).unwrap_or(u32::MAX);
        let lengths: Vec<u32> = (0..set.len()).map(length).collect();
        let order = Order::new(recipe.seed, lengths.len())?;
        let batches = Batches::new(order, lengths, recipe.batches())?;
        let accumulate = recipe.accumulate;
        let steps_of = |epoch| batches.count(epoch).div_ceil(accumulate as u64);
        let steps = match (recipe.steps, recipe.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => (0..epochs.unwrap_or(1)).map(steps_of).sum(),
        };
        Ok(Self {
            batches,
            accumulate,
            steps,
            epoch: None,
        })
    }

    /// All steps of the run.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    fn batches(&mut self, epoch: u64) -> &[Vec<usize>] {
        if self.epoch.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.epoch = Some((epoch, self.batches.epoch(epoch).collect()));
        }
        self.epoch.as_ref().map_or(&[], |(_, batches)| batches)
    }

    fn steps_of(&mut self, epoch: u64) -> u64 {
        let accumulate = self.accumulate;
        self.batches(epoch).len().div_ceil(accumulate) as u64
    }

    /// The batches of the next step; `None` after the last one.
    pub(super) fn next(&mut self, state: &mut State) -> Option<Vec<Vec<usize>>> {
        if state.step >= self.steps {
            return None;
        }
        if state.position >= self.steps_of(state.epoch) {
            (state.epoch, state.position) = (state.epoch + 1, 0);
        }
        let accumulate = self.accumulate;
        let mut groups = self.batches(state.epoch).chunks(accumulate);
        groups.nth(state.position as usize).map(<[_]>::to_vec)
    }

    /// Whether the last step was the last one of its epoch.
    pub(super) fn is_end_of_epoch(&mut self, state: &State) -> bool {
        state.position == self.steps_of(state.epoch)
    }
}
