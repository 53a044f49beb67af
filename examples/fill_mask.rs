//! Fills the masks of a text: `cargo run --release --example fill_mask -- --model DIR "He was started on [MASK] ."`

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use clinical_bert::{BertOptions, ClinicalBert, LowerCase};
use clinical_weights::LoadOptions;

/// Fill the masks of a text with the likeliest tokens.
#[derive(Parser)]
struct Args {
    /// The model's directory
    #[arg(long)]
    model: PathBuf,
    /// The text, with [MASK] (RoBERTa: <mask>) where a token is missing; without it, stdin
    text: Option<String>,
    /// How many tokens for each mask
    #[arg(long, default_value_t = 5)]
    top_k: usize,
    /// Lower-case the text first, as `transformers` does with Bio_ClinicalBERT
    #[arg(long)]
    lower_case: bool,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let text = match args.text {
        Some(text) => text,
        None => io::read_to_string(io::stdin()).context("cannot read stdin as UTF-8 text")?,
    };
    let mut options = BertOptions::new();
    options.lower_case = if args.lower_case {
        LowerCase::Always
    } else {
        LowerCase::Auto
    };
    let bert = ClinicalBert::load_with(&args.model, &LoadOptions::default(), &options)?;
    let mut out = io::stdout().lock();
    for (number, mask) in bert.fill_mask(text.trim(), args.top_k)?.iter().enumerate() {
        writeln!(out, "mask {} (byte {}):", number + 1, mask.range.start)?;
        for candidate in &mask.candidates {
            let bar = "#".repeat((candidate.probability * 40.0).round() as usize);
            writeln!(
                out,
                "  {:<20} {:.4} {bar}",
                candidate.token, candidate.probability
            )?;
        }
    }
    Ok(())
}
