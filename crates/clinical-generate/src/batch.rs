//! The machine under every way to generate: running answers of any calls, and one cache of the model for all of them.
//!
//! Every row of the cache belongs to a sequence of some answer, and the rows of an answer lie side by side. A pass of
//! the model gives one more token to all of them, whatever each call's options are. Answers that are over leave the
//! cache, new ones join.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Int, Tensor, TensorData};

use crate::answer::{Answer, Moves};
use crate::call::Call;
use crate::reader::{RESERVE, Read};
use crate::shortlist::{Seen, Shortlist};
use crate::{Error, Generated, StepModel, StopReason};

/// A pass that fails is tried again so often if no single answer causes the failure.
const MOST_FAILURES: u32 = 3;

/// What became of one prompt: its sequences, the best first, or why it has none.
pub type Each = Result<Vec<Generated>, Error>;

/// A prompt that is over.
pub(crate) struct Ended {
    pub(crate) key: u64,
    pub(crate) row: usize,
    pub(crate) result: Each,
}

/// See the module.
pub(crate) struct Batch<'m, M: StepModel> {
    model: &'m M,
    calls: BTreeMap<u64, Call<'m>>,
    running: Vec<Answer>,
    cache: Option<M::Cache>,
    shortlist: Shortlist,
    ended: Vec<Ended>,
    /// Passes that failed since the last that succeeded or whose failure one answer caused.
    failures: u32,
    /// Whether an answer that fails, or whose code panics, ends by itself. If not, the first failure is that of the
    /// batch.
    apart: bool,
}

impl<'m, M: StepModel> Batch<'m, M> {
    /// Nothing runs yet. `apart` says whether a failure costs only its own answer.
    pub(crate) fn new(model: &'m M, apart: bool) -> Self {
        Self {
            model,
            calls: BTreeMap::new(),
            running: Vec::new(),
            cache: None,
            shortlist: Shortlist::new(model.vocabulary()),
            ended: Vec::new(),
            failures: 0,
            apart,
        }
    }

    pub(crate) fn add_call(&mut self, key: u64, call: Call<'m>) {
        self.calls.insert(key, call);
    }

