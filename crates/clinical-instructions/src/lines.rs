//! Files of one JSON value a line, and a run that goes on with one.

use std::path::Path;

use clinical_files::Unfinished;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The values of all lines. No message quotes one.
pub(crate) fn lines<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<Vec<T>> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let value = |(at, line): (usize, &[u8])| {
        let damaged = || Error::Line {
            path: path.to_owned(),
            line: at + 1,
        };
        // A line without its end is half of one.
        let line = line.strip_suffix(b"\n").ok_or_else(damaged)?;
        serde_json::from_slice(line).map_err(|_| damaged())
    };
    lines.enumerate().map(value).collect()
}

/// An output with a line for each item, which a later run goes on with.
pub(crate) struct Run {
    file: Unfinished,
    /// Items that were done before.
    before: usize,
}

impl Run {
    /// What was done before, and the output.
    pub(crate) fn open<T: DeserializeOwned>(
        output: &Path,
        identity: &str,
    ) -> Result<(Self, Vec<T>)> {
        let (mut file, _) = Unfinished::open(output, identity)?;
        let bytes = file.read_from(0)?;
        let done: Vec<T> = lines(file.path(), &bytes)?;
        let before = done.len();
        Ok((Self { file, before }, done))
    }

    /// The input is not the one that the output was begun with.
    pub(crate) fn other_input(&self, row: usize) -> Error {
        Error::OtherInput {
            path: self.file.path().to_owned(),
            row,
        }
    }

    /// Keeps the line of an item.
    pub(crate) fn add(&mut self, row: usize, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value).map_err(|cause| Error::Input {
            row,
            cause: cause.into(),
        })?;
        line.push(b'\n');
        self.file.write(&line)?;
        Ok(self.file.commit("1 item")?)
    }

    /// Puts the output in its place, after so many items in all.
    pub(crate) fn finish(self, rows: usize) -> Result<()> {
        if rows < self.before {
            return Err(self.other_input(rows + 1));
        }
        Ok(self.file.finish()?)
    }
}
