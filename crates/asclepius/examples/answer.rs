//! Answers a question about a clinical note.
//!
//! `cargo run --release --example answer -- --note examples/data/note.txt --question "How old is the patient?"`

#[path = "../../../examples/common/mod.rs"]
mod common;

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use asclepius::{
    Answer, AnswerOptions, Asclepius, Calibration, EvidenceKind, FindEvidence, LoadOptions,
    LongText, MarkerPolicy, Precision, PromptStyle, device, embedded_checksum, model_checksum,
};
use clap::{Parser, ValueEnum};

/// Answer a question about a clinical note
#[derive(Parser)]
struct Arguments {
    /// A model directory; without it the one named by ASCLEPIUS_MODEL, else the demonstration model
    #[arg(long)]
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
    /// The prompt: auto, chat, asclepius, asclepius-training, not-fine-tuned, alpaca, medalpaca or vicuna
    #[arg(long, default_value = "auto")]
    prompt: PromptStyle,
    /// What to do with a prompt marker or a special token in the note or the question
    #[arg(long, value_enum, default_value = "error")]
    markers: Markers,
    /// The largest number of new tokens
    #[arg(long, default_value_t = 400)]
    max_new_tokens: usize,
    /// Tell where in the note the answer comes from, and what of it nothing supports
    #[arg(long)]
    evidence: bool,
    /// Show an answer only if its score is at least the threshold that `calibrate` wrote into this file
    #[arg(long)]
    calibration: Option<PathBuf>,
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

#[derive(Clone, Copy, ValueEnum)]
enum Markers {
    Error,
    Escape,
    Allow,
}

fn main() -> ExitCode {
    common::exit(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<()> {
    let note = common::text(arguments.note.as_deref())?;
    device::keep_freed_memory();
    let load = LoadOptions::new()
        .with_device(device::parse(&arguments.device)?)
        .with_precision(arguments.precision);
    let dir = arguments.model.or_else(asclepius::model_dir);
    let mut options = AnswerOptions::new();
    if let Some(file) = &arguments.calibration {
        let model = match &dir {
            Some(dir) => model_checksum(dir)?,
            None => embedded_checksum(),
        };
        options = options.with_calibration(Arc::new(Calibration::load(file, &model)?));
    }
    let model = match dir {
        Some(dir) => Asclepius::load(dir, &load)?,
        None => Asclepius::embedded_with(&load)?,
    };
    let evidence = match arguments.evidence {
        true => FindEvidence::QuotesAndUse,
        false => FindEvidence::Nothing,
    };
    let options = options
        .with_evidence(evidence)
        .with_max_new_tokens(arguments.max_new_tokens)
        .with_prompt(arguments.prompt)
        .with_markers(match arguments.markers {
            Markers::Error => MarkerPolicy::Error,
            Markers::Escape => MarkerPolicy::Escape,
            Markers::Allow => MarkerPolicy::Allow,
        })
        .with_long_text(match arguments.long_note {
            Policy::Error => LongText::Error,
            Policy::CutStart => LongText::CutStart,
            Policy::CutEnd => LongText::CutEnd,
            Policy::Windows => LongText::Windows { overlap: 64 },
        });
    let mut out = std::io::stdout().lock();
    let answer = model.answer_streaming(&note, &arguments.question, &options, |piece| {
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
    if answer.shown == Some(false) && !arguments.json {
        writeln!(
            out,
            "No answer: the model is not sure enough that the note says it."
        )?;
        return Ok(());
    }
    writeln!(out)?;
    if !arguments.json {
        write_evidence(&mut out, &note, &answer)?;
    }
    Ok(())
}

/// One line for each piece of evidence, with its line of the note.
fn write_evidence(out: &mut impl Write, note: &str, answer: &Answer) -> std::io::Result<()> {
    for evidence in &answer.evidence {
        let line = note[..evidence.note.start].matches('\n').count() + 1;
        let kind = match evidence.kind {
            EvidenceKind::Quote => "quoted",
            _ => "used",
        };
        let part = note[evidence.note.clone()].replace('\n', " ");
        writeln!(out, "  {kind}, line {line}: {part}")?;
    }
    for range in &answer.unsupported {
        writeln!(out, "  no support found: {}", &answer.text[range.clone()])?;
    }
    Ok(())
}
