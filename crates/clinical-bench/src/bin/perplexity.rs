//! Holds a model in a reduced precision against the same model in f32: perplexity, agreement, distance of logits.
//!
//! `cargo run --release -p clinical-bench --bin perplexity -- --model DIR --precision int8 --text notes.csv --column section_text`
//!
//! Without `--text` the text is generated, as the demonstration models know it: answers to questions about held-out
//! notes for a LLaMA, four tasks for a T5.

#[path = "../../../../examples/common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use clinical_bench::quality;
use clinical_synth::Generator;
use clinical_weights::{CheckpointDir, Precision};

/// Hold a model in a reduced precision against the same model in f32
#[derive(Parser)]
struct Arguments {
    /// A directory with a LLaMA or a T5
    #[arg(long)]
    model: PathBuf,
    /// int8, int4, stored-f16, stored-bf16
    #[arg(long)]
    precision: Precision,
    /// Text files; of CSV files the rows of one column
    #[arg(long)]
    text: Vec<PathBuf>,
    /// The column of CSV files
    #[arg(long, default_value = "text")]
    column: String,
    /// How many tokens are predicted
    #[arg(long, default_value_t = 50_000)]
    tokens: usize,
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
    let &Arguments {
        ref model,
        precision,
        tokens,
        ..
    } = arguments;
    let config = CheckpointDir::open(model)?.config()?;
    let quality = match (config["model_type"].as_str(), arguments.text.is_empty()) {
        (Some("t5"), true) => {
            let pairs = Generator::held_out(2026)
                .t5()
                .map(|example| (example.input, example.target));
            quality::t5(model, precision, pairs, tokens)?
        }
        (Some("t5"), false) => bail!("a T5 is measured on generated pairs: leave --text out"),
        (_, true) => {
            let answers = Generator::held_out(2026).flat_map(|case| {
                let note = case.note;
                case.pairs.into_iter().filter_map(move |pair| {
                    let prompt = clinical_prompts::asclepius::inference(&note, &pair.question);
                    Some((prompt.ok()?, pair.answer))
                })
            });
            quality::llama(model, precision, answers, tokens)?
        }
        (_, false) => {
            let texts = read(arguments)?.into_iter();
            let texts = texts.map(|text| (String::new(), text));
            quality::llama(model, precision, texts, tokens)?
        }
    };
    common::print(serde_json::to_string_pretty(&quality)?)?;
    Ok(())
}

/// Whole files, of CSV files the rows in pieces of several thousand characters.
fn read(arguments: &Arguments) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for path in &arguments.text {
        if path.extension().is_none_or(|end| end != "csv") {
            texts.push(std::fs::read_to_string(path).with_context(|| path.display().to_string())?);
            continue;
        }
        let mut reader = csv::Reader::from_path(path)?;
        let headers = reader.headers()?;
        let column = headers.iter().position(|name| name == arguments.column);
        let column = column.with_context(|| format!("no column `{}`", arguments.column))?;
        let mut piece = String::new();
        for record in reader.records() {
            piece.push_str(record?.get(column).unwrap_or_default());
            piece.push_str("\n\n");
            if piece.len() > 8000 {
                texts.push(std::mem::take(&mut piece));
            }
        }
        texts.push(piece);
    }
    Ok(texts)
}
