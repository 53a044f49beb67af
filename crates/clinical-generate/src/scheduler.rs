//! Which requests run when: first come, first served, within slots and bytes, and long prompts in pieces.
//!
//! A plain machine without a thread: whoever owns it pushes jobs and calls [`Scheduler::step`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use burn::tensor::Tensor;

use crate::answer::Answer;
use crate::batch::{Batch, Each, guarded};
use crate::call::{Call, OnToken};
use crate::reader::RESERVE;
use crate::request::{OnStep, Request};
use crate::row::{Budget, Rules};
use crate::{CancelFlag, EngineOptions, Error, ModelError, Prefix, StepModel};

/// What a request takes of the engine while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) slots: usize,
    pub(crate) bytes: u64,
    /// Of its prefix, which is counted once for all that run with it.
    prefix: u64,
}

impl Needs {
    fn new<M: StepModel>(model: &M, request: &Request<M::Cache>) -> Result<Self, Error> {
        let options = &request.generation;
        let rows = options.beams.max(options.num_return_sequences);
        let budget = Budget::new(model, 0, &request.prompt, options)?;
        let copies = |count: usize, tokens: usize| {
            let bytes = model.cache_bytes(tokens);
            bytes.saturating_mul(count as u64)
        };
        let (prompt, new) = (request.prompt.len(), budget.tokens);
        let shared = request
            .prefix
            .as_ref()
            .map_or(0, |prefix| prefix.ids().len());
        let (prefix, bytes) = if model.copies_share() {
            let prefix = copies(1, shared);
            let prompt = copies(1, prompt).saturating_sub(prefix);
            (prefix, prompt.saturating_add(copies(rows, new)))
        } else {
            (0, copies(rows, prompt.saturating_add(new)))
        };
        Ok(Self {
            slots: rows,
            bytes,
            prefix,
        })
    }

    fn all_bytes(self) -> u64 {
        self.bytes.saturating_add(self.prefix)
    }
}

/// A checked request.
pub(crate) struct Job<C> {
    pub(crate) key: u64,
    needs: Needs,
    prompt: Arc<[u32]>,
    prefix: Option<Arc<Prefix<C>>>,
    rules: Rules<'static>,
    on_token: Option<OnStep>,
}

impl<C> Job<C> {
    /// Checks everything about a request that can be checked before it is read. `flag` ends it.
    pub(crate) fn new<M: StepModel<Cache = C>>(
        model: &M,
        limits: &EngineOptions,
        request: Request<C>,
        flag: CancelFlag,
    ) -> Result<Self, Error> {
        let vocabulary = model.vocabulary();
        request.generation.check(&request.end, vocabulary)?;
        ModelError::check_prompts(&[&request.prompt], vocabulary)?;
        if let Some(prefix) = &request.prefix {
            if !request.prompt.starts_with(prefix.ids()) {
                let tokens = prefix.ids().len();
                return Err(Error::PrefixMismatch { tokens });
            }
            if !model.prompt_counts() && request.prompt.len() > prefix.ids().len() {
                return Err(Error::PromptIsWhole);
            }
            prefix.check(model)?;
        }
        let needs = Needs::new(model, &request)?;
        let slots = (needs.slots as u64, limits.slots as u64, "slots");
        let bytes = (
            needs.all_bytes(),
            limits.budget.unwrap_or(u64::MAX),
            "bytes of keys and values",
        );
        for (needed, limit, of) in [slots, bytes] {
            if needed > limit {
                return Err(Error::NeverFits { of, needed, limit });
            }
        }
        Ok(Self {
            key: 0,
            needs,
            prompt: request.prompt,
            prefix: request.prefix,
            rules: Rules::new(request.generation, request.end).with_flag(flag),
            on_token: request.on_token,
        })
    }

    /// Whether its caller wants an end already.
    pub(crate) fn is_over(&self) -> bool {
        self.rules.by_caller().is_some()
    }

    /// Tokens of the prompt that are still to be read.
    fn unread(&self) -> usize {
        self.prompt.len() - self.read()
    }

    fn read(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.ids().len())
    }

    fn shares_with(&self, other: &Self) -> bool {
        match (&self.prefix, &other.prefix) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }
}

/// What a running request holds.
struct Held<C> {
    needs: Needs,
    prefix: Option<Arc<Prefix<C>>>,
}

/// A long prompt that is read in pieces.
struct Reading<C> {
    answer: Answer,
    cache: C,
    /// Tokens of the prompt that were read.
    read: usize,
}

/// See the module.
pub(crate) struct Scheduler<'m, M: StepModel> {
    model: &'m M,
    limits: EngineOptions,
    batch: Batch<'m, M>,
    waiting: VecDeque<Job<M::Cache>>,
    reading: Option<Reading<M::Cache>>,
    held: BTreeMap<u64, Held<M::Cache>>,
}

