//! What a model directory holds and how it would load, on one screen and without loading it: files, types, sizes, the
//! tokenizer with its special ids, what is wrong in the files and corrected, adapters and quantised weights, the memory
//! for each precision.
//!
//! `cargo run --release --example inspect -- DIR`
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command-line program

mod common;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use clinical_open::{LoadOptions, inspect};

/// Show what a model directory holds and how it would load
#[derive(Parser)]
struct Arguments {
    /// A model directory as it was published, or a GGUF file
    dir: PathBuf,
    /// List every tensor
    #[arg(long)]
    tensors: bool,
    /// Everything as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    let found = inspect(&arguments.dir, &LoadOptions::default())?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &found)?;
        return Ok(writeln!(out)?);
    }
    write!(out, "{found}")?;
    let weights = found.weights.iter().filter(|_| arguments.tensors);
    for (weights, tensor) in
        weights.flat_map(|weights| weights.tensors.iter().map(move |one| (weights, one)))
    {
        let file = &weights.files[tensor.file].name;
        let name = tensor.name.escape_debug();
        writeln!(out, "{name} {} {:?} in {file}", tensor.dtype, tensor.shape)?;
    }
    // So that a script sees it, too.
    match found.refused {
        Some(why) => bail!("it would not load: {why}"),
        None => Ok(()),
    }
}
