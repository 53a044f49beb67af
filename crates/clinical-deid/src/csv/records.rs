//! A CSV file as a stream of records whose bytes are kept, so that what is not changed can be copied.

use std::borrow::Cow;
use std::io::{self, BufRead, ErrorKind};
use std::ops::Range;

use memchr::{memchr, memchr3};

const DELIMITER: u8 = b',';
const QUOTE: u8 = b'"';

/// Reads records the way the usual CSV readers do: commas between fields, `\n`, `\r\n` or `\r` after a
/// record, quoted fields that may hold all of them, `""` for a quote inside.
///
/// As those readers do, it takes a quote inside an unquoted field, and what follows a closing quote, as
/// ordinary characters. Unlike them it refuses a file that ends inside a quoted field, and a record
/// above the limit: either is what an unclosed quote in a large file leads to.
pub(super) struct Records<R> {
    reader: R,
    limit: usize,
    raw: Vec<u8>,
    fields: Vec<Field>,
    consumed: u64,
}

/// A field by its place in the record's bytes, quotes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub raw: Range<usize>,
    quoted: bool,
    /// Whether the value is more than the bytes between the quotes.
    escaped: bool,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A record with at least one byte.
    Record,
    /// A line without a byte, which is no record; also the `\n` of a `\r\n`.
    BlankLine,
    /// The end of the input.
    End,
}

/// Why no record could be read.
#[derive(Debug)]
pub(super) enum Broken {
    Io(io::Error),
    TooLong,
    UnclosedQuote,
}

impl From<io::Error> for Broken {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    AfterQuote,
}

impl<R: BufRead> Records<R> {
    /// A record longer than `limit` bytes is refused.
    pub(super) fn new(reader: R, limit: usize) -> Self {
        Self {
            reader,
            limit,
            raw: Vec::new(),
            fields: Vec::new(),
            consumed: 0,
        }
    }

    /// The bytes of the record or blank line, its end of line included.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The fields of the record.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Bytes of the input read as records so far.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Reads the next record or blank line.
    pub(super) fn read(&mut self) -> Result<Step, Broken> {
        self.raw.clear();
        self.fields.clear();
        let mut state = State::FieldStart;
        let mut field = Field {
            raw: 0..0,
            quoted: false,
            escaped: false,
        };
        loop {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                chunk => chunk.map_err(Broken::Io)?,
            };
            if chunk.is_empty() {
                return self.end_of_input(state, field);
            }
            let base = self.raw.len();
            let mut at = 0;
            let mut done = false;
            while at < chunk.len() && !done {
                match state {
                    State::FieldStart if chunk[at] == QUOTE => {
                        field.quoted = true;
                        state = State::Quoted;
                        at += 1;
                    }
                    State::AfterQuote if chunk[at] == QUOTE => {
                        field.escaped = true;
                        state = State::Quoted;
                        at += 1;
                    }
                    State::Quoted => match memchr(QUOTE, &chunk[at..]) {
                        Some(more) => {
                            state = State::AfterQuote;
                            at += more + 1;
                        }
                        None => at = chunk.len(),
                    },
                    State::FieldStart | State::Plain | State::AfterQuote => {
                        let more = memchr3(DELIMITER, b'\n', b'\r', &chunk[at..]);
                        if state == State::AfterQuote && more != Some(0) {
                            field.escaped = true;
                        }
                        state = State::Plain;
                        at += more.unwrap_or(chunk.len() - at);
                        if more.is_some() {
                            let next = base + at + 1;
                            field.raw.end = base + at;
                            self.fields.push(field);
                            field = Field {
                                raw: next..next,
                                quoted: false,
                                escaped: false,
                            };
                            state = State::FieldStart;
                            done = chunk[at] != DELIMITER;
                            at += 1;
                        }
                    }
                }
            }
            self.raw.extend_from_slice(&chunk[..at]);
            self.reader.consume(at);
            self.consumed += at as u64;
            if self.raw.len() > self.limit {
                return Err(Broken::TooLong);
            }
            if done {
                return Ok(if self.raw.len() == 1 {
                    Step::BlankLine
                } else {
                    Step::Record
                });
            }
        }
    }

    fn end_of_input(&mut self, state: State, mut field: Field) -> Result<Step, Broken> {
        if self.raw.is_empty() {
            return Ok(Step::End);
        }
        if state == State::Quoted {
            return Err(Broken::UnclosedQuote);
        }
        field.raw.end = self.raw.len();
        self.fields.push(field);
        Ok(Step::Record)
    }
}

