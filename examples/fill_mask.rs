//! Fills the masks of a text: `cargo run --release --example fill_mask -- --model DIR "He was started on [MASK] ."`
//!
//! Without a text, the lines of stdin, each a text of its own; with `--json`, one object a mask.

mod common;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use clinical_bert::{
    BertOptions, ClinicalBert, FilledMask, LoadOptions, LowerCase, Precision, device,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

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
        options = options.with_lower_case(LowerCase::Always);
    }
    device::keep_freed_memory();
    let load = LoadOptions::new()
        .with_device(device::parse(&args.device)?)
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

/// A line of `--json`: which text, which of its masks, and what may stand there.
#[derive(Serialize)]
struct Line<'a> {
    line: usize,
    number: usize,
    #[serde(flatten)]
    mask: &'a FilledMask,
}

fn print(line: usize, masks: &[FilledMask], many: bool, json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    for (number, mask) in masks.iter().enumerate() {
        let (number, at) = (number + 1, mask.range.start);
        if json {
            serde_json::to_writer(&mut out, &Line { line, number, mask })?;
            writeln!(out)?;
            continue;
        }
        let which = if many {
            format!("text {line}, ")
        } else {
            String::new()
        };
        writeln!(out, "{which}mask {number} (byte {at}):")?;
        for found in &mask.candidates {
            let bar = "#".repeat((found.probability * 40.0).round() as usize);
            writeln!(out, "  {:<20} {:.4} {bar}", found.token, found.probability)?;
        }
    }
    Ok(())
}
