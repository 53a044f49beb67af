//! Choosing one token for each row: the likeliest, or a sampled one.

use crate::logits::{Token, largest};
use crate::processors::Processors;
use crate::row::Row;
use crate::sampler::Sampler;
use crate::shortlist::{Best, Needs, Part, Wanted};
use crate::{Error, Generation, StepModel, TopToken, math};

/// A token that was chosen.
pub(crate) struct Chosen {
    pub(crate) id: u32,
    /// If it was asked for.
    pub(crate) log_prob: Option<f32>,
    /// The likeliest tokens, if any were asked for.
    pub(crate) top: Vec<TopToken>,
}

/// Chooses one token from one row of logits.
pub(crate) struct Chooser {
    processors: Processors,
    /// No processor changes anything: the logits need no copy and no second scan.
    plain: bool,
    sampler: Option<Sampler>,
    pub(crate) needs: Needs,
    log_probs: bool,
    /// How many of the likeliest tokens are told.
    top: usize,
    /// The model's own logits, kept where processors change them and their log-probabilities are asked for.
    raw: Vec<f32>,
}

impl Chooser {
    pub(crate) fn new(options: &Generation, end: &[u32], vocabulary: usize) -> Self {
        let processors = Processors::new(options, end, vocabulary);
        let sampler = options.sample.then(|| Sampler::for_options(options, end));
        let wanted = match &sampler {
            None => Some(Wanted::First),
            Some(sampler) => sampler.looks_at().map(Wanted::Best),
        };
        let wanted = match (options.top_log_probs, wanted) {
            (0, wanted) => wanted,
            // A list has not what is forbidden, and that may be likely.
            _ if !processors.are_off() => None,
            (top, Some(Wanted::First)) => Some(Wanted::Best(top)),
            (top, Some(Wanted::Best(count))) => Some(Wanted::Best(count.max(top))),
            (_, None) => None,
        };
        Self {
            plain: processors.are_off(),
            needs: Needs::new(options, &processors, wanted, vocabulary),
            processors,
            sampler,
            log_probs: options.log_probs || options.top_log_probs > 0,
            top: options.top_log_probs,
            raw: Vec::new(),
        }
    }

    /// Sets the scores of what the options forbid for the row's next token to minus infinity.
    pub(crate) fn forbid(&mut self, row: &mut Row, scores: &mut [f32]) {
        row.process(&mut self.processors, scores);
    }

    /// The token of one row.
    pub(crate) fn choose<M: StepModel>(
        &mut self,
        model: &M,
        row: &mut Row,
        logits: Part<'_>,
    ) -> Result<Chosen, Error> {
        match logits {
            Part::All(scores) => {
                let max = math::max_if_finite(scores).ok_or_else(|| row.non_finite(model))?;
                self.choose_of_all(row, scores, max)
            }
            Part::Best([best]) if best.finite => self.choose_of_best(row, best),
            Part::Best(_) => Err(row.non_finite(model)),
        }
    }

    /// `max` is the largest of the logits, which are finite.
    fn choose_of_all(
        &mut self,
        row: &mut Row,
        scores: &mut [f32],
        mut max: f32,
    ) -> Result<Chosen, Error> {
        let normaliser = self.log_probs.then(|| math::log_sum_exp(scores, max));
        // The model's own, before anything changes them.
        let top = match normaliser {
            Some(normaliser) if self.top > 0 => told(&largest(scores, self.top), normaliser),
            _ => Vec::new(),
        };
        if !self.plain {
            if self.log_probs {
                self.raw.clear();
                self.raw.extend_from_slice(scores);
            }
            row.process(&mut self.processors, scores);
            max = math::max(scores);
        }
        let chosen = match &mut self.sampler {
            _ if max == f32::NEG_INFINITY => None,
            None => math::position(scores, max).map(|at| at as u32),
            Some(sampler) => {
                sampler.filter(scores);
                sampler.draw(&mut row.draws)
            }
        };
        let id = chosen.ok_or_else(|| nothing_allowed(row))?;
        let raw = if self.plain { &*scores } else { &self.raw };
        let log_prob = normaliser.map(|normaliser| raw[id as usize] - normaliser);
        Ok(Chosen { id, log_prob, top })
    }

    fn choose_of_best(&mut self, row: &mut Row, best: &Best) -> Result<Chosen, Error> {
        let first = best.tokens.first();
        let chosen: Option<&Token> = match &mut self.sampler {
            None => first.filter(|token| token.score > f32::NEG_INFINITY),
            Some(sampler) => {
                sampler.filter_best(&best.tokens);
                let id = sampler.draw(&mut row.draws);
                best.tokens.iter().find(|token| Some(token.id) == id)
            }
        };
        let chosen = chosen.ok_or_else(|| nothing_allowed(row))?;
        // What is not forbidden has the model's own logit.
        let log_prob = self.log_probs.then_some(chosen.score - best.normaliser);
        let top = best.tokens.get(..self.top).unwrap_or(&best.tokens);
        Ok(Chosen {
            id: chosen.id,
            log_prob,
            top: told(top, best.normaliser),
        })
    }
}

/// Tokens with their log-probabilities instead of their logits.
fn told(tokens: &[Token], normaliser: f32) -> Vec<TopToken> {
    let top = tokens.iter().map(|token| TopToken {
        id: token.id,
        log_prob: token.score - normaliser,
    });
    top.collect()
}

fn nothing_allowed(row: &Row) -> Error {
    Error::NothingAllowed {
        row: row.row,
        step: row.len() + 1,
    }
}