impl Field {
    /// The field's value in the bytes of its record.
    pub(super) fn value<'r>(&self, record: &'r [u8]) -> Cow<'r, [u8]> {
        let raw = &record[self.raw.clone()];
        match (self.quoted, self.escaped) {
            (false, _) => Cow::Borrowed(raw),
            (true, false) => Cow::Borrowed(raw.get(1..raw.len() - 1).unwrap_or_default()),
            (true, true) => Cow::Owned(unescape(&raw[1..])),
        }
    }

    /// Writes a new value in the field's own style: quoted if it was, or if it now has to be.
    pub(super) fn encode(&self, value: &str, out: &mut Vec<u8>) {
        let special = |byte| matches!(byte, DELIMITER | QUOTE | b'\n' | b'\r');
        if !self.quoted && !value.bytes().any(special) {
            out.extend_from_slice(value.as_bytes());
            return;
        }
        out.push(QUOTE);
        for (index, part) in value.split('"').enumerate() {
            if index > 0 {
                out.extend_from_slice(b"\"\"");
            }
            out.extend_from_slice(part.as_bytes());
        }
        out.push(QUOTE);
    }
}

/// The value of a quoted field, from behind its first quote.
fn unescape(mut raw: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(raw.len());
    while let Some(quote) = memchr(QUOTE, raw) {
        value.extend_from_slice(&raw[..quote]);
        raw = &raw[quote + 1..];
        match raw.split_first() {
            Some((&QUOTE, rest)) => {
                value.push(QUOTE);
                raw = rest;
            }
            // Closed: what follows is taken as it is.
            _ => break,
        }
    }
    value.extend_from_slice(raw);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn read_all(input: &[u8], buffer: usize) -> Result<Vec<Vec<Vec<u8>>>, Broken> {
        let mut records = Records::new(BufReader::with_capacity(buffer, input), 1 << 20);
        let (mut rows, mut copy) = (Vec::new(), Vec::new());
        loop {
            let step = records.read()?;
            copy.extend_from_slice(records.raw());
            match step {
                Step::End => break,
                Step::BlankLine => continue,
                Step::Record => {}
            }
            let row = records
                .fields()
                .iter()
                .map(|field| field.value(records.raw()).into_owned());
            rows.push(row.collect());
        }
        assert_eq!(
            copy, input,
            "every byte belongs to a record or a blank line"
        );
        assert_eq!(records.consumed(), input.len() as u64);
        Ok(rows)
    }

    fn reference(input: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let mut reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(input);
        reader
            .byte_records()
            .map(|row| {
                row.expect("bytes in memory")
                    .iter()
                    .map(<[u8]>::to_vec)
                    .collect()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn values_are_those_of_the_csv_crate(input in "(\"|\"|,|\n|\r|\r\n|a|é| ){0,40}", buffer in 1_usize..9) {
            match read_all(input.as_bytes(), buffer) {
                Ok(rows) => prop_assert_eq!(rows, reference(input.as_bytes())),
                Err(Broken::UnclosedQuote) => prop_assert!(input.contains('"')),
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }

        #[test]
        fn encoded_values_read_back(value in "(\"|,|\n|\r|a|é|[*]){1,20}", quoted: bool) {
            let field = Field { raw: 0..0, quoted, escaped: false };
            let mut out = b"x,".to_vec();
            field.encode(&value, &mut out);
            out.extend_from_slice(b",y\n");
            let row = [b"x".to_vec(), value.into_bytes(), b"y".to_vec()];
            prop_assert_eq!(read_all(&out, 3).expect("well formed"), [row]);
        }
    }

    #[test]
    fn unclosed_quotes_and_long_records_are_refused() {
        assert!(matches!(
            read_all(b"a,\"b\n", 64),
            Err(Broken::UnclosedQuote)
        ));
        assert!(matches!(read_all(b"\"", 64), Err(Broken::UnclosedQuote)));
        let mut records = Records::new(&b"aaaa\nbbbbb\n"[..], 5);
        assert_eq!(records.read().expect("five bytes"), Step::Record);
        assert!(matches!(records.read(), Err(Broken::TooLong)));
    }
}
