//! A beginning that several prompts share, read once.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::decode::{pick, read};
use crate::queue::{self, Call, Each, RESERVE};
use crate::row::Budget;
use crate::score::{Score, score_after};
use crate::{Cancel, EndTokens, Error, Generated, Generation, ModelError, Step, StepModel};

/// A beginning is read by itself if that saves at least so many tokens in all: fewer cost no less than the weights that are
/// read for them.
const WORTH_READING: usize = 64;

/// How many tokens all prompts begin with and are worth a reading of their own; every prompt goes on behind them. None where
/// the model cannot share.
fn common<M: StepModel>(model: &M, prompts: &[&[u32]]) -> usize {
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

/// Reads the prompts of one call, and what all of them begin with only once.
pub(crate) struct Reader<'a, M: StepModel> {
    model: &'a M,
    prompts: &'a [&'a [u32]],
    shared: usize,
    beginning: Option<M::Cache>,
}

impl<'a, M: StepModel> Reader<'a, M> {
    pub(crate) fn new(model: &'a M, prompts: &'a [&'a [u32]]) -> Self {
        Self {
            model,
            prompts,
            shared: common(model, prompts),
            beginning: None,
        }
    }

    /// The cache of some of the prompts, and their first logits.
    pub(crate) fn read(
        &mut self,
        rows: &[usize],
        reserve: usize,
    ) -> Result<(M::Cache, Tensor<2>), Error> {
        let (model, prompts) = (self.model, pick(self.prompts, rows));
        if self.shared == 0 {
            return read(model, &prompts, reserve);
        }
        // An error names the row of the whole prompt.
        ModelError::check_prompts(&prompts, model.vocabulary())?;
        let beginning = match &mut self.beginning {
            Some(beginning) => beginning,
            none => none.insert(model.prefill(&[&prompts[0][..self.shared]], 0)?.0),
        };
        let rest: Vec<&[u32]> = prompts.iter().map(|row| &row[self.shared..]).collect();
        Ok(model.prefill_after(beginning, &rest, reserve)?)
    }
}

/// A beginning that a model has read: one note with many questions, or the head of a prompt.
///
/// What follows costs its own tokens only. For an encoder-decoder the whole prompt is the beginning, and every
/// continuation is empty.
#[derive(Debug, Clone)]
pub struct Prefix<C> {
    cache: C,
    ids: Vec<u32>,
    /// `[1, vocabulary]`.
    logits: Tensor<2>,
}

impl<C: Clone> Prefix<C> {
    /// Reads `ids`, which may not be empty.
    ///
    /// # Errors
    ///
    /// A beginning that is empty or too long, an id without an embedding row.
    pub fn read<M: StepModel<Cache = C>>(model: &M, ids: &[u32]) -> Result<Self, Error> {
        // One new token must have room, or nothing can ever follow.
        Budget::new(model, 0, ids, &Generation::greedy())?;
        let (cache, logits) = read(model, &[ids], RESERVE)?;
        Ok(Self {
            cache,
            ids: ids.to_vec(),
            logits,
        })
    }

    /// The tokens that were read.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// A longer beginning: this one and `ids` behind it.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub fn extended<M: StepModel<Cache = C>>(&self, model: &M, ids: &[u32]) -> Result<Self, Error> {
        let ids_of_all = [&self.ids, ids].concat();
        Budget::new(model, 0, &ids_of_all, &Generation::greedy())?;
        let (cache, logits) = self.go_on(model, &[ids], 0)?;
        Ok(Self {
            cache,
            ids: ids_of_all,
            logits,
        })
    }

