//! Beam search and beam sampling, step for step what `transformers`' `_beam_search` (4.57) does.
//!
//! Each prompt has one search: its open beams, and the best finished answers so far, at most as many as beams. A step
//! takes the best `max(2, 1 + end tokens) * beams` continuations of the open beams, so that enough stay open even when
//! the very best end. One that ends counts only among the first `beams`. Searches do not see each other: a prompt in a
//! batch gives what it gives alone, and the rows of a search that is over leave the model's cache.

use std::ops::ControlFlow;

use crate::decode::host;
use crate::processors::{Place, Processors};
use crate::row::{Row, StopRules};
use crate::sampler::{Draws, Sampler};
use crate::text::Tail;
use crate::{
    Cancel, EarlyStopping, EndTokens, GenerateError, Generated, Generation, Step, StepModel,
    StopReason, math,
};

/// Runs one search for each prompt; see [`generate`](crate::generate). `rows[i]` is the caller's number of `prompts[i]`.
pub(crate) fn search<M: StepModel>(
    model: &M,
    rows: &[usize],
    prompts: &[&[u32]],
    end: &EndTokens<'_>,
    options: &Generation,
    mut on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    read: impl FnOnce(usize) -> Result<(M::Cache, Vec<f32>), GenerateError>,
) -> Result<Vec<Generated>, GenerateError> {
    let vocabulary = model.vocabulary();
    let rules = StopRules {
        options,
        end: &end.ids,
    };
    let mut ranker = Ranker::new(options, &end.ids, vocabulary);
    let mut searches = Vec::with_capacity(prompts.len());
    for (&row, prompt) in rows.iter().zip(prompts) {
        searches.push(Search::new(model, row, prompt, end, options)?);
    }
    let reserve = searches.iter().map(Search::budget).max().unwrap_or(0);
    let (mut cache, mut logits) = read(reserve)?;
    let mut results = Vec::with_capacity(prompts.len() * options.num_return_sequences);
    let mut cancelled = false;
    let mut silent = |_: Step<'_>| ControlFlow::Break(Cancel::All);
    loop {
        // The cache row that each open beam continues.
        let mut parents = Vec::with_capacity(searches.len() * options.beams);
        let mut first = 0;
        let mut same_rows = true;
        let mut open = Vec::with_capacity(searches.len());
        for mut search in searches {
            let before = search.running.len();
            let numbers = first * vocabulary..(first + before) * vocabulary;
            if cancelled {
                search.conclude(StopReason::Cancelled, options);
                search.emit(end, &rules, &mut silent, &mut results);
                continue;
            }
            search.step(&mut logits[numbers], &mut ranker, &rules)?;
            if search.running.is_empty() {
                cancelled |= search.emit(end, &rules, &mut on_token, &mut results);
                same_rows = false;
            } else {
                same_rows &= search.running.len() == before;
                parents.extend(search.running.iter().map(|beam| first + beam.parent));
                open.push(search);
            }
            first += before;
        }
        searches = open;
        if searches.is_empty() {
            break;
        }
        if cancelled {
            // Searches that came before the cancelling one.
            for mut search in searches {
                search.conclude(StopReason::Cancelled, options);
                search.emit(end, &rules, &mut silent, &mut results);
            }
            break;
        }
        let moved = parents.iter().enumerate().any(|(at, &parent)| at != parent);
        if !same_rows {
            model.select(&mut cache, &parents);
        } else if moved {
            model.reorder(&mut cache, &parents);
        }
        let beams = searches.iter().flat_map(|search| &search.running);
        let ids: Vec<u32> = beams
            .filter_map(|beam| beam.row.history.last().copied())
            .collect();
        logits = host(model.step(&ids, &mut cache)?, ids.len(), vocabulary)?;
    }
    results.sort_by_key(|result: &Generated| (result.row, result.sequence));
    Ok(results)
}

/// An open beam.
struct Beam<'a> {
    row: Row<'a>,
    /// The sum of its processed log-probabilities.
    score: f32,
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

/// A continuation of an open beam by one token.
#[derive(Debug, Clone, Copy)]
struct Continuation {
    beam: usize,
    id: u32,
    score: f32,
}

/// The search for one prompt.
struct Search<'a> {
    running: Vec<Beam<'a>>,
    /// The best first, never more than beams.
    finished: Vec<Finished<'a>>,
    draws: Draws,
}

