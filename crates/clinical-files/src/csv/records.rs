//! Records of a CSV file, whose bytes are kept so that what is not changed can be copied.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Chain, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use memchr::{memchr, memchr_iter, memchr2, memchr3};

use super::decode::Utf8;
use super::field::{BACKSLASH, Field, QUOTE, Style};
use super::start::{START_BYTES, mark_bytes};
use super::{CsvOptions, Quoting, Separator};
use crate::error::RowAt;
use crate::{Error, Result};

/// Size of the read buffer.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads the records of a CSV file one by one: `\n`, `\r\n` or `\r` after a record, quoted fields that may hold line
/// ends.
///
/// One record is held at a time. `Debug` shows where it is, not what is in it.
pub struct Records<R> {
    reader: BufReader<Utf8<Chain<Cursor<Vec<u8>>, R>>>,
    options: CsvOptions,
    style: Style,
    /// All bytes up to the end of the header.
    preamble: Vec<u8>,
    columns: Vec<String>,
    raw: Vec<u8>,
    fields: Vec<Field>,
    /// The current record, 0 for the header.
    row: u64,
    /// The line on which the current record begins, and the one after it.
    line: u64,
    next_line: u64,
    /// Bytes of the mark at the start, and those of all records so far.
    mark: u64,
    consumed: u64,
    /// A line end `\r` was read, so that `\n` belongs to it.
    after_return: bool,
    done: bool,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A record with at least one byte.
    Record,
    /// A line without a byte, which is no record; also the `\n` of a `\r\n`.
    BlankLine,
    /// The end of the input.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    AfterQuote,
    /// After a backslash, outside and inside quotes.
    Escape,
    QuotedEscape,
}

/// What a record's bytes broke.
enum Broken {
    TextAfterQuote,
    OddQuote,
}

impl Records<File> {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// Those of [`Records::new`]; [`Error::Read`] names the path.
    pub fn open(path: impl AsRef<Path>, options: &CsvOptions) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|cause| Error::Read {
            path: path.to_owned(),
            cause,
        })?;
        Self::new(file, options).map_err(|error| error.with_input(path))
    }
}

impl<R: Read> Records<R> {
    /// Reads the header. Reads are buffered here, the source needs no buffer.
    ///
    /// # Errors
    ///
    /// [`Error::NotCsv`], [`Error::WrongEncoding`], [`Error::NoHeader`], and those of [`read`](Self::read).
    pub fn new(mut source: R, options: &CsvOptions) -> Result<Self> {
        let mut start = Vec::with_capacity(START_BYTES);
        let mut first = source.by_ref().take(START_BYTES as u64);
        first.read_to_end(&mut start).map_err(read_error)?;
        let mark = mark_bytes(&start, options)?;
        let rest = start.split_off(mark);
        // A mark of UTF-8 is a byte of the file like others; those of UTF-16 have no meaning in UTF-8.
        let preamble = if mark == 3 { start } else { Vec::new() };
        let source = Utf8::new(Cursor::new(rest).chain(source), options.encoding());
        let mut records = Self {
            reader: BufReader::with_capacity(BUFFER_BYTES, source),
            options: options.clone(),
            style: Style {
                separator: options.separator().unwrap_or_default().byte(),
                quoting: options.quoting(),
            },
            mark: mark as u64,
            consumed: 0,
            preamble,
            columns: Vec::new(),
            raw: Vec::new(),
            fields: Vec::new(),
            row: 0,
            line: 1,
            next_line: 1,
            after_return: false,
            done: false,
        };
        records.read_header()?;
        Ok(records)
    }

    fn read_header(&mut self) -> Result<()> {
        loop {
            match self.step()? {
                Step::End => return Err(Error::NoHeader),
                Step::BlankLine => self.preamble.extend_from_slice(&self.raw),
                Step::Record => {
                    self.preamble.extend_from_slice(&self.raw);
                    let Some(separator) = spreadsheet_separator(&self.raw) else {
                        break;
                    };
                    // What the caller chose counts more.
                    let separator = self.options.separator().unwrap_or(separator);
                    self.style.separator = separator.byte();
                }
            }
        }
        let names = (0..self.fields.len()).map(|index| self.bytes(index));
        self.columns = names
            .map(|name| String::from_utf8_lossy(&name).into_owned())
            .collect();
        Ok(())
    }