    /// [`generate`](crate::generate) for the prompt that begins with [`ids`](Self::ids) and goes on with `continuation`.
    /// The result is that of the whole prompt, up to the rounding of the logits.
    ///
    /// # Errors
    ///
    /// As [`generate`](crate::generate); a continuation for an encoder-decoder is [`Error::PromptIsWhole`].
    pub fn generate<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        continuation: &[u32],
        end: &EndTokens<'_>,
        options: &Generation,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    ) -> Result<Vec<Generated>, Error> {
        self.generate_many(model, &[continuation], end, options, 1, on_token)
    }

    /// [`generate_many`](crate::generate_many) for prompts that begin with [`ids`](Self::ids) and go on with one of
    /// `continuations` each, none of them empty unless all are. What all of them begin with is read once, too.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub fn generate_many<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        continuations: &[&[u32]],
        end: &EndTokens<'_>,
        options: &Generation,
        slots: usize,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    ) -> Result<Vec<Generated>, Error> {
        let prompts: Vec<Vec<u32>> = continuations
            .iter()
            .map(|continuation| [&self.ids, *continuation].concat())
            .collect();
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let call = Call {
            model,
            prompts: &prompts,
            end,
            options,
        };
        let shared = common(model, continuations);
        let rest: Vec<&[u32]> = continuations.iter().map(|row| &row[shared..]).collect();
        let mut longer = None;
        queue::run(call, slots, on_token, |rows, reserve| {
            let rest = pick(&rest, rows);
            if shared == 0 {
                return self.go_on(model, &rest, reserve);
            }
            let beginning: &Self = match &mut longer {
                Some(longer) => longer,
                none => none.insert(self.extended(model, &continuations[0][..shared])?),
            };
            beginning.go_on(model, &rest, reserve)
        })
    }

    /// [`generate_each`](crate::generate_each) for prompts that begin with [`ids`](Self::ids) and go on with one of
    /// `continuations` each: one that cannot be answered costs only itself.
    pub fn generate_each<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        continuations: &[&[u32]],
        end: &EndTokens<'_>,
        options: &Generation,
        slots: usize,
        mut on_done: impl FnMut(usize, &Each),
    ) -> Vec<Each> {
        let silent = |_: Step<'_>| ControlFlow::Continue(());
        let prompts: Vec<Vec<u32>> = continuations
            .iter()
            .map(|continuation| [&self.ids, *continuation].concat())
            .collect();
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        queue::each(model, &prompts, (end, options), &mut on_done, |rows| {
            let rest = pick(continuations, rows);
            self.generate_many(model, &rest, end, options, slots.max(1), silent)
        })
    }

    /// [`score_candidates`](crate::score_candidates) for the prompt that begins with [`ids`](Self::ids) and goes on with
    /// `continuation`.
    ///
    /// # Errors
    ///
    /// As [`score`](crate::score), and [`Error::PromptIsWhole`].
    pub fn score_candidates<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        continuation: &[u32],
        candidates: &[&[u32]],
    ) -> Result<Vec<Score>, Error> {
        let pairs: Vec<(&[u32], &[u32])> = candidates
            .iter()
            .map(|&candidate| (continuation, candidate))
            .collect();
        score_after(model, &self.ids, &pairs, |prompts, reserve| {
            self.go_on(model, prompts, reserve)
        })
    }

    /// One row for each continuation, and the logits after it.
    fn go_on<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        continuations: &[&[u32]],
        reserve: usize,
    ) -> Result<(C, Tensor<2>), Error> {
        let rows = continuations.len();
        if continuations
            .iter()
            .all(|continuation| continuation.is_empty())
        {
            let mut cache = self.cache.clone();
            if rows > 1 {
                model.select(&mut cache, &vec![0; rows]);
            }
            return Ok((cache, self.logits.clone().repeat_dim(0, rows)));
        }
        if !model.prompt_counts() {
            return Err(Error::PromptIsWhole);
        }
        ModelError::check_prompts(continuations, model.vocabulary())?;
        if rows > 1 {
            return Ok(model.prefill_after(&self.cache, continuations, reserve)?);
        }
        let mut cache = self.cache.clone();
        let logits = model.extend(continuations, true, &mut cache)?;
        Ok((cache, logits.squeeze_dim(1)))
    }
}
