//! A beginning that several prompts share, read once.

use std::ops::ControlFlow;

use crate::decode::{host, pick, read};
use crate::queue::{self, Call};
use crate::row::Budget;
use crate::score::{Score, score_after};
use crate::{Cancel, EndTokens, GenerateError, Generated, Generation, ModelError, Step, StepModel};

/// A beginning that a model has read: one note with many questions, or the head of a prompt.
///
/// What follows costs its own tokens only. For an encoder-decoder the whole prompt is the beginning, and every
/// continuation is empty.
#[derive(Debug, Clone)]
pub struct Prefix<C> {
    cache: C,
    ids: Vec<u32>,
    logits: Vec<f32>,
}

impl<C: Clone> Prefix<C> {
    /// Reads `ids`, which may not be empty.
    ///
    /// # Errors
    ///
    /// A beginning that is empty or too long, an id without an embedding row.
    pub fn read<M: StepModel<Cache = C>>(model: &M, ids: &[u32]) -> Result<Self, GenerateError> {
        // One new token must have room, or nothing can ever follow.
        Budget::new(model, 0, ids, &Generation::greedy())?;
        let (cache, logits) = read(model, &[ids], usize::MAX)?;
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

    /// [`generate`](crate::generate) for the prompt that begins with [`ids`](Self::ids) and goes on with `continuation`.
    /// The result is that of the whole prompt, up to the rounding of the logits.
    ///
    /// # Errors
    ///
    /// As [`generate`](crate::generate); a continuation for an encoder-decoder is [`GenerateError::PromptIsWhole`].
    pub fn generate<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        continuation: &[u32],
        end: &EndTokens<'_>,
        options: &Generation,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    ) -> Result<Vec<Generated>, GenerateError> {
        self.generate_many(model, &[continuation], end, options, 1, on_token)
    }

    /// [`generate_many`](crate::generate_many) for prompts that begin with [`ids`](Self::ids) and go on with one of
    /// `continuations` each, none of them empty unless all are.
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
        places: usize,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    ) -> Result<Vec<Generated>, GenerateError> {
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
        queue::run(call, places, on_token, |rows, reserve| {
            self.go_on(model, &pick(continuations, rows), reserve)
        })
    }

    /// [`score_candidates`](crate::score_candidates) for the prompt that begins with [`ids`](Self::ids) and goes on with
    /// `continuation`.
    ///
    /// # Errors
    ///
    /// As [`score`](crate::score), and [`GenerateError::PromptIsWhole`].
    pub fn score_candidates<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        continuation: &[u32],
        candidates: &[&[u32]],
    ) -> Result<Vec<Score>, GenerateError> {
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
    ) -> Result<(C, Vec<f32>), GenerateError> {
        let rows = continuations.len();
        if continuations
            .iter()
            .all(|continuation| continuation.is_empty())
        {
            let mut cache = self.cache.clone();
            if rows > 1 {
                model.select(&mut cache, &vec![0; rows]);
            }
            return Ok((cache, self.logits.repeat(rows)));
        }
        if !model.prompt_counts() {
            return Err(GenerateError::PromptIsWhole);
        }
        ModelError::check_prompts(continuations, model.vocabulary())?;
        if rows > 1 {
            let (cache, logits) = model.prefill_after(&self.cache, continuations, reserve)?;
            return Ok((cache, host(logits, rows, model.vocabulary())?));
        }
        let mut cache = self.cache.clone();
        let logits = model.extend(continuations, true, &mut cache)?;
        let logits = host(logits.reshape([1, -1]), 1, model.vocabulary())?;
        Ok((cache, logits))
    }
}
