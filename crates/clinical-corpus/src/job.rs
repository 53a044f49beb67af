//! The job: records in, rows out, in order, and on from where it was interrupted.

use std::path::{Path, PathBuf};

use clinical_files::csv::{CsvOptions, Records, write_row};
use clinical_files::{Unfinished, refuse_same_file, write_file};

use crate::error::Cause;
use crate::resume::{Commit, Last, Rejected};
use crate::{Columns, Error, ReadError, Record, Result, Row};

/// Default of [`Job::with_chunk`].
const CHUNK: usize = 256;

/// A job over records: a function makes rows of each chunk of them, and the rows become a file of CSV, or of Parquet
/// where its name ends in `.parquet` (feature `parquet`).
///
/// Until all is done the rows are in `<output>.partial`, with `<output>.partial.log` beside it, as
/// [`Unfinished`] says. A run that is killed leaves both; the same call then goes on after the last complete chunk, and
/// the output is that of a run that was not interrupted. See the [crate's page](crate) for an example.
#[derive(Debug, Clone)]
pub struct Job {
    columns: Columns,
    chunk: usize,
    identity: String,
    rejected: Option<PathBuf>,
    inputs: Vec<PathBuf>,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Records that were read.
    pub records: u64,
    /// Those of them that an earlier, interrupted run read.
    pub resumed: u64,
    /// Rows that were written.
    pub rows: u64,
    /// Records that were rejected.
    pub rejected: u64,
}

/// What a complete job did.
pub type Done = Progress;

impl Job {
    /// A job that writes these columns.
    #[must_use]
    pub fn new(columns: Columns) -> Self {
        Self {
            columns,
            chunk: CHUNK,
            identity: String::new(),
            rejected: None,
            inputs: Vec::new(),
        }
    }

    /// Records that the function gets at a time, and that are computed again after an interruption. Default: 256.
    #[must_use]
    pub fn with_chunk(mut self, records: usize) -> Self {
        self.chunk = records;
        self
    }

    /// What makes the rows what they are beside their columns: the model, its precision, the options. An unfinished
    /// output with another identity is not resumed.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = identity.into();
        self
    }

    /// Records that cannot be read or computed go into this file, as CSV with the columns `record`, `name` and `cause`,
    /// and the job goes on. Default: the first one ends it.
    #[must_use]
    pub fn with_rejected(mut self, path: impl Into<PathBuf>) -> Self {
        self.rejected = Some(path.into());
        self
    }

    /// Files that are read meanwhile, and that no output may replace.
    #[must_use]
    pub fn with_input(mut self, path: impl Into<PathBuf>) -> Self {
        self.inputs.push(path.into());
        self
    }

    /// Runs the job: `function` gives the rows of each record of a chunk, one result for each, in order.
    ///
    /// The records are read again from the first after an interruption, and those that are done are passed over; the
    /// last one of them is computed again to see that this run would write the same.
    ///
    /// # Errors
    ///
    /// All of [`Error`]. What was committed is kept, and the next run goes on with it.
    pub fn run<R, E, F>(
        &self,
        records: impl IntoIterator<Item = Result<R, E>>,
        output: impl AsRef<Path>,
        function: impl FnMut(&[R]) -> Vec<Result<Vec<Row>, F>>,
    ) -> Result<Done>
    where
        R: Record,
        E: ReadError,
        F: Into<Cause>,
    {
        self.run_with_progress(records, output, function, |_| ())
    }

    /// [`run`](Self::run) that tells after each chunk how far it has come.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    pub fn run_with_progress<R, E, F>(
        &self,
        records: impl IntoIterator<Item = Result<R, E>>,
        output: impl AsRef<Path>,
        mut function: impl FnMut(&[R]) -> Vec<Result<Vec<Row>, F>>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Done>
    where
        R: Record,
        E: ReadError,
        F: Into<Cause>,
    {
        let output = output.as_ref();
        let format = self.check(output)?;
        let mut records = records.into_iter();
        let mut run = Run::open(self, output)?;
        run.pass_over(&mut records, &mut function)?;
        loop {
            let mut chunk = Chunk::default();
            let ended = run.fill(&mut chunk, &mut records)?;
            run.compute(chunk, &mut function)?;
            progress(run.progress());
            if ended {
                break;
            }
        }
        let done = run.progress();
        run.finish(format)?;
        Ok(done)
    }

    /// What can be known before the first record is read.
    fn check(&self, output: &Path) -> Result<Format> {
        self.columns.check()?;
        if self.chunk == 0 {
            return Err(Error::EmptyChunk);
        }
        for input in &self.inputs {
            refuse_same_file(input, output)?;
        }
        if let Some(rejected) = &self.rejected {
            for other in self.inputs.iter().map(PathBuf::as_path).chain([output]) {
                refuse_same_file(other, rejected)?;
            }
        }
        Format::of(output)
    }
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    /// By the name of the output.
    fn of(output: &Path) -> Result<Self> {
        if output.extension().is_none_or(|kind| kind != "parquet") {
            return Ok(Self::Csv);
        }
        #[cfg(feature = "parquet")]
        return Ok(Self::Parquet);
        #[cfg(not(feature = "parquet"))]
        Err(Error::NoParquet {
            path: output.to_owned(),
        })
    }
}

