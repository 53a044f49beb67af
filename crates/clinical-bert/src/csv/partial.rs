//! The output of a run that is not complete yet.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{csv_error, file_error};
use crate::Error;

/// The unfinished output.
pub(super) struct Partial {
    path: PathBuf,
    out: ::csv::Writer<BufWriter<File>>,
    /// Rows that were there already, and the last of them.
    pub(super) rows: u64,
    pub(super) last: LastRow,
}

/// A row that an earlier run wrote.
#[derive(Debug, Default)]
pub(super) struct LastRow {
    name: String,
    /// Empty if one of the values is no number.
    vector: Vec<f32>,
}

impl LastRow {
    /// How far the vector may lie from one that is made again alone, as a part of its length: what the order of additions
    /// in a batch changes, and less than what another precision does.
    const TOLERANCE: f32 = 1e-4;

    fn read(record: &::csv::ByteRecord) -> Self {
        let mut fields = record.iter().map(String::from_utf8_lossy);
        Self {
            name: fields.next().unwrap_or_default().into_owned(),
            vector: fields
                .map(|value| value.parse())
                .collect::<Result<_, _>>()
                .unwrap_or_default(),
        }
    }

    /// Whether this run would have written it.
    pub(super) fn is(&self, name: &str, vector: &[f32]) -> bool {
        let square = |sum: f32, value: f32| sum + value * value;
        let length = vector.iter().copied().fold(0.0, square).sqrt();
        let pairs = self.vector.iter().zip(vector);
        let distance = pairs.map(|(old, new)| old - new).fold(0.0, square).sqrt();
        self.name == name
            && self.vector.len() == vector.len()
            && distance <= Self::TOLERANCE * length
    }
}

impl Partial {
    pub(super) fn open(output: &Path, header: &[String], chunk: usize) -> Result<Self, Error> {
        let mut path = output.as_os_str().to_owned();
        path.push(".partial");
        let path = PathBuf::from(path);
        let named = path.clone();
        let error = file_error(&named);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(&error)?;
        let Kept { end, rows, last } = complete_chunks(&mut file, header, chunk as u64, &path)?;
        file.set_len(end).map_err(&error)?;
        file.seek(SeekFrom::End(0)).map_err(&error)?;
        let mut out = ::csv::Writer::from_writer(BufWriter::new(file));
        if end == 0 {
            out.write_record(header).map_err(csv_error(&path))?;
        }
        Ok(Self {
            path,
            out,
            rows,
            last,
        })
    }

    pub(super) fn write(&mut self, names: &[String], vectors: &[Vec<f32>]) -> Result<(), Error> {
        for (name, vector) in names.iter().zip(vectors) {
            let values = vector.iter().map(f32::to_string);
            self.out
                .write_record(std::iter::once(name.clone()).chain(values))
                .map_err(csv_error(&self.path))?;
        }
        self.out.flush().map_err(file_error(&self.path))
    }

    /// Puts the complete file in its place, converted if its name asks for that.
    pub(super) fn finish(self, output: &Path, format: super::Format) -> Result<(), Error> {
        let error = file_error(&self.path);
        let buffer = self
            .out
            .into_inner()
            .map_err(|failed| error(failed.into_error()))?;
        let file = buffer
            .into_inner()
            .map_err(|failed| error(failed.into_error()))?;
        file.sync_all().map_err(&error)?;
        drop(file);
        match format {
            super::Format::Csv => fs::rename(&self.path, output).map_err(file_error(output)),
            #[cfg(feature = "parquet")]
            super::Format::Parquet => {
                super::parquet::convert(&self.path, output)?;
                fs::remove_file(&self.path).map_err(file_error(&self.path))
            }
        }
    }

    pub(super) fn other(&self) -> Error {
        Error::OtherRun {
            path: self.path.clone(),
        }
    }
}

/// Where the complete chunks of an unfinished file end.
#[derive(Debug, Default)]
struct Kept {
    /// Byte behind their last row.
    end: u64,
    rows: u64,
    last: LastRow,
}

/// The complete chunks of an unfinished file. A chunk that was begun is made again as a whole: in a batch of other rows
/// the last digits of a vector may differ, and a run that was interrupted must give the file of one that was not.
fn complete_chunks(
    file: &mut File,
    header: &[String],
    chunk: u64,
    path: &Path,
) -> Result<Kept, Error> {
    let length = file.metadata().map_err(file_error(path))?.len();
    let mut rows = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(BufReader::new(&mut *file));
    let mut record = ::csv::ByteRecord::new();
    // The end of the last two chunks: a row that was cut off has too few fields, or no line break behind it.
    let (mut last, mut before) = (None, None);
    let mut count = 0u64;
    while rows.read_byte_record(&mut record).unwrap_or(false) {
        if count == 0 && record.iter().ne(header.iter().map(String::as_bytes)) {
            // A header that was cut off is no other run.
            if length <= header.join(",").len() as u64 {
                return Ok(Kept::default());
            }
            return Err(Error::OtherRun {
                path: path.to_owned(),
            });
        }
        if count.is_multiple_of(chunk) {
            before = last.take();
            last = Some(Kept {
                end: rows.position().byte(),
                rows: count,
                last: LastRow::read(&record),
            });
        }
        count += 1;
    }
    drop(rows);
    for kept in [last, before].into_iter().flatten() {
        let mut byte = [0];
        file.seek(SeekFrom::Start(kept.end.saturating_sub(1)))
            .and_then(|_| file.read(&mut byte))
            .map_err(file_error(path))?;
        if byte == *b"\n" {
            return Ok(kept);
        }
    }
    Ok(Kept::default())
}
