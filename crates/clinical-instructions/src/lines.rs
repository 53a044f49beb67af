//! Files of one JSON value a line, and a run that goes on with one.

use std::path::{Path, PathBuf};

use clinical_files::Unfinished;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::writer::Cause;
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

    /// The items that are not done, each with its number from 0; `fits` looks at every item first, and says whether it is
    /// the one that was done.
    pub(crate) fn rest<I: Iterator, F>(&self, items: I, fits: F) -> Rest<I, F> {
        Rest {
            items,
            fits,
            path: self.file.path().to_owned(),
            before: self.before,
            seen: 0,
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

    /// Puts the output in its place.
    pub(crate) fn finish(self) -> Result<()> {
        Ok(self.file.finish()?)
    }
}

/// See [`Run::rest`].
pub(crate) struct Rest<I, F> {
    items: I,
    fits: F,
    path: PathBuf,
    before: usize,
    seen: usize,
}

impl<I, F> Rest<I, F> {
    /// The next item that is not done. Fewer items than were done are another input, too.
    pub(crate) fn next<T, E: Into<Cause>>(&mut self) -> Result<Option<(usize, T)>>
    where
        I: Iterator<Item = Result<T, E>>,
        F: FnMut(usize, &T) -> Result<bool>,
    {
        loop {
            let (index, row) = (self.seen, self.seen + 1);
            let other = || Error::OtherInput {
                path: self.path.clone(),
                row,
            };
            let Some(item) = self.items.next() else {
                return match index < self.before {
                    true => Err(other()),
                    false => Ok(None),
                };
            };
            let item = item.map_err(|cause| Error::Input {
                row,
                cause: cause.into(),
            })?;
            if !(self.fits)(index, &item)? {
                return Err(other());
            }
            self.seen = row;
            if index >= self.before {
                return Ok(Some((index, item)));
            }
        }
    }
}