    pub(crate) fn call(&self, key: u64) -> Option<&Call<'m>> {
        self.calls.get(&key)
    }

    pub(crate) fn remove_call(&mut self, key: u64) -> Option<Call<'m>> {
        self.calls.remove(&key)
    }

    /// Whether a failure costs only its own answer.
    pub(crate) fn is_apart(&self) -> bool {
        self.apart
    }

    /// The answers that run.
    pub(crate) fn answers(&self) -> usize {
        self.running.len()
    }

    /// Their rows in the cache.
    pub(crate) fn rows(&self) -> usize {
        self.running.iter().map(Answer::rows).sum()
    }

    /// What ended since the last time.
    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// An answer that was not read, or could not be.
    pub(crate) fn end(&mut self, key: u64, row: usize, result: Each) {
        self.ended.push(Ended { key, row, result });
    }

    /// Takes answers whose prompts were read, in the order of the cache's rows, and gives each its first token. With
    /// answers that run the model must be able to merge caches.
    pub(crate) fn join(
        &mut self,
        fresh: Vec<Answer>,
        mut cache: M::Cache,
        mut logits: Tensor<2>,
    ) -> Result<(), Error> {
        let [read, _] = logits.dims();
        let mut rows: Vec<usize> = (0..read).collect();
        if fresh.iter().map(Answer::rows).sum::<usize>() != read {
            // One row was read for all sequences of a prompt.
            let of = |(at, answer): (usize, &Answer)| std::iter::repeat_n(at, answer.rows());
            rows = fresh.iter().enumerate().flat_map(of).collect();
            logits = logits.clone().select(0, indices(&rows, &logits));
        }
        let (open, moves) = self.choose(fresh, logits)?;
        let joined = if open.is_empty() {
            Ok(())
        } else {
            let parents: Vec<usize> = moves.parents.iter().map(|&at| rows[at]).collect();
            let (model, running) = (self.model, &mut self.cache);
            guarded(self.apart, || {
                if !parents.iter().copied().eq(0..read) {
                    model.select(&mut cache, &parents);
                }
                match running {
                    Some(running) => model.merge(running, cache)?,
                    None => *running = Some(cache),
                }
                Ok(())
            })
        };
        self.running.extend(open);
        joined?;
        self.sweep();
        Ok(())
    }

    /// One more token for every sequence.
    pub(crate) fn advance(&mut self) -> Result<(), Error> {
        let (model, apart) = (self.model, self.apart);
        let Some(cache) = &mut self.cache else {
            return Ok(());
        };
        let mut ids = Vec::with_capacity(self.running.len());
        self.running
            .iter()
            .for_each(|answer| answer.last_ids(&mut ids));
        let logits = guarded(apart, || Ok(model.step(&ids, cache)?))?;
        self.failures = 0;
        let answers = std::mem::take(&mut self.running);
        let (open, moves) = self.choose(answers, logits)?;
        let parents = &moves.parents;
        let Some(cache) = self.cache.as_mut().filter(|_| !open.is_empty()) else {
            self.cache = None;
            return Ok(());
        };
        let moved = guarded(apart, || {
            if moves.resized {
                model.select(cache, parents);
            } else if !parents.iter().copied().eq(0..parents.len()) {
                model.reorder(cache, parents, moves.differing);
            }
            Ok(())
        });
        self.running = open;
        moved
    }

    /// Chooses the next token of each sequence of some answers. Returns those that go on and where their rows lie.
    fn choose(
        &mut self,
        mut answers: Vec<Answer>,
        logits: Tensor<2>,
    ) -> Result<(Vec<Answer>, Moves), Error> {
        let (model, vocabulary) = (self.model, self.model.vocabulary());
        let mut seen = match self.look(&mut answers, logits) {
            Ok(seen) => seen,
            Err(error) => {
                self.running.extend(answers);
                return Err(error);
            }
        };
        let mut open = Vec::with_capacity(answers.len());
        let mut moves = Moves::default();
        let (mut first, mut cancelled) = (0, false);
        for mut answer in answers {
            let rows = first..first + answer.rows();
            first = rows.end;
            let Some(call) = self.calls.get_mut(&answer.key) else {
                moves.resized = true;
                continue;
            };
            if call.cancelled {
                moves.resized = true;
                self.give_up(answer, StopReason::Cancelled);
                continue;
            }
            let (kept, at) = (moves.parents.len(), rows.start);
            let part = seen.part(rows, vocabulary);
            let step = || answer.step(model, call, part, at, &mut moves);
            match guarded(self.apart, step) {
                Err(error) if !self.apart => return Err(error),
                Err(error) => {
                    moves.parents.truncate(kept);
                    moves.resized = true;
                    self.end(answer.key, answer.row, Err(error));
                }
                Ok(()) => {
                    cancelled |= call.cancelled;
                    match answer.rows() {
                        0 => self.end(answer.key, answer.row, Ok(answer.into_results())),
                        _ => open.push(answer),
                    }
                }
            }
        }
        if cancelled {
            open = self.without_cancelled(open, &mut moves);
        }
        Ok((open, moves))
    }

    /// What is needed of the logits of some answers.
    fn look(&mut self, answers: &mut [Answer], logits: Tensor<2>) -> Result<Seen, Error> {
        let mut lines = Vec::with_capacity(answers.len());
        let mut of_lines = Vec::with_capacity(answers.len());
        for (at, answer) in answers.iter().enumerate() {
            if let Some(call) = self.calls.get(&answer.key) {
                answer.lines(call, &mut lines);
            }
            of_lines.extend((0..answer.rows()).map(|sequence| (at, sequence)));
        }
        let (calls, shortlist) = (&mut self.calls, &mut self.shortlist);
        guarded(self.apart, || {
            shortlist.look(&lines, logits, |line, scores| {
                let (at, sequence) = of_lines[line];
                if let Some(call) = calls.get_mut(&answers[at].key) {
                    answers[at].forbid(call, sequence, scores);
                }
            })
        })
    }

    /// The open answers without those whose call was cancelled in this step by an answer after them.
    fn without_cancelled(&mut self, open: Vec<Answer>, moves: &mut Moves) -> Vec<Answer> {
        let parents = std::mem::take(&mut moves.parents);
        let mut first = 0;
        let mut kept = Vec::with_capacity(open.len());
        for answer in open {
            let rows = first..first + answer.rows();
            first = rows.end;
            if self
                .calls
                .get(&answer.key)
                .is_none_or(|call| call.cancelled)
            {
                moves.resized = true;
                self.give_up(answer, StopReason::Cancelled);
            } else {
                moves.parents.extend_from_slice(&parents[rows]);
                kept.push(answer);
            }
        }
        kept
    }

    /// Ends an answer as it is.
    pub(crate) fn give_up(&mut self, mut answer: Answer, reason: StopReason) {
        let (key, row) = (answer.key, answer.row);
        let Some(call) = self.calls.get(&key) else {
            return;
        };
        let result = guarded(self.apart, || {
            answer.give_up(reason, &call.rules);
            Ok(answer.into_results())
        });
        self.end(key, row, result);
    }

    /// Ends the running answers of calls that were cancelled.
    fn sweep(&mut self) {
        let (running, calls) = (&self.running, &self.calls);
        let over = |answer: &Answer| calls.get(&answer.key).is_none_or(|call| call.cancelled);
        if !running.iter().any(over) {
            return;
        }
        let mut moves = Moves {
            parents: (0..self.rows()).collect(),
            ..Moves::default()
        };
        let running = std::mem::take(&mut self.running);
        self.running = self.without_cancelled(running, &mut moves);
        match &mut self.cache {
            Some(cache) if !self.running.is_empty() => self.model.select(cache, &moves.parents),
            _ => self.cache = None,
        }
    }

    /// Ends everything as it is.
    pub(crate) fn cancel(&mut self) {
        self.calls
            .values_mut()
            .for_each(|call| call.cancelled = true);
        for answer in std::mem::take(&mut self.running) {
            self.give_up(answer, StopReason::Cancelled);
        }
        self.cache = None;
    }

    /// After a pass that failed: reads each running answer again by itself, its prompt and its new tokens, so that only
    /// the one that causes the failure fails. Where none does a few times in a row, all fail.
    pub(crate) fn recover(&mut self, error: &Error) {
        self.failures += 1;
        self.cache = None;
        let answers = std::mem::take(&mut self.running);
        tracing::debug!(answers = answers.len(), "a pass failed: reading again");
        for answer in answers {
            let (key, row) = (answer.key, answer.row);
            if self.failures > MOST_FAILURES {
                let reason = error.to_string();
                self.end(key, row, Err(Error::Pass { reason }));
                continue;
            }
            match guarded(true, || self.read_again(&answer)) {
                Err(error) => {
                    self.failures = 0;
                    self.end(key, row, Err(error));
                }
                Ok((cache, logits)) => {
                    if let Err(error) = self.join(vec![answer], cache, logits) {
                        self.recover(&error);
                    }
                }
            }
        }
    }

    fn read_again(&self, answer: &Answer) -> Read<M::Cache> {
        let new = answer.new_ids();
        let reserve = answer.budget().min(RESERVE);
        let (mut cache, logits) = self.model.prefill(&[&answer.prompt], reserve)?;
        if new.iter().all(|ids| ids.is_empty()) {
            return Ok((cache, logits));
        }
        if new.len() > 1 {
            self.model.select(&mut cache, &vec![0; new.len()]);
        }
        let logits = self.model.extend(&new, true, &mut cache)?;
        Ok((cache, logits.squeeze_dim(1)))
    }
}

/// Runs code of models and callers. With `apart` a panic is an error.
pub(crate) fn guarded<T>(apart: bool, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    if !apart {
        return run();
    }
    // What a panic leaves half done is dropped with the answer, or, for the cache, read again.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Error::Panicked))
}

/// Row numbers on the device of some logits.
fn indices(rows: &[usize], like: &Tensor<2>) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), &like.device())
}
