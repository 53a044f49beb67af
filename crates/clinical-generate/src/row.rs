//! One running sequence, and what ends it.

use std::sync::Arc;
use std::time::Instant;

use crate::constraint::Matcher;
use crate::processors::{Position, Processors};
use crate::sampler::Draws;
use crate::text::Tail;
use crate::{CancelFlag, EndTokens, Error, Generated, Generation, StepModel, StopReason, TopToken};

/// How many new tokens a row may have, and what sets that limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) tokens: usize,
    pub(crate) reason: StopReason,
}

impl Budget {
    pub(crate) fn new<M: StepModel>(
        model: &M,
        row: usize,
        prompt: &[u32],
        options: &Generation,
    ) -> Result<Self, Error> {
        let mut budget = Self {
            tokens: options.max_new_tokens,
            reason: StopReason::MaxNewTokens,
        };
        if let Some(limit) = model.max_positions() {
            let read = if model.prompt_counts() {
                prompt.len()
            } else {
                0
            };
            if read >= limit {
                return Err(Error::PromptTooLong {
                    row,
                    tokens: prompt.len(),
                    limit,
                });
            }
            if limit - read < budget.tokens {
                budget = Self {
                    tokens: limit - read,
                    reason: StopReason::MaxPositions,
                };
            }
        }
        Ok(budget)
    }
}

/// Checks that each prompt leaves room for one new token.
pub(crate) fn check_prompts<M: StepModel>(
    model: &M,
    prompts: &[&[u32]],
    options: &Generation,
) -> Result<(), Error> {
    for (row, prompt) in prompts.iter().enumerate() {
        Budget::new(model, row, prompt, options)?;
    }
    Ok(())
}

/// What the processors see before the first new token: the prompt of a decoder, the start token of an encoder-decoder.
pub(crate) fn context<M: StepModel>(model: &M, prompt: &[u32]) -> Vec<u32> {
    if model.prompt_counts() {
        prompt.to_vec()
    } else {
        model.decoder_start().into_iter().collect()
    }
}

/// One running sequence.
pub(crate) struct Row {
    pub(crate) row: usize,
    pub(crate) sequence: usize,
    prompt: Arc<[u32]>,
    /// The context and the new tokens.
    history: Vec<u32>,
    /// Where the new tokens begin.
    start: usize,
    pub(crate) budget: Budget,
    pub(crate) draws: Draws,
    matcher: Option<Box<dyn Matcher>>,
    pub(crate) tail: Option<Tail>,
    pub(crate) log_probs: Vec<f32>,
    pub(crate) top_log_probs: Vec<Vec<TopToken>>,
}

impl Row {
    pub(crate) fn new<M: StepModel>(
        model: &M,
        row: usize,
        sequence: usize,
        prompt: &Arc<[u32]>,
        rules: &Rules<'_>,
    ) -> Result<Self, Error> {
        let options = &rules.options;
        let budget = Budget::new(model, row, prompt, options)?;
        let history = context(model, prompt);
        let decoder = rules.end.decoder();
        Ok(Self {
            row,
            sequence,
            prompt: Arc::clone(prompt),
            start: history.len(),
            history,
            budget,
            draws: Draws::new(options.seed, prompt, sequence),
            matcher: options.constraint.as_ref().map(|c| c.start(row)),
            tail: decoder.map(|decoder| Tail::new(decoder.stream(row))),
            log_probs: Vec::new(),
            top_log_probs: Vec::new(),
        })
    }

    /// A copy that goes on by itself.
    pub(crate) fn fork(&self) -> Self {
        Self {
            row: self.row,
            sequence: self.sequence,
            prompt: Arc::clone(&self.prompt),
            history: self.history.clone(),
            start: self.start,
            budget: self.budget,
            draws: self.draws.clone(),
            matcher: self.matcher.as_ref().map(|matcher| matcher.fork()),
            tail: self.tail.as_ref().map(Tail::fork),
            log_probs: self.log_probs.clone(),
            top_log_probs: self.top_log_probs.clone(),
        }
    }

    /// The new tokens.
    pub(crate) fn new_ids(&self) -> &[u32] {
        &self.history[self.start..]
    }

    /// The last token of all.
    pub(crate) fn last(&self) -> Option<u32> {
        self.history.last().copied()
    }

    /// The number of new tokens.
    pub(crate) fn len(&self) -> usize {
        self.history.len() - self.start
    }

