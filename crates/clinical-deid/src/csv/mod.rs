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
mod records;
mod replace;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

pub use annotations::Annotations;
use records::{Broken, Records, Step};
pub use replace::replace_file;

use crate::{Error, Normalizer, Place, Tag};

/// Default of [`Options::max_row_bytes`]: 64 MiB, some hundred times the longest MIMIC note, and small
/// enough to find an unclosed quote before it fills the memory.
pub const MAX_ROW_BYTES: usize = 64 << 20;

/// Size of the read and write buffers.
const BUFFER_BYTES: usize = 256 << 10;

/// How to convert a CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Name of the column that holds the notes: `TEXT` in MIMIC-III, `text` in MIMIC-IV. Case counts;
    /// the first column of that name is taken.
    pub column: String,
    /// The longest row that is read, in bytes. Default [`MAX_ROW_BYTES`].
    pub max_row_bytes: usize,
    /// The entity types of MIMIC-IV removals, found by the column `note_id`. `None`, the default, as for notes
    /// that they do not name: every removal becomes `[MISC]`. (The published script leaves such notes out.)
    pub annotations: Option<Annotations>,
}

impl Options {
    /// Converts the column of this name, with the defaults for the rest.
    pub fn new(column: impl Into<String>) -> Self {
        Self {
            column: column.into(),
            max_row_bytes: MAX_ROW_BYTES,
            annotations: None,
        }
    }
}

/// What a conversion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Rows, without the header.
    pub rows: u64,
    /// Tags that were replaced.
    pub tags: u64,
    /// How many of them were kept or written as `[MISC]`: the unknown ones, and in MIMIC-IV those without
    /// an annotation.
    pub untyped: u64,
}

/// Converts the notes of `input` and writes the file to `output`.
///
/// `progress` is called after each row with the number of bytes read so far. Both ends are buffered
/// here; `output` is flushed at the end.
///
/// # Errors
///
/// Those of [`Normalizer::normalize`], naming the row, and those of reading CSV, all of [`Error`]. What
/// was written until then stays written: use [`convert_file`] where that matters.
pub fn convert(
    input: impl Read,
    output: impl Write,
    normalizer: &Normalizer,
    options: &Options,
    mut progress: impl FnMut(u64),
) -> Result<Summary, Error> {
    let write_error = |cause| Error::Write {
        path: "the output".into(),
        cause,
    };
    if options.annotations.is_some() && !normalizer.is_mimic_iv() {
        return Err(Error::TypesForMimicIii);
    }

    let mut output = BufWriter::with_capacity(BUFFER_BYTES, output);
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let start = start_of(&mut input).map_err(|cause| broken(cause.into(), 0, 0))?;
    let (bom, start) = without_bom(&start)?;
    output.write_all(bom).map_err(write_error)?;
    let mut records = Records::new(start.chain(input), options.max_row_bytes);

    let mut summary = Summary::default();
    let mut header: Option<Header> = None;
    let mut encoded = Vec::new();
    loop {
        // The number of the row that is being read; 0 for the header.
        let row = header.as_ref().map_or(0, |_| summary.rows + 1);
        let step = records
            .read()
            .map_err(|cause| broken(cause, row, options.max_row_bytes))?;
        match (step, &header) {
            (Step::End, _) => break,
            (Step::BlankLine, _) => output.write_all(records.raw()).map_err(write_error)?,
            (Step::Record, None) => {
                header = Some(Header::find(&records, options)?);
                output.write_all(records.raw()).map_err(write_error)?;
            }
            (Step::Record, Some(header)) => {
                encoded.clear();
                let converter = Converter {
                    header,
                    normalizer,
                    annotations: options.annotations.as_ref(),
                };
                converter.row(&records, row, &mut summary, &mut encoded)?;
                output.write_all(&encoded).map_err(write_error)?;
                summary.rows = row;
                progress(bom.len() as u64 + records.consumed());
            }
        }
    }
    if header.is_none() {
        return Err(Error::NoHeader);
    }
    output.flush().map_err(write_error)?;
    Ok(summary)
}