impl<'a> Search<'a> {
    fn new<M: StepModel>(
        model: &M,
        row: usize,
        prompt: &[u32],
        end: &EndTokens<'a>,
        options: &Generation,
    ) -> Result<Self, GenerateError> {
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
        })
    }

    fn budget(&self) -> usize {
        self.running
            .first()
            .map_or(0, |beam| beam.row.budget.tokens)
    }

    /// One more token for each open beam, `logits` being `[running, vocabulary]`. No beam is left open when the search
    /// is over.
    fn step(
        &mut self,
        logits: &mut [f32],
        ranker: &mut Ranker,
        rules: &StopRules<'_>,
    ) -> Result<(), GenerateError> {
        let options = rules.options;
        let Some((number, length, budget)) = self
            .running
            .first()
            .map(|beam| (beam.row.row, beam.row.len() + 1, beam.row.budget.tokens))
        else {
            return Ok(());
        };
        let continuations = ranker.rank(logits, &mut self.running, &mut self.draws)?;
        let was_full = self.finished.len() == options.beams;
        let closed = was_full && options.early_stopping == EarlyStopping::True;
        let mut running = Vec::with_capacity(options.beams);
        for (rank, continuation) in continuations.iter().enumerate() {
            let counts = rank < options.beams && !closed;
            if !counts && running.len() == options.beams && !options.sample {
                break;
            }
            let mut row = self.running[continuation.beam].row.fork();
            row.log_probs.extend(ranker.log_prob(continuation));
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
        self.running = running;
        if self.is_over(length, budget, options) {
            self.running.clear();
        }
        if self.running.is_empty() && self.finished.is_empty() {
            return Err(GenerateError::NothingAllowed {
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
            let mut tail = end.decoder.map(|decoder| Tail::new(decoder.stream(number)));
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

/// `score / length^length_penalty`.
fn penalised(score: f32, length: usize, options: &Generation) -> f32 {
    score / (length as f64).powf(options.length_penalty) as f32
}

/// Ranks the continuations of a search's open beams.
struct Ranker {
    vocabulary: usize,
    processors: Processors,
    plain: bool,
    sampler: Option<Sampler>,
    /// How many continuations a step looks at.
    count: usize,
    best: Vec<Continuation>,
    /// The model's own log-probabilities `[running, vocabulary]`, if asked for.
    raw: Option<Vec<f32>>,
}

impl Ranker {
    fn new(options: &Generation, end: &[u32], vocabulary: usize) -> Self {
        let processors = Processors::new(options, end, vocabulary);
        let ends = end.len();
        Self {
            vocabulary,
            plain: processors.are_off(),
            processors,
            sampler: options.sample.then(|| Sampler::for_options(options, end)),
            count: (1 + ends).max(2) * options.beams,
            best: Vec::new(),
            raw: options.log_probs.then(Vec::new),
        }
    }

    /// The best continuations, or drawn ones; fewer where the options forbid the rest.
    fn rank(
        &mut self,
        logits: &mut [f32],
        running: &mut [Beam<'_>],
        draws: &mut Draws,
    ) -> Result<Vec<Continuation>, GenerateError> {
        self.best.clear();
        for (beam, scores) in running.iter().zip(logits.chunks_exact_mut(self.vocabulary)) {
            let max = math::max_if_finite(scores).ok_or(GenerateError::NonFinite {
                row: beam.row.row,
                step: beam.row.len() + 1,
            })?;
            let normaliser = math::log_sum_exp(scores, max);
            scores.iter_mut().for_each(|score| *score -= normaliser);
        }
        if let Some(raw) = &mut self.raw {
            raw.clear();
            raw.extend_from_slice(logits);
        }
        for (at, scores) in logits.chunks_exact_mut(self.vocabulary).enumerate() {
            let beam = &mut running[at];
            if !self.plain {
                let place = Place {
                    history: &beam.row.history,
                    start: beam.row.start,
                    last: beam.row.len() + 1 >= beam.row.budget.tokens,
                };
                let matcher = beam.row.matcher.as_deref_mut();
                self.processors.apply(&place, matcher, scores);
            }
            match &mut self.sampler {
                None => keep_best(&mut self.best, self.count, at, beam.score, scores),
                Some(sampler) => {
                    sampler.filter(scores);
                    self.best
                        .extend(sampler.kept().iter().map(|candidate| Continuation {
                            beam: at,
                            id: candidate.id,
                            score: sampler.scaled(scores[candidate.id as usize]) + beam.score,
                        }));
                }
            }
        }
        if self.sampler.is_some() {
            draw_without_replacement(&mut self.best, self.count, draws);
        }
        Ok(std::mem::take(&mut self.best))
    }

    fn log_prob(&self, continuation: &Continuation) -> Option<f32> {
        let raw = self.raw.as_ref()?;
        raw.get(continuation.beam * self.vocabulary + continuation.id as usize)
            .copied()
    }
}

/// Merges one beam's continuations into the `count` best, the best first; of equal ones the earlier stays first.
fn keep_best(best: &mut Vec<Continuation>, count: usize, beam: usize, base: f32, scores: &[f32]) {
    const CHUNK: usize = 64;
    let mut least = match best.last() {
        Some(last) if best.len() == count => last.score,
        _ => f32::NEG_INFINITY,
    };
    for (chunk, scores) in scores.chunks(CHUNK).enumerate() {
        // Most chunks hold nothing good enough, which one comparison shows.
        let top = scores
            .iter()
            .fold(f32::NEG_INFINITY, |top, &x| if x > top { x } else { top });
        if top + base <= least {
            continue;
        }
        for (at, &score) in scores.iter().enumerate() {
            let score = score + base;
            if score <= least || score.is_nan() {
                continue;
            }
            let place = best.partition_point(|other| other.score >= score);
            let id = (chunk * CHUNK + at) as u32;
            best.insert(place, Continuation { beam, id, score });
            best.truncate(count);
            if best.len() == count {
                least = best[count - 1].score;
            }
        }
    }
}

/// Keeps `count` continuations drawn one after another, each with a probability proportional to `e^score` among those
/// left, in the order drawn: the exponential race that `torch.multinomial` runs.
fn draw_without_replacement(all: &mut Vec<Continuation>, count: usize, draws: &mut Draws) {
    let top = all
        .iter()
        .map(|c| c.score)
        .fold(f32::NEG_INFINITY, f32::max);
    let mut race: Vec<(f64, Continuation)> = all
        .iter()
        .map(|&c| {
            let weight = f64::from(c.score - top).exp();
            (draws.exponential() / weight, c)
        })
        .filter(|(time, _)| time.is_finite())
        .collect();
    race.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.clear();
    all.extend(race.into_iter().take(count).map(|(_, c)| c));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_several_beams_in_order() {
        let mut draws = Draws::new(3, &[], 0);
        let rows: Vec<Vec<f32>> = (0..3)
            .map(|_| {
                (0..500)
                    .map(|_| (draws.unit() * 40.0).round() as f32 - 40.0)
                    .collect()
            })
            .collect();
        let bases = [0.0, -1.5, -3.0];
        let mut all: Vec<(usize, u32, f32)> = Vec::new();
        for (beam, (row, base)) in rows.iter().zip(bases).enumerate() {
            all.extend(
                row.iter()
                    .enumerate()
                    .map(|(id, &score)| (beam, id as u32, score + base)),
            );
        }
        all.sort_by(|a, b| b.2.total_cmp(&a.2));
        for count in [1, 2, 7, 64, 700, 1500, 2000] {
            let mut best = Vec::new();
            for (beam, (row, base)) in rows.iter().zip(bases).enumerate() {
                keep_best(&mut best, count, beam, base, row);
            }
            let got: Vec<(usize, u32, f32)> =
                best.iter().map(|c| (c.beam, c.id, c.score)).collect();
            assert_eq!(got, all[..count.min(1500)], "equal scores keep their order");
        }
    }

    #[test]
    fn forbidden_continuations_are_left_out() {
        let mut best = Vec::new();
        let scores = [f32::NEG_INFINITY, -1.0, f32::NAN, f32::NEG_INFINITY, -2.0];
        keep_best(&mut best, 5, 0, -3.0, &scores);
        let got: Vec<u32> = best.iter().map(|c| c.id).collect();
        assert_eq!(got, [1, 4]);
    }

    #[test]
    fn draws_without_replacement_follow_the_scores() {
        // P(first = a) = p_a; P(a then b) = p_a p_b / (1 - p_a).
        let p = [0.5f64, 0.3, 0.15, 0.05];
        let mut draws = Draws::new(11, &[4], 0);
        let runs = 20_000;
        let mut pairs = [[0u32; 4]; 4];
        for _ in 0..runs {
            let mut all: Vec<Continuation> = p
                .iter()
                .enumerate()
                .map(|(id, p)| Continuation {
                    beam: 0,
                    id: id as u32,
                    score: p.ln() as f32 - 20.0,
                })
                .collect();
            draw_without_replacement(&mut all, 2, &mut draws);
            assert_eq!(all.len(), 2);
            pairs[all[0].id as usize][all[1].id as usize] += 1;
        }
        for a in 0..4 {
            for b in 0..4 {
                let expected = if a == b {
                    0.0
                } else {
                    p[a] * p[b] / (1.0 - p[a])
                };
                let (mean, count) = (expected * f64::from(runs), f64::from(pairs[a][b]));
                let deviation = (mean * (1.0 - expected)).sqrt();
                assert!(
                    (count - mean).abs() <= 4.0 * deviation,
                    "{a} then {b}: {count} for {mean}"
                );
            }
        }
    }
}
