//! Beam search and beam sampling, step for step what `transformers`' `_beam_search` (4.57) does.
//!
//! Each prompt has one search: its open beams, and the best finished answers so far, at most as many as beams. A step
//! takes the best `max(2, 1 + end tokens) * beams` continuations of the open beams, so that enough stay open even when
//! the very best end. One that ends counts only among the first `beams`. Searches do not see each other: a prompt in a
//! batch gives what it gives alone, and the rows of a search that is over leave the model's cache.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::call::OnToken;
use crate::rank::{Beam, Ranker};
use crate::row::{Row, Rules};
use crate::sampler::Draws;
use crate::shortlist::Part;
use crate::text::Tail;
use crate::{Cancel, EarlyStopping, Error, Generated, Generation, Step, StepModel, StopReason};

/// A finished answer.
struct Finished {
    row: Row,
    /// The sum of its processed log-probabilities over `length^length_penalty`.
    score: f32,
    stop: StopReason,
}

/// The search for one prompt.
pub(crate) struct Search {
    pub(crate) running: Vec<Beam>,
    /// The best first, never more than beams.
    finished: Vec<Finished>,
    /// How many of its last cached tokens an open beam may not share with the one whose row it took.
    pub(crate) differing: usize,
    draws: Draws,
}

impl Search {
    pub(crate) fn new<M: StepModel>(
        model: &M,
        row: usize,
        prompt: &Arc<[u32]>,
        rules: &Rules<'_>,
    ) -> Result<Self, Error> {
        let mut row = Row::new(model, row, 0, prompt, rules)?;
        if rules.options.stop_strings.is_empty() {
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

    /// One more token for each open beam, `logits` being those of the open beams. No beam is left open when the search
    /// is over.
    pub(crate) fn step<M: StepModel>(
        &mut self,
        model: &M,
        logits: Part<'_>,
        ranker: &mut Ranker,
        rules: &Rules<'_>,
    ) -> Result<(), Error> {
        let options = &rules.options;
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
        // Sampled continuations come in the order of the draws.
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
    fn insert(&mut self, answer: Finished, beams: usize) {
        let at = self
            .finished
            .partition_point(|other| other.score >= answer.score);
        self.finished.insert(at, answer);
        self.finished.truncate(beams);
    }

    /// Ends the search with its open beams as they are.
    pub(crate) fn conclude(&mut self, stop: StopReason, options: &Generation) {
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

    /// Gives the steps of the returned answers to the caller, if there is one that listens. True if the caller
    /// cancelled everything.
    pub(crate) fn emit(
        &mut self,
        rules: &Rules<'_>,
        mut on_token: Option<&mut OnToken<'_>>,
        results: &mut Vec<Generated>,
    ) -> bool {
        let mut cancelled = false;
        let answers = std::mem::take(&mut self.finished)
            .into_iter()
            .take(rules.options.num_return_sequences);
        for (sequence, answer) in answers.enumerate() {
            let number = answer.row.row;
            let mut result = answer.row.finish(answer.stop, rules);
            result.sequence = sequence;
            result.score = Some(answer.score);
            let decoder = rules.end.decoder();
            let mut tail = decoder.map(|decoder| Tail::new(decoder.stream(number)));
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
                let Some(on_token) = on_token.as_mut().filter(|_| listening) else {
                    continue;
                };
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

/// How many tokens stand after the prefix that each new beam's past shares with the old beam in its row.
fn differing(old: &[Beam], new: &[Beam]) -> usize {
    let parted = |(old, new): (&Beam, &Beam)| {
        let (there, now) = (old.row.new_ids(), new.row.new_ids());
        there.len() - there.iter().zip(now).take_while(|(a, b)| a == b).count()
    };
    old.iter().zip(new).map(parted).max().unwrap_or(0)
}

/// `score / length^length_penalty`.
fn penalised(score: f32, length: usize, options: &Generation) -> f32 {
    score / (length as f64).powf(options.length_penalty) as f32
}
