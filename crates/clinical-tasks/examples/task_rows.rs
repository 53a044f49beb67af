//! Published files of a task as rows for `train`, one JSON object a line.
//!
//! `cargo run --release -p clinical-tasks --example task_rows -- --task mednli --data /data/mednli --head text`

#![allow(clippy::print_stderr, reason = "an example reports to the terminal")]

#[path = "../../../examples/common/mod.rs"]
mod common;

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use clinical_deid::Normalizer;
use clinical_tasks::clip::AroundRule;
use clinical_tasks::entities::conll;
use clinical_tasks::{Portion, RowOptions, clip, low_data, mednli, radqa};
use clinical_tokenizer::Tokenizer;
use serde::Serialize;
use serde_json::Value;

#[derive(Parser)]
#[command(about = "Write the examples of a task as JSON lines that `train` reads")]
struct Arguments {
    /// MedNLI, RadQA or CLIP as published, or a file of words with labels (CoNLL)
    #[arg(long, value_enum)]
    task: Task,
    /// The folder of the published files, or the file of words
    #[arg(long)]
    data: PathBuf,
    /// Which part of the data set
    #[arg(long, default_value_t = Portion::Train)]
    portion: Portion,
    /// Text to text (T5), or what the task's head wants (a class, a span)
    #[arg(long, value_enum, default_value = "text")]
    head: Head,
    /// Convert the tags of MIMIC-III, as Clinical-T5 was trained
    #[arg(long)]
    deid: bool,
    /// CLIP: the directory of the model's tokenizer
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// CLIP: tokens of an input
    #[arg(long, default_value_t = 256)]
    max_tokens: usize,
    /// This share of the rows
    #[arg(long, default_value_t = 100)]
    percent: u32,
    /// Which rows those are
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Task {
    Mednli,
    Radqa,
    Clip,
    Words,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Head {
    Text,
    Own,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let options = match arguments.deid {
        true => RowOptions::new().with_tags(Normalizer::mimic_iii()),
        false => RowOptions::new(),
    };
    let rows = match arguments.task {
        Task::Mednli => mednli_rows(arguments, &options)?,
        Task::Radqa => radqa_rows(arguments)?,
        Task::Clip => clip_rows(arguments, &options)?,
        Task::Words => conll::read(&arguments.data, None)?
            .iter()
            .map(row)
            .collect::<Result<_, _>>()?,
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    for index in low_data(rows.len(), arguments.percent, arguments.seed)? {
        writeln!(out, "{}", rows[index])?;
    }
    Ok(out.flush()?)
}

fn row(row: &impl Serialize) -> serde_json::Result<Value> {
    serde_json::to_value(row)
}

fn mednli_rows(arguments: &Arguments, options: &RowOptions) -> anyhow::Result<Vec<Value>> {
    let pairs = mednli::read_folder(&arguments.data)?;
    let rows = pairs
        .get(arguments.portion)
        .iter()
        .map(|pair| match arguments.head {
            Head::Text => Ok(row(&pair.writing_row(options)?)?),
            Head::Own => Ok(row(&pair.class_row(options)?)?),
        });
    rows.collect()
}

fn radqa_rows(arguments: &Arguments) -> anyhow::Result<Vec<Value>> {
    let reports = radqa::read_folder(&arguments.data)?;
    let mut reports = reports.get(arguments.portion).clone();
    if arguments.deid {
        reports = radqa::convert(&reports, &Normalizer::mimic_iii())?;
    }
    let questions = reports
        .iter()
        .flat_map(|report| report.questions.iter().map(move |one| (report, one)));
    let rows = questions.map(|(report, question)| match arguments.head {
        Head::Text => Ok(row(&report.writing_row(question, &RowOptions::new())?)?),
        Head::Own => Ok(row(&report.span_row(question))?),
    });
    rows.collect()
}

fn clip_rows(arguments: &Arguments, options: &RowOptions) -> anyhow::Result<Vec<Value>> {
    let Some(directory) = &arguments.tokenizer else {
        bail!("CLIP's inputs have a budget of tokens: name the model's directory with --tokenizer");
    };
    let tokenizer = Tokenizer::from_dir(directory).context("no tokenizer")?;
    let clip = clip::read_folder(&arguments.data)?;
    let mut rows = Vec::new();
    for note in clip.notes.get(arguments.portion) {
        let tokens = tokenizer.encode(&note.text, true)?;
        for index in 0..note.sentences.len() {
            let most = arguments.max_tokens;
            let input = note.input(index, tokens.offsets(), most, AroundRule::Fixed, options)?;
            rows.push(match arguments.head {
                Head::Text => row(&note.writing_row(index, input))?,
                Head::Own => row(&note.class_row(index, input))?,
            });
        }
    }
    Ok(rows)
}
