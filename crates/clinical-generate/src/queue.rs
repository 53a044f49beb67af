//! Prompts of one call through a few slots: when an answer ends, the next prompt takes its slots.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::answer::Answer;
use crate::batch::{Batch, Each, guarded};
use crate::call::{Call, OnToken};
use crate::reader::{RESERVE, Read, Reader};
use crate::row::{Budget, Rules, check_prompts};
use crate::{
    Cancel, EndTokens, Error, Generated, Generation, ModelError, Step, StepModel, StopReason,
};

/// Continues each prompt as `options` say.
///
/// `on_token` gets every new token as it is chosen and may cancel its sequence or everything; to ignore it give
/// `|_| ControlFlow::Continue(())`.
///
/// Returns `num_return_sequences` results for each prompt, in the order of the prompts, the best first. A cancelled or
/// timed-out call returns what was chosen until then.
///
/// # Errors
///
/// An option that breaks a rule ([`Generation::validate`]), a prompt that is empty or too long, an id without an
/// embedding row, a logit that is not finite, or options that leave no token to choose.
pub fn generate<M: StepModel>(
    model: &M,
    prompts: &[&[u32]],
    end: &EndTokens<'_>,
    options: &Generation,
    on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
) -> Result<Vec<Generated>, Error> {
    if prompts.is_empty() {
        return Err(ModelError::NoRows.into());
    }
    generate_many(model, prompts, end, options, usize::MAX, on_token)
}

/// [`generate`] for any number of prompts with at most `slots` sequences running at a time, so that memory is
/// bounded and the machine stays busy while answers of uneven length end.
///
/// Long prompts are read first. Where the model can [`merge`](StepModel::merge) caches, a prompt joins those that run
/// as soon as another one ends, also in beam search; where it cannot, a batch runs to its end before the next begins.
/// Either way the results are those of [`generate`], in the order of the prompts, and `Step::row` is the index in
/// `prompts`. The first prompts are read in any case; one that was never read because the closure, the flag or the
/// deadline ended everything has a result without tokens.
///
/// The prefix that all prompts share is read once, where the model can read several continuations of one prefix and
/// that saves anything worth a reading of its own.
///
/// # Errors
///
/// As [`generate`]; every prompt is checked before the first is read.
pub fn generate_many<M: StepModel>(
    model: &M,
    prompts: &[&[u32]],
    end: &EndTokens<'_>,
    options: &Generation,
    slots: usize,
    on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
) -> Result<Vec<Generated>, Error> {
    let call = Asked {
        model,
        prompts,
        end,
        options,
        slots,
    };
    let mut reader = Reader::new(model, prompts);
    call.all(Box::new(on_token), |rows, reserve| {
        reader.read(rows, reserve)
    })
}

/// [`generate_many`] where a prompt that cannot be answered (it is empty or too long, has an id without an embedding
/// row, gives logits that are not finite, or makes code of the caller panic) costs only itself.
///
/// Returns what became of each prompt, in their order. `on_done` gets each as soon as it is known, with the prompt's
/// index: for progress. [`Generation::cancel`] and [`Generation::deadline`] end everything; a prompt that was never
/// read then has results without tokens. `slots` of 0 counts as 1. An option that breaks a rule is the error of every
/// prompt.
pub fn generate_each<M: StepModel>(
    model: &M,
    prompts: &[&[u32]],
    end: &EndTokens<'_>,
    options: &Generation,
    slots: usize,
    mut on_done: impl FnMut(usize, &Each),
) -> Vec<Each> {
    let call = Asked {
        model,
        prompts,
        end,
        options,
        slots: slots.max(1),
    };
    let mut each = call.checked(&mut on_done);
    let rows = good(&each);
    let good: Vec<&[u32]> = rows.iter().map(|&row| prompts[row]).collect();
    let mut reader = Reader::new(model, &good);
    // The reader knows the good ones only.
    let read = |asked: &[usize], reserve| {
        let found = asked.iter().filter_map(|row| rows.binary_search(row).ok());
        reader.read(&found.collect::<Vec<_>>(), reserve)
    };
    call.each(&mut each, &mut on_done, read);
    each
}

/// The prompts that nothing is known against.
pub(crate) fn good(each: &[Each]) -> Vec<usize> {
    (0..each.len()).filter(|&row| each[row].is_ok()).collect()
}

