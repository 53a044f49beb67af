//! What a model directory holds and how it would load, on one screen and without loading it: files, types, sizes, the
//! tokenizer with its special ids, what is wrong in the files and corrected, the memory for each precision.
//!
//! `cargo run --release --example inspect -- DIR`
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line program

#[path = "../common/mod.rs"]
mod common;
mod model;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use clinical_tokenizer::Tokenizer;
use clinical_weights::Inspection;

use model::Model;

/// Show what a model directory holds and how it would load
#[derive(Parser)]
struct Arguments {
    /// A model directory as it was published
    dir: PathBuf,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(Arguments { dir, tensors }: &Arguments) -> Result<()> {
    let inspection = Inspection::of(dir)?;
    let mut out = std::io::stdout().lock();
    write!(out, "{inspection}")?;
    let model = Model::of(dir, &inspection);
    let rows = model
        .as_ref()
        .ok()
        .and_then(|model| Some(model.as_ref()?.rows));
    match Tokenizer::from_dir(dir) {
        Ok(tokenizer) => show(&tokenizer, rows, &mut out)?,
        // A GGUF file holds its own vocabulary.
        Err(_) if inspection.chosen.ends_with(".gguf") => {
            writeln!(out, "           inside {}", inspection.chosen)?;
        }
        Err(error) => writeln!(out, "           cannot be opened: {error}")?,
    }
    if let Ok(Some(Model {
        case: Some(case), ..
    })) = &model
    {
        writeln!(
            out,
            "case       `{}` is read as {}; transformers would read {}",
            case.word,
            case.pieces.join(" "),
            case.transformers_pieces.join(" ")
        )?;
    }
    match model {
        Ok(Some(Model {
            parameters, plan, ..
        })) if plan.fits() => writeln!(
            out,
            "model      {parameters} parameters ({} in f32, {} in f16); each has its tensor, {} tensors ignored",
            size(4 * parameters),
            size(2 * parameters),
            plan.ignored.len()
        )?,
        Ok(Some(Model {
            parameters, plan, ..
        })) => {
            write!(
                out,
                "model      {parameters} parameters; IT WOULD NOT LOAD\n{plan}"
            )?;
        }
        Ok(None) => writeln!(out, "model      this library has no model of that kind")?,
        Err(error) => writeln!(out, "model      IT WOULD NOT LOAD: {error}")?,
    }
    for tensor in inspection.tensors.iter().filter(|_| *tensors) {
        let file = &inspection.files[tensor.file].name;
        writeln!(
            out,
            "{} {} {:?} in {file}",
            tensor.name.escape_debug(),
            tensor.dtype,
            tensor.shape
        )?;
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// The tokenizer, its special ids, and what was corrected for an embedding of so many rows.
fn show(tokenizer: &Tokenizer, rows: Option<usize>, out: &mut impl Write) -> std::io::Result<()> {
    let resolution = tokenizer.resolution();
    writeln!(
        out,
        "           {}: {}",
        resolution.file(),
        resolution.reason()
    )?;
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
        .filter_map(|(role, id)| {
            let token = tokenizer.id_to_token(id?)?;
            Some(format!("{role} {} {}", id?, token.escape_debug()))
        })
        .collect();
    writeln!(
        out,
        "special    {}; {} ids",
        shown.join(", "),
        tokenizer.vocab_size()
    )?;
    let remarks = tokenizer.remarks(rows.unwrap_or(usize::MAX));
    let told = resolution.remarks().iter();
    for remark in told.filter(|remark| !remark.is_correction()) {
        writeln!(out, "remark     {remark}")?;
    }
    for correction in remarks {
        writeln!(out, "corrected  {correction}")?;
    }
    Ok(())
}
