//! Makes a small BERT from nothing: a WordPiece tokenizer from a file of notes, and random weights, as a directory that
//! `train` can be given.
//!
//! `cargo run --release -p clinical-bench --bin new_bert -- --notes notes.jsonl --out DIR` (one {"text": ".."} a line).

#[path = "../../../../examples/common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_bert::{BertConfig, ClinicalBert, Parts, SaveOptions};
use clinical_tokenizer::WordPieceTraining;
use clinical_train::{NoteText, read_examples};
use serde_json::json;

/// Make a small BERT from nothing
#[derive(Parser)]
struct Arguments {
    /// Notes for the tokenizer: one {"text": ".."} a line
    #[arg(long)]
    notes: PathBuf,
    /// Where the model goes
    #[arg(long)]
    out: PathBuf,
    /// Tokens of the vocabulary
    #[arg(long, default_value_t = 2000)]
    vocabulary: usize,
    /// Width of the hidden states; there is a head for each 32
    #[arg(long, default_value_t = 128)]
    hidden: usize,
    /// Layers
    #[arg(long, default_value_t = 3)]
    layers: usize,
    /// Most tokens of a text
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let notes: Vec<NoteText> = read_examples(&arguments.notes)?;
    let training = WordPieceTraining::bert(false).with_vocab_size(arguments.vocabulary);
    let tokenizer = training.train(notes.iter().map(|note| &note.text))?;
    let config = BertConfig::from_value(json!({
        "model_type": "bert",
        "architectures": ["BertForPreTraining"],
        "vocab_size": tokenizer.vocab_size(),
        "hidden_size": arguments.hidden,
        "num_hidden_layers": arguments.layers,
        "num_attention_heads": arguments.hidden / 32,
        "intermediate_size": 4 * arguments.hidden,
        "max_position_embeddings": arguments.max_tokens,
    }))?;
    let model = config.init(&clinical_kernels::cpu())?;
    let bert = ClinicalBert::from_parts(Parts::new(config, model, tokenizer))?;
    bert.save(&arguments.out, &SaveOptions::new())?;
    common::print(format_args!("wrote {}", arguments.out.display()))?;
    Ok(())
}