    /// The names of the columns, as the header has them.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The bytes of the file up to the end of the header, in UTF-8.
    pub fn preamble(&self) -> &[u8] {
        &self.preamble
    }

    /// The index of the first column of this name, case counting.
    ///
    /// # Errors
    ///
    /// [`Error::NoColumn`]; [`Error::WrongSeparator`] where another one would find it.
    pub fn column(&self, name: &str) -> Result<usize> {
        let found = self.columns.iter().position(|column| column == name);
        found.ok_or_else(|| self.no_column(name))
    }

    /// The index of the first column of this name; neither case nor white space around it counts.
    pub fn column_in_any_case(&self, name: &str) -> Option<usize> {
        let same = |column: &String| column.trim().eq_ignore_ascii_case(name);
        self.columns.iter().position(same)
    }

    /// Why there is no such column.
    pub fn no_column(&self, name: &str) -> Error {
        if let Some((chosen, found)) = self.better_separator(name) {
            return Error::WrongSeparator { chosen, found };
        }
        // A file without a header has a note here, so no other name is shown.
        let similar = self.column_in_any_case(name);
        Error::NoColumn {
            column: crate::shown(name),
            columns: self.columns.len(),
            similar: similar.map(|index| crate::shown(self.columns[index].trim())),
        }
    }

    /// The separator that was used, and one that the header has instead, or that finds the column.
    fn better_separator(&self, name: &str) -> Option<(Separator, Separator)> {
        let by_byte = |byte| Separator::ALL.into_iter().find(|one| one.byte() == byte);
        let chosen = by_byte(self.style.separator)?;
        let header = String::from_utf8_lossy(self.preamble.trim_ascii_end());
        let header = header.rsplit(['\n', '\r']).next().unwrap_or_default();
        let finds = |separator: &Separator| {
            let mut names = header.split(char::from(separator.byte()));
            names.any(|found| {
                found
                    .trim_matches(['"', ' ', '\u{feff}'])
                    .eq_ignore_ascii_case(name)
            })
        };
        let others = || Separator::ALL.into_iter().filter(|other| *other != chosen);
        let has = |separator: &Separator| header.contains(char::from(separator.byte()));
        let single = self.columns.len() == 1;
        let splits = |other: &Separator| has(other) && (single || finds(other));
        let found = others()
            .find(|other| splits(other) && finds(other))
            .or_else(|| others().find(splits));
        found.map(|found| (chosen, found))
    }

    /// Reads the next record, blank lines passed over. `false` at the end.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read), and [`Error::RowWidth`], after which reading can go on.
    pub fn next_record(&mut self) -> Result<bool> {
        loop {
            match self.read()? {
                Step::End => return Ok(false),
                Step::BlankLine => {}
                Step::Record => return self.check_width().map(|()| true),
            }
        }
    }

    /// Reads the next record or blank line. After an error there are no more.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::TextAfterQuote`], [`Error::OddQuote`], [`Error::UnclosedQuote`],
    /// [`Error::RowTooLong`].
    pub fn read(&mut self) -> Result<Step> {
        if self.done {
            return Ok(Step::End);
        }
        self.row += 1;
        let step = self.step();
        if !matches!(step, Ok(Step::Record)) {
            self.row -= 1;
        }
        step
    }

    /// # Errors
    ///
    /// [`Error::RowWidth`] unless the record has as many fields as the header.
    pub fn check_width(&self) -> Result<()> {
        let (found, expected) = (self.fields.len(), self.columns.len());
        match found == expected {
            true => Ok(()),
            false => Err(Error::RowWidth {
                at: self.at(),
                found,
                expected,
            }),
        }
    }

    /// Where the current record is.
    pub fn at(&self) -> RowAt {
        RowAt {
            row: self.row,
            line: self.line,
        }
    }

