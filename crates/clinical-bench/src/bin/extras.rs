//! Measures what evidence and a calibration cost beside the answer itself.
//!
//! `cargo run --release -p clinical-bench --bin extras -- --tokens 900`

#[path = "../../../../examples/common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use asclepius::{
    AnswerOptions, Asclepius, Calibration, CalibrationOptions, FindEvidence, LabelledAnswer,
    LoadOptions, Precision,
};
use clap::Parser;
use clinical_synth::Generator;

/// Measure what evidence and a calibration cost beside an answer
#[derive(Parser)]
struct Arguments {
    /// A model directory or GGUF file; without it the demonstration model
    #[arg(long)]
    model: Option<PathBuf>,
    /// The fewest tokens of a prompt: generated notes are joined until it has them
    #[arg(long, default_value_t = 900)]
    tokens: usize,
    /// Questions
    #[arg(long, default_value_t = 8)]
    questions: usize,
    /// The most new tokens
    #[arg(long, default_value_t = 64)]
    new_tokens: usize,
    /// The weights in memory: f32, int8, int4, stored-f16 or stored-bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Threads of the CPU backend; 0 means all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    clinical_kernels::keep_freed_memory();
    clinical_kernels::set_threads(arguments.threads)?;
    let load = LoadOptions::new().with_precision(arguments.precision);
    let model = match &arguments.model {
        Some(dir) => Asclepius::load(dir, &load)?,
        None => Asclepius::embedded_with(&load)?,
    };
    let plain = AnswerOptions::new().with_max_new_tokens(arguments.new_tokens);
    let asked = asked(&model, arguments, &plain)?;
    let quotes = plain.clone().with_evidence(FindEvidence::Quotes);
    let used = plain.clone().with_evidence(FindEvidence::QuotesAndUse);
    let calibrated = plain.clone().with_calibration(shows_all()?);
    let ways = [
        ("the answer", &plain),
        ("with quotes", &quotes),
        ("with quotes and what was used", &used),
        ("with a calibration", &calibrated),
    ];
    let mut seconds = [0.0; 4];
    let (mut prompt, mut new, mut evidence) = (0, 0, 0);
    // Not timed: the prefix of the prompt is read.
    model.answer_with(&asked[0].0, &asked[0].1, &plain)?;
    for (note, question) in &asked {
        // Side by side, so that what else the machine does strikes all alike.
        for (seconds, (_, options)) in seconds.iter_mut().zip(ways) {
            let start = Instant::now();
            let answer = model.answer_with(note, question, options)?;
            *seconds += start.elapsed().as_secs_f64();
            if std::ptr::eq(options, &used) {
                prompt += answer.usage.prompt_tokens;
                new += answer.usage.new_tokens;
                evidence += answer.usage.evidence_tokens;
            }
        }
    }
    let count = asked.len();
    common::print(format_args!(
        "{count} answers, on average {} tokens read, {} written, {} read again for what was used",
        prompt / count,
        new / count,
        evidence / count
    ))?;
    for ((name, _), time) in ways.iter().zip(seconds) {
        let (each, times) = (time / count as f64, time / seconds[0]);
        common::print(format_args!("{name:<32} {each:>8.3} s {times:>6.2}"))?;
    }
    Ok(())
}

/// Notes of at least so many tokens with their prompt, and a question about each.
fn asked(
    model: &Asclepius,
    arguments: &Arguments,
    options: &AnswerOptions,
) -> Result<Vec<(String, String)>> {
    let mut cases = Generator::held_out(17);
    let mut asked = Vec::new();
    for _ in 0..arguments.questions.max(1) {
        let mut note = String::new();
        let mut question = String::new();
        while model.prompt_tokens(&note, &question, options)? < arguments.tokens {
            let Some(case) = cases.next() else { break };
            note.push_str(&case.note);
            note.push_str("\n\n");
            question.clone_from(&case.pairs[asked.len() % case.pairs.len()].question);
        }
        asked.push((note, question));
    }
    let room = model.max_tokens();
    for (note, question) in &asked {
        let tokens = model.prompt_tokens(note, question, options)? + arguments.new_tokens;
        ensure!(
            tokens <= room,
            "a prompt and its answer have {tokens} tokens, and the model has room for {room}: give fewer --tokens"
        );
    }
    Ok(asked)
}

/// A calibration that every answer passes: its price is that of any other.
fn shows_all() -> Result<Arc<Calibration>> {
    let least = LabelledAnswer {
        score: -1e9,
        right: true,
    };
    let options = CalibrationOptions::new();
    Ok(Arc::new(Calibration::choose(
        &[least; 100],
        &options,
        "any",
    )?))
}
