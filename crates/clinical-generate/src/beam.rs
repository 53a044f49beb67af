//! Beam search and beam sampling, step for step what `transformers`' `_beam_search` (4.57) does.
//!
//! Each prompt has one search: its open beams, and the best finished answers so far, at most as many as beams. A step
//! takes the best `max(2, 1 + end tokens) * beams` continuations of the open beams, so that enough stay open even when
//! the very best end. One that ends counts only among the first `beams`. Searches do not see each other: a prompt in a
//! batch gives what it gives alone, and the rows of a search that is over leave the model's cache.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::queue::InFlight;
use crate::rank::Ranker;
use crate::row::{Row, StopRules};
use crate::sampler::Draws;
use crate::shortlist::Part;
use crate::text::Tail;
use crate::{
    Cancel, EarlyStopping, EndTokens, Error, Generated, Generation, Step, StepModel, StopReason,
};

/// The searches in flight, and the model's cache for their open beams.
pub(crate) struct Searches<'a, M: StepModel, F> {
    model: &'a M,
    end: &'a EndTokens<'a>,
    rules: StopRules<'a>,
    ranker: Ranker,
    on_token: F,
    cache: Option<M::Cache>,
    open: Vec<Search<'a>>,
    done: Vec<Generated>,
    cancelled: bool,
}

/// How the rows of the cache go on after a step.
struct Moves {
    /// The row that each open beam continues.
    parents: Vec<usize>,
    /// Whether every search has as many rows as before.
    same_rows: bool,
}

