//! How much of an answer's time is not the model: DEID tags, prompt, tokens, choosing, text.
//!
//! `cargo run --release -p clinical-bench --bin host_share -- --model llama-1b --new-tokens 64`
//!
//! The weights are random, in the shape that is named; text and tokenizer are the demonstration model's. Prints one
//! JSON line.

#[path = "../../../../examples/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use asclepius::Asclepius;
use burn::tensor::Tensor;
use clap::Parser;
use clinical_deid::{Normalizer, UnknownTag};
use clinical_generate::{EndTokens, Generation, ModelError, StepModel, generate};
use clinical_llama::{Llama, LlamaConfig};
use clinical_prompts::{Options, asclepius::Template};

/// Show what everything but the model takes of an answer's time
#[derive(Parser)]
struct Arguments {
    /// llama-1b, llama-7b, or the path of a LLaMA's config.json
    #[arg(long, default_value = "llama-1b")]
    model: String,
    /// How often the note is repeated
    #[arg(long, default_value_t = 4)]
    notes: usize,
    /// Tokens of the answer
    #[arg(long, default_value_t = 64)]
    new_tokens: usize,
    /// Threads of the CPU backend; 0 means all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// A model that counts the seconds spent in it.
struct Timed(Llama, Cell<f64>);

impl Timed {
    fn time<T>(&self, work: impl FnOnce(&Llama) -> T) -> T {
        let start = Instant::now();
        let result = work(&self.0);
        self.1.set(self.1.get() + start.elapsed().as_secs_f64());
        result
    }
}

impl StepModel for Timed {
    type Cache = <Llama as StepModel>::Cache;

    fn vocabulary(&self) -> usize {
        self.0.vocabulary()
    }

    fn max_positions(&self) -> Option<usize> {
        self.0.max_positions()
    }

    fn prompt_counts(&self) -> bool {
        true
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(Self::Cache, Tensor<2>), ModelError> {
        self.time(|model| model.prefill(prompts, reserve))
    }

    fn step(&self, ids: &[u32], cache: &mut Self::Cache) -> Result<Tensor<2>, ModelError> {
        self.time(|model| model.step(ids, cache))
    }

    fn select(&self, cache: &mut Self::Cache, rows: &[usize]) {
        self.time(|model| model.select(cache, rows));
    }
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    clinical_kernels::keep_freed_memory();
    clinical_kernels::set_threads(arguments.threads)?;
    let config = match arguments.model.as_str() {
        "llama-1b" => LlamaConfig::llama_1b(),
        "llama-7b" => LlamaConfig::llama_7b(),
        path => LlamaConfig::from_json(&std::fs::read_to_string(path)?)?,
    };
    let model = Timed(config.init(&clinical_kernels::cpu())?, Cell::new(0.0));
    let asclepius = Asclepius::embedded()?;
    let tokenizer = asclepius.tokenizer();
    // The weights are drawn at first use, which is not a part of any answer.
    model.prefill(&[&[1]], 1)?;
    model.1.set(0.0);

    let note = include_str!("../../../../examples/data/note.txt").repeat(arguments.notes);
    let start = Instant::now();
    let note = Normalizer::mimic_iii()
        .with_unknown(UnknownTag::Keep)
        .normalize(&note)?
        .text;
    let deid = start.elapsed().as_secs_f64();
    let prompt = Template::Inference.render(&note, "What was the diagnosis?", &Options::new())?;
    let encoding = tokenizer.encode(&prompt, true)?;
    let before = start.elapsed().as_secs_f64() - deid;
    let options = Generation::sample()
        .with_seed(0)
        .with_max_new_tokens(arguments.new_tokens);
    let ids = encoding.ids();
    let mut text = tokenizer.decode_stream(true);
    generate(&model, &[ids], &EndTokens::none(), &options, |_| {
        ControlFlow::Continue(())
    })?;
    for &id in &ids[..arguments.new_tokens.min(ids.len())] {
        text.push(id)?;
    }
    let total = start.elapsed().as_secs_f64();
    let inside = model.1.get();
    let line = serde_json::json!({
        "model": arguments.model, "prompt_tokens": ids.len(), "new_tokens": arguments.new_tokens,
        "total_s": total, "model_s": inside, "deid_s": deid, "prompt_and_tokens_s": before,
        "choosing_and_text_s": total - inside - deid - before,
        "share_percent": 100.0 * (total - inside) / total,
    });
    common::print(&line)?;
    Ok(())
}
