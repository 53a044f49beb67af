//! Fills the masks of a text: `cargo run --release --example fill_mask -- --model DIR "He was started on [MASK] ."`
//!
//! Without a text, the lines of stdin, each a text of its own; with `--json`, one object a mask.

mod common;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use clinical_bert::{BertOptions, ClinicalBert, FilledMask, LowerCase};
use clinical_weights::{LoadOptions, Precision};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// Fill the masks of a text with the likeliest tokens.
#[derive(Parser)]
struct Args {
    /// The model's directory
    #[arg(long)]
    model: PathBuf,
    /// The text, with [MASK] (RoBERTa: <mask>) where a token is missing; without it, the lines of stdin
    text: Option<String>,
    /// How many tokens for each mask
    #[arg(long, default_value_t = 5)]
    top_k: usize,
    /// Lower-case the text first, as `transformers` does with Bio_ClinicalBERT
    #[arg(long)]
    lower_case: bool,
    /// Print one JSON object for each mask
    #[arg(long)]
    json: bool,
    /// The weights in memory: f32, int8, int4, stored-f16 or stored-bf16; on a GPU also f16 or bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Where to run: cpu, ndarray, cuda, cuda:N or ws://HOST:PORT/N
    #[arg(long, default_value = "cpu")]
    device: String,
}

fn main() -> ExitCode {
    common::exit(run(Args::parse()))
}

fn run(args: Args) -> Result<()> {
    let lines = match &args.text {
        Some(_) => String::new(),
        None => common::text(None)?,
    };
    let texts: Vec<&str> = match &args.text {
        Some(text) => vec![text],
        None => lines
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect(),
    };
    ensure!(!texts.is_empty(), "no text: write one with a mask");
    let mut options = BertOptions::new();
    if args.lower_case {
        options.lower_case = LowerCase::Always;
    }
    clinical_kernels::keep_freed_memory();
    let load = LoadOptions::new()
        .with_device(clinical_kernels::parse(&args.device)?)
        .with_precision(args.precision);
    let bert = ClinicalBert::load_with(&args.model, &load, &options)?;
    let bar = ProgressBar::new(texts.len() as u64);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {pos} of {len} texts, {eta} left",
    )?);
    for (line, text) in texts.iter().enumerate() {
        let masks = bert
            .fill_mask(text, args.top_k)
            .with_context(|| format!("text {}", line + 1))?;
        bar.suspend(|| print(line + 1, &masks, texts.len() > 1, args.json))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn print(line: usize, masks: &[FilledMask], many: bool, json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    for (number, mask) in masks.iter().enumerate() {
        let (number, at) = (number + 1, mask.range.start);
        if json {
            let tokens: Vec<_> = mask
                .candidates
                .iter()
                .map(|found| (&found.token, found.probability))
                .collect();
            writeln!(
                out,
                "{}",
                json!({"text": line, "mask": number, "byte": at, "tokens": tokens})
            )?;
            continue;
        }
        let place = if many {
            format!("text {line}, ")
        } else {
            String::new()
        };
        writeln!(out, "{place}mask {number} (byte {at}):")?;
        for found in &mask.candidates {
            let bar = "#".repeat((found.probability * 40.0).round() as usize);
            writeln!(out, "  {:<20} {:.4} {bar}", found.token, found.probability)?;
        }
    }
    Ok(())
}
