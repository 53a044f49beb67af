//! Makes a small BERT from nothing: a WordPiece tokenizer from a file of notes, and random weights, as a directory that
//! `train` can be given.
//!
//! `cargo run --release -p clinical-bench --bin new_bert -- --notes notes.jsonl --out DIR`

#[path = "../../../../examples/common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_bert::{BertConfig, ClinicalBert, Parts, SaveOptions};
use clinical_tokenizer::WordPieceTraining;
use clinical_train::{LabelledWords, NoteText, read_examples};
use serde_json::json;

/// Make a small BERT from nothing
#[derive(Parser)]
struct Arguments {
    /// Notes for the tokenizer: one {"text": ".."} a line
    #[arg(long, required_unless_present = "words")]
    notes: Option<PathBuf>,
    /// Labelled words for the tokenizer instead: one {"words": [".."], "labels": [".."]} a line
    #[arg(long)]
    words: Option<PathBuf>,
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
    let mut texts = Vec::new();
    if let Some(path) = &arguments.notes {
        let notes = read_examples::<NoteText>(path)?.into_iter();
        texts.extend(notes.map(|note| note.text));
    }
    if let Some(path) = &arguments.words {
        let lines = read_examples::<LabelledWords>(path)?.into_iter();
        texts.extend(lines.map(|line| line.words.join(" ")));
    }
    let training = WordPieceTraining::bert(false).with_vocab_size(arguments.vocabulary);
    let tokenizer = training.train(texts.iter())?;
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
