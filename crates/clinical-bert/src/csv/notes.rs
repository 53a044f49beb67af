//! The notes of a CSV file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{FileOptions, csv_error, file_error};
use crate::Error;

/// The largest note that is read, in bytes: some thousand times the largest of MIMIC. A missing quote can make one note of
/// the rest of a file.
const MAX_NOTE: u64 = 64 << 20;

/// Reads a file note by note.
pub(super) struct Notes<'p> {
    path: &'p Path,
    reader: ::csv::Reader<Limited>,
    record: ::csv::StringRecord,
    text: usize,
    id: Option<usize>,
    count: u64,
}

impl<'p> Notes<'p> {
    pub(super) fn open(path: &'p Path, options: &FileOptions) -> Result<Self, Error> {
        let file = File::open(path).map_err(file_error(path))?;
        let mut reader = ::csv::Reader::from_reader(Limited {
            file,
            left: MAX_NOTE,
        });
        let headers = reader.headers().map_err(csv_error(path))?;
        if headers.is_empty() {
            return Err(Error::NoHeader {
                path: path.to_owned(),
            });
        }
        let place = |column: &str| {
            headers
                .iter()
                .position(|found| found == column)
                .ok_or_else(|| Error::NoColumn {
                    path: path.to_owned(),
                    column: column.to_owned(),
                })
        };
        Ok(Self {
            path,
            text: place(&options.column)?,
            id: options.id.as_deref().map(place).transpose()?,
            reader,
            record: ::csv::StringRecord::new(),
            count: 0,
        })
    }

    /// The name and the text of the next note.
    pub(super) fn next(&mut self) -> Result<Option<(String, String)>, Error> {
        self.reader.get_mut().left = MAX_NOTE;
        let read = self.reader.read_record(&mut self.record);
        if !read.map_err(csv_error(self.path))? {
            return Ok(None);
        }
        let field = |place| self.record.get(place).unwrap_or_default().to_owned();
        let name = self.id.map_or_else(|| self.count.to_string(), field);
        self.count += 1;
        Ok(Some((name, field(self.text))))
    }

    /// Bytes of the file that were read.
    pub(super) fn bytes(&self) -> u64 {
        self.reader.position().byte()
    }
}

/// Refuses to read more than a note's share.
struct Limited {
    file: File,
    left: u64,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            let message =
                format!("a note has more than {MAX_NOTE} bytes: look for a missing quote");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        Ok(read)
    }
}
