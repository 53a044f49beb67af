//! Makes instruction data from notes with a local model, as Asclepius' authors made theirs.
//!
//! `cargo run --release --example instructions -- --model /models/SmolLM2-135M-Instruct --notes notes.csv --out made.jsonl
//! --data data.csv`

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use asclepius::{
    AnswerOptions, Asclepius, Generation, LoadOptions, MarkerPolicy, Precision, Style,
};
use clap::Parser;
use clinical_corpus::Texts;
use clinical_instructions::{
    Ask, Cause, CsvOptions, Pipeline, SourceNote, check_format, named, read_made,
    write_instructions,
};
use indicatif::ProgressBar;

/// Make instruction data from notes with a local model
#[derive(Parser)]
struct Arguments {
    /// A model directory or GGUF file that follows instructions; without it the demonstration model, which does not
    #[arg(long)]
    model: Option<PathBuf>,
    /// A CSV file of notes, de-identification tags converted (`deid`)
    #[arg(long)]
    notes: PathBuf,
    /// Its column with the text
    #[arg(long, default_value = "note")]
    column: String,
    /// Its column with an id; without it notes are numbered
    #[arg(long)]
    id: Option<String>,
    /// One line of JSON for each note, the dropped ones too; a run that is stopped goes on with it
    #[arg(long)]
    out: PathBuf,
    /// The kept ones as training data: .csv, .json or .jsonl
    #[arg(long)]
    data: Option<PathBuf>,
    /// Of tasks, examples and sampling
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// 0 takes the likeliest token at every step
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// The weights in memory, as in `answer`
    #[arg(long, default_value = "f32")]
    precision: Precision,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(data) = &arguments.data {
        check_format(data)?;
    }
    let load = LoadOptions::new().with_precision(arguments.precision);
    let model = match &arguments.model {
        Some(dir) => Asclepius::load(dir, &load)?,
        None => Asclepius::embedded_with(&load)?,
    };
    let name = arguments.model.as_deref().map_or_else(
        || "demonstration model".to_owned(),
        |dir| dir.display().to_string(),
    );
    let mut writer = named(name, |prompt: &str, ask: &Ask| write(&model, prompt, ask));
    let texts = Texts::open(
        &arguments.notes,
        &arguments.column,
        arguments.id.as_deref(),
        &CsvOptions::new(),
    )?;
    let notes = texts.map(|text| text.map(|text| SourceNote::new(text.id, text.text)));
    let notes = notes.map(|note| note.map_err(Cause::from));
    let progress = ProgressBar::no_length();
    let done = Pipeline::new(arguments.seed)
        .with_temperature(arguments.temperature)
        .run(notes, &arguments.out, &mut writer, |_| progress.inc(1))?;
    progress.finish_and_clear();
    common::print(format_args!(
        "{} notes, {} instructions, in {}",
        done.notes,
        done.kept,
        arguments.out.display()
    ))?;
    if let Some(data) = &arguments.data {
        let made = read_made(&arguments.out)?;
        let kept = made.iter().filter(|made| made.dropped.is_none());
        let rows = write_instructions(kept.map(|made| &made.instruction), data)?;
        common::print(format_args!("{rows} rows in {}", data.display()))?;
    }
    Ok(())
}

/// What the model writes after a prompt: as a turn of a conversation where it knows those.
fn write(model: &Asclepius, prompt: &str, ask: &Ask) -> Result<Option<String>, Cause> {
    let generation = match ask.temperature > 0.0 {
        true => Generation::sample()
            .with_temperature(ask.temperature)
            .with_seed(ask.seed),
        false => Generation::greedy(),
    };
    let options = AnswerOptions::new()
        .with_generation(generation)
        .with_max_new_tokens(ask.max_tokens)
        .with_markers(MarkerPolicy::Escape);
    let answer = match model.style() {
        Style::Chat => model.chat(&[("user", prompt)], &options),
        _ => model.complete(prompt, &options),
    };
    match answer {
        Ok(answer) => Ok(Some(answer.text)),
        Err(asclepius::Error::TooLong(_) | asclepius::Error::QuestionTooLong { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