/// The one call of a queue.
const KEY: u64 = 0;

/// What is to be generated.
pub(crate) struct Asked<'a, M> {
    pub(crate) model: &'a M,
    pub(crate) prompts: &'a [&'a [u32]],
    pub(crate) end: &'a EndTokens<'a>,
    pub(crate) options: &'a Generation,
    pub(crate) slots: usize,
}

impl<'a, M: StepModel> Asked<'a, M> {
    /// The results of all prompts, or the first error. `read` is given the numbers of the prompts to read and of the
    /// new tokens to make room for, and returns the cache and the first logits, `[rows, vocabulary]`.
    pub(crate) fn all(
        &self,
        on_token: OnToken<'a>,
        read: impl FnMut(&[usize], usize) -> Read<M::Cache>,
    ) -> Result<Vec<Generated>, Error> {
        if self.slots == 0 {
            return Err(Error::OutOfRange {
                field: "slots",
                value: 0.0,
                range: "at least 1",
            });
        }
        self.options.check(self.end, self.model.vocabulary())?;
        check_prompts(self.model, self.prompts, self.options)?;
        let waiting = (0..self.prompts.len()).collect();
        let mut results = Vec::with_capacity(self.prompts.len());
        let mut queue = self.queue(waiting, false, on_token, read);
        queue.run(|_, result| {
            results.extend(result?);
            Ok(())
        })?;
        results.sort_by_key(|result| (result.row, result.sequence));
        Ok(results)
    }

    /// What is known against each prompt before anything is computed.
    pub(crate) fn checked(&self, on_done: &mut dyn FnMut(usize, &Each)) -> Vec<Each> {
        let vocabulary = self.model.vocabulary();
        let check = |(row, prompt): (usize, &&[u32])| {
            self.options.check(self.end, vocabulary)?;
            if prompt.is_empty() {
                return Err(ModelError::EmptyPrompt { row }.into());
            }
            Budget::new(self.model, row, prompt, self.options).map(|_| Vec::new())
        };
        let each: Vec<Each> = self.prompts.iter().enumerate().map(check).collect();
        let failed = each.iter().enumerate().filter(|(_, each)| each.is_err());
        failed.for_each(|(row, each)| on_done(row, each));
        each
    }

    /// Fills in what becomes of the prompts that nothing is known against.
    pub(crate) fn each(
        &self,
        each: &mut [Each],
        on_done: &mut dyn FnMut(usize, &Each),
        read: impl FnMut(&[usize], usize) -> Read<M::Cache>,
    ) {
        let waiting = good(each);
        if waiting.is_empty() {
            return;
        }
        let silent = Box::new(|_: Step<'_>| ControlFlow::Continue(()));
        let mut queue = self.queue(waiting, true, silent, read);
        let _ = queue.run(|row, result| {
            on_done(row, &result);
            each[row] = result;
            Ok(())
        });
    }

    fn queue<R>(
        &self,
        mut waiting: Vec<usize>,
        apart: bool,
        on_token: OnToken<'a>,
        read: R,
    ) -> Queue<'a, M, R> {
        let (model, prompts, options) = (self.model, self.prompts, self.options);
        let at_once = (self.slots / options.num_return_sequences.max(options.beams)).max(1);
        if waiting.len() > at_once {
            // The last are taken first.
            waiting.sort_by_key(|&row| (prompts[row].len(), Reverse(row)));
        }
        let rules = Rules::new(options.clone(), self.end.clone());
        let mut batch = Batch::new(model, apart);
        batch.add_call(KEY, Call::new(rules, model.vocabulary(), on_token));
        Queue {
            model,
            prompts,
            batch,
            waiting,
            at_once,
            started: false,
            read,
        }
    }
}

/// Prompts that run, and those that wait for a slot.
struct Queue<'a, M: StepModel, R> {
    model: &'a M,
    prompts: &'a [&'a [u32]],
    batch: Batch<'a, M>,
    /// The last are taken first.
    waiting: Vec<usize>,
    /// How many prompts run at once.
    at_once: usize,
    started: bool,
    read: R,
}

