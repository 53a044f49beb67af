//! Ranking the continuations of open beams: the best ones, or sampled ones.

use crate::logits::Token;
use crate::processors::Processors;
use crate::row::Row;
use crate::sampler::{Draws, Sampler};
use crate::shortlist::{Best, Needs, Part, Wanted};
use crate::{Error, Generation, StepModel, math};

/// An open beam.
pub(crate) struct Beam {
    pub(crate) row: Row,
    /// The sum of its processed log-probabilities.
    pub(crate) score: f32,
    /// The open beam of the step before that it continues.
    pub(crate) parent: usize,
}

/// A continuation of an open beam by one token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Continuation {
    pub(crate) beam: usize,
    pub(crate) id: u32,
    pub(crate) score: f32,
    /// The model's own log-probability of the token, if asked for.
    pub(crate) log_prob: Option<f32>,
}

/// Ranks the continuations of a search's open beams.
pub(crate) struct Ranker {
    vocabulary: usize,
    processors: Processors,
    plain: bool,
    sampler: Option<Sampler>,
    pub(crate) needs: Needs,
    /// How many continuations a step looks at.
    count: usize,
    best: Vec<Continuation>,
    log_probs: bool,
    /// The model's own log-probabilities `[running, vocabulary]`, if asked for.
    raw: Vec<f32>,
    tokens: Vec<Token>,
}

impl Ranker {
    pub(crate) fn new(options: &Generation, end: &[u32], vocabulary: usize) -> Self {
        let processors = Processors::new(options, end, vocabulary);
        let sampler = options.sample.then(|| Sampler::for_options(options, end));
        let count = (1 + end.len()).max(2) * options.beams;
        let looks_at = match &sampler {
            None => Some(count),
            Some(sampler) => sampler.looks_at(),
        };
        let wanted = looks_at.map(Wanted::Best);
        Self {
            vocabulary,
            plain: processors.are_off(),
            needs: Needs::new(options, &processors, wanted, vocabulary),
            processors,
            sampler,
            count,
            best: Vec::new(),
            log_probs: options.log_probs,
            raw: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// Sets the scores of what the options forbid for a beam's next token to minus infinity.
    pub(crate) fn forbid(&mut self, beam: &mut Beam, scores: &mut [f32]) {
        beam.row.process(&mut self.processors, scores);
    }

    /// What the scores of a beam's tokens are added to before they are compared: sampled continuations are filtered by
    /// their own score, the others are compared across beams.
    pub(crate) fn base(&self, beam: &Beam) -> f32 {
        match self.sampler {
            Some(_) => 0.0,
            None => beam.score,
        }
    }

    /// The best continuations, or sampled ones; fewer where the options forbid the rest.
    pub(crate) fn rank<M: StepModel>(
        &mut self,
        model: &M,
        logits: Part<'_>,
        running: &mut [Beam],
        draws: &mut Draws,
    ) -> Result<Vec<Continuation>, Error> {
        self.best.clear();
        match logits {
            Part::All(logits) => self.rank_all(model, logits, running)?,
            Part::Best(best) => self.rank_best(model, best, running)?,
        }
        if self.sampler.is_some() {
            draw_without_replacement(&mut self.best, self.count, draws);
        }
        Ok(std::mem::take(&mut self.best))
    }

    fn rank_all<M: StepModel>(
        &mut self,
        model: &M,
        logits: &mut [f32],
        running: &mut [Beam],
    ) -> Result<(), Error> {
        for (beam, scores) in running.iter().zip(logits.chunks_exact_mut(self.vocabulary)) {
            let max = math::max_if_finite(scores).ok_or_else(|| beam.row.non_finite(model))?;
            let normaliser = math::log_sum_exp(scores, max);
            scores.iter_mut().for_each(|score| *score -= normaliser);
        }
        if self.log_probs {
            self.raw.clear();
            self.raw.extend_from_slice(logits);
        }
        for (at, scores) in logits.chunks_exact_mut(self.vocabulary).enumerate() {
            let beam = &mut running[at];
            if !self.plain {
                beam.row.process(&mut self.processors, scores);
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
                            log_prob: None,
                        }));
                }
            }
        }
        if self.log_probs {
            for continuation in &mut self.best {
                let at = continuation.beam * self.vocabulary + continuation.id as usize;
                continuation.log_prob = self.raw.get(at).copied();
            }
        }
        Ok(())
    }

    /// The same where only the best tokens were read.
    fn rank_best<M: StepModel>(
        &mut self,
        model: &M,
        best: &[Best],
        running: &[Beam],
    ) -> Result<(), Error> {
        if let Some((beam, _)) = running.iter().zip(best).find(|(_, best)| !best.finite) {
            return Err(beam.row.non_finite(model));
        }
        for (at, (beam, best)) in running.iter().zip(best).enumerate() {
            self.tokens.clear();
            self.tokens.extend(best.tokens.iter().map(|token| Token {
                id: token.id,
                score: token.score - best.normaliser,
            }));
            let mut kept = Vec::new();
            if let Some(sampler) = &mut self.sampler {
                kept.extend(sampler.filter_best(&self.tokens).iter().map(|c| c.id));
            }
            // Of continuations that rounding makes equal, that with the lower id is better.
            self.tokens.sort_unstable_by_key(|token| token.id);
            for token in &self.tokens {
                let continuation = |score: f32| Continuation {
                    beam: at,
                    id: token.id,
                    score: score + beam.score,
                    log_prob: self.log_probs.then_some(token.score),
                };
                match &self.sampler {
                    None => insert(&mut self.best, self.count, continuation(token.score)),
                    Some(sampler) if kept.binary_search(&token.id).is_ok() => {
                        self.best.push(continuation(sampler.scaled(token.score)));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// Merges one beam's continuations into the `count` best, the best first; of equal ones the earlier stays first.
fn keep_best(best: &mut Vec<Continuation>, count: usize, beam: usize, base: f32, scores: &[f32]) {
    const CHUNK: usize = 64;
    for (chunk, scores) in scores.chunks(CHUNK).enumerate() {
        // Most chunks hold nothing good enough, which one comparison shows.
        let top = scores
            .iter()
            .fold(f32::NEG_INFINITY, |top, &x| if x > top { x } else { top });
        if top + base <= least(best, count) {
            continue;
        }
        for (at, &score) in scores.iter().enumerate() {
            let new = Continuation {
                beam,
                id: (chunk * CHUNK + at) as u32,
                score: score + base,
                log_prob: None,
            };
            insert(best, count, new);
        }
    }
}

/// Only a score above this is among the `count` best.
fn least(best: &[Continuation], count: usize) -> f32 {
    match best.last() {
        Some(last) if best.len() == count => last.score,
        _ => f32::NEG_INFINITY,
    }
}

/// Adds a continuation to the `count` best if it is one of them, after equal ones.
fn insert(best: &mut Vec<Continuation>, count: usize, new: Continuation) {
    if new.score > least(best, count) {
        let at = best.partition_point(|other| other.score >= new.score);
        best.insert(at, new);
        best.truncate(count);
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
                    log_prob: None,
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
