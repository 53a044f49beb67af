//! Writes generated cases as JSON lines, or notes as CSV.
//!
//! `cargo run --release -p clinical-synth --example synth -- --kind asclepius --count 1000`

#![allow(clippy::print_stderr, reason = "an example reports to the terminal")]

#[path = "../../../examples/common/mod.rs"]
mod common;

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use clinical_synth::{DEFAULT_PAIRS, Generator};
use serde_json::json;

#[derive(Parser)]
#[command(
    about = "Write synthetic discharge summaries with questions or labels as JSON lines, or alone as CSV"
)]
struct Arguments {
    /// Notes with question-answer pairs, text-to-text examples, labelled words (a line of JSON for each line of a note),
    /// or a CSV file of notes alone (ROW_ID, TEXT)
    #[arg(long, value_enum, default_value = "asclepius")]
    kind: Kind,
    /// Training or held-out cases
    #[arg(long, value_enum, default_value = "train")]
    split: Half,
    /// Seed; the same seed gives the same lines
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of notes or examples
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Greatest number of pairs per note
    #[arg(long, default_value_t = DEFAULT_PAIRS)]
    pairs: usize,
    /// Labelled words: one line of JSON for each note instead of for each of its lines
    #[arg(long)]
    whole: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Asclepius,
    T5,
    Notes,
    Entities,
}

#[derive(Clone, Copy, ValueEnum)]
enum Half {
    Train,
    HeldOut,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let generator = match arguments.split {
        Half::Train => Generator::new(arguments.seed),
        Half::HeldOut => Generator::held_out(arguments.seed),
    }
    .with_pairs(arguments.pairs);
    let mut out = BufWriter::new(std::io::stdout().lock());
    match arguments.kind {
        Kind::Asclepius => {
            for case in generator.take(arguments.count) {
                writeln!(out, "{}", serde_json::to_string(&case)?)?;
            }
        }
        Kind::Notes => {
            writeln!(out, "ROW_ID,TEXT")?;
            for (row, case) in generator.take(arguments.count).enumerate() {
                writeln!(out, "{row},\"{}\"", case.note.replace('"', "\"\""))?;
            }
        }
        Kind::Entities => {
            for case in generator.take(arguments.count) {
                let mut lines = case.labelled_words();
                if arguments.whole {
                    lines = vec![lines.concat()];
                }
                for line in lines {
                    let (words, labels): (Vec<_>, Vec<_>) = line.into_iter().unzip();
                    writeln!(out, "{}", json!({ "words": words, "labels": labels }))?;
                }
            }
        }
        Kind::T5 => {
            for example in generator.t5().take(arguments.count) {
                writeln!(out, "{}", serde_json::to_string(&example)?)?;
            }
        }
    }
    out.flush()?;
    Ok(())
}
