//! Measures the exact match of a model on generated questions about notes that the demonstration model has not seen, and
//! on questions that no template has (`tests/data/own_words.json`).
//!
//! `cargo run --release -p clinical-bench --bin accuracy`

#[path = "../../../../examples/common/mod.rs"]
mod common;
#[path = "../../../../tests/files/own_words.rs"]
mod own_words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use asclepius::{AnswerOptions, Asclepius, LoadOptions};
use clap::Parser;
use clinical_synth::{Generator, Pair};
use indicatif::ProgressBar;

/// Ask generated questions about unseen notes and count the exact answers
#[derive(Parser)]
struct Arguments {
    /// A model directory; without it the demonstration model
    #[arg(long)]
    model: Option<PathBuf>,
    /// How many questions, one about each note
    #[arg(long, default_value_t = 500)]
    questions: usize,
    /// Seed of the held-out notes
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Print what was answered wrongly
    #[arg(long)]
    wrong: bool,
    /// Exit with 1 below this share
    #[arg(long, default_value_t = 0.0)]
    at_least: f64,
}

fn main() -> ExitCode {
    common::exit(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<()> {
    clinical_kernels::keep_freed_memory();
    let model = match &arguments.model {
        Some(dir) => Asclepius::load(dir, &LoadOptions::default())?,
        None => Asclepius::embedded()?,
    };
    let questions: Vec<(String, Pair)> = Generator::held_out(arguments.seed)
        .with_pairs(1)
        .flat_map(|case| {
            case.pairs
                .into_iter()
                .map(move |pair| (case.note.clone(), pair))
        })
        .take(arguments.questions)
        .collect();
    let options = AnswerOptions::new().with_max_new_tokens(96).with_batch(16);
    let progress = ProgressBar::new(questions.len() as u64);
    let mut tasks: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for chunk in questions.chunks(32) {
        let asked: Vec<(&str, &str)> = chunk
            .iter()
            .map(|(note, pair)| (note.as_str(), pair.question.as_str()))
            .collect();
        for ((_, pair), answer) in chunk.iter().zip(model.answer_batch(&asked, &options)) {
            let answer = answer?;
            let (right, asked) = tasks.entry(pair.task.name()).or_default();
            *right += usize::from(answer.text == pair.answer);
            *asked += 1;
            if arguments.wrong && answer.text != pair.answer {
                let (kind, ask, wanted) = (&pair.kind, &pair.question, &pair.answer);
                progress.suspend(|| {
                    common::print(format_args!("{kind}: {ask} {wanted} -> {}", answer.text))
                })?;
            }
        }
        progress.inc(chunk.len() as u64);
    }
    progress.finish_and_clear();
    for (task, (right, asked)) in &tasks {
        common::print(format_args!("{task:32} {right:4} of {asked:4}"))?;
    }
    let (right, asked) = tasks
        .values()
        .fold((0, 0), |sum, task| (sum.0 + task.0, sum.1 + task.1));
    let share = right as f64 / asked.max(1) as f64;
    common::print(format_args!(
        "{:32} {right:4} of {asked:4}  exact match {:.1} %",
        "all",
        100.0 * share
    ))?;
    let counts = own_words::ask(&model, |ask, answer| {
        if arguments.wrong {
            let _ = common::print(format_args!("{ask} -> {answer}"));
        }
    })?;
    for (what, (right, asked)) in [
        ("own words, not answered by note", counts.unanswered),
        ("own words, answered by the note", counts.answered),
    ] {
        common::print(format_args!("{what:32} {right:4} of {asked:4}"))?;
    }
    anyhow::ensure!(
        share >= arguments.at_least,
        "exact match {share:.3} is below {}",
        arguments.at_least
    );
    Ok(())
}
