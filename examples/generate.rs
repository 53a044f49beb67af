//! Text to text with a T5: Clinical-T5, SciFive, FLAN-T5, ...
//!
//! `cargo run --release --example generate -- --text "expand: CHF"` asks the demonstration model.
//! `cargo run --release --example generate -- --model DIR --beam 4 --max-new-tokens 64 < input.txt`
#![allow(clippy::print_stderr)] // a command-line program

mod common;

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_t5::{
    ClinicalT5, Generation, LoadOptions, LongText, Normalizer, Precision, T5Options, device,
};

/// Let a T5 write a text for a text
#[derive(Parser)]
struct Arguments {
    /// The model's directory; without it the demonstration model inside clinical-t5, a toy
    #[arg(long)]
    model: Option<PathBuf>,
    /// The input; without it it is read from standard input
    #[arg(long)]
    text: Option<String>,
    /// The number of beams; 1 is greedy decoding
    #[arg(long, default_value_t = 1)]
    beam: usize,
    /// The largest number of new tokens
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// Sample tokens at this temperature
    #[arg(long)]
    temperature: Option<f64>,
    /// The seed of the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Fill what <extra_id_0>, <extra_id_1>, ... mark instead
    #[arg(long)]
    fill: bool,
    /// Print how likely the model finds this output instead of generating one
    #[arg(long)]
    score: Option<String>,
    /// Convert de-identification tags first: mimic-iii or mimic-iv
    #[arg(long, value_parser = ["mimic-iii", "mimic-iv"])]
    deid: Option<String>,
    /// What to do with an input longer than the model was trained with; `read` reads it at once
    #[arg(long, value_parser = ["error", "cut-start", "cut-end", "windows", "read"], default_value = "error")]
    long_text: String,
    /// The weights in memory: f32, int8, int4, stored-f16 or stored-bf16; on a GPU also f16 or bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Where to run: cpu, ndarray, cuda, cuda:N or ws://HOST:PORT/N
    #[arg(long, default_value = "cpu")]
    device: String,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let text = match &arguments.text {
        Some(text) => text.clone(),
        None => common::text(None)?,
    };
    device::keep_freed_memory();
    let load = LoadOptions::new()
        .with_device(device::parse(&arguments.device)?)
        .with_precision(arguments.precision);
    let t5 = match &arguments.model {
        Some(dir) => ClinicalT5::load(dir, &load)?,
        None => ClinicalT5::embedded_with(&load)?,
    };
    let options = options(arguments);
    let mut out = std::io::stdout().lock();
    if let Some(target) = &arguments.score {
        for score in t5.score_with(&text, &[target], &options)? {
            let tokens = score.log_probs.len();
            writeln!(out, "{:.4} in {tokens} tokens", score.total())?;
        }
    } else if arguments.fill {
        for span in t5.fill_with(&text, &options)? {
            writeln!(out, "<extra_id_{}>\t{span}", span.sentinel)?;
        }
    } else {
        t5.generate_streaming(&text, &options, |piece| {
            // Nobody reads any more: stop writing.
            match write!(out, "{piece}").and_then(|()| out.flush()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        writeln!(out)?;
    }
    Ok(())
}

fn options(arguments: &Arguments) -> T5Options {
    let mut generation = Generation::beam(arguments.beam);
    if let Some(temperature) = arguments.temperature {
        generation = generation
            .with_sampling(true)
            .with_temperature(temperature)
            .with_seed(arguments.seed);
    }
    let options = T5Options::new()
        .with_generation(generation)
        .with_max_new_tokens(arguments.max_new_tokens);
    let options = match arguments.long_text.as_str() {
        "cut-start" => options.with_long_text(LongText::CutStart),
        "cut-end" => options.with_long_text(LongText::CutEnd),
        "windows" => options.with_long_text(LongText::Windows { overlap: 32 }),
        "read" => options.with_max_tokens(usize::MAX),
        _ => options,
    };
    match arguments.deid.as_deref() {
        Some("mimic-iv") => options.with_deid(Normalizer::mimic_iv()),
        Some(_) => options.with_deid(Normalizer::mimic_iii()),
        None => options,
    }
}
