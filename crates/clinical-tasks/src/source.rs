//! A file as text, and its fields with where they stand.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use serde_json::Value;

use crate::error::{FieldAt, RowOf};
use crate::{Error, Result};

/// Largest file that is read, 512 MiB: some ten times the largest of these data sets.
pub const MAX_FILE_BYTES: u64 = 512 << 20;

/// Longest field that is read, 1 MiB: some ten times the longest note of MIMIC. A longer one mostly means that a quote
/// is missing and that the field holds many rows.
pub const MAX_FIELD_BYTES: usize = 1 << 20;

/// A file of text.
pub(crate) struct Source<'p> {
    path: &'p Path,
    text: String,
}

impl<'p> Source<'p> {
    /// Reads a file in UTF-8, with or without a byte order mark.
    pub(crate) fn read(path: &'p Path) -> Result<Self> {
        let mut bytes = clinical_files::read_file(path, MAX_FILE_BYTES)?;
        if let Some((found, remedy)) = other_format(&bytes) {
            let path = path.to_owned();
            return Err(Error::WrongFormat {
                path,
                found,
                remedy,
            });
        }
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line_start = valid
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            let line = valid.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
            Error::NotText {
                at: at(path, RowOf::Line(line), ""),
                offset: valid.len() - line_start,
            }
        })?;
        Ok(Self { path, text })
    }

    pub(crate) fn path(&self) -> &'p Path {
        self.path
    }

    /// The lines, with their numbers from 1 and without line ends.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u64, &str)> {
        let lines = self.text.split('\n');
        (1..).zip(lines.map(|line| line.strip_suffix('\r').unwrap_or(line)))
    }

    /// The whole file as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.text).map_err(|error| {
            let row = RowOf::Line(error.line() as u64);
            not_json(at(self.path, row, ""), &error)
        })
    }

    /// The lines that are not blank, each a JSON value (JSON Lines).
    pub(crate) fn json_lines(&self) -> impl Iterator<Item = Result<(RowOf, Value)>> {
        let lines = self.lines().filter(|(_, line)| !line.trim().is_empty());
        lines.map(|(number, line)| {
            let row = RowOf::Line(number);
            match serde_json::from_str(line) {
                Ok(value) => Ok((row, value)),
                Err(error) => Err(not_json(at(self.path, row, ""), &error)),
            }
        })
    }
}

/// Where a field stands.
pub(crate) fn at(path: &Path, row: RowOf, column: &str) -> FieldAt {
    FieldAt {
        file: path.to_owned(),
        row,
        column: column.to_owned(),
    }
}

fn not_json(at: FieldAt, error: &serde_json::Error) -> Error {
    let problem = match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends inside a value, so the file is cut off,",
        _ => "this is not JSON",
    };
    Error::NotJson {
        at,
        problem,
        column: error.column(),
    }
}

/// What the first bytes of a file say it is, where that is not text in UTF-8.
fn other_format(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let unpack = "unpack it first";
    let convert = "convert it to UTF-8 first";
    let known: [(&[u8], &str, &str); 7] = [
        (b"\x1f\x8b", "compressed with gzip", unpack),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd", unpack),
        (b"\xfd7zXZ", "compressed with xz", unpack),
        (b"BZh", "compressed with bzip2", unpack),
        (b"PK\x03\x04", "a zip archive or a spreadsheet", unpack),
        (b"\xff\xfe", "text in UTF-16", convert),
        (b"\xfe\xff", "text in UTF-16", convert),
    ];
    let found = known.iter().find(|(start, ..)| bytes.starts_with(start));
    if let Some(&(_, found, remedy)) = found {
        return Some((found, remedy));
    }
    let start = &bytes[..bytes.len().min(64)];
    start
        .contains(&0)
        .then_some(("binary, or text in UTF-16", convert))
}

/// A value of a JSON file and its path there.
pub(crate) struct Node<'v> {
    path: &'v Path,
    row: RowOf,
    name: String,
    value: &'v Value,
}

impl<'v> Node<'v> {
    pub(crate) fn new(path: &'v Path, row: RowOf, name: &str, value: &'v Value) -> Self {
        Self {
            path,
            row,
            name: name.to_owned(),
            value,
        }
    }

