//! Chooses the score below which answers are not shown, from answers that people have judged.
//!
//! `cargo run --release --example calibrate -- --answers judged.jsonl --out calibration.json`

mod common;

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use asclepius::{
    AnswerOptions, Asclepius, Calibration, CalibrationOptions, LabelledAnswer, LoadOptions,
    Precision, embedded_checksum, model_checksum,
};
use clap::Parser;
use clinical_open::{AnyModel, open};
use indicatif::ProgressBar;
use serde::Deserialize;

/// Choose the score below which answers are not shown
#[derive(Parser)]
struct Arguments {
    /// A model that answers, or a BERT with a span head; without it the demonstration model
    #[arg(long)]
    model: Option<PathBuf>,
    /// At least 100 judged answers: one {"note": "..", "question": "..", "answer": "..", "right": true} a line
    #[arg(long)]
    answers: PathBuf,
    /// The largest part of all questions whose answer may be shown and wrong
    #[arg(long, default_value_t = 0.05)]
    risk: f64,
    /// How sure that is
    #[arg(long, default_value_t = 0.95)]
    confidence: f64,
    /// The weights in memory, as in `answer`
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Where the threshold goes; without it calibration.json beside the model
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Judged {
    note: String,
    question: String,
    answer: String,
    right: bool,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let load = LoadOptions::new().with_precision(arguments.precision);
    let (model, checksum) = match &arguments.model {
        Some(dir) => (open(dir, &load)?, model_checksum(dir)?),
        None => {
            let model = Asclepius::embedded_with(&load)?;
            (AnyModel::Asclepius(model), embedded_checksum())
        }
    };
    let beside = arguments
        .model
        .as_ref()
        .map(|dir| dir.join("calibration.json"));
    let out = arguments
        .out
        .clone()
        .or(beside)
        .context("name the file with --out")?;
    let judged = read(&arguments.answers)?;
    let progress = ProgressBar::new(judged.len() as u64);
    let mut labelled = Vec::with_capacity(judged.len());
    for (row, one) in judged.iter().enumerate() {
        let at = || format!("line {} of {}", row + 1, arguments.answers.display());
        labelled.push(LabelledAnswer {
            score: score(&model, one).with_context(at)?,
            right: one.right,
        });
        progress.inc(1);
    }
    progress.finish_and_clear();
    let promise = CalibrationOptions::new()
        .with_target_risk(arguments.risk)
        .with_confidence(arguments.confidence);
    let found = Calibration::choose(&labelled, &promise, checksum)?;
    found.save(&out)?;
    common::print("coverage  risk    score")?;
    for point in &found.curve {
        let (shown, risk) = (100.0 * point.coverage, 100.0 * point.risk);
        common::print(format_args!(
            "{shown:6.1} %  {risk:4.1} %  {:6.2}",
            point.threshold
        ))?;
    }
    let share = 100.0 * found.coverage;
    common::print(match found.threshold {
        Some(score) => format!(
            "answers from {score:.2} on are shown: {share:.1} % of {}",
            found.answers
        ),
        None => "no threshold keeps the promise: no answer would be shown".to_owned(),
    })?;
    common::print(format_args!("wrote {}", out.display()))?;
    Ok(())
}

/// How sure a model is of an answer; minus infinity for one that says that the note does not tell.
fn score(model: &AnyModel, one: &Judged) -> Result<f64> {
    let options = AnswerOptions::new();
    if options.is_no_answer(&one.answer) {
        return Ok(f64::NEG_INFINITY);
    }
    match model {
        AnyModel::Asclepius(model) => {
            let support = model.support(&one.note, &one.question, &one.answer, &options)?;
            Ok(support.score())
        }
        // Its best span, whatever was judged: the answer is that span.
        AnyModel::Bert(model) => Ok(model.answer_span(&one.question, &one.note)?.score()),
        other => bail!("a model of the kind {} has no such score", other.facade()),
    }
}

/// One judged answer a line; blank lines are left out. No message quotes a line.
fn read(path: &PathBuf) -> Result<Vec<Judged>> {
    let file =
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut judged = Vec::new();
    for (row, line) in std::io::BufReader::new(file).lines().enumerate() {
        let at = || format!("line {} of {}", row + 1, path.display());
        let line = line.with_context(at)?;
        if line.trim().is_empty() {
            continue;
        }
        let one = serde_json::from_str(&line);
        // The words of serde may quote the line.
        let one = one.map_err(|error| {
            anyhow::anyhow!("{}: no judged answer (column {})", at(), error.column())
        })?;
        judged.push(one);
    }
    Ok(judged)
}
