//! Fine-tunes and tests a model over seeds and parts of the data, and writes a report.
//!
//! `cargo run --release -p clinical-study --example study -- --spec study.toml --out STUDY` runs what is not finished in
//! the folder STUDY. `study compare A B --out DIR` compares two studies on the same test part.

#[path = "../../../examples/common/mod.rs"]
mod common;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use clinical_bert::device;
use clinical_study::{
    CellAt, CellResult, Comparison, LoadOptions, Report, Study, StudyProgress, StudySpec,
};

/// Fine-tune and test a model over seeds and parts of the data.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The specification, a TOML file; relative paths in it begin at its folder
    #[arg(long)]
    spec: Option<PathBuf>,
    /// The folder of the study
    #[arg(long)]
    out: Option<PathBuf>,
    /// Also write files of predictions with texts of the notes
    #[arg(long)]
    with_text: bool,
    /// Fail unless the metric with most of the data is that much above the best baseline
    #[arg(long)]
    beat: Option<f64>,
    /// Where to run: cpu, ndarray, cuda, cuda:N or ws://HOST:PORT/N
    #[arg(long, default_value = "cpu")]
    device: String,
}

#[derive(Subcommand)]
enum Command {
    /// Compare two studies on the same test part
    Compare {
        /// The folder of the first study
        first: PathBuf,
        /// The folder of the second one
        second: PathBuf,
        /// Where the comparison goes, as report.md, .html, .json and curve.svg, .png
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Print the report of what is finished in a folder
    Report {
        /// The folder of the study
        study: PathBuf,
    },
}

fn main() -> ExitCode {
    common::exit(start(&Args::parse()))
}

fn start(args: &Args) -> Result<()> {
    match &args.command {
        Some(Command::Compare { first, second, out }) => {
            let comparison = Comparison::of(first, second)?;
            if let Some(out) = out {
                comparison.write(out)?;
            }
            return Ok(common::print(comparison.markdown().trim_end())?);
        }
        Some(Command::Report { study }) => {
            return Ok(common::print(Report::of(study)?.markdown().trim_end())?);
        }
        None => {}
    }
    let (Some(spec), Some(out)) = (&args.spec, &args.out) else {
        bail!("--spec and --out are missing");
    };
    device::keep_freed_memory();
    let spec = StudySpec::open(spec)?;
    let options = LoadOptions::new().with_device(device::parse(&args.device)?);
    let study = Study::resume_or_start(spec, out, &options)?.with_text(args.with_text);
    let metric = study.spec().metric().name();
    let report = study.run(&mut Lines { metric })?;
    common::print(report.markdown().trim_end())?;
    if let Some(least) = args.beat {
        let found = report.rows.last().and_then(|row| row.mean.get(metric));
        let (found, baseline) = (
            found.copied().unwrap_or(0.0),
            report.baseline().unwrap_or(0.0),
        );
        if found < baseline + least {
            bail!("{metric} is {found:.3}, and without a model {baseline:.3}: not {least} better");
        }
    }
    Ok(())
}

/// A line for each cell.
struct Lines {
    metric: &'static str,
}

impl StudyProgress for Lines {
    fn cell(&mut self, at: CellAt, done: usize, cells: usize) {
        let _ = common::print(format_args!("{} ({} of {cells})", at.name(), done + 1));
    }

    fn remark(&mut self, remark: &str) {
        let _ = common::print(remark);
    }

    fn finished(&mut self, result: &CellResult) {
        let value = result.test.get(self.metric).copied().unwrap_or(f64::NAN);
        let name = result.at.name();
        let _ = common::print(format_args!("{name}: {} {value:.3}", self.metric));
    }
}
