//! What a model directory holds and how it would load, without loading it.
//!
//! `cargo run --release --example inspect -- DIR`
#![allow(clippy::print_stdout)] // a command-line program

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Parser;
use clinical_llama::LlamaConfig;
use clinical_t5::T5Config;
use clinical_tokenizer::Tokenizer;
use clinical_weights::{CheckpointDir, FromCheckpoint, Inspection, LoadOptions, LoadReport, plan};

#[derive(Parser)]
struct Arguments {
    /// A model directory as it was published
    dir: PathBuf,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
}

fn main() -> Result<()> {
    let Arguments { dir, tensors } = Arguments::parse();
    let inspection = Inspection::of(&dir)?;
    print!("{inspection}");
    match Tokenizer::from_dir(&dir) {
        Ok(tokenizer) => {
            println!(
                "           {}",
                tokenizer
                    .resolution()
                    .to_string()
                    .replace('\n', "\n           ")
            );
            let special = tokenizer.special();
            let id = |id: Option<u32>| id.map_or("none".to_owned(), |id| id.to_string());
            println!(
                "special    bos {}, eos {:?}, pad {}, unk {}; {} tokens",
                id(special.bos),
                special.eos,
                id(special.pad),
                id(special.unk),
                tokenizer.vocab_size()
            );
        }
        Err(error) => println!("           cannot be opened: {error}"),
    }
    match load_plan(&dir, &inspection) {
        Ok(Some(report)) => print!("\nloading it would give\n{report}"),
        Ok(None) => println!("\nthis library has no model of that kind"),
        Err(error) => println!("\nit would not load: {error}"),
    }
    if tensors {
        println!();
        for tensor in &inspection.tensors {
            println!(
                "{} {} {:?} in {}",
                tensor.name, tensor.dtype, tensor.shape, inspection.files[tensor.file].name
            );
        }
    }
    Ok(())
}

/// Builds the model without allocating it and compares it with the checkpoint.
fn load_plan(dir: &Path, inspection: &Inspection) -> Result<Option<LoadReport>> {
    let options = LoadOptions::new().with_strict(false);
    let weights = CheckpointDir::open(dir)?.weights()?;
    let config = dir.join("config.json");
    let kind = inspection
        .config
        .as_ref()
        .and_then(|config| config.get("model_type")?.as_str());
    Ok(match kind {
        Some("llama" | "mistral") => {
            let model = LlamaConfig::from_file(config)?.init(&options.device)?;
            Some(plan(&model, &model.key_map(), &weights, &options)?)
        }
        Some("t5") => {
            let model = T5Config::from_file(config)?.init(&options.device);
            Some(plan(&model, &model.key_map(), &weights, &options)?)
        }
        _ => None,
    })
}
