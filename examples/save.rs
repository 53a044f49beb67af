//! Writes a model again as a Hugging Face directory that Python's `transformers` opens: one that was a GGUF or Flax
//! file, with larger or smaller embeddings, or in shards of another size.
//!
//! `cargo run --release --example save -- --model model.gguf --out DIR`
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line program

mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use clinical_open::{LoadOptions, SaveOptions};
use clinical_weights::Precision;

/// Write a model as a directory that Python's `transformers` opens
#[derive(Parser)]
struct Arguments {
    /// A model directory as it was published, or a GGUF file
    #[arg(long)]
    model: PathBuf,
    /// Where to write it
    #[arg(long)]
    out: PathBuf,
    /// f32, f16 or bf16
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Most bytes of one weight file
    #[arg(long, default_value_t = SaveOptions::default().max_shard_bytes)]
    shard_bytes: u64,
    /// Another number of rows for the embeddings; new ones are the mean of the old ones
    #[arg(long)]
    rows: Option<usize>,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let (model, out, rows) = (&arguments.model, &arguments.out, arguments.rows);
    let same = out.canonicalize().ok().zip(model.canonicalize().ok());
    ensure!(
        same.is_none_or(|(out, model)| out != model),
        "{} is the model itself: name another folder for --out",
        out.display()
    );
    let load = LoadOptions::new().with_precision(arguments.precision);
    let options = SaveOptions::new().with_max_shard_bytes(arguments.shard_bytes);
    let mut model = clinical_open::open(model, &load)?;
    rows.map_or(Ok(()), |rows| model.resize_embeddings(rows))?;
    model.save(out, &options)?;
    common::print(format_args!("wrote {}", out.display()))?;
    Ok(())
}
