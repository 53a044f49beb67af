//! Writes one vector for each note of a CSV file, notes of any length.
//!
//! `cargo run --release --example embed -- --model DIR --input notes.csv --column TEXT --id ROW_ID --output vectors.csv`
//! An interrupted run goes on where it stopped when it is started again. In a build with `--features parquet`, an
//! output whose name ends in `.parquet` is a Parquet file.

mod common;
#[path = "common/csv.rs"]
mod csv;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use clinical_bert::{BertOptions, ClinicalBert, EmbedOptions, LowerCase, Pooling};
use clinical_corpus::{Columns, Job, Row, Text, Texts, row};
use clinical_weights::{LoadOptions, Precision};
use indicatif::{ProgressBar, ProgressStyle};

/// Write one vector for each note of a CSV file.
#[derive(Parser)]
struct Args {
    /// The model's directory; without it the demonstration model inside clinical-bert, a toy
    #[arg(long)]
    model: Option<PathBuf>,
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
    #[command(flatten)]
    csv: csv::CsvArgs,
    /// A CSV file for the notes that cannot be read, with the reason; without it the first one ends the run
    #[arg(long)]
    rejected: Option<PathBuf>,
    /// How the states of the tokens become one vector: mean, cls, max, mean-sqrt; without it as the directory says,
    /// else mean
    #[arg(long)]
    pooling: Option<Pooling>,
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
    let open = || File::open(&args.input).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (bytes, file) = open().with_context(|| format!("cannot read {}", args.input.display()))?;
    clinical_kernels::keep_freed_memory();
    let load = LoadOptions::new()
        .with_device(clinical_kernels::parse(&args.device)?)
        .with_precision(args.precision);
    let mut bert = BertOptions::new();
    if args.lower_case {
        bert = bert.with_lower_case(LowerCase::Always);
    }
    let bert = match &args.model {
        Some(dir) => ClinicalBert::load_with(dir, &load, &bert)?,
        None => ClinicalBert::embedded_with(&load)?,
    };
    let mut options = EmbedOptions::new();
    if let Some(pooling) = args.pooling {
        options = options.with_pooling(pooling);
    }
    if args.normalize {
        options = options.with_normalize(true);
    }
    let bar = ProgressBar::new(bytes);
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {bytes}/{total_bytes}, {msg}, {eta} left",
    )?);
    let (column, id) = (args.column.as_str(), args.id.as_deref());
    let notes = Texts::new(bar.wrap_read(file), column, id, &args.csv.options())?;
    let start = Instant::now();
    let done = job(args, &bert, &options)?.run_with_progress(
        notes,
        &args.output,
        |notes| rows(&bert, notes, &options),
        |progress| bar.set_message(format!("{} notes", progress.records)),
    );
    bar.finish_and_clear();
    let done = done?;
    let rate = (done.records - done.resumed) as f64 / start.elapsed().as_secs_f64();
    eprintln!(
        "{} vectors in {}, {} notes from an earlier run; {rate:.1} notes per second",
        done.rows,
        args.output.display(),
        done.resumed
    );
    if done.rejected > 0 {
        eprintln!("{} notes were rejected", done.rejected);
    }
    Ok(())
}

/// What is written, and what an interrupted run must have in common with this one.
fn job(args: &Args, bert: &ClinicalBert, options: &EmbedOptions) -> Result<Job> {
    let (pooling, unit) = bert.pooling(options)?;
    let unit = if unit { "_unit" } else { "" };
    let columns = Columns::new()
        .text("id")
        .vector(&format!("{pooling}{unit}"), bert.config().hidden_size);
    let job = Job::new(columns).with_input(&args.input);
    Ok(match &args.rejected {
        Some(path) => job.with_rejected(path),
        None => job,
    })
}

/// One row for each note.
fn rows(
    bert: &ClinicalBert,
    notes: &[Text],
    options: &EmbedOptions,
) -> Vec<Result<Vec<Row>, clinical_bert::Error>> {
    let texts: Vec<_> = notes.iter().map(|note| note.text.as_str()).collect();
    let vectors = bert.embed_with(&texts, options).into_iter().zip(notes);
    vectors
        .map(|(vector, note)| Ok(vec![row![&note.id, vector?]]))
        .collect()
}
