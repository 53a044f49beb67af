//! Converting the notes of a CSV file, such as `NOTEEVENTS.csv` or `discharge.csv`, as a stream.
//!
//! One row is held at a time, so memory does not grow with the file. Only the notes that hold tags are
//! written anew: every other byte of the file, quotes, line ends and blank lines included, is copied as
//! it is.
//!
//! ```
//! use clinical_deid::Normalizer;
//! use clinical_deid::csv::{Options, convert};
//!
//! let input = "ROW_ID,\"TEXT\"\r\n1,\"Seen by\n[**First Name 4**], \"\"well\"\"\"\r\n";
//! let mut output = Vec::new();
//! let summary =
//!     convert(input.as_bytes(), &mut output, &Normalizer::mimic_iii(), &Options::new("TEXT"), |_| ())?;
//! assert_eq!(summary.tags, 1);
//! assert_eq!(output, b"ROW_ID,\"TEXT\"\r\n1,\"Seen by\n [Name] , \"\"well\"\"\"\r\n");
//! # Ok::<(), clinical_deid::Error>(())
//! ```

mod annotations;

use std::fmt;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

pub use annotations::Annotations;
use clinical_files::csv::{CsvOptions, Records, Step, write_row};
use clinical_files::{RowAt, refuse_same_file, replace_file};

use crate::{Error, Normalizer, Place, Tag};

/// Size of the write buffers.
const BUFFER_BYTES: usize = 256 << 10;

/// How to convert a CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Name of the column that holds the notes: `TEXT` in MIMIC-III, `text` in MIMIC-IV. Case counts;
    /// the first column of that name is taken.
    pub column: String,
    /// How the file is written. What is read in another encoding is written as UTF-8.
    pub csv: CsvOptions,
    /// The entity types of MIMIC-IV removals, found by the column `note_id`. `None`, the default, as for notes
    /// that they do not name: every removal becomes `[MISC]`. (The published script leaves such notes out.)
    pub annotations: Option<Annotations>,
    /// Where [`convert_file`] writes the rows that cannot be converted, as CSV with the columns `row`, `line`, `cause`
    /// and `record`: the other rows are converted all the same. `None`, the default: the first such row ends the run.
    pub rejected: Option<PathBuf>,
}

impl Options {
    /// Converts the column of this name, with the defaults for the rest.
    pub fn new(column: impl Into<String>) -> Self {
        Self {
            column: column.into(),
            csv: CsvOptions::new(),
            annotations: None,
            rejected: None,
        }
    }
}

/// What a conversion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Rows, without the header and without those that were rejected.
    pub rows: u64,
    /// Tags that were replaced.
    pub tags: u64,
    /// How many of them were kept or written as `[MISC]`: the unknown ones, and in MIMIC-IV those without
    /// an annotation.
    pub untyped: u64,
    /// Beginnings of tags (`[**`) that stay, because the published expression does not find them: tags over a line end,
    /// or without an end. What stands in them reaches a model.
    pub unclosed: u64,
    /// Rows that were rejected.
    pub rejected: u64,
}

/// A row that was not converted. `Debug` shows where it is and why, not what is in it.
#[non_exhaustive]
pub struct Rejected<'r> {
    /// Where it is in the input.
    pub at: RowAt,
    /// Why.
    pub cause: &'r Error,
    /// Its bytes as they are, line end included.
    pub record: &'r [u8],
}

impl fmt::Debug for Rejected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("at", &self.at)
            .field("cause", self.cause)
            .finish_non_exhaustive()
    }
}

/// Converts the notes of `input` and writes the file to `output`.
///
/// `progress` is called after each row with the number of bytes read so far. Both ends are buffered
/// here; `output` is flushed at the end.
///
/// # Errors
///
/// Those of [`Normalizer::normalize`], naming the row, and those of reading CSV, [`Error::Files`]. What
/// was written until then stays written: use [`convert_file`] where that matters.
pub fn convert(
    input: impl Read,
    output: impl Write,
    normalizer: &Normalizer,
    options: &Options,
    progress: impl FnMut(u64),
) -> Result<Summary, Error> {
    convert_or(input, output, normalizer, options, progress, |_| Ok(false))
}