impl<'m, M: StepModel> Scheduler<'m, M>
where
    M::Cache: Clone,
{
    pub(crate) fn new(model: &'m M, limits: EngineOptions) -> Self {
        Self {
            model,
            limits,
            batch: Batch::new(model, true),
            waiting: VecDeque::new(),
            reading: None,
            held: BTreeMap::new(),
        }
    }

    /// Puts a job at the end of the queue.
    pub(crate) fn push(&mut self, job: Job<M::Cache>) {
        self.waiting.push_back(job);
    }

    /// Jobs that have not begun.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Jobs that have.
    pub(crate) fn running(&self) -> usize {
        self.held.len()
    }

    /// Slots and bytes that are taken.
    pub(crate) fn taken(&self) -> (usize, u64) {
        let slots = self.held.values().map(|held| held.needs.slots).sum();
        let mut bytes = 0u64;
        let mut seen: Vec<*const Prefix<M::Cache>> = Vec::new();
        for held in self.held.values() {
            bytes = bytes.saturating_add(held.needs.bytes);
            if let Some(prefix) = held.prefix.as_ref().map(Arc::as_ptr)
                && !seen.contains(&prefix)
            {
                seen.push(prefix);
                bytes = bytes.saturating_add(held.needs.prefix);
            }
        }
        (slots, bytes)
    }

    /// Whether nothing runs and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.held.is_empty()
    }

    /// Reads at most one piece of prompts, gives every running sequence one more token, and returns what is over.
    pub(crate) fn step(&mut self) -> Vec<(u64, Each)> {
        self.end_waiting(|job| job.is_over());
        match self.reading.take() {
            Some(reading) => self.read_on(reading),
            None => self.admit(),
        }
        if let Err(error) = self.batch.advance() {
            self.batch.recover(&error);
        }
        self.collect()
    }

    /// Ends everything as it is.
    pub(crate) fn cancel(&mut self) -> Vec<(u64, Each)> {
        self.waiting.iter_mut().for_each(|job| job.rules.cancel());
        self.end_waiting(|_| true);
        if let Some(reading) = self.reading.take() {
            self.batch
                .give_up(reading.answer, crate::StopReason::Cancelled);
        }
        self.batch.cancel();
        self.collect()
    }

    /// Ends waiting jobs that are over before they have begun.
    fn end_waiting(&mut self, over: impl Fn(&Job<M::Cache>) -> bool) {
        let (model, batch) = (self.model, &mut self.batch);
        self.waiting.retain(|job| {
            let Some(reason) = job.rules.by_caller().filter(|_| over(job)) else {
                return true;
            };
            let unread = || Answer::unread(model, &job.rules, 0, &job.prompt, reason);
            batch.end(job.key, 0, guarded(true, unread));
            false
        });
    }

    fn fits(&self, job: &Job<M::Cache>) -> bool {
        let (slots, bytes) = self.taken();
        let mut others = self.held.values().filter_map(|held| held.prefix.as_ref());
        let is_held = (job.prefix.as_ref())
            .is_some_and(|prefix| others.any(|other| Arc::ptr_eq(other, prefix)));
        let needed = match is_held {
            true => job.needs.bytes,
            false => job.needs.all_bytes(),
        };
        slots + job.needs.slots <= self.limits.slots
            && bytes.saturating_add(needed) <= self.limits.budget.unwrap_or(u64::MAX)
    }

    /// Begins with the first jobs of the queue that fit: one whose prompt is long, or several that are short together.
    /// The first that does not fit lets no other pass, so that it does not wait for ever.
    fn admit(&mut self) {
        let mut begun: Vec<Job<M::Cache>> = Vec::new();
        let mut tokens = 0usize;
        while let Some(job) = self.waiting.front() {
            let alone = begun.is_empty() && self.batch.answers() == 0;
            let joins = alone || self.model.can_merge();
            tokens = tokens.saturating_add(job.unread());
            let alike = begun.first().is_none_or(|first| {
                let short = tokens <= self.limits.chunk;
                let together = job.prefix.is_none() || self.model.can_share();
                short && together && first.shares_with(job)
            });
            if !joins || !alike || !self.fits(job) {
                break;
            }
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            let held = Held {
                needs: job.needs,
                prefix: job.prefix.clone(),
            };
            self.held.insert(job.key, held);
            let is_long = job.unread() > self.limits.chunk && self.model.can_extend();
            if is_long && begun.is_empty() {
                return self.begin_long(job);
            }
            begun.push(job);
        }
        if !begun.is_empty() {
            self.begin(begun);
        }
    }

    /// An answer for a job, or its end where code of the caller fails.
    fn answer(&mut self, job: Job<M::Cache>) -> Option<Answer> {
        let vocabulary = self.model.vocabulary();
        let listener: OnToken<'m> = match job.on_token {
            Some(on_token) => on_token,
            None => Box::new(|_| std::ops::ControlFlow::Continue(())),
        };
        let call = Call::new(job.rules, vocabulary, listener);
        let (model, key) = (self.model, job.key);
        let answer = guarded(true, || Answer::new(model, &call, (key, 0), job.prompt));
        self.batch.add_call(key, call);
        answer
            .map_err(|error| self.batch.end(key, 0, Err(error)))
            .ok()
    }

    /// Reads whole prompts together, which have one prefix or none. Where that fails, one by one.
    fn begin(&mut self, jobs: Vec<Job<M::Cache>>) {
        let prefix = jobs.first().and_then(|job| job.prefix.clone());
        let answers = jobs.into_iter().filter_map(|job| self.answer(job));
        let answers: Vec<Answer> = answers.collect();
        if answers.is_empty() {
            return;
        }
        let prefix = prefix.as_deref();
        match self.read(prefix, &answers) {
            Ok((cache, logits)) => self.join(answers, cache, logits),
            Err(_) if answers.len() > 1 => {
                for answer in answers {
                    match self.read(prefix, std::slice::from_ref(&answer)) {
                        Ok((cache, logits)) => self.join(vec![answer], cache, logits),
                        Err(error) => self.batch.end(answer.key, 0, Err(error.of_row(0))),
                    }
                }
            }
            Err(error) => self.batch.end(answers[0].key, 0, Err(error)),
        }
    }

    fn read(
        &self,
        prefix: Option<&Prefix<M::Cache>>,
        answers: &[Answer],
    ) -> Result<(M::Cache, Tensor<2>), Error> {
        let reserve = answers.iter().map(Answer::budget).max().unwrap_or(0);
        let (model, reserve) = (self.model, reserve.min(RESERVE));
        let read = prefix.map_or(0, |prefix| prefix.ids().len());
        let rest: Vec<&[u32]> = answers
            .iter()
            .map(|answer| &answer.prompt[read..])
            .collect();
        guarded(true, || match prefix {
            Some(prefix) => prefix.go_on(model, &rest, reserve),
            None => Ok(model.prefill(&rest, reserve)?),
        })
    }

    fn join(&mut self, answers: Vec<Answer>, cache: M::Cache, logits: Tensor<2>) {
        if let Err(error) = self.batch.join(answers, cache, logits) {
            self.batch.recover(&error);
        }
    }

    /// Reads the first piece of a long prompt.
    fn begin_long(&mut self, job: Job<M::Cache>) {
        let (model, chunk) = (self.model, self.limits.chunk);
        let (prefix, read) = (job.prefix.clone(), job.read());
        let Some(answer) = self.answer(job) else {
            return;
        };
        let (cache, read) = match prefix {
            Some(prefix) => (guarded(true, || prefix.cache(model)), read),
            None => {
                let reserve = answer.prompt.len() - chunk + answer.budget().min(RESERVE);
                let first = &answer.prompt[..chunk];
                let cache = guarded(true, || Ok(model.prefill(&[first], reserve)?.0));
                (cache, chunk)
            }
        };
        match cache {
            Err(error) => self.batch.end(answer.key, 0, Err(error)),
            Ok(cache) => {
                self.reading = Some(Reading {
                    answer,
                    cache,
                    read,
                });
            }
        }
    }

    /// Reads the next piece of a long prompt, after which its answer begins if that was the last.
    fn read_on(&mut self, mut reading: Reading<M::Cache>) {
        let key = reading.answer.key;
        let over = self.batch.call(key).and_then(|call| call.rules.by_caller());
        if let Some(reason) = over {
            return self.batch.give_up(reading.answer, reason);
        }
        let prompt = &reading.answer.prompt;
        let end = prompt.len().min(reading.read + self.limits.chunk);
        let (model, piece) = (self.model, &prompt[reading.read..end]);
        let cache = &mut reading.cache;
        match guarded(true, || Ok(model.extend(&[piece], true, cache)?)) {
            Err(error) => self.batch.end(key, 0, Err(error)),
            Ok(logits) if end == prompt.len() => {
                let (answer, cache) = (reading.answer, reading.cache);
                self.join(vec![answer], cache, logits.squeeze_dim(1));
            }
            Ok(_) => {
                reading.read = end;
                self.reading = Some(reading);
            }
        }
    }

    /// What is over gives its slots and bytes back.
    fn collect(&mut self) -> Vec<(u64, Each)> {
        let ended = self.batch.take_ended().into_iter();
        let ended = ended.map(|ended| {
            self.held.remove(&ended.key);
            self.batch.remove_call(ended.key);
            (ended.key, ended.result)
        });
        ended.collect()
    }
}

#[cfg(test)]
mod tests;
