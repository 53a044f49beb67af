//! Compares a device with the parity fixtures of this repository and with the CPU, one JSON line a check.
//!
//! `cargo run --release -p clinical-bench --features cuda --bin gpu_check -- --device cuda`
//!
//! Needs the repository's fixtures only (`--root`), so a built binary and 15 MB of files can be carried to a machine
//! with a GPU: `scripts/gpu_check` does that. `--device cpu` checks the checks. `gpu_check bench ...` is the program
//! `bench`, so that one binary of that size is enough.

#[path = "../bench.rs"]
#[allow(dead_code, reason = "its main function")]
mod bench;
mod bert;
mod check;
mod kernels;
mod llama;
mod packed;
mod t5;
mod text;
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use bench::common;
use check::Checks;

/// Compare a device with the parity fixtures and with the CPU, one JSON line a check
#[derive(Parser)]
struct Arguments {
    /// cuda, cuda:N, cube-cpu, cpu or ndarray
    #[arg(long, default_value = "cuda")]
    device: String,
    /// The repository, or a copy of its fixtures and demonstration models
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Only the checks of these groups: kernels, packed, llama, t5, bert, text, training
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Models run with this crate's kernels for GPUs instead of Burn's operations
    #[arg(long)]
    kernels: bool,
}

/// A part of the checks: its name and what runs it.
type Group = (&'static str, fn(&mut Checks) -> Result<()>);

const GROUPS: [Group; 7] = [
    ("kernels", kernels::run),
    ("packed", packed::run),
    ("llama", llama::run),
    ("t5", t5::run),
    ("bert", bert::run),
    ("text", text::run),
    ("training", training::run),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == "bench") {
        return bench::run(std::iter::once("bench".into()).chain(arguments));
    }
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(unknown) = arguments
        .only
        .iter()
        .find(|name| !GROUPS.iter().any(|(group, _)| group == name))
    {
        bail!(
            "no group of checks is called `{unknown}`: use kernels, packed, llama, t5, bert, text or training"
        );
    }
    clinical_kernels::keep_freed_memory();
    let device = clinical_kernels::parse(&arguments.device)?;
    clinical_kernels::set_gpu_kernels(arguments.kernels);
    let mut checks = Checks::new(arguments.root.clone(), device, arguments.kernels);
    for (name, group) in GROUPS {
        if arguments.only.is_empty() || arguments.only.iter().any(|only| only == name) {
            group(&mut checks)?;
        }
    }
    let (passed, failed) = checks.counts();
    common::print(format_args!(r#"{{"passed":{passed},"failed":{failed}}}"#))?;
    if failed > 0 {
        bail!("{failed} of {} checks failed", passed + failed);
    }
    Ok(())
}
