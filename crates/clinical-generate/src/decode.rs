//! Greedy decoding and sampling: the rows in flight, one token at a time.

use std::ops::ControlFlow;

use burn::tensor::Tensor;

use crate::prefix::Reader;
use crate::processors::Processors;
use crate::queue::{self, Call, InFlight};
use crate::row::{Row, StopRules};
use crate::sampler::Sampler;
use crate::shortlist::{Best, Part, Seen, Shortlist, Wanted};
use crate::text::Tail;
use crate::{
    Cancel, EndTokens, Error, Generated, Generation, ModelError, Step, StepModel, StopReason, math,
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
    let call = Call {
        model,
        prompts,
        end,
        options,
    };
    let mut reader = Reader::new(model, prompts);
    queue::run(call, usize::MAX, on_token, |rows, reserve| {
        reader.read(rows, reserve)
    })
}

/// The prompts of the given rows.
pub(crate) fn pick<'p>(prompts: &[&'p [u32]], rows: &[usize]) -> Vec<&'p [u32]> {
    rows.iter().map(|&row| prompts[row]).collect()
}

/// Reads prompts and returns the cache and the first logits.
pub(crate) fn read<M: StepModel>(
    model: &M,
    prompts: &[&[u32]],
    reserve: usize,
) -> Result<(M::Cache, Tensor<2>), Error> {
    Ok(model.prefill(prompts, reserve)?)
}

/// The rows in flight, and the model's cache for them.
pub(crate) struct Decoder<'a, M: StepModel, F> {
    model: &'a M,
    end: &'a EndTokens<'a>,
    rules: StopRules<'a>,
    chooser: Chooser,
    on_token: F,
    cache: Option<M::Cache>,
    live: Vec<Row<'a>>,
    done: Vec<Generated>,
    cancelled: bool,
}

impl<'a, M, F> Decoder<'a, M, F>
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
            chooser: Chooser::new(options, &end.ids, model.vocabulary()),
            on_token,
            cache: None,
            live: Vec::new(),
            done: Vec::new(),
            cancelled: false,
        }
    }

    /// Chooses a token for each row. Returns the rows that go on and their places among `rows`.
    fn choose(
        &mut self,
        mut rows: Vec<Row<'a>>,
        logits: Tensor<2>,
    ) -> Result<(Vec<Row<'a>>, Vec<usize>), Error> {
        let mut live = Vec::with_capacity(rows.len());
        let mut kept = Vec::with_capacity(rows.len());
        let vocabulary = self.model.vocabulary();
        let mut seen = self.chooser.look(&mut rows, logits)?;
        for (at, mut row) in rows.into_iter().enumerate() {
            if self.cancelled {
                self.done
                    .push(row.finish(StopReason::Cancelled, &self.rules));
                continue;
            }
            let part = seen.part(at..at + 1, vocabulary);
            let (id, log_prob) = self.chooser.choose(self.model, &mut row, part)?;
            row.log_probs.extend(log_prob);
            let mark = row.tail.as_ref().map_or(0, Tail::mark);
            let stop = row.push(id, &self.rules);
            let step = Step {
                row: row.row,
                sequence: row.sequence,
                index: row.len() - 1,
                id,
                text: row.tail.as_ref().map_or("", |tail| tail.since(mark)),
                log_prob,
                stop,
            };
            let stop = match (self.on_token)(step) {
                ControlFlow::Continue(()) => stop,
                ControlFlow::Break(cancel) => {
                    self.cancelled = cancel == Cancel::All;
                    stop.or(Some(StopReason::Cancelled))
                }
            };
            match stop {
                Some(reason) => self.done.push(row.finish(reason, &self.rules)),
                None => {
                    live.push(row);
                    kept.push(at);
                }
            }
        }
        if self.cancelled {
            kept.clear();
            for row in live.drain(..) {
                self.done
                    .push(row.finish(StopReason::Cancelled, &self.rules));
            }
        }
        Ok((live, kept))
    }
}

