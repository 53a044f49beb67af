//! Writes one vector for each note of a CSV file, notes of any length.
//!
//! `cargo run --release --example embed -- --model DIR --input notes.csv --column TEXT --id ROW_ID --output vectors.csv`
//! An interrupted run goes on where it stopped when it is started again.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use clinical_bert::csv::{FileOptions, embed_file};
use clinical_bert::{ClinicalBert, EmbedOptions, Pooling};
use clinical_weights::LoadOptions;
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
    /// The CSV file of vectors; until it is complete, FILE.partial
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
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let bytes = args
        .input
        .metadata()
        .with_context(|| format!("cannot read {}", args.input.display()))?
        .len();
    let bert = ClinicalBert::load(&args.model, &LoadOptions::default())?;
    let mut options = FileOptions::new(&args.column);
    options.id = args.id.clone();
    options.embed = EmbedOptions::new(args.pooling).with_normalize(args.normalize);
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
    eprintln!(
        "{} vectors in {}, {} of them from an earlier run",
        done.notes,
        args.output.display(),
        done.resumed
    );
    Ok(())
}