    /// Changes the scores of the next token as the options say.
    pub(crate) fn process(&mut self, processors: &mut Processors, scores: &mut [f32]) {
        let position = Position {
            last: self.len() + 1 >= self.budget.tokens,
            history: &self.history,
            start: self.start,
        };
        processors.apply(&position, self.matcher.as_deref_mut(), scores);
    }

    /// The error for logits of the next token that are not finite.
    pub(crate) fn non_finite<M: StepModel>(&self, model: &M) -> Error {
        Error::non_finite(model, self.row, &self.prompt, self.new_ids())
    }

    /// Appends a token and says whether the sequence ends with it. The text moves on, and is complete if it ends.
    pub(crate) fn push(&mut self, id: u32, rules: &Rules<'_>) -> Option<StopReason> {
        self.history.push(id);
        let mut stop = rules.by_ids(self.new_ids());
        let is_end = stop == Some(StopReason::EndToken);
        if let (Some(matcher), false) = (&mut self.matcher, is_end) {
            matcher.accept(id);
        }
        if let Some(tail) = &mut self.tail
            && !is_end
            && tail.push(id, &rules.options.stop_strings)
            && stop.is_none()
        {
            stop = Some(StopReason::StopString);
        }
        let must_end = self.matcher.as_ref().is_some_and(|m| m.must_end());
        if stop.is_none() && rules.end.ids().is_empty() && must_end {
            stop = Some(StopReason::Complete);
        }
        if stop.is_none() && self.len() >= self.budget.tokens {
            stop = Some(self.budget.reason);
        }
        let stop = stop.or_else(|| rules.by_caller());
        if let (Some(reason), Some(tail)) = (stop, &mut self.tail)
            && tail.finish(&rules.options.stop_strings)
            && !reason.is_complete()
        {
            return Some(StopReason::StopString);
        }
        stop
    }

    pub(crate) fn finish(mut self, stop: StopReason, rules: &Rules<'_>) -> Generated {
        if let Some(tail) = &mut self.tail {
            tail.finish(&rules.options.stop_strings);
        }
        let ids = self.history.split_off(self.start);
        let ending = rules.ending(&ids, stop);
        Generated {
            row: self.row,
            sequence: self.sequence,
            ids,
            stop,
            text: self.tail.map(Tail::into_text),
            log_probs: self.log_probs,
            top_log_probs: self.top_log_probs,
            score: None,
            ending,
        }
    }
}

/// What the sequences of one call may do, and what ends them.
pub(crate) struct Rules<'m> {
    pub(crate) options: Generation,
    pub(crate) end: EndTokens<'m>,
    /// Ends them too: the flag of a request.
    flag: Option<CancelFlag>,
}

impl<'m> Rules<'m> {
    pub(crate) fn new(options: Generation, end: EndTokens<'m>) -> Self {
        Self {
            options,
            end,
            flag: None,
        }
    }

    /// One more flag that ends them.
    pub(crate) fn with_flag(mut self, flag: CancelFlag) -> Self {
        self.flag = Some(flag);
        self
    }

    /// Ends them now.
    pub(crate) fn cancel(&mut self) {
        let flag = CancelFlag::new();
        flag.cancel();
        self.flag = Some(flag);
    }

    fn by_ids(&self, new: &[u32]) -> Option<StopReason> {
        if new.last().is_some_and(|id| self.end.ids().contains(id)) {
            return Some(StopReason::EndToken);
        }
        self.stop_sequence(new).map(|_| StopReason::StopSequence)
    }

    /// Whether the caller's flag or deadline ends everything now.
    pub(crate) fn by_caller(&self) -> Option<StopReason> {
        let mut flags = self.options.cancel.iter().chain(&self.flag);
        if flags.any(CancelFlag::is_cancelled) {
            return Some(StopReason::Cancelled);
        }
        let passed = self
            .options
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        passed.then_some(StopReason::Deadline)
    }

    /// The longest stop sequence that the new tokens end with.
    fn stop_sequence(&self, new: &[u32]) -> Option<usize> {
        let ends = self
            .options
            .stop_sequences
            .iter()
            .filter(|ids| new.ends_with(ids));
        ends.map(Vec::len).max()
    }

    /// How many of the last tokens are the end token or the stop sequence.
    fn ending(&self, new: &[u32], stop: StopReason) -> usize {
        match stop {
            StopReason::EndToken => 1,
            StopReason::StopSequence => self.stop_sequence(new).unwrap_or(0),
            _ => 0,
        }
    }
}
