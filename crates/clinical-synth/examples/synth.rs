//! Writes generated cases as JSON lines, or notes as CSV.
//!
//! `cargo run --release -p clinical-synth --example synth -- --kind asclepius --count 1000`
//!
//! Look-alikes of the study's data sets go into a folder:
//! `cargo run --release -p clinical-synth --example synth -- --kind clip --count 500 --out /tmp/clip`

#![allow(clippy::print_stderr, reason = "an example reports to the terminal")]

#[path = "../../../examples/common/mod.rs"]
mod common;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use clinical_synth::study::{Study, StudySizes};
use clinical_synth::{DEFAULT_PAIRS, Example, Generator, Pair};
use serde_json::json;

#[derive(Parser)]
#[command(
    about = "Write synthetic discharge summaries with questions or labels as JSON lines, or alone as CSV"
)]
struct Arguments {
    /// Notes with question-answer pairs, the pairs one a line (note, question, answer), text-to-text examples, these
    /// without their tasks (input, target), labelled words (a line of JSON for each line of a note), or a CSV file of
    /// notes alone (ROW_ID, TEXT); or the files of a look-alike of MedNLI, RadQA, CLIP or i2b2 2010
    #[arg(long, value_enum, default_value = "asclepius")]
    kind: Kind,
    /// Training or held-out cases
    #[arg(long, value_enum, default_value = "train")]
    split: Half,
    /// Seed; the same seed gives the same lines
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of notes or examples; of a look-alike those for training, with a tenth of them in each of the two other
    /// parts
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Greatest number of pairs per note
    #[arg(long, default_value_t = DEFAULT_PAIRS)]
    pairs: usize,
    /// Many more wordings of the questions, and so many questions more that the note does not answer: for training
    #[arg(long)]
    unanswered: Option<usize>,
    /// Labelled words: one line of JSON for each note instead of for each of its lines
    #[arg(long)]
    whole: bool,
    /// Look-alikes: the folder that they are written into, which must not exist
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Asclepius,
    Instructions,
    T5,
    Pairs,
    Notes,
    Entities,
    Mednli,
    Radqa,
    Clip,
    I2b2,
}

impl Kind {
    fn study(self) -> Option<Study> {
        match self {
            Self::Mednli => Some(Study::MedNli),
            Self::Radqa => Some(Study::RadQa),
            Self::Clip => Some(Study::Clip),
            Self::I2b2 => Some(Study::I2b2),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Half {
    Train,
    HeldOut,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

/// Writes the files of a look-alike.
fn study(study: Study, arguments: &Arguments, folder: &Path) -> anyhow::Result<()> {
    ensure!(!folder.exists(), "{} exists", folder.display());
    let held_out = arguments.count.div_ceil(10);
    let sizes = StudySizes {
        train: arguments.count,
        development: held_out,
        test: held_out,
    };
    for file in study.files(arguments.seed, sizes) {
        let path = folder.join(&file.name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, file.text))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(kind) = arguments.kind.study() {
        let folder = arguments.out.as_deref();
        return study(
            kind,
            arguments,
            folder.context("name the folder with --out")?,
        );
    }
    let generator = match arguments.split {
        Half::Train => Generator::new(arguments.seed),
        Half::HeldOut => Generator::held_out(arguments.seed),
    }
    .with_pairs(arguments.pairs);
    let generator = match arguments.unanswered {
        Some(count) => generator.with_variety(count),
        None => generator,
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    match arguments.kind {
        Kind::Asclepius => {
            for case in generator.take(arguments.count) {
                writeln!(out, "{}", serde_json::to_string(&case)?)?;
            }
        }
        Kind::Instructions => {
            for case in generator.take(arguments.count) {
                for Pair {
                    question, answer, ..
                } in case.pairs
                {
                    let line = json!({ "note": case.note, "question": question, "answer": answer });
                    writeln!(out, "{line}")?;
                }
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
        Kind::Mednli | Kind::Radqa | Kind::Clip | Kind::I2b2 => {}
        Kind::Pairs => {
            for Example { input, target, .. } in generator.t5().take(arguments.count) {
                writeln!(out, "{}", json!({ "input": input, "target": target }))?;
            }
        }
    }
    out.flush()?;
    Ok(())
}