/// A job that runs.
struct Run<'j> {
    job: &'j Job,
    unfinished: Unfinished,
    header: Vec<u8>,
    /// Records that were read now.
    read: u64,
    resumed: u64,
    commit: Commit,
    /// Of all commits.
    rejected: Vec<Rejected>,
}

/// Records that are computed together.
struct Chunk<R> {
    numbers: Vec<u64>,
    records: Vec<R>,
    rejected: Vec<Rejected>,
}

impl<R> Default for Chunk<R> {
    fn default() -> Self {
        Self {
            numbers: Vec::new(),
            records: Vec::new(),
            rejected: Vec::new(),
        }
    }
}

impl<'j> Run<'j> {
    fn open(job: &'j Job, output: &Path) -> Result<Self> {
        let mut header = Vec::new();
        write_row(&mut header, job.columns.header().into_iter().map(Some));
        let columns: Vec<_> = job.columns.iter().collect();
        let identity = format!("{columns:?} {}", job.identity);
        let (mut unfinished, commits) = Unfinished::open(output, &identity)?;
        let other = || clinical_files::Error::OtherRun {
            path: unfinished.path().to_owned(),
        };
        let mut commit = Commit::default();
        let mut rejected = Vec::new();
        for text in &commits {
            if text == FINISHED {
                continue;
            }
            commit = serde_json::from_str(text).map_err(|_| other())?;
            rejected.append(&mut commit.rejected);
        }
        if commits.is_empty() {
            unfinished.write(&header)?;
        }
        Ok(Self {
            job,
            unfinished,
            header,
            read: 0,
            resumed: commit.records,
            commit,
            rejected,
        })
    }

    fn progress(&self) -> Progress {
        Progress {
            records: self.commit.records,
            resumed: self.resumed,
            rows: self.commit.rows,
            rejected: self.rejected.len() as u64,
        }
    }

    fn other(&self) -> Error {
        let path = self.unfinished.path().to_owned();
        clinical_files::Error::OtherRun { path }.into()
    }

    /// Reads the records that an earlier run has done, and sees whether this one would do the same with the last of
    /// them.
    fn pass_over<R: Record, E: ReadError, F: Into<Cause>>(
        &mut self,
        records: &mut impl Iterator<Item = Result<R, E>>,
        function: &mut impl FnMut(&[R]) -> Vec<Result<Vec<Row>, F>>,
    ) -> Result<()> {
        let last = self.commit.last.clone();
        while self.read < self.resumed {
            let record = records.next().ok_or_else(|| self.other())?;
            self.read += 1;
            let Some(last) = last.as_ref().filter(|last| last.number == self.read) else {
                continue;
            };
            let Ok(record) = record else {
                return Err(self.other());
            };
            if record.name() != last.name {
                return Err(self.other());
            }
            let rows = results(function, std::slice::from_ref(&record))?.pop();
            let rows = rows.transpose().map_err(|cause| Error::Record {
                number: self.read,
                name: record.name(),
                cause: cause.into(),
            })?;
            if !self.has_written(&rows.unwrap_or_default(), last.start)? {
                return Err(self.other());
            }
        }
        Ok(())
    }