    /// The bytes of the record or blank line in UTF-8, its line end included.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Fields of the record.
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// The value of a field; empty for one that is not there.
    pub fn bytes(&self, index: usize) -> Cow<'_, [u8]> {
        let field = self.fields.get(index);
        field.map_or(Cow::Borrowed(b""), |field| {
            field.value(&self.raw, self.style)
        })
    }

    /// The value of a field as text; empty for one that is not there.
    ///
    /// # Errors
    ///
    /// [`Error::NotText`].
    pub fn text(&self, index: usize) -> Result<Cow<'_, str>> {
        let offset = match self.bytes(index) {
            Cow::Borrowed(bytes) => match str::from_utf8(bytes) {
                Ok(text) => return Ok(Cow::Borrowed(text)),
                Err(error) => error.valid_up_to(),
            },
            Cow::Owned(bytes) => match String::from_utf8(bytes) {
                Ok(text) => return Ok(Cow::Owned(text)),
                Err(error) => error.utf8_error().valid_up_to(),
            },
        };
        Err(Error::NotText {
            at: self.at(),
            column: crate::shown(self.columns.get(index).map_or("", String::as_str)),
            encoding: self.options.encoding(),
            offset,
        })
    }

    /// Whether a field stands in quotes.
    pub fn is_quoted(&self, index: usize) -> bool {
        self.fields.get(index).is_some_and(|field| field.quoted)
    }

    /// Appends the record with another value for one field, which is quoted if it was or has to be. All other bytes
    /// stay.
    pub fn write_with(&self, index: usize, value: &str, out: &mut Vec<u8>) {
        let Some(field) = self.fields.get(index) else {
            return out.extend_from_slice(&self.raw);
        };
        out.extend_from_slice(&self.raw[..field.raw.start]);
        self.style.encode(value.as_bytes(), field.quoted, out);
        out.extend_from_slice(&self.raw[field.raw.end..]);
    }

    /// Bytes of the input that were read: as records, or, where they had to be decoded, all of them.
    pub fn bytes_read(&self) -> u64 {
        let decoded = self.reader.get_ref().source_bytes();
        self.mark + decoded.unwrap_or(self.consumed)
    }

    fn step(&mut self) -> Result<Step> {
        let step = self.scan();
        self.done = !matches!(step, Ok(Step::Record | Step::BlankLine));
        step
    }

    fn scan(&mut self) -> Result<Step> {
        self.raw.clear();
        self.fields.clear();
        self.line = self.next_line;
        let mut state = State::FieldStart;
        let mut field = Field::default();
        // Whether the field has no quotes around it and an odd number of them inside.
        let mut odd = false;
        loop {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                chunk => chunk.map_err(read_error)?,
            };
            if chunk.is_empty() {
                return self.end_of_input(state, odd, field);
            }
            let base = self.raw.len();
            let mut at = 0;
            let mut ended = false;
            let mut broken = None;
            while at < chunk.len() && !ended && broken.is_none() {
                let rest = &chunk[at..];
                match state {
                    State::FieldStart
                        if rest[0] == QUOTE && self.style.quoting != Quoting::None =>
                    {
                        field.quoted = true;
                        state = State::Quoted;
                        at += 1;
                    }
                    State::Quoted if self.style.quoting == Quoting::Backslash => {
                        let found = memchr2(QUOTE, BACKSLASH, rest);
                        state = match found.map(|more| rest[more]) {
                            Some(QUOTE) => State::AfterQuote,
                            Some(_) => State::QuotedEscape,
                            None => State::Quoted,
                        };
                        at += found.map_or(rest.len(), |more| more + 1);
                    }
                    State::Quoted => match memchr(QUOTE, rest) {
                        Some(more) => {
                            state = State::AfterQuote;
                            at += more + 1;
                        }
                        None => at = chunk.len(),
                    },
                    State::QuotedEscape | State::Escape => {
                        field.escaped = true;
                        state = match state {
                            State::Escape => State::Plain,
                            _ => State::Quoted,
                        };
                        at += 1;
                    }
                    State::AfterQuote if rest[0] == QUOTE => {
                        field.escaped = true;
                        state = State::Quoted;
                        at += 1;
                    }
                    State::FieldStart | State::Plain | State::AfterQuote => {
                        let end = memchr3(self.style.separator, b'\n', b'\r', rest);
                        let text = &rest[..end.unwrap_or(rest.len())];
                        if state == State::AfterQuote && !text.is_empty() {
                            broken = Some(Broken::TextAfterQuote);
                            continue;
                        }
                        if let Some(backslash) = self.style.backslash_in(text) {
                            odd ^= self.style.has_odd_quotes(&text[..backslash]);
                            state = State::Escape;
                            at += backslash + 1;
                            continue;
                        }
                        odd ^= self.style.has_odd_quotes(text);
                        state = match state {
                            State::AfterQuote => state,
                            _ => State::Plain,
                        };
                        at += text.len();
                        if odd && end.is_some() {
                            broken = Some(Broken::OddQuote);
                        } else if end.is_some() {
                            let next = base + at + 1;
                            field.raw.end = base + at;
                            self.fields.push(field);
                            field = Field::starting_at(next);
                            state = State::FieldStart;
                            ended = chunk[at] != self.style.separator;
                            at += 1;
                        }
                    }
                }
            }
            self.raw.extend_from_slice(&chunk[..at]);
            self.reader.consume(at);
            self.consumed += at as u64;
            if let Some(broken) = broken {
                return Err(self.broken(broken));
            }
            if self.raw.len() > self.options.max_row_bytes() {
                return Err(Error::RowTooLong {
                    at: self.at(),
                    limit: self.options.max_row_bytes(),
                });
            }
            if ended {
                return Ok(self.end_of_line());
            }
        }
    }

    /// Counts the lines of what was read.
    fn end_of_line(&mut self) -> Step {
        let belongs = self.after_return && self.raw == b"\n";
        self.after_return = self.raw.ends_with(b"\r");
        self.next_line += match belongs {
            true => 0,
            false => lines_in(&self.raw),
        };
        match self.raw.len() {
            1 => Step::BlankLine,
            _ => Step::Record,
        }
    }

    fn end_of_input(&mut self, state: State, odd: bool, mut field: Field) -> Result<Step> {
        if self.raw.is_empty() {
            return Ok(Step::End);
        }
        if matches!(state, State::Quoted | State::QuotedEscape) {
            return Err(Error::UnclosedQuote { at: self.at() });
        }
        if odd {
            return Err(self.broken(Broken::OddQuote));
        }
        field.raw.end = self.raw.len();
        self.fields.push(field);
        Ok(Step::Record)
    }

    fn broken(&self, broken: Broken) -> Error {
        let (at, line) = (self.at(), self.line + lines_in(&self.raw));
        match broken {
            Broken::OddQuote => Error::OddQuote { at, line },
            Broken::TextAfterQuote => Error::TextAfterQuote {
                at,
                line,
                backslash: self.raw.ends_with(b"\\\""),
            },
        }
    }
}

