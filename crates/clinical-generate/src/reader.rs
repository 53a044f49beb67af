//! Reading prompts, and the prefix that they share only once.

use burn::tensor::Tensor;

use crate::{Error, ModelError, StepModel};

/// A cache is given room for this many new tokens at first, whatever the caller allows; it grows when an answer is
/// longer.
pub(crate) const RESERVE: usize = 256;

/// A prefix is read by itself if that saves at least so many tokens in all: fewer cost no less than the weights that
/// are read for them.
const WORTH_READING: usize = 64;

/// A cache, and the logits of the next token of each of its rows.
pub(crate) type Read<C> = Result<(C, Tensor<2>), Error>;

/// The prompts of the given rows.
pub(crate) fn pick<'p>(prompts: &[&'p [u32]], rows: &[usize]) -> Vec<&'p [u32]> {
    rows.iter().map(|&row| prompts[row]).collect()
}

/// How many tokens all prompts begin with and are worth a reading of their own; every prompt goes on after them. None
/// where the model cannot share.
pub(crate) fn common<M: StepModel>(model: &M, prompts: &[&[u32]]) -> usize {
    let Some((first, others)) = prompts.split_first().filter(|_| model.can_share()) else {
        return 0;
    };
    let alike = |other: &&[u32]| first.iter().zip(*other).take_while(|(a, b)| a == b).count();
    let shared = others.iter().map(alike).min().unwrap_or(0);
    let shortest = prompts.iter().map(|prompt| prompt.len()).min();
    let shared = shared.min(shortest.unwrap_or(0).saturating_sub(1));
    match shared * others.len() >= WORTH_READING {
        true => shared,
        false => 0,
    }
}

/// Reads the prompts of one call, and the prefix that all of them share only once.
pub(crate) struct Reader<'a, M: StepModel> {
    model: &'a M,
    prompts: &'a [&'a [u32]],
    shared: usize,
    prefix: Option<M::Cache>,
}

impl<'a, M: StepModel> Reader<'a, M> {
    pub(crate) fn new(model: &'a M, prompts: &'a [&'a [u32]]) -> Self {
        Self {
            model,
            prompts,
            shared: common(model, prompts),
            prefix: None,
        }
    }

    /// The cache of some of the prompts, and their first logits.
    pub(crate) fn read(&mut self, rows: &[usize], reserve: usize) -> Read<M::Cache> {
        let (model, prompts) = (self.model, pick(self.prompts, rows));
        if self.shared == 0 {
            return Ok(model.prefill(&prompts, reserve)?);
        }
        // An error names the row of the whole prompt.
        ModelError::check_prompts(&prompts, model.vocabulary())?;
        let prefix = match &mut self.prefix {
            Some(prefix) => prefix,
            none => none.insert(model.prefill(&[&prompts[0][..self.shared]], 0)?.0),
        };
        let rest: Vec<&[u32]> = prompts.iter().map(|row| &row[self.shared..]).collect();
        Ok(model.prefill_after(prefix, &rest, reserve)?)
    }
}
