//! Makes a small T5 from nothing: a Unigram tokenizer from a file of pairs of texts, and random weights, as a directory
//! that `train` can be given.
//!
//! `cargo run --release -p clinical-bench --bin new_t5 -- --pairs pairs.jsonl --out DIR`

#[path = "../../../../examples/common/mod.rs"]
mod common;
#[path = "new_t5/copying.rs"]
mod copying;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_nn::Embedding;
use clinical_t5::{ClinicalT5, Parts, SaveOptions, T5Config};
use clinical_tokenizer::UnigramTraining;
use clinical_train::{TextPair, read_examples};
use serde_json::json;

/// Make a small T5 from nothing
#[derive(Parser)]
struct Arguments {
    /// Texts for the tokenizer: one {"input": "..", "target": ".."} a line
    #[arg(long)]
    pairs: PathBuf,
    /// Where the model goes
    #[arg(long)]
    out: PathBuf,
    /// Tokens of the vocabulary, beside 100 sentinels and 15 tags of de-identification
    #[arg(long, default_value_t = 1600)]
    vocabulary: usize,
    /// Width of the hidden states; there is a head for each 32
    #[arg(long, default_value_t = 192)]
    hidden: usize,
    /// Width inside the feed-forward layers
    #[arg(long, default_value_t = 512)]
    inner: usize,
    /// Layers of the encoder, and of the decoder
    #[arg(long, default_value_t = 4)]
    layers: usize,
    /// Standard deviation of the random embeddings
    #[arg(long, default_value_t = 0.3)]
    embedding: f64,
    /// Start with attention that copies what followed an earlier occurrence, instead of with random weights alone
    #[arg(long)]
    copying: bool,
    /// Seed of the random weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let pairs = read_examples::<TextPair>(&arguments.pairs)?;
    let texts = pairs.iter().flat_map(|pair| [&pair.input, &pair.target]);
    // Sentinels are no words.
    let texts = texts.map(|text| {
        let words = text
            .split(' ')
            .filter(|word| !word.starts_with("<extra_id_"));
        words.collect::<Vec<_>>().join(" ")
    });
    let training = UnigramTraining::clinical_t5(false)
        .with_vocab_size(arguments.vocabulary)
        .with_word_seeds()
        .with_added_tokens(clinical_deid::SPECIAL_TOKENS);
    let tokenizer = training.train(texts)?;
    let config = T5Config::from_value(json!({
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "vocab_size": tokenizer.vocab_size(),
        "d_model": arguments.hidden,
        "d_kv": 32,
        "num_heads": arguments.hidden / 32,
        "d_ff": arguments.inner,
        "num_layers": arguments.layers,
        "num_decoder_layers": arguments.layers,
        "decoder_start_token_id": 0,
        "dropout_rate": 0.0,
        "n_positions": 512,
    }))?;
    let device = clinical_kernels::cpu();
    device.seed(arguments.seed);
    let (rows, width) = (config.vocab_size, config.d_model);
    let mut model = config.init(&device)?;
    model.shared = Embedding::new(rows, width, arguments.embedding, &device);
    if arguments.copying {
        copying::start(&mut model, arguments.embedding as f32)?;
    }
    let t5 = ClinicalT5::from_parts(Parts::new(config, model, tokenizer));
    t5.save(&arguments.out, &SaveOptions::new())?;
    common::print(format_args!(
        "wrote {}: {} tokens",
        arguments.out.display(),
        t5.tokenizer().vocab_size()
    ))?;
    Ok(())
}
