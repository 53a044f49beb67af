//! What a model directory holds and how it would load, on one screen and without loading it: files, types, sizes, the
//! tokenizer with its special ids, what is wrong in the files and corrected, the memory for each precision.
//!
//! `cargo run --release --example inspect -- DIR`
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line program

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_bert::{Bert, BertConfig};
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

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { dir, tensors }: &Arguments) -> Result<()> {
    let inspection = Inspection::of(dir)?;
    print!("{inspection}");
    let model = model(dir, &inspection);
    let rows = model
        .as_ref()
        .ok()
        .and_then(|model| Some(model.as_ref()?.rows));
    match Tokenizer::from_dir(dir) {
        Ok(tokenizer) => show(&tokenizer, rows),
        Err(error) => println!("           cannot be opened: {error}"),
    }
    match model {
        Ok(Some(Model {
            parameters, plan, ..
        })) if plan.fits() => println!(
            "model      {parameters} parameters; every one has its tensor ({} tensors ignored)",
            plan.ignored.len()
        ),
        Ok(Some(Model {
            parameters, plan, ..
        })) => {
            print!("model      {parameters} parameters; IT WOULD NOT LOAD\n{plan}");
        }
        Ok(None) => println!("model      this library has no model of that kind"),
        Err(error) => println!("model      IT WOULD NOT LOAD: {error}"),
    }
    for tensor in inspection.tensors.iter().filter(|_| *tensors) {
        let file = &inspection.files[tensor.file].name;
        println!(
            "{} {} {:?} in {file}",
            tensor.name, tensor.dtype, tensor.shape
        );
    }
    Ok(())
}

/// The tokenizer, its special ids, and what was corrected for an embedding of so many rows.
fn show(tokenizer: &Tokenizer, rows: Option<usize>) {
    let resolution = tokenizer.resolution();
    println!("           {}: {}", resolution.file(), resolution.reason());
    let special = tokenizer.special();
    let roles = [
        ("bos", special.bos),
        ("pad", special.pad),
        ("unk", special.unk),
        ("cls", special.cls),
        ("sep", special.sep),
        ("mask", special.mask),
    ];
    let ends = special.eos.iter().map(|id| ("eos", Some(*id)));
    let shown: Vec<String> = roles
        .into_iter()
        .chain(ends)
        .filter_map(|(role, id)| Some(format!("{role} {} {}", id?, tokenizer.id_to_token(id?)?)))
        .collect();
    println!(
        "special    {}; {} ids",
        shown.join(", "),
        tokenizer.vocab_size()
    );
    let corrections = tokenizer.corrections(rows.unwrap_or(usize::MAX));
    for note in resolution
        .notes()
        .iter()
        .filter(|note| !note.is_correction())
    {
        println!("note       {note}");
    }
    for correction in corrections {
        println!("corrected  {correction}");
    }
}

/// The model that the directory describes: built without memory, and compared with the checkpoint.
struct Model {
    rows: usize,
    parameters: u64,
    plan: LoadReport,
}

fn model(dir: &Path, inspection: &Inspection) -> Result<Option<Model>> {
    let options = LoadOptions::new().with_strict(false);
    let Some(json) = inspection.config.clone() else {
        return Ok(None);
    };
    let weights = CheckpointDir::open(dir)?.weights()?;
    let compare = |parameters| weights.check_size(parameters, &options);
    // Old BERT configurations name no type.
    let kind = json
        .get("model_type")
        .map_or("bert", |kind| kind.as_str().unwrap_or(""));
    let (rows, parameters, plan) = match kind {
        "llama" | "mistral" => {
            let config = LlamaConfig::from_value(json)?;
            compare(config.parameters()?)?;
            let model = config.init(&options.device)?;
            (
                config.vocab_size,
                config.parameters()?,
                plan(&model, &model.key_map(), &weights, &options)?,
            )
        }
        "t5" => {
            let config = T5Config::from_json(json.to_string().as_bytes())?;
            compare(config.parameters())?;
            let model = config.init(&options.device);
            (
                config.vocab_size,
                config.parameters(),
                plan(&model, &model.key_map(), &weights, &options)?,
            )
        }
        "bert" | "roberta" | "megatron-bert" => {
            let config = BertConfig::from_value(json)?;
            compare(config.parameters())?;
            let pooler = weights
                .tensors()
                .any(|tensor| tensor.name.ends_with("pooler.dense.weight"));
            let model = Bert::new(&config, pooler, &options.device);
            (
                config.vocab_size,
                config.parameters(),
                plan(&model, &model.key_map(), &weights, &options)?,
            )
        }
        _ => return Ok(None),
    };
    Ok(Some(Model {
        rows,
        parameters,
        plan,
    }))
}
