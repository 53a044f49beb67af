//! Marks the spans that a token classification model finds in a note.
//!
//! `cargo run --release --example tag -- --model DIR --note note.txt` prints the note with coloured spans; `--html FILE`
//! writes a page, which appears only when it is complete, `--json` prints one span a line. Without `--note` the note is read from stdin.

mod common;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_bert::{Aggregation, BertOptions, ClinicalBert, LabelSet, LowerCase, TagOptions};
use clinical_weights::{LoadOptions, Precision};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// Mark the spans that a token classification model finds in a note.
#[derive(Parser)]
struct Args {
    /// The model's directory
    #[arg(long)]
    model: PathBuf,
    /// The note; without it, stdin
    #[arg(long)]
    note: Option<PathBuf>,
    /// How labels of tokens become spans: none, simple, first, average, max
    #[arg(long, default_value = "first")]
    aggregation: Aggregation,
    /// Label names for a model of the published run_ner.py: i2b2-2006, i2b2-2010, i2b2-2012, i2b2-2014
    #[arg(long)]
    labels: Option<LabelSet>,
    /// Lower-case the note first, as `transformers` does with Bio_ClinicalBERT
    #[arg(long)]
    lower_case: bool,
    /// Write a page with the marked note to this file
    #[arg(long)]
    html: Option<PathBuf>,
    /// Print one JSON object for each span
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
    common::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<()> {
    if let (Some(note), Some(page)) = (&args.note, &args.html) {
        clinical_files::refuse_same_file(note, page)?;
    }
    let note = common::text(args.note.as_deref())?;
    let mut options = BertOptions::new();
    options.lower_case = if args.lower_case {
        LowerCase::Always
    } else {
        LowerCase::Auto
    };
    options.labels = args.labels.map(|set| set.published());
    clinical_kernels::keep_freed_memory();
    let load = LoadOptions::new()
        .with_device(clinical_kernels::parse(&args.device)?)
        .with_precision(args.precision);
    let bert = ClinicalBert::load_with(&args.model, &load, &options)?;
    let style = "{bar:40} {pos} of {len} windows, {eta} left";
    let bar = ProgressBar::new(1).with_style(ProgressStyle::with_template(style)?);
    let tags = TagOptions::new(args.aggregation);
    let entities = bert.tag_with_progress(&[&note], &tags, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let entities = entities?.swap_remove(0);
    if let Some(path) = &args.html {
        let page = clinical_bert::html(&note, &entities);
        clinical_files::write_file(path, page.as_bytes())?;
    }
    let mut out = io::stdout().lock();
    if args.json || !out.is_terminal() {
        for entity in &entities {
            let (text, range) = (&note[entity.range.clone()], &entity.range);
            let line = json!({"label": entity.label, "start": range.start, "end": range.end, "score": entity.score, "text": text});
            writeln!(out, "{line}")?;
        }
    } else {
        writeln!(out, "{}", clinical_bert::ansi(&note, &entities))?;
    }
    Ok(())
}
