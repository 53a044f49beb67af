//! Answers a question about a clinical note.
//!
//! `cargo run --release --example answer -- --note examples/data/note.txt --question "How old is the patient?"`

mod common;

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use asclepius::{AnswerOptions, Asclepius, Combine, LoadOptions, LongNote, Precision};
use clap::{Parser, ValueEnum};

/// Answer a question about a clinical note
#[derive(Parser)]
struct Arguments {
    /// A model directory; without it the one named by ASCLEPIUS_MODEL, else the demonstration model
    #[arg(long, env = "ASCLEPIUS_MODEL")]
    model: Option<PathBuf>,
    /// A text file with the note; without it the note is read from standard input
    #[arg(long)]
    note: Option<PathBuf>,
    /// The question, or the instruction
    #[arg(long)]
    question: String,
    /// What to do with a note that is too long
    #[arg(long, value_enum, default_value = "error")]
    long_note: Policy,
    /// The largest number of new tokens
    #[arg(long, default_value_t = 400)]
    max_new_tokens: usize,
    /// Print one line of JSON instead of the text
    #[arg(long)]
    json: bool,
    /// The weights in memory: f32, int8, int4, stored-f16 or stored-bf16; on a GPU also f16 or bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Where to run: cpu, ndarray, cuda, cuda:N or ws://HOST:PORT/N
    #[arg(long, default_value = "cpu")]
    device: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Policy {
    Error,
    CutStart,
    CutEnd,
    Windows,
}

fn main() -> ExitCode {
    common::exit(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<()> {
    let note = common::text(arguments.note.as_deref())?;
    ensure!(
        !note.trim().is_empty(),
        "the note is empty: the model would invent an answer"
    );
    clinical_kernels::keep_freed_memory();
    let load = LoadOptions::new()
        .with_device(clinical_kernels::parse(&arguments.device)?)
        .with_precision(arguments.precision);
    let model = match &arguments.model {
        Some(dir) => Asclepius::load(dir, &load)?,
        None => Asclepius::embedded_with(&load)?,
    };
    let options = AnswerOptions::new()
        .with_max_new_tokens(arguments.max_new_tokens)
        .with_long_note(match arguments.long_note {
            Policy::Error => LongNote::Error,
            Policy::CutStart => LongNote::CutStart,
            Policy::CutEnd => LongNote::CutEnd,
            Policy::Windows => LongNote::Windows {
                overlap: 64,
                combine: Combine::BestScore,
            },
        });
    let mut out = std::io::stdout().lock();
    let answer = model.answer_with(&note, &arguments.question, &options, |piece| {
        // Nobody reads any more: stop writing the answer.
        let written = arguments.json || write!(out, "{piece}").and_then(|()| out.flush()).is_ok();
        if written {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    if arguments.json {
        serde_json::to_writer(&mut out, &answer)?;
    }
    writeln!(out)?;
    Ok(())
}
