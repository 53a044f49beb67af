//! Writes one vector for each note of a CSV file, notes of any length.
//!
//! `cargo run --release --example embed -- --model DIR --input notes.csv --column TEXT --id ROW_ID --output vectors.csv`
//! An interrupted run goes on where it stopped when it is started again. In a build with `--features parquet`, an output
//! whose name ends in `.parquet` is a Parquet file.

mod common;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use clinical_bert::csv::{FileOptions, embed_file};
use clinical_bert::{BertOptions, ClinicalBert, EmbedOptions, LowerCase, Pooling};
use clinical_weights::{LoadOptions, Precision};
use indicatif::{ProgressBar, ProgressStyle};

/// Write one vector for each note of a CSV file.
#[derive(Parser)]
struct Args {
    /// The model's directory
    #[arg(long)]
    model: PathBuf,
    /// The CSV file of notes
    #[arg(long)]
    input: PathBuf,
    /// The file of vectors: CSV, or Parquet by its ending .parquet; until it is complete, FILE.partial
    #[arg(long)]
    output: PathBuf,
    /// The column of the notes
    #[arg(long, default_value = "TEXT")]
    column: String,
    /// The column that names a note in the output; without it, its number from 0
    #[arg(long)]
    id: Option<String>,
    /// How the states of the tokens become one vector: cls, mean, max
    #[arg(long, default_value = "mean")]
    pooling: Pooling,
    /// Divide each vector by its length
    #[arg(long)]
    normalize: bool,
    /// Lower-case the notes first, as `transformers` does with Bio_ClinicalBERT
    #[arg(long)]
    lower_case: bool,
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
    let bytes = args
        .input
        .metadata()
        .with_context(|| format!("cannot read {}", args.input.display()))?
        .len();
    clinical_kernels::keep_freed_memory();
    let load = LoadOptions::new()
        .with_device(clinical_kernels::parse(&args.device)?)
        .with_precision(args.precision);
    let mut own = BertOptions::new();
    if args.lower_case {
        own.lower_case = LowerCase::Always;
    }
    let bert = ClinicalBert::load_with(&args.model, &load, &own)?;
    let mut options = FileOptions::new(&args.column);
    options.id = args.id.clone();
    options.embed = EmbedOptions::new(args.pooling).with_normalize(args.normalize);
    let start = Instant::now();
    let bar = ProgressBar::new(bytes);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {bytes}/{total_bytes}, {msg}, {eta} left",
    )?);
    let done = embed_file(&bert, &args.input, &args.output, &options, |progress| {
        bar.set_position(progress.bytes);
        bar.set_message(format!("{} notes", progress.notes));
    });
    bar.finish_and_clear();
    let done = done?;
    let rate = (done.notes - done.resumed) as f64 / start.elapsed().as_secs_f64();
    eprintln!(
        "{} vectors in {}, {} of them from an earlier run; {rate:.1} notes per second",
        done.notes,
        args.output.display(),
        done.resumed
    );
    Ok(())
}