impl<M: StepModel, R> Queue<'_, M, R>
where
    R: FnMut(&[usize], usize) -> Read<M::Cache>,
{
    /// Runs all prompts and gives what became of each.
    fn run(
        &mut self,
        mut on_end: impl FnMut(usize, Each) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let span = tracing::debug_span!("generate", prompts = self.prompts.len());
        let _entered = span.enter();
        loop {
            if let Some(reason) = self.over().filter(|_| self.started) {
                self.give_up(reason)?;
            }
            let busy = self.pass()?;
            for ended in self.batch.take_ended() {
                on_end(ended.row, ended.result)?;
            }
            if !busy {
                return Ok(());
            }
        }
    }

    /// Reads prompts if there are free slots, or else gives one more token to all that run. False if nothing is left to
    /// do.
    fn pass(&mut self) -> Result<bool, Error> {
        let free = self.at_once.saturating_sub(self.running());
        let can_join = self.batch.answers() == 0 || self.model.can_merge();
        if !self.waiting.is_empty() && free > 0 && can_join {
            let first = self.waiting.len().saturating_sub(free);
            let rows = self.waiting.split_off(first);
            self.started = true;
            self.admit(&rows)?;
        } else if self.batch.answers() > 0 {
            let passed = self.batch.advance();
            self.settle(passed)?;
        } else {
            return Ok(!self.waiting.is_empty());
        }
        Ok(true)
    }

    /// The prompts that run; sequences of one that have ended leave room for others.
    fn running(&self) -> usize {
        let options = self.batch.call(KEY).map(|call| &call.rules.options);
        match options {
            Some(options) if options.beams == 1 => {
                self.batch.rows().div_ceil(options.num_return_sequences)
            }
            _ => self.batch.answers(),
        }
    }

    /// Why nothing new is to be started: the closure, the flag or the deadline ended everything.
    fn over(&self) -> Option<StopReason> {
        let call = self.batch.call(KEY)?;
        let cancelled = call.cancelled.then_some(StopReason::Cancelled);
        cancelled.or_else(|| call.rules.by_caller())
    }

    /// Ends the prompts that were never read.
    fn give_up(&mut self, reason: StopReason) -> Result<(), Error> {
        for row in std::mem::take(&mut self.waiting) {
            let Some(call) = self.batch.call(KEY) else {
                continue;
            };
            let prompt = self.prompts[row].into();
            let results = Answer::unread(self.model, &call.rules, row, &prompt, reason)?;
            self.batch.end(KEY, row, Ok(results));
        }
        Ok(())
    }

    /// Reads prompts and gives each its first token. Where a failure costs only its own prompt they are read one by one
    /// once they cannot be read together.
    fn admit(&mut self, rows: &[usize]) -> Result<(), Error> {
        let apart = self.batch.is_apart();
        match guarded(apart, || self.read(rows)) {
            Ok((answers, cache, logits)) => {
                let joined = self.batch.join(answers, cache, logits);
                self.settle(joined)
            }
            Err(error) if !apart => Err(error),
            Err(error) if rows.len() == 1 => {
                self.batch.end(KEY, rows[0], Err(error.of_row(rows[0])));
                Ok(())
            }
            Err(_) if self.model.can_merge() => rows.iter().try_for_each(|&row| self.admit(&[row])),
            Err(_) => {
                // One after another.
                self.at_once = 1;
                self.waiting.extend(rows);
                Ok(())
            }
        }
    }

    fn read(&mut self, rows: &[usize]) -> Result<(Vec<Answer>, M::Cache, Tensor<2>), Error> {
        let Some(call) = self.batch.call(KEY) else {
            return Err(ModelError::NoRows.into());
        };
        let fresh = rows.iter().map(|&row| {
            let prompt = self.prompts[row].into();
            Answer::new(self.model, call, (KEY, row), prompt)
        });
        let answers = fresh.collect::<Result<Vec<_>, _>>()?;
        let reserve = answers.iter().map(Answer::budget).max().unwrap_or(0);
        let (cache, logits) = (self.read)(rows, reserve.min(RESERVE))?;
        Ok((answers, cache, logits))
    }

    /// After a pass that failed, where that costs only the answer that caused it: finds it.
    fn settle(&mut self, passed: Result<(), Error>) -> Result<(), Error> {
        match passed {
            Err(error) if self.batch.is_apart() => {
                self.batch.recover(&error);
                Ok(())
            }
            passed => passed,
        }
    }
}
