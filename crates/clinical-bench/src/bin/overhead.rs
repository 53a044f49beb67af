//! What the engine itself costs for each token: everything outside the model's forward pass.
//!
//!     cargo run --release -p clinical-bench --bin overhead [VOCABULARY]
//!
//! The model gives prepared logits at once, so all of the time is the engine's, the copy out of the tensor included.
//! Prints the median and the least over 200 tokens for each option set (for beams over five searches of 200 tokens).

#![allow(clippy::print_stdout)]

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Instant;

use burn::tensor::{Tensor, TensorData};
use clinical_generate::{EndTokens, Error, Generation, ModelError, StepModel, generate};

const PROMPT: usize = 512;
const TOKENS: usize = 200;

/// Gives one of a few prepared tensors, `rows` rows of logits each.
struct Prepared {
    vocabulary: usize,
    /// Logits for one row, and for as many as there are beams.
    tensors: Vec<(usize, Vec<Tensor<2>>)>,
    calls: Cell<usize>,
}

impl Prepared {
    fn new(vocabulary: usize, rows: &[usize]) -> Self {
        let device = clinical_kernels::cpu();
        let mut state = 1u64;
        // The sum of a few even numbers, cubed: a few tokens stand out, as in a language model.
        let mut number = || {
            let mut sum = 0.0;
            for _ in 0..4 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                sum += (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
            }
            sum * sum * sum * 4.0
        };
        let mut tensor = |rows: usize| {
            let numbers: Vec<f32> = (0..rows * vocabulary).map(|_| number()).collect();
            Tensor::from_data(TensorData::new(numbers, [rows, vocabulary]), &device)
        };
        let tensors = rows
            .iter()
            .map(|&rows| (rows, (0..8).map(|_| tensor(rows)).collect()))
            .collect();
        Self {
            vocabulary,
            tensors,
            calls: Cell::new(0),
        }
    }

    fn logits(&self, rows: usize) -> Tensor<2> {
        self.calls.set(self.calls.get() + 1);
        let found = self.tensors.iter().find(|(prepared, _)| *prepared == rows);
        let prepared = found
            .map(|(_, tensors)| tensors)
            .expect("a prepared number of rows");
        prepared[self.calls.get() % prepared.len()].clone()
    }
}

impl StepModel for Prepared {
    type Cache = usize;

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn max_positions(&self) -> Option<usize> {
        None
    }

    fn prompt_counts(&self) -> bool {
        true
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        _reserve: usize,
    ) -> Result<(usize, Tensor<2>), ModelError> {
        Ok((prompts.len(), self.logits(prompts.len())))
    }

    fn step(&self, _ids: &[u32], rows: &mut usize) -> Result<Tensor<2>, ModelError> {
        Ok(self.logits(*rows))
    }

    fn select(&self, cache: &mut usize, rows: &[usize]) {
        *cache = rows.len();
    }
}

/// The median and the least time for one token, in microseconds.
fn microseconds(model: &Prepared, options: &Generation) -> Result<(f64, f64), Error> {
    let prompt: Vec<u32> = (0..PROMPT as u32)
        .map(|i| i * 61 % model.vocabulary as u32)
        .collect();
    let options = options
        .clone()
        .with_max_new_tokens(TOKENS)
        .with_suppress([]);
    let mut times = Vec::new();
    if options.beams > 1 {
        // A search gives its steps at the end: time whole searches.
        for _ in 0..5 {
            let start = Instant::now();
            generate(model, &[&prompt], &EndTokens::none(), &options, |_| {
                ControlFlow::Continue(())
            })?;
            times.push(start.elapsed().as_secs_f64() * 1e6 / TOKENS as f64);
        }
    } else {
        let mut last = Instant::now();
        generate(model, &[&prompt], &EndTokens::none(), &options, |_| {
            let now = Instant::now();
            times.push((now - last).as_secs_f64() * 1e6);
            last = now;
            ControlFlow::Continue(())
        })?;
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[0]))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vocabulary = match std::env::args().nth(1) {
        Some(number) => number.parse()?,
        None => 32_128,
    };
    let model = Prepared::new(vocabulary, &[1, 5]);
    println!(
        "vocabulary {vocabulary}, prompt {PROMPT}; microseconds for each token: median, least"
    );
    let sets = [
        ("greedy", Generation::greedy()),
        (
            "greedy, log_probs",
            Generation::greedy().with_log_probs(true),
        ),
        (
            "greedy, repetition_penalty, no_repeat_ngram",
            Generation::greedy()
                .with_repetition_penalty(1.2)
                .with_no_repeat_ngram(3),
        ),
        (
            "greedy, allowed",
            Generation::greedy().with_allowed([(0..TOKENS as u32 + 1).collect()]),
        ),
        ("sample (top_k 50)", Generation::sample()),
        ("sample, no filter", Generation::sample().with_top_k(0)),
        (
            "sample, top_p 0.9",
            Generation::sample().with_top_k(0).with_top_p(0.9),
        ),
        (
            "sample, min_p 0.05",
            Generation::sample().with_top_k(0).with_min_p(0.05),
        ),
        (
            "sample, typical_p 0.9",
            Generation::sample().with_top_k(0).with_typical_p(0.9),
        ),
        (
            "sample, top_k 50, top_p 0.9, temperature 0.7",
            Generation::sample().with_top_p(0.9).with_temperature(0.7),
        ),
        ("beam 5", Generation::beam(5)),
        (
            "beam 5, no_repeat_ngram",
            Generation::beam(5).with_no_repeat_ngram(3),
        ),
        ("beam 5, sample", Generation::beam(5).with_sampling(true)),
    ];
    for (name, options) in sets {
        let (median, least) = microseconds(&model, &options)?;
        println!("{name:<50} {median:>8.1} {least:>8.1}");
    }
    Ok(())
}