/// [`convert`] that gives each row which cannot be converted to `rejected`, and goes on where that returns `true`: a
/// note that is not text, one with an unknown tag, a row with a column too many.
///
/// # Errors
///
/// Those of [`convert`]. What breaks the order of quotes ends the reading whatever `rejected` says, since nobody knows
/// then where the next row begins.
pub fn convert_or(
    input: impl Read,
    output: impl Write,
    normalizer: &Normalizer,
    options: &Options,
    mut progress: impl FnMut(u64),
    mut rejected: impl FnMut(&Rejected<'_>) -> Result<bool, Error>,
) -> Result<Summary, Error> {
    let write_error = |cause| clinical_files::Error::Write {
        path: "the output".into(),
        cause,
    };
    if options.annotations.is_some() && !normalizer.is_mimic_iv() {
        return Err(Error::TypesForMimicIii);
    }
    let mut output = BufWriter::with_capacity(BUFFER_BYTES, output);
    let mut records = Records::new(input, &options.csv)?;
    let converter = Converter {
        header: Header::find(&records, options)?,
        normalizer,
        annotations: options.annotations.as_ref(),
    };
    output.write_all(records.preamble()).map_err(write_error)?;

    let mut summary = Summary::default();
    let mut encoded = Vec::new();
    loop {
        match records.read()? {
            Step::End => break,
            Step::BlankLine => output.write_all(records.raw()).map_err(write_error)?,
            Step::Record => {
                encoded.clear();
                match converter.row(&records, &mut summary, &mut encoded) {
                    Ok(()) => output.write_all(&encoded).map_err(write_error)?,
                    Err(cause) => {
                        let row = Rejected {
                            at: records.at(),
                            cause: &cause,
                            record: records.raw(),
                        };
                        if !rejected(&row)? {
                            return Err(cause);
                        }
                        summary.rejected += 1;
                    }
                }
                progress(records.bytes_read());
            }
        }
    }
    output.flush().map_err(write_error)?;
    Ok(summary)
}

/// Converts a file into another one, which appears only when all of it is written.
///
/// The new file is written beside its place under another name, then renamed. On an error the file that
/// `output` named before, if any, is as it was, and the unfinished one is removed; what a killed run left is removed by
/// the next one. The rejected rows appear with it.
///
/// # Errors
///
/// Those of [`convert`]; [`Error::Files`] names the path, and refuses an output that is the input: the notes as they
/// were would be lost.
pub fn convert_file(
    input: &Path,
    output: &Path,
    normalizer: &Normalizer,
    options: &Options,
    progress: impl FnMut(u64),
) -> Result<Summary, Error> {
    let inputs_and_outputs = [Some(input), Some(output), options.rejected.as_deref()];
    let named: Vec<_> = inputs_and_outputs.into_iter().flatten().collect();
    for (index, first) in named.iter().enumerate() {
        for other in &named[index + 1..] {
            refuse_same_file(first, other)?;
        }
    }
    let file = std::fs::File::open(input).map_err(|cause| clinical_files::Error::Read {
        path: input.to_owned(),
        cause,
    })?;
    let named = |error| match error {
        Error::Files(error) => Error::Files(error.with_input(input).with_output(output)),
        other => other,
    };
    let Some(rejected) = &options.rejected else {
        return replace_file(output, |unfinished| {
            convert(file, unfinished, normalizer, options, progress).map_err(named)
        });
    };
    replace_file(rejected, |rows| {
        let header = ["row", "line", "cause", "record"];
        let mut write = |fields: [&[u8]; 4]| {
            let mut line = Vec::new();
            write_row(&mut line, fields.map(Some));
            rows.write_all(&line)
                .map_err(|cause| clinical_files::Error::Write {
                    path: rejected.clone(),
                    cause,
                })
        };
        write(header.map(str::as_bytes))?;
        replace_file(output, |unfinished| {
            convert_or(file, unfinished, normalizer, options, progress, |row| {
                let (number, line) = (row.at.row.to_string(), row.at.line.to_string());
                let cause = row.cause.to_string();
                let record = row.record.strip_suffix(b"\n").unwrap_or(row.record);
                let record = record.strip_suffix(b"\r").unwrap_or(record);
                write([number.as_bytes(), line.as_bytes(), cause.as_bytes(), record])?;
                Ok(true)
            })
            .map_err(named)
        })
    })
}

/// Columns of the notes' file.
struct Header {
    notes: usize,
    /// Where notes are named, if there are annotations.
    names: Option<usize>,
}

impl Header {
    fn find<R: Read>(records: &Records<R>, options: &Options) -> Result<Self, Error> {
        let annotated = options.annotations.is_some();
        Ok(Self {
            notes: records.column(&options.column)?,
            names: annotated
                .then(|| records.column(annotations::NOTE))
                .transpose()?,
        })
    }
}

struct Converter<'a> {
    header: Header,
    normalizer: &'a Normalizer,
    annotations: Option<&'a Annotations>,
}

impl Converter<'_> {
    /// Appends the row with its note converted.
    fn row<R: Read>(
        &self,
        records: &Records<R>,
        summary: &mut Summary,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        records.check_width()?;
        let note = records.text(self.header.notes)?;
        let place = Place::Row(records.at().row);
        let normalized = match (self.annotations, self.header.names) {
            (Some(annotations), Some(name)) => {
                let types = annotations.of(&records.bytes(name));
                self.normalizer.mimic_iv_note(&note, &types, place)?
            }
            _ => self.normalizer.normalize_at(&note, place)?,
        };
        match normalized.spans.is_empty() {
            true => out.extend_from_slice(records.raw()),
            false => records.write_with(self.header.notes, &normalized.text, out),
        }
        summary.rows += 1;
        summary.unclosed += normalized.unclosed() as u64;
        for span in &normalized.spans {
            summary.tags += 1;
            summary.untyped += u64::from(matches!(span.tag, Tag::Misc | Tag::Unknown));
        }
        Ok(())
    }
}