    pub(crate) fn at(&self) -> FieldAt {
        at(self.path, self.row, &self.name)
    }

    fn child(&self, name: String, value: &'v Value) -> Node<'v> {
        let name = match &*self.name {
            "" => name,
            own if name.starts_with('[') => format!("{own}{name}"),
            own => format!("{own}.{name}"),
        };
        Node {
            name,
            value,
            ..*self
        }
    }

    /// A field that may be missing, or null.
    pub(crate) fn optional(&self, name: &str) -> Result<Option<Node<'v>>> {
        let Value::Object(fields) = self.value else {
            return Err(self.not("a JSON object"));
        };
        let value = fields.get(name).filter(|value| !value.is_null());
        Ok(value.map(|value| self.child(name.to_owned(), value)))
    }

    /// A field that must be there.
    pub(crate) fn field(&self, name: &str) -> Result<Node<'v>> {
        self.optional(name)?.ok_or_else(|| Error::Missing {
            at: self.child(name.to_owned(), self.value).at(),
        })
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Result<Vec<Node<'v>>> {
        let items = self.value.as_array().ok_or_else(|| self.not("a list"))?;
        let items = items.iter().enumerate();
        Ok(items
            .map(|(index, value)| self.child(format!("[{index}]"), value))
            .collect())
    }

    /// A text of bounded length.
    pub(crate) fn text(&self) -> Result<&'v str> {
        let text = self.value.as_str().ok_or_else(|| self.not("a text"))?;
        bounded(text.len(), || self.at())?;
        Ok(text)
    }

    /// A text that says something.
    pub(crate) fn words(&self) -> Result<&'v str> {
        let text = self.text()?;
        match clinical_files::strip(text) {
            "" => Err(Error::Blank { at: self.at() }),
            _ => Ok(text),
        }
    }

    /// A name: a text, or a whole number.
    pub(crate) fn name(&self) -> Result<String> {
        match self.value {
            Value::Number(number) if number.is_u64() => Ok(number.to_string()),
            _ => self.words().map(str::to_owned),
        }
    }

    /// A whole number.
    pub(crate) fn count(&self) -> Result<usize> {
        let number = self
            .value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| self.not("a whole number"))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Result<bool> {
        self.value
            .as_bool()
            .ok_or_else(|| self.not("true or false"))
    }

    fn not(&self, expected: &'static str) -> Error {
        Error::WrongType {
            at: self.at(),
            expected,
        }
    }
}

/// Refuses a field that is too long.
pub(crate) fn bounded(bytes: usize, at: impl FnOnce() -> FieldAt) -> Result<()> {
    match bytes <= MAX_FIELD_BYTES {
        true => Ok(()),
        false => Err(Error::TooLong {
            at: at(),
            bytes,
            limit: MAX_FIELD_BYTES,
        }),
    }
}

/// Names that may stand once.
#[derive(Default)]
pub(crate) struct Once(HashMap<String, FieldAt>);

impl Once {
    pub(crate) fn add(&mut self, name: String, at: FieldAt) -> Result<()> {
        match self.0.entry(name) {
            Entry::Vacant(place) => {
                place.insert(at);
                Ok(())
            }
            Entry::Occupied(place) => Err(Error::Duplicate {
                at,
                first: Box::new(place.get().clone()),
            }),
        }
    }
}

/// Opens a CSV file with commas and quotes that are doubled, in UTF-8: what pandas writes.
pub(crate) fn open_csv(path: &Path) -> Result<clinical_files::csv::Records<std::fs::File>> {
    // Asked before opening: opening a named pipe would wait for a writer.
    if path.exists() && !path.is_file() {
        let path = path.to_owned();
        return Err(clinical_files::Error::NotAFile { path }.into());
    }
    let options = clinical_files::csv::CsvOptions::new();
    clinical_files::csv::Records::open(path, &options).map_err(|error| csv_error(path, error))
}

/// Names the file in an error about CSV that does not.
pub(crate) fn csv_error(path: &Path, source: clinical_files::Error) -> Error {
    match source {
        error @ (clinical_files::Error::Read { .. } | clinical_files::Error::NotAFile { .. }) => {
            Error::File(error.with_input(path))
        }
        source => Error::Csv {
            path: path.to_owned(),
            source,
        },
    }
}