impl<'a, M, F> InFlight<'a, M> for Decoder<'a, M, F>
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
        let options = self.rules.options;
        let copies = options.num_return_sequences;
        let mut fresh = Vec::with_capacity(prompts.len() * copies);
        for (&row, prompt) in rows.iter().zip(prompts) {
            for sequence in 0..copies {
                fresh.push(Row::new(
                    self.model, row, sequence, prompt, self.end, options,
                )?);
            }
        }
        let reserve = fresh.iter().map(|row| row.budget.tokens).max().unwrap_or(0);
        let (mut cache, mut logits) = read(reserve)?;
        if copies > 1 {
            let [rows, vocabulary] = logits.dims();
            logits = logits
                .unsqueeze_dim::<3>(1)
                .expand([rows, copies, vocabulary])
                .reshape([rows * copies, vocabulary]);
        }
        let count = fresh.len();
        let (fresh, kept) = self.choose(fresh, logits)?;
        if !fresh.is_empty() {
            if copies > 1 || kept.len() < count {
                let parents: Vec<usize> = kept.iter().map(|at| at / copies).collect();
                self.model.select(&mut cache, &parents);
            }
            match &mut self.cache {
                Some(in_flight) => self.model.merge(in_flight, cache)?,
                None => self.cache = Some(cache),
            }
            self.live.extend(fresh);
        }
        if self.cancelled {
            self.cache = None;
            for row in std::mem::take(&mut self.live) {
                self.done
                    .push(row.finish(StopReason::Cancelled, &self.rules));
            }
        }
        Ok(())
    }

    fn prompts(&self) -> usize {
        self.live
            .len()
            .div_ceil(self.rules.options.num_return_sequences)
    }

    fn ended(&self) -> Option<StopReason> {
        let cancelled = self.cancelled.then_some(StopReason::Cancelled);
        cancelled.or_else(|| self.rules.by_caller())
    }

    fn give_up(&mut self, row: usize, prompt: &'a [u32], reason: StopReason) -> Result<(), Error> {
        let options = self.rules.options;
        for sequence in 0..options.num_return_sequences {
            let row = Row::new(self.model, row, sequence, prompt, self.end, options)?;
            self.done.push(row.finish(reason, &self.rules));
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Error> {
        let Some(cache) = &mut self.cache else {
            return Ok(());
        };
        let ids: Vec<u32> = self
            .live
            .iter()
            .filter_map(|row| row.history.last().copied())
            .collect();
        let logits = self.model.step(&ids, cache)?;
        let live = std::mem::take(&mut self.live);
        let (live, kept) = self.choose(live, logits)?;
        if live.is_empty() {
            self.cache = None;
        } else if let (Some(cache), true) = (&mut self.cache, live.len() < ids.len()) {
            self.model.select(cache, &kept);
        }
        self.live = live;
        Ok(())
    }

    fn into_results(self) -> Vec<Generated> {
        self.done
    }
}

/// Chooses one token from one row of logits.
struct Chooser {
    processors: Processors,
    /// No processor changes anything: the logits need no copy and no second scan.
    plain: bool,
    sampler: Option<Sampler>,
    shortlist: Shortlist,
    log_probs: bool,
    /// The model's own logits, kept where processors change them and their log-probabilities are asked for.
    raw: Vec<f32>,
}

impl Chooser {
    fn new(options: &Generation, end: &[u32], vocabulary: usize) -> Self {
        let processors = Processors::new(options, end, vocabulary);
        let sampler = options.sample.then(|| Sampler::for_options(options, end));
        let wanted = match &sampler {
            None => Some(Wanted::First),
            Some(sampler) => sampler.looks_at().map(Wanted::Best),
        };
        Self {
            plain: processors.are_off(),
            shortlist: Shortlist::new(options, &processors, wanted, vocabulary),
            processors,
            sampler,
            log_probs: options.log_probs,
            raw: Vec::new(),
        }
    }

    /// Reads what is needed of the logits of all rows.
    fn look(&mut self, rows: &mut [Row<'_>], logits: Tensor<2>) -> Result<Seen, Error> {
        let mut rows: Vec<&mut Row<'_>> = rows.iter_mut().collect();
        let rank = |_: usize, _: &Best, score: f32| score;
        self.shortlist
            .look(&mut self.processors, &mut rows, logits, rank)
    }

    /// The token, and its log-probability if asked for, of one row.
    fn choose<M: StepModel>(
        &mut self,
        model: &M,
        row: &mut Row<'_>,
        logits: Part<'_>,
    ) -> Result<(u32, Option<f32>), Error> {
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
        row: &mut Row<'_>,
        scores: &mut [f32],
        mut max: f32,
    ) -> Result<(u32, Option<f32>), Error> {
        let normaliser = self.log_probs.then(|| math::log_sum_exp(scores, max));
        if !self.plain {
            if self.log_probs {
                self.raw.clear();
                self.raw.extend_from_slice(scores);
            }
            self.processors.apply_to(row, scores);
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
        Ok((id, log_prob))
    }

    fn choose_of_best(
        &mut self,
        row: &mut Row<'_>,
        best: &Best,
    ) -> Result<(u32, Option<f32>), Error> {
        let first = best.tokens.first();
        let chosen = match &mut self.sampler {
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
        Ok((chosen.id, log_prob))
    }
}

fn nothing_allowed(row: &Row<'_>) -> Error {
    Error::NothingAllowed {
        row: row.row,
        step: row.len() + 1,
    }
}

/// The logits in the host's memory, `rows * vocabulary` numbers.
pub(crate) fn host(logits: Tensor<2>, rows: usize, vocabulary: usize) -> Result<Vec<f32>, Error> {
    check_shape(&logits, rows, vocabulary)?;
    Ok(logits.try_into_vec_as::<f32>()?)
}

/// Refuses logits that are not `[rows, vocabulary]`, before any is read.
pub(crate) fn check_shape(logits: &Tensor<2>, rows: usize, vocabulary: usize) -> Result<(), Error> {
    let shape = logits.dims();
    if shape != [rows, vocabulary] {
        return Err(Error::LogitShape {
            got: shape[0] * shape[1],
            expected: rows * vocabulary,
        });
    }
    Ok(())
}
