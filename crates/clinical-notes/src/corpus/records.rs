//! Records of a CSV file with named columns.

use std::io::{self, Read};

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};

use super::{MAX_RECORD, Timestamp};
use crate::{Error, Result};

/// Reads a file record by record into one buffer.
#[derive(Debug)]
pub(super) struct Records<R> {
    reader: Reader<Limited<R>>,
    headers: Vec<String>,
    record: ByteRecord,
    /// How many records were read.
    count: u64,
    done: bool,
}

/// A column of a file: its name, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    index: Option<usize>,
}

impl<R: Read> Records<R> {
    pub(super) fn new(source: R) -> Result<Self> {
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(Limited {
            source,
            left: MAX_RECORD,
        });
        let headers = match reader.byte_headers() {
            Ok(headers) => headers
                .iter()
                .map(|name| String::from_utf8_lossy(name).trim().to_owned())
                .collect(),
            Err(error) => return Err(read_error(error, 0)),
        };
        Ok(Self {
            reader,
            headers,
            record: ByteRecord::new(),
            count: 0,
            done: false,
        })
    }

    /// A column that may be missing. Case does not matter.
    pub(super) fn optional(&self, name: &'static str) -> Column {
        let index = self
            .headers
            .iter()
            .position(|header| header.eq_ignore_ascii_case(name));
        Column { name, index }
    }

    /// A column that must be there.
    pub(super) fn required(&self, name: &'static str) -> Result<Column> {
        let column = self.optional(name);
        match column.index {
            Some(_) => Ok(column),
            None => Err(Error::MissingColumn { column: name }),
        }
    }

    /// Reads the next record. After an error that cannot be skipped, there are no more.
    pub(super) fn advance(&mut self) -> Option<Result<()>> {
        if self.done {
            return None;
        }
        self.reader.get_mut().left = MAX_RECORD;
        match self.reader.read_byte_record(&mut self.record) {
            Ok(false) => {
                self.done = true;
                None
            }
            Ok(true) => {
                self.count += 1;
                let (expected, found) = (self.headers.len(), self.record.len());
                Some(match expected == found {
                    true => Ok(()),
                    false => Err(Error::FieldCount {
                        record: self.count,
                        expected,
                        found,
                    }),
                })
            }
            Err(error) => {
                self.done = true;
                Some(Err(read_error(error, self.count)))
            }
        }
    }

    /// The text of a column, empty when there is no such column.
    pub(super) fn text(&self, column: Column) -> Result<&str> {
        let field = column
            .index
            .and_then(|index| self.record.get(index))
            .unwrap_or_default();
        std::str::from_utf8(field).map_err(|_| Error::NotUtf8 {
            record: self.count,
            column: column.name,
        })
    }

    /// A whole number; empty is `None`. Data frames with gaps write `3` as `3.0`.
    pub(super) fn number(&self, column: Column) -> Result<Option<u64>> {
        let text = self.text(column)?.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let whole = text.strip_suffix(".0").unwrap_or(text);
        whole
            .parse()
            .map(Some)
            .map_err(|_| self.not_a_number(column))
    }

    /// A whole number that must be there.
    pub(super) fn id(&self, column: Column) -> Result<u64> {
        self.number(column)?
            .ok_or_else(|| self.not_a_number(column))
    }

    fn not_a_number(&self, column: Column) -> Error {
        Error::NotANumber {
            record: self.count,
            column: column.name,
        }
    }

    /// A time; empty is `None`.
    pub(super) fn time(&self, column: Column) -> Result<Option<Timestamp>> {
        let text = self.text(column)?.trim();
        if text.is_empty() {
            return Ok(None);
        }
        Timestamp::parse(text).map(Some).ok_or(Error::NotATime {
            record: self.count,
            column: column.name,
        })
    }
}

/// Refuses to read more than a record's share, so that a missing quote cannot fill the memory.
#[derive(Debug)]
struct Limited<R> {
    source: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the record is too large")]
struct TooLarge;

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.left = match self.left.checked_sub(read as u64) {
            Some(left) => left,
            None => return Err(io::Error::other(TooLarge)),
        };
        Ok(read)
    }
}

fn read_error(error: csv::Error, records: u64) -> Error {
    let source = match error.into_kind() {
        ErrorKind::Io(source) => source,
        kind => io::Error::new(io::ErrorKind::InvalidData, format!("{kind:?}")),
    };
    if source.get_ref().is_some_and(|inner| inner.is::<TooLarge>()) {
        return Error::RecordSize {
            record: records + 1,
            limit: MAX_RECORD,
        };
    }
    Error::Read { records, source }
}