impl<'a, M, F> Searches<'a, M, F>
where
    M: StepModel,
    F: FnMut(Step<'_>) -> ControlFlow<Cancel>,
{
    pub(crate) fn new(
        model: &'a M,
        end: &'a EndTokens<'a>,
        options: &'a Generation,
        on_token: F,
    ) -> Self {
        Self {
            model,
            end,
            rules: StopRules {
                options,
                end: &end.ids,
            },
            ranker: Ranker::new(options, &end.ids, model.vocabulary()),
            on_token,
            cache: None,
            open: Vec::new(),
            done: Vec::new(),
            cancelled: false,
        }
    }

    /// Chooses the next beams of each search, from the logits of its open ones. Those that are over give their answers.
    fn choose(
        &mut self,
        mut searches: Vec<Search<'a>>,
        logits: Tensor<2>,
    ) -> Result<(Vec<Search<'a>>, Moves), Error> {
        let vocabulary = self.model.vocabulary();
        let mut open = Vec::with_capacity(searches.len());
        let mut moves = Moves {
            parents: Vec::with_capacity(searches.len() * self.rules.options.beams),
            same_rows: true,
        };
        let beams = searches.iter_mut().flat_map(|search| &mut search.running);
        let mut seen = self.ranker.look(beams.collect(), logits)?;
        let mut first = 0;
        for mut search in searches {
            let before = search.running.len();
            let part = seen.part(first..first + before, vocabulary);
            if self.cancelled {
                self.give_up_search(search);
                continue;
            }
            search.step(self.model, part, &mut self.ranker, &self.rules)?;
            if search.running.is_empty() {
                let (end, rules) = (self.end, &self.rules);
                self.cancelled |= search.emit(end, rules, &mut self.on_token, &mut self.done);
                moves.same_rows = false;
            } else {
                moves.same_rows &= search.running.len() == before;
                let beams = search.running.iter();
                moves.parents.extend(beams.map(|beam| first + beam.parent));
                open.push(search);
            }
            first += before;
        }
        if self.cancelled {
            // Searches that came before the cancelling one.
            for search in open.drain(..).chain(std::mem::take(&mut self.open)) {
                self.give_up_search(search);
            }
            self.cache = None;
        }
        Ok((open, moves))
    }

    /// Ends a search with its open beams as they are; nobody listens any more.
    fn give_up_search(&mut self, mut search: Search<'a>) {
        search.conclude(StopReason::Cancelled, self.rules.options);
        let mut silent = |_: Step<'_>| ControlFlow::Break(Cancel::All);
        search.emit(self.end, &self.rules, &mut silent, &mut self.done);
    }
}

impl<'a, M, F> InFlight<'a, M> for Searches<'a, M, F>
where
    M: StepModel,
    F: FnMut(Step<'_>) -> ControlFlow<Cancel>,
{
    fn admit(
        &mut self,
        rows: &[usize],
        prompts: &[&'a [u32]],
        read: impl FnOnce(usize) -> Result<(M::Cache, Tensor<2>), Error>,
    ) -> Result<(), Error> {
        let mut fresh = Vec::with_capacity(prompts.len());
        for (&row, prompt) in rows.iter().zip(prompts) {
            fresh.push(Search::new(
                self.model,
                row,
                prompt,
                self.end,
                self.rules.options,
            )?);
        }
        let reserve = fresh.iter().map(Search::budget).max().unwrap_or(0);
        let (mut cache, logits) = read(reserve)?;
        let count = fresh.len();
        let (fresh, moves) = self.choose(fresh, logits)?;
        if fresh.is_empty() {
            return Ok(());
        }
        if !moves.parents.iter().copied().eq(0..count) {
            self.model.select(&mut cache, &moves.parents);
        }
        match &mut self.cache {
            Some(in_flight) => self.model.merge(in_flight, cache)?,
            None => self.cache = Some(cache),
        }
        self.open.extend(fresh);
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Error> {
        let Some(cache) = &mut self.cache else {
            return Ok(());
        };
        let beams = self.open.iter().flat_map(|search| &search.running);
        let ids: Vec<u32> = beams
            .filter_map(|beam| beam.row.history.last().copied())
            .collect();
        let logits = self.model.step(&ids, cache)?;
        let open = std::mem::take(&mut self.open);
        let (open, moves) = self.choose(open, logits)?;
        let Some(cache) = self.cache.as_mut().filter(|_| !open.is_empty()) else {
            self.cache = None;
            return Ok(());
        };
        let parents = &moves.parents;
        if !moves.same_rows {
            self.model.select(cache, parents);
        } else if !parents.iter().copied().eq(0..parents.len()) {
            let differing = open.iter().map(|search| search.differing).max();
            self.model.reorder(cache, parents, differing.unwrap_or(0));
        }
        self.open = open;
        Ok(())
    }

    fn prompts(&self) -> usize {
        self.open.len()
    }

    fn ended(&self) -> Option<StopReason> {
        let cancelled = self.cancelled.then_some(StopReason::Cancelled);
        cancelled.or_else(|| self.rules.by_caller())
    }

    fn give_up(&mut self, row: usize, prompt: &'a [u32], reason: StopReason) -> Result<(), Error> {
        let row = Row::new(self.model, row, 0, prompt, self.end, self.rules.options)?;
        self.done.push(row.finish(reason, &self.rules));
        Ok(())
    }

    fn into_results(self) -> Vec<Generated> {
        self.done
    }
}

/// An open beam.
pub(crate) struct Beam<'a> {
    pub(crate) row: Row<'a>,
    /// The sum of its processed log-probabilities.
    pub(crate) score: f32,
    /// The open beam of the step before that it continues.
    parent: usize,
}

/// A finished answer.
struct Finished<'a> {
    row: Row<'a>,
    /// The sum of its processed log-probabilities over `length^length_penalty`.
    score: f32,
    stop: StopReason,
}

/// The search for one prompt.
struct Search<'a> {
    running: Vec<Beam<'a>>,
    /// The best first, never more than beams.
    finished: Vec<Finished<'a>>,
    /// How many of its last cached tokens an open beam may not share with the one whose place it took.
    differing: usize,
    draws: Draws,
}

impl<'a> Search<'a> {
    fn new<M: StepModel>(
        model: &M,
        row: usize,
        prompt: &'a [u32],
        end: &EndTokens<'a>,
        options: &Generation,
    ) -> Result<Self, Error> {
        let mut row = Row::new(model, row, 0, prompt, end, options)?;
        if options.stop_strings.is_empty() {
            // Only what is returned is decoded.
            row.tail = None;
        }
        Ok(Self {
            draws: row.draws.clone(),
            running: vec![Beam {
                row,
                score: 0.0,
                parent: 0,
            }],
            finished: Vec::new(),
            differing: 0,
        })
    }

    fn budget(&self) -> usize {
        self.running
            .first()
            .map_or(0, |beam| beam.row.budget.tokens)
    }

    /// One more token for each open beam, `logits` being those of the open beams. No beam is left open when the search is
    /// over.
    fn step<M: StepModel>(
        &mut self,
        model: &M,
        logits: Part<'_>,
        ranker: &mut Ranker,
        rules: &StopRules<'_>,
    ) -> Result<(), Error> {
        let options = rules.options;
        let Some((number, length, budget)) = self
            .running
            .first()
            .map(|beam| (beam.row.row, beam.row.len() + 1, beam.row.budget.tokens))
        else {
            return Ok(());
        };
        let continuations = ranker.rank(model, logits, &mut self.running, &mut self.draws)?;
        let was_full = self.finished.len() == options.beams;
        let closed = was_full && options.early_stopping == EarlyStopping::True;
        let mut running = Vec::with_capacity(options.beams);
        for (rank, continuation) in continuations.iter().enumerate() {
            let counts = rank < options.beams && !closed;
            if !counts && running.len() == options.beams && !options.sample {
                break;
            }
            let mut row = self.running[continuation.beam].row.fork();
            row.log_probs.extend(continuation.log_prob);
            match row.push(continuation.id, rules) {
                None => running.push(Beam {
                    row,
                    score: continuation.score,
                    parent: continuation.beam,
                }),
                Some(stop) if counts => {
                    let score = penalised(continuation.score, length, options);
                    self.insert(Finished { row, score, stop }, options.beams);
                }
                Some(_) => {}
            }
        }
        // Drawn continuations come in the order of the draws.
        running.sort_by(|a, b| b.score.total_cmp(&a.score));
        running.truncate(options.beams);
        self.differing = differing(&self.running, &running);
        self.running = running;
        if self.is_over(length, budget, options) {
            self.running.clear();
        }
        if self.running.is_empty() && self.finished.is_empty() {
            return Err(Error::NothingAllowed {
                row: number,
                step: length,
            });
        }
        Ok(())
    }

    /// Whether the open beams cannot change the finished answers any more.
    fn is_over(&self, length: usize, budget: usize, options: &Generation) -> bool {
        let (Some(best), Some(worst)) = (self.running.first(), self.finished.last()) else {
            return self.running.is_empty();
        };
        if self.finished.len() < options.beams {
            return false;
        }
        let length = match options.early_stopping {
            EarlyStopping::True => return true,
            EarlyStopping::Never if options.length_penalty > 0.0 => budget,
            EarlyStopping::Never | EarlyStopping::False => length,
        };
        penalised(best.score, length, options) <= worst.score
    }

    /// Adds a finished answer, and drops the worst if there are more than `beams`.
    fn insert(&mut self, answer: Finished<'a>, beams: usize) {
        let at = self
            .finished
            .partition_point(|other| other.score >= answer.score);
        self.finished.insert(at, answer);
        self.finished.truncate(beams);
    }

    /// Ends the search with its open beams as they are.
    fn conclude(&mut self, stop: StopReason, options: &Generation) {
        for beam in std::mem::take(&mut self.running) {
            let score = penalised(beam.score, beam.row.len().max(1), options);
            let answer = Finished {
                row: beam.row,
                score,
                stop,
            };
            self.insert(answer, options.beams);
        }
    }

    /// Gives the steps of the returned answers to the caller. True if the caller cancelled everything.
    fn emit(
        self,
        end: &EndTokens<'_>,
        rules: &StopRules<'_>,
        on_token: &mut impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
        results: &mut Vec<Generated>,
    ) -> bool {
        let mut cancelled = false;
        let answers = self
            .finished
            .into_iter()
            .take(rules.options.num_return_sequences);
        for (sequence, answer) in answers.enumerate() {
            let number = answer.row.row;
            let mut result = answer.row.finish(answer.stop, rules);
            result.sequence = sequence;
            result.score = Some(answer.score);
            let mut tail = end
                .decoder()
                .map(|decoder| Tail::new(decoder.stream(number)));
            let mut listening = !cancelled;
            for (index, &id) in result.ids.iter().enumerate() {
                let is_last = index + 1 == result.ids.len();
                let mark = tail.as_ref().map_or(0, Tail::mark);
                if let Some(tail) = &mut tail {
                    if !(is_last && result.stop == StopReason::EndToken) {
                        tail.push(id, &rules.options.stop_strings);
                    }
                    if is_last {
                        tail.finish(&rules.options.stop_strings);
                    }
                }
                if !listening {
                    continue;
                }
                let step = Step {
                    row: number,
                    sequence,
                    index,
                    id,
                    text: tail.as_ref().map_or("", |tail| tail.since(mark)),
                    log_prob: result.log_probs.get(index).copied(),
                    stop: is_last.then_some(result.stop),
                };
                if let ControlFlow::Break(cancel) = on_token(step) {
                    listening = false;
                    cancelled |= cancel == Cancel::All;
                }
            }
            result.text = tail.map(Tail::into_text);
            results.push(result);
        }
        cancelled
    }
}

/// How many tokens lie behind the beginning that each new beam's past shares with the old beam in its place.
fn differing(old: &[Beam<'_>], new: &[Beam<'_>]) -> usize {
    let parted = |(old, new): (&Beam<'_>, &Beam<'_>)| {
        let (there, now) = (old.row.new_ids(), new.row.new_ids());
        there.len() - there.iter().zip(now).take_while(|(a, b)| a == b).count()
    };
    old.iter().zip(new).map(parted).max().unwrap_or(0)
}

/// `score / length^length_penalty`.
fn penalised(score: f32, length: usize, options: &Generation) -> f32 {
    score / (length as f64).powf(options.length_penalty) as f32
}