    /// Whether the output has these rows from this byte on.
    fn has_written(&mut self, rows: &[Row], start: u64) -> Result<bool> {
        let written = self.unfinished.read_from(start)?;
        let text = [self.header.as_slice(), &written].concat();
        let mut records = Records::new(&text[..], &CsvOptions::new())?;
        for row in rows {
            match self.job.columns.read(&mut records)? {
                Some(old) if old.iter().zip(row).all(|(old, new)| old.is_like(new)) => {}
                _ => return Ok(false),
            }
        }
        Ok(self.job.columns.read(&mut records)?.is_none())
    }

    /// Reads the records of one chunk; `true` at the end.
    fn fill<R, E: ReadError>(
        &mut self,
        chunk: &mut Chunk<R>,
        records: &mut impl Iterator<Item = Result<R, E>>,
    ) -> Result<bool> {
        for _ in 0..self.job.chunk {
            let Some(record) = records.next() else {
                return Ok(true);
            };
            self.read += 1;
            let number = self.read;
            match record {
                Ok(record) => {
                    chunk.numbers.push(number);
                    chunk.records.push(record);
                }
                Err(cause) if self.job.rejected.is_some() && cause.is_about_one_row() => {
                    chunk.rejected.push(Rejected {
                        number,
                        name: None,
                        cause: cause.to_string(),
                    });
                }
                Err(cause) => {
                    return Err(Error::Read {
                        number,
                        cause: cause.into(),
                    });
                }
            }
        }
        Ok(false)
    }

    /// Writes the rows of a chunk and commits them.
    fn compute<R: Record, F: Into<Cause>>(
        &mut self,
        mut chunk: Chunk<R>,
        function: &mut impl FnMut(&[R]) -> Vec<Result<Vec<Row>, F>>,
    ) -> Result<()> {
        let mut out = Vec::new();
        let begun = self.unfinished.committed() + self.unfinished.pending();
        let mut last = self.commit.last.take();
        let results = results(function, &chunk.records)?;
        for ((number, record), result) in chunk.numbers.iter().zip(&chunk.records).zip(results) {
            let (number, name) = (*number, record.name());
            match result {
                Ok(rows) => {
                    last = Some(Last {
                        number,
                        name,
                        start: begun + out.len() as u64,
                    });
                    for row in &rows {
                        self.job.columns.write(number, row, &mut out)?;
                    }
                    self.commit.rows += rows.len() as u64;
                }
                Err(cause) if self.job.rejected.is_some() => chunk.rejected.push(Rejected {
                    number,
                    name,
                    cause: cause.into().to_string(),
                }),
                Err(cause) => {
                    return Err(Error::Record {
                        number,
                        name,
                        cause: cause.into(),
                    });
                }
            }
        }
        chunk.rejected.sort_by_key(|rejected| rejected.number);
        self.commit.records = self.read;
        self.commit.last = last;
        self.commit.rejected = chunk.rejected;
        self.unfinished.write(&out)?;
        // Numbers, names and sentences have a form in JSON.
        let remark = serde_json::to_string(&self.commit).unwrap_or_default();
        self.unfinished.commit(&remark)?;
        self.rejected.append(&mut self.commit.rejected);
        Ok(())
    }

    fn finish(self, format: Format) -> Result<()> {
        if let Some(path) = &self.job.rejected {
            let mut text = Vec::new();
            write_row(&mut text, ["record", "name", "cause"].map(Some));
            for rejected in &self.rejected {
                let number = rejected.number.to_string();
                let fields = [Some(&number), rejected.name.as_ref(), Some(&rejected.cause)];
                write_row(&mut text, fields);
            }
            write_file(path, &text)?;
        }
        match format {
            Format::Csv => Ok(self.unfinished.finish()?),
            #[cfg(feature = "parquet")]
            Format::Parquet => {
                let (columns, output) = (&self.job.columns, self.unfinished.output().to_owned());
                self.unfinished
                    .finish_with(|rows, file| crate::parquet::convert(columns, rows, file, &output))
            }
        }
    }
}

/// What [`Unfinished`] remarks itself at the end.
const FINISHED: &str = "finished";

/// One result for each record.
fn results<R, F>(
    function: &mut impl FnMut(&[R]) -> Vec<Result<Vec<Row>, F>>,
    records: &[R],
) -> Result<Vec<Result<Vec<Row>, F>>> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let results = function(records);
    match results.len() == records.len() {
        true => Ok(results),
        false => Err(Error::ResultCount {
            expected: records.len(),
            found: results.len(),
        }),
    }
}
