//! `metrics.jsonl`: a line for each step and each evaluation.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use clinical_files::write_file;
use serde::Serialize;
use serde_json::Value;

use crate::{Error, Result};

/// The file, open for more lines.
#[derive(Debug)]
pub(crate) struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens the file of a run that goes on after `step`: what was written after that step will be written again.
    pub(crate) fn open(run: &Path, step: u64) -> Result<Self> {
        let path = path(run);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::read(&path)(error)),
        };
        let kept: String = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n') && step_of(line).is_some_and(|at| at <= step))
            .collect();
        if kept != text {
            write_file(&path, kept.as_bytes())?;
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&path);
        let file = file.map_err(Error::written(&path))?;
        Ok(Self { path, file })
    }

    pub(crate) fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(line)
            .map_err(std::io::Error::from)
            .map_err(Error::written(&self.path))?;
        text.push(b'\n');
        self.file
            .write_all(&text)
            .map_err(Error::written(&self.path))
    }
}

fn path(run: &Path) -> PathBuf {
    run.join("metrics.jsonl")
}

fn step_of(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line)
        .ok()?
        .get("step")?
        .as_u64()
}

/// The steps and losses in the file of a run: of the training, and of the evaluations.
pub(crate) fn losses(run: &Path) -> Result<[Vec<(u64, f64)>; 2]> {
    let path = path(run);
    let text = fs::read_to_string(&path).map_err(Error::read(&path))?;
    let of = |key: &str| {
        text.lines()
            .filter_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                Some((line.get("step")?.as_u64()?, line.get(key)?.as_f64()?))
            })
            .collect()
    };
    Ok([of("loss"), of("development_loss")])
}
