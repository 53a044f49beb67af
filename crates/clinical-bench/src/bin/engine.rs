//! Divides the time of each new token into the model's forward pass, the moving of its cache, and the generation
//! engine, on a shape alone (random weights, no files). Prints one JSON line.
//!
//! `cargo run --release -p clinical-bench --bin engine -- --model t5-base --beams 5`

#[path = "../../../../examples/common/mod.rs"]
mod common;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_bench::{Plan, Workload};
use clinical_weights::{LinearLayout, Precision};

/// Show where the time of a new token goes
#[derive(Parser)]
struct Arguments {
    /// t5-base, t5-large, llama-1b, llama-7b, llama-13b, or the path of a config.json
    #[arg(long, default_value = "t5-base")]
    model: String,
    /// Beams; 1 is greedy
    #[arg(long, default_value_t = 1)]
    beams: usize,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// New tokens
    #[arg(long, default_value_t = 64)]
    new_tokens: usize,
    /// Threads of the CPU backend; 0 means all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Timed runs, after one that is not timed
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// cpu, ndarray, cuda, cuda:N or ws://HOST:PORT/N
    #[arg(long, default_value = "cpu")]
    device: String,
}

fn main() -> ExitCode {
    common::exit(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<()> {
    clinical_kernels::keep_freed_memory();
    clinical_kernels::set_threads(arguments.threads)?;
    let plan = Plan {
        model: arguments.model,
        workload: Workload::Decode,
        precision: Precision::F32,
        layout: LinearLayout::Automatic,
        batch: 1,
        length: arguments.length,
        new_tokens: arguments.new_tokens,
        beams: arguments.beams,
        lora_rank: None,
        recompute: false,
        runs: arguments.runs,
        device: clinical_kernels::parse(&arguments.device)?,
    };
    let report = clinical_bench::overhead(&plan, arguments.beams)?;
    common::print(serde_json::to_string(&report)?)?;
    Ok(())
}
