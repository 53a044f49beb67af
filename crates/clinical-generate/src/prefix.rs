//! A prefix that several prompts share, read once.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::batch::Each;
use crate::queue::{Asked, good};
use crate::reader::{RESERVE, Read, common, pick};
use crate::row::Budget;
use crate::score::{Score, score_after};
use crate::{Cancel, EndTokens, Error, Generated, Generation, ModelError, Step, StepModel};

/// A prefix of prompts that a model has read: a note that many questions follow, or what all prompts begin with.
///
/// What follows costs its own tokens only. For an encoder-decoder the whole prompt is the prefix, and every
/// continuation is empty. It owns what was read, can be shared between threads, and belongs to the model that read it:
/// another one whose keys and values have other sizes refuses it ([`ModelError::OtherModel`]).
#[derive(Debug, Clone)]
pub struct Prefix<C> {
    cache: C,
    ids: Vec<u32>,
    /// `[1, vocabulary]`.
    logits: Tensor<2>,
}

impl<C> Prefix<C> {
    /// The tokens that were read.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Checks that a model can go on with it.
    pub(crate) fn check<M: StepModel<Cache = C>>(&self, model: &M) -> Result<(), Error> {
        Ok(model.check_cache(&self.cache)?)
    }
}

impl<C: Clone> Prefix<C> {
    /// Reads `ids`, which may not be empty.
    ///
    /// # Errors
    ///
    /// A prefix that is empty or too long, an id without an embedding row.
    pub fn read<M: StepModel<Cache = C>>(model: &M, ids: &[u32]) -> Result<Self, Error> {
        // One new token must have room, or nothing can ever follow.
        Budget::new(model, 0, ids, &Generation::greedy())?;
        let (cache, logits) = model.prefill(&[ids], RESERVE)?;
        Ok(Self {
            cache,
            ids: ids.to_vec(),
            logits,
        })
    }

    /// A longer prefix: this one and then `ids`.
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

    /// [`generate`](crate::generate) for the prompt that begins with [`ids`](Self::ids) and goes on with
    /// `continuation`. The result is that of the whole prompt, up to the rounding of the logits.
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
    /// `continuations` each, none of them empty unless all are. The prefix that they share is read once, too.
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
        let prompts = self.prompts(continuations);
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let call = Asked {
            model,
            prompts: &prompts,
            end,
            options,
            slots,
        };
        let read = self.reader(model, continuations);
        call.all(Box::new(on_token), read)
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
        let prompts = self.prompts(continuations);
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let call = Asked {
            model,
            prompts: &prompts,
            end,
            options,
            slots: slots.max(1),
        };
        let mut each = call.checked(&mut on_done);
        let rows = good(&each);
        let rest = pick(continuations, &rows);
        let mut read = self.reader(model, &rest);
        let read = |asked: &[usize], reserve| {
            let found = asked.iter().filter_map(|row| rows.binary_search(row).ok());
            read(&found.collect::<Vec<_>>(), reserve)
        };
        call.each(&mut each, &mut on_done, read);
        each
    }

    /// The whole prompts.
    fn prompts(&self, continuations: &[&[u32]]) -> Vec<Vec<u32>> {
        let whole = |continuation: &&[u32]| [&self.ids, *continuation].concat();
        continuations.iter().map(whole).collect()
    }

    /// Reads some of the continuations, and the prefix that all of them share only once.
    fn reader<'r, M: StepModel<Cache = C>>(
        &'r self,
        model: &'r M,
        continuations: &[&'r [u32]],
    ) -> impl FnMut(&[usize], usize) -> Read<C> {
        let shared = common(model, continuations);
        let more = continuations.first().map_or(&[][..], |row| &row[..shared]);
        let rest: Vec<&[u32]> = continuations.iter().map(|row| &row[shared..]).collect();
        let mut longer = None;
        move |rows, reserve| {
            let rest = pick(&rest, rows);
            if shared == 0 {
                return self.go_on(model, &rest, reserve);
            }
            let prefix: &Self = match &mut longer {
                Some(longer) => longer,
                none => none.insert(self.extended(model, more)?),
            };
            prefix.go_on(model, &rest, reserve)
        }
    }

    /// [`score_candidates`](crate::score_candidates) for the prompt that begins with [`ids`](Self::ids) and goes on
    /// with `continuation`.
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
        self.score_batch(model, &pairs)
    }

    /// [`score_batch`](crate::score_batch) for prompts that begin with [`ids`](Self::ids) and go on with the first of
    /// each pair; the second is what is scored.
    ///
    /// # Errors
    ///
    /// As [`score_candidates`](Self::score_candidates).
    pub fn score_batch<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        pairs: &[(&[u32], &[u32])],
    ) -> Result<Vec<Score>, Error> {
        score_after(model, &self.ids, pairs, |prompts, reserve| {
            self.go_on(model, prompts, reserve)
        })
    }

    /// One row for each continuation, and the logits after it.
    pub(crate) fn go_on<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        continuations: &[&[u32]],
        reserve: usize,
    ) -> Read<C> {
        let mut cache = self.cache(model)?;
        let rows = continuations.len();
        if continuations.iter().all(|ids| ids.is_empty()) {
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
        let logits = model.extend(continuations, true, &mut cache)?;
        Ok((cache, logits.squeeze_dim(1)))
    }

    /// What was read, for a row that goes on.
    pub(crate) fn cache<M: StepModel<Cache = C>>(&self, model: &M) -> Result<C, Error> {
        self.check(model)?;
        Ok(self.cache.clone())
    }
}