impl Style {
    /// The first backslash that takes the next character's meaning away.
    fn backslash_in(self, text: &[u8]) -> Option<usize> {
        match self.quoting {
            Quoting::Backslash => memchr(BACKSLASH, text),
            _ => None,
        }
    }

    /// Whether quotes are missing in the text of a field without quotes around it.
    fn has_odd_quotes(self, text: &[u8]) -> bool {
        self.quoting != Quoting::None && memchr_iter(QUOTE, text).count() % 2 == 1
    }
}

impl<R> fmt::Debug for Records<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("columns", &self.columns.len())
            .field("row", &self.row)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// Line ends in a text: `\n`, `\r\n`, or `\r` alone.
fn lines_in(text: &[u8]) -> u64 {
    let feeds = memchr_iter(b'\n', text).count();
    let returns = memchr_iter(b'\r', text).filter(|at| text.get(at + 1) != Some(&b'\n'));
    (feeds + returns.count()) as u64
}

/// The separator of a first line such as `sep=;`, which spreadsheets write and read.
fn spreadsheet_separator(line: &[u8]) -> Option<Separator> {
    let line = line.trim_ascii_end();
    // A tab is white space too.
    let line = if line == b"sep=" {
        &b"sep=\t"[..]
    } else {
        line
    };
    let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', byte] = *line else {
        return None;
    };
    Separator::ALL.into_iter().find(|one| one.byte() == byte)
}

fn read_error(cause: std::io::Error) -> Error {
    Error::Read {
        path: PathBuf::from("the input"),
        cause,
    }
}

#[cfg(test)]
mod tests;
