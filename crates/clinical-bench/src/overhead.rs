//! What the generation engine adds to a model's own time.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use clinical_generate::{EndTokens, Generation, ModelError, StepModel, generate};
use serde::Serialize;

use crate::work::{build, not_for, random_rows, sync};
use crate::{Error, Plan, Shape};

/// Where the time of a generation goes, in milliseconds for each new token; medians over the runs.
#[derive(Debug, Clone, Serialize)]
pub struct Overhead {
    /// The name or file that was asked for.
    pub model: String,
    /// Threads of the CPU backend.
    pub threads: usize,
    /// Beams; 1 is greedy.
    pub beams: usize,
    /// Tokens of the prompt.
    pub length: usize,
    /// New tokens.
    pub new_tokens: usize,
    /// Timed runs; one more goes before them untimed.
    pub runs: usize,
    /// Inside the model's forward pass, without reading the prompt.
    pub forward_ms: f64,
    /// Moving rows of the model's cache: beams that are reordered, rows that leave.
    pub cache_ms: f64,
    /// Everything else: the engine.
    pub engine_ms: f64,
    /// Everything outside the forward pass over everything.
    pub share: f64,
}

/// Times [`Plan::new_tokens`] tokens after one prompt of [`Plan::length`], greedily or with beams, through
/// [`clinical_generate::generate`]. Only the model, length, tokens, runs and device of the plan count.
///
/// # Errors
///
/// [`Error`] for a plan that makes no sense.
pub fn overhead(plan: &Plan, beams: usize) -> Result<Overhead, Error> {
    for (field, value) in [
        ("length", plan.length),
        ("runs", plan.runs),
        ("beams", beams),
    ] {
        if value == 0 {
            return Err(Error::Zero { field });
        }
    }
    let shape = Shape::named(&plan.model)?;
    let prompt = random_rows(1, plan.length, shape.vocabulary()).swap_remove(0);
    match &shape {
        Shape::T5(config) => {
            let model = config.init(&plan.device).map_err(|error| build(&error))?;
            measure(plan, beams, &model, &prompt)
        }
        Shape::Llama(config) => {
            let model = config.init(&plan.device).map_err(|error| build(&error))?;
            measure(plan, beams, &model, &prompt)
        }
        Shape::Bert(_) => Err(not_for(plan)),
    }
}

fn measure<M: StepModel>(
    plan: &Plan,
    beams: usize,
    model: &M,
    prompt: &[u32],
) -> Result<Overhead, Error> {
    let options = Generation::beam(beams).with_max_new_tokens(plan.new_tokens.max(2));
    let mut runs = Vec::new();
    for _ in 0..=plan.runs {
        let timed = Timed {
            model,
            forward: Cell::default(),
            cache: Cell::default(),
            prompt: Cell::default(),
        };
        let start = Instant::now();
        generate(&timed, &[prompt], &EndTokens::none(), &options, |_| {
            ControlFlow::Continue(())
        })?;
        let whole = start.elapsed() - timed.prompt.get();
        runs.push([timed.forward.get(), timed.cache.get(), whole]);
    }
    // The first warms up.
    runs.remove(0);
    runs.sort_by_key(|&[_, _, whole]| whole);
    // The first token comes with the prompt.
    let steps = (options.max_new_tokens - 1) as f64;
    let [forward, cache, whole] = runs[runs.len() / 2].map(|time| 1e3 * time.as_secs_f64() / steps);
    Ok(Overhead {
        model: plan.model.clone(),
        threads: clinical_kernels::threads(),
        beams,
        length: plan.length,
        new_tokens: options.max_new_tokens,
        runs: runs.len(),
        forward_ms: forward,
        cache_ms: cache,
        engine_ms: whole - forward - cache,
        share: (whole - forward) / whole,
    })
}

/// A model that measures the time spent in it.
struct Timed<'m, M> {
    model: &'m M,
    forward: Cell<Duration>,
    cache: Cell<Duration>,
    prompt: Cell<Duration>,
}

fn add<T>(time: &Cell<Duration>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    time.set(time.get() + start.elapsed());
    result
}

impl<M: StepModel> StepModel for Timed<'_, M> {
    type Cache = M::Cache;

    fn vocabulary(&self) -> usize {
        self.model.vocabulary()
    }

    fn max_positions(&self) -> Option<usize> {
        self.model.max_positions()
    }

    fn prompt_counts(&self) -> bool {
        self.model.prompt_counts()
    }

    fn decoder_start(&self) -> Option<u32> {
        self.model.decoder_start()
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(M::Cache, Tensor<2>), ModelError> {
        add(&self.prompt, || {
            let (cache, logits) = self.model.prefill(prompts, reserve)?;
            Ok((cache, sync(logits)))
        })
    }

    fn step(&self, ids: &[u32], cache: &mut M::Cache) -> Result<Tensor<2>, ModelError> {
        add(&self.forward, || Ok(sync(self.model.step(ids, cache)?)))
    }

    fn select(&self, cache: &mut M::Cache, rows: &[usize]) {
        add(&self.cache, || self.model.select(cache, rows));
    }

    fn reorder(&self, cache: &mut M::Cache, rows: &[usize], differing: usize) {
        add(&self.cache, || self.model.reorder(cache, rows, differing));
    }
}