/// Converts a file into another one, which appears only when all of it is written.
///
/// The new file is written beside its place under another name, then renamed. On an error the file that
/// `output` named before, if any, is as it was, and the unfinished one is removed. `input` and `output`
/// may be the same file.
///
/// # Errors
///
/// Those of [`convert`]; [`Error::Read`] and [`Error::Write`] name the path.
pub fn convert_file(
    input: &Path,
    output: &Path,
    normalizer: &Normalizer,
    options: &Options,
    progress: impl FnMut(u64),
) -> Result<Summary, Error> {
    let read_error = |cause| Error::Read {
        path: input.display().to_string(),
        cause,
    };
    let write_error = |cause| Error::Write {
        path: output.display().to_string(),
        cause,
    };

    let file = File::open(input).map_err(read_error)?;
    replace_file(output, |unfinished| {
        convert(file, unfinished, normalizer, options, progress).map_err(|error| match error {
            Error::Read { cause, .. } => read_error(cause),
            Error::Write { cause, .. } => write_error(cause),
            other => other,
        })
    })
}

/// Why reading stopped, at a row from 1, or 0 for the header.
fn broken(broken: Broken, row: u64, limit: usize) -> Error {
    match broken {
        Broken::Io(cause) => Error::Read {
            path: "the input".into(),
            cause,
        },
        Broken::TooLong => Error::RowTooLong { row, limit },
        Broken::UnclosedQuote => Error::UnclosedQuote { row },
    }
}

/// The first column of this name in a header.
fn column<R: BufRead>(header: &Records<R>, column: &str) -> Result<usize, Error> {
    let names: Vec<_> = header
        .fields()
        .iter()
        .map(|field| field.value(header.raw()))
        .collect();
    if let Some(found) = names.iter().position(|name| **name == *column.as_bytes()) {
        return Ok(found);
    }
    // A file without a header has a note here, so no other name is shown.
    let similar = names
        .iter()
        .find(|name| name.eq_ignore_ascii_case(column.as_bytes()))
        .map(|name| String::from_utf8_lossy(name).into_owned());
    Err(Error::NoColumn {
        column: column.to_owned(),
        columns: names.len(),
        similar,
    })
}

/// Columns of the notes' file.
struct Header {
    notes: usize,
    /// Where notes are named, if there are annotations.
    names: Option<usize>,
    columns: usize,
}

impl Header {
    fn find<R: BufRead>(records: &Records<R>, options: &Options) -> Result<Self, Error> {
        let annotated = options.annotations.is_some();
        Ok(Self {
            notes: column(records, &options.column)?,
            names: annotated
                .then(|| column(records, annotations::NOTE))
                .transpose()?,
            columns: records.fields().len(),
        })
    }
}

struct Converter<'a> {
    header: &'a Header,
    normalizer: &'a Normalizer,
    annotations: Option<&'a Annotations>,
}

impl Converter<'_> {
    /// Appends the row with its note converted.
    fn row<R: BufRead>(
        &self,
        records: &Records<R>,
        row: u64,
        summary: &mut Summary,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let (raw, fields) = (records.raw(), records.fields());
        if fields.len() != self.header.columns {
            return Err(Error::RowWidth {
                row,
                found: fields.len(),
                expected: self.header.columns,
            });
        }
        let field = &fields[self.header.notes];
        let value = field.value(raw);
        let note = str::from_utf8(&value).map_err(|error| Error::NotUtf8 {
            row,
            offset: error.valid_up_to(),
        })?;
        let place = Place::Row(row);
        let normalized = match (self.annotations, self.header.names) {
            (Some(annotations), Some(name)) => {
                let types = annotations.of(&fields[name].value(raw));
                self.normalizer.mimic_iv_note(note, &types, place)?
            }
            _ => self.normalizer.normalize_at(note, place)?,
        };
        if normalized.spans.is_empty() {
            out.extend_from_slice(raw);
            return Ok(());
        }
        out.extend_from_slice(&raw[..field.raw.start]);
        field.encode(&normalized.text, out);
        out.extend_from_slice(&raw[field.raw.end..]);
        for span in &normalized.spans {
            summary.tags += 1;
            summary.untyped += u64::from(matches!(span.tag, Tag::Misc | Tag::Unknown));
        }
        Ok(())
    }
}

/// The first four bytes, or all if there are fewer.
fn start_of(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(4);
    input.take(4).read_to_end(&mut start)?;
    Ok(start)
}

/// Splits a UTF-8 byte order mark from the first bytes of a file, and refuses what cannot be UTF-8 CSV.
fn without_bom(start: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (found, remedy) = match start {
        [0xEF, 0xBB, 0xBF, ..] => return Ok(start.split_at(3)),
        [0x1F, 0x8B, ..] => ("compressed with gzip", "unpack it with gunzip first"),
        [b'P', b'K', 3, 4] => (
            "a zip archive or a spreadsheet",
            "unpack or export it first",
        ),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => ("UTF-16 text", "convert it to UTF-8 first"),
        _ => return Ok(start.split_at(0)),
    };
    Err(Error::NotCsv { found, remedy })
}
