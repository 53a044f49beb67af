//! Replaces the de-identification tags of MIMIC notes with the tokens of Clinical-T5.
//!
//! A CSV file:  `cargo run --release --example deid -- --input NOTEEVENTS.csv --output out.csv`
//! One note:    `cargo run --release --example deid -- --text "Seen by [**First Name 5**]"`, or on stdin

mod common;
#[path = "common/csv.rs"]
mod csv;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use clinical_deid::csv::{Annotations, Options, convert_file};
use clinical_deid::{Normalizer, UnknownTag};
use indicatif::{ProgressBar, ProgressStyle};

/// Replace the de-identification tags of MIMIC notes with the tokens of Clinical-T5.
#[derive(Parser)]
struct Args {
    /// A CSV file of notes; without it, one note is read from --text or stdin and printed
    #[arg(long, requires = "output")]
    input: Option<PathBuf>,
    /// The CSV file to write; it appears only when it is complete
    #[arg(long, requires = "input")]
    output: Option<PathBuf>,
    /// One note
    #[arg(long, conflicts_with = "input")]
    text: Option<String>,
    /// Where the notes come from
    #[arg(long = "type", value_parser = ["mimic-iii", "mimic-iv"], default_value = "mimic-iii")]
    source: String,
    /// The column of the notes [default: TEXT for mimic-iii, text for mimic-iv]
    #[arg(long, requires = "input")]
    column: Option<String>,
    /// MIMIC-IV: the CSV file (note_id, entity_type) that says what was removed; without it, [MISC]
    #[arg(long, requires = "input")]
    annotations: Option<PathBuf>,
    /// A CSV file for the rows that cannot be converted, with the reason; without it the first one ends the run
    #[arg(long, requires = "input")]
    rejected: Option<PathBuf>,
    #[command(flatten)]
    csv: csv::CsvArgs,
    /// For a tag that the published converter does not know: stop, keep its text, or write [MISC]
    #[arg(long, value_parser = ["error", "keep", "misc"], default_value = "error")]
    unknown: String,
}

fn main() -> ExitCode {
    common::exit(run(Args::parse()))
}

fn run(args: Args) -> Result<()> {
    let (normalizer, column) = match args.source.as_str() {
        "mimic-iv" => (Normalizer::mimic_iv(), "text"),
        _ => (Normalizer::mimic_iii(), "TEXT"),
    };
    let normalizer = normalizer.with_unknown(match args.unknown.as_str() {
        "keep" => UnknownTag::Keep,
        "misc" => UnknownTag::Misc,
        _ => UnknownTag::Error,
    });
    if let (Some(input), Some(output)) = (&args.input, &args.output) {
        let mut options = Options::new(args.column.as_deref().unwrap_or(column));
        options.csv = args.csv.options();
        options.rejected = args.rejected;
        options.annotations = args
            .annotations
            .as_deref()
            .map(Annotations::open)
            .transpose()?;
        return convert(input, output, &normalizer, &options);
    }
    let note = normalizer.normalize(&args.text.map_or_else(read_stdin, Ok)?)?;
    let end = if io::stdout().is_terminal() { "\n" } else { "" };
    write!(io::stdout(), "{note}{end}").context("cannot write to stdout")
}

fn convert(input: &Path, output: &Path, normalizer: &Normalizer, options: &Options) -> Result<()> {
    let bar = ProgressBar::new(input.metadata().map_or(0, |found| found.len()));
    let style = "{bar:40} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style)?);
    let progress = |bytes| bar.set_position(bytes);
    let summary = convert_file(input, output, normalizer, options, progress);
    bar.finish_and_clear();
    let summary = summary?;
    let (rows, tags, untyped) = (summary.rows, summary.tags, summary.untyped);
    eprintln!("{rows} rows, {tags} tags replaced, {untyped} of them unknown or without a type");
    if summary.unclosed > 0 {
        let count = summary.unclosed;
        eprintln!(
            "{count} tags stay because they go over a line end or have none, as in the published converter"
        );
    }
    if summary.rejected > 0 {
        eprintln!("{} rows were rejected", summary.rejected);
    }
    Ok(())
}

fn read_stdin() -> Result<String> {
    if io::stdin().is_terminal() {
        eprintln!("reading one note; end it with Ctrl-D (Windows: Ctrl-Z)");
    }
    common::text(None)
}
