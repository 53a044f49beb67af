//! Times a model on its shape alone (random weights, no files) and prints one JSON line.
//!
//! `cargo run --release -p clinical-bench --bin bench -- --model t5-base --workload encode --batch 1 --length 512`

#[path = "../../../../examples/common/mod.rs"]
pub(crate) mod common;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use clinical_bench::{Plan, Workload};
use clinical_weights::{LinearLayout, Precision};

/// Time a model on its shape alone and print one JSON line
#[derive(Parser)]
struct Arguments {
    /// t5-base, t5-large, smollm2-135m, llama-1b, llama-7b, llama-13b, bert-base, or the path of a config.json
    #[arg(long)]
    model: String,
    /// encode, prefill, decode, greedy, forward or train
    #[arg(long)]
    workload: Workload,
    /// Rows
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Tokens of a row
    #[arg(long, default_value_t = 512)]
    length: usize,
    /// Steps of decode, tokens of greedy, target tokens of train
    #[arg(long, default_value_t = 32)]
    new_tokens: usize,
    /// f32, int8, int4, stored-f16 or stored-bf16; on a GPU f32, f16 or bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Beams of greedy; several are a beam search
    #[arg(long, default_value_t = 1)]
    beams: usize,
    /// train: adapters of this rank alone, beside weights that stay as they are (f32, int8, int4)
    #[arg(long)]
    lora_rank: Option<usize>,
    /// train: keep the inputs of layers alone, and compute each layer again in the backward pass
    #[arg(long)]
    recompute: bool,
    /// The matrices of f32 layers as checkpoints have them (output-major) or as Burn does (input-major)
    #[arg(long, default_value = "automatic", value_parser = layout)]
    layout: LinearLayout,
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
    run(std::env::args_os())
}

/// With the program's name first.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    common::exit(measure(Arguments::parse_from(arguments)))
}

fn layout(name: &str) -> Result<LinearLayout, String> {
    match name {
        "automatic" => Ok(LinearLayout::Automatic),
        "input-major" => Ok(LinearLayout::InputMajor),
        "output-major" => Ok(LinearLayout::OutputMajor),
        _ => Err("use automatic, input-major or output-major".to_owned()),
    }
}

fn measure(arguments: Arguments) -> Result<()> {
    ensure!(
        arguments.threads <= 4096,
        "--threads {} is more than any machine has",
        arguments.threads
    );
    clinical_kernels::keep_freed_memory();
    clinical_kernels::set_threads(arguments.threads)?;
    let report = clinical_bench::run(&Plan {
        model: arguments.model,
        workload: arguments.workload,
        precision: arguments.precision,
        layout: arguments.layout,
        batch: arguments.batch,
        length: arguments.length,
        new_tokens: arguments.new_tokens,
        beams: arguments.beams,
        lora_rank: arguments.lora_rank,
        recompute: arguments.recompute,
        runs: arguments.runs,
        device: clinical_kernels::parse(&arguments.device)?,
    })?;
    common::print(serde_json::to_string(&report)?)?;
    Ok(())
}
