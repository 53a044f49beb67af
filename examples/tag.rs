//! Marks the spans that a token classification model finds in a note.
//!
//! `cargo run --release --example tag -- --note note.txt` prints the note with coloured spans;
//! `--html FILE` writes a page, which appears only when it is complete, `--json` prints one span a line. Without
//! `--note` the note is read from stdin.

mod common;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_bert::labels::LabelSet;
use clinical_bert::{
    Aggregation, BertOptions, ClinicalBert, Entity, LoadOptions, LowerCase, Precision, TagOptions,
    device, show,
};
use serde::Serialize;

/// Mark the spans that a token classification model finds in a note.
#[derive(Parser)]
struct Args {
    /// The model's directory; without it the demonstration model inside clinical-bert, a toy
    #[arg(long)]
    model: Option<PathBuf>,
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

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    entity: &'a Entity,
    text: &'a str,
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
    if args.lower_case {
        options = options.with_lower_case(LowerCase::Always);
    }
    if let Some(set) = args.labels {
        options = options.with_labels(set.published());
    }
    device::keep_freed_memory();
    let load = LoadOptions::new()
        .with_device(device::parse(&args.device)?)
        .with_precision(args.precision);
    let bert = match &args.model {
        Some(dir) => ClinicalBert::load_with(dir, &load, &options)?,
        None => ClinicalBert::embedded_with(&load)?,
    };
    let tags = TagOptions::new().with_aggregation(args.aggregation);
    let entities = bert.tag_with(&[&note], &tags).swap_remove(0)?;
    if let Some(path) = &args.html {
        clinical_files::write_file(path, show::html(&note, &entities).as_bytes())?;
    }
    let mut out = io::stdout().lock();
    if args.json || !out.is_terminal() {
        for entity in &entities {
            let text = &note[entity.range.clone()];
            serde_json::to_writer(&mut out, &Line { entity, text })?;
            writeln!(out)?;
        }
    } else {
        writeln!(out, "{}", show::ansi(&note, &entities))?;
    }
    Ok(())
}
