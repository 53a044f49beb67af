//! Measures the exact match of a T5 on generated examples of four tasks that the demonstration model has not seen.
//!
//! `cargo run --release -p clinical-bench --bin accuracy_t5`

#[path = "../../../../examples/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_synth::{Example, Generator, T5Task};
use clinical_t5::{ClinicalT5, LoadOptions, T5Options};

/// Give generated inputs to a T5 and count the exact outputs
#[derive(Parser)]
struct Arguments {
    /// A model directory; without it the demonstration model
    #[arg(long)]
    model: Option<PathBuf>,
    /// How many examples, a quarter of each task
    #[arg(long, default_value_t = 1000)]
    examples: usize,
    /// Seed of the held-out patients
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Print what was wrong
    #[arg(long)]
    wrong: bool,
}

/// A text without its sentinels, which outputs do not show.
fn words(text: &str) -> Vec<&str> {
    let words = text.split_whitespace();
    words
        .filter(|word| !word.starts_with("<extra_id_"))
        .collect()
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    clinical_kernels::keep_freed_memory();
    let model = match &arguments.model {
        Some(dir) => ClinicalT5::load(dir, &LoadOptions::default())?,
        None => ClinicalT5::embedded()?,
    };
    let examples = Generator::held_out(arguments.seed).t5();
    let examples: Vec<Example> = examples.take(arguments.examples).collect();
    let inputs: Vec<&str> = examples.iter().map(|one| one.input.as_str()).collect();
    let mut tasks: BTreeMap<T5Task, (usize, usize)> = BTreeMap::new();
    for (output, example) in model
        .generate_batch(&inputs, &T5Options::default())
        .into_iter()
        .zip(&examples)
    {
        let text = output?.text;
        let is_right = words(&text) == words(&example.target);
        let (right, all) = tasks.entry(example.task).or_default();
        *right += usize::from(is_right);
        *all += 1;
        if arguments.wrong && !is_right {
            let (input, target) = (&example.input, &example.target);
            common::print(format_args!("{input}\n  {target}\n  {text}"))?;
        }
    }
    let mut sum = (0, 0);
    for (task, (right, all)) in &tasks {
        common::print(format_args!("{task:8?} {right:4} of {all:4}"))?;
        sum = (sum.0 + right, sum.1 + all);
    }
    let (right, all) = sum;
    let share = 100.0 * right as f64 / all.max(1) as f64;
    common::print(format_args!(
        "all      {right:4} of {all:4}  exact match {share:.1} %"
    ))?;
    Ok(())
}
