//! The columns of the output, and rows as CSV.

use std::fmt;
use std::io::Read;

use clinical_files::csv::{Records, write_row};

use crate::{Error, Result, Row, Value};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Whole numbers.
    Integer,
    /// Numbers of 32 bits.
    Float,
    /// Numbers of 64 bits.
    Double,
    /// Yes or no.
    Flag,
    /// Text.
    Text,
    /// Vectors of so many values: a list in Parquet, as many columns in CSV.
    Vector(usize),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer => f.write_str("whole numbers"),
            Self::Float => f.write_str("numbers of 32 bits"),
            Self::Double => f.write_str("numbers of 64 bits"),
            Self::Flag => f.write_str("yes or no"),
            Self::Text => f.write_str("text"),
            Self::Vector(length) => write!(f, "vectors of {length} values"),
        }
    }
}

impl Kind {
    /// Columns of CSV.
    fn width(self) -> usize {
        match self {
            Self::Vector(length) => length,
            _ => 1,
        }
    }

    fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Vector(length), Value::Vector(values)) => values.len() == length,
            (_, Value::Missing)
            | (Self::Integer, Value::Integer(_))
            | (Self::Float, Value::Float(_))
            | (Self::Double, Value::Double(_))
            | (Self::Flag, Value::Flag(_))
            | (Self::Text, Value::Text(_)) => true,
            _ => false,
        }
    }

    /// A value that [`fields_of`] wrote.
    fn parse(self, fields: &[Option<String>]) -> Option<Value> {
        let [Some(first), ..] = fields else {
            return Some(Value::Missing);
        };
        Some(match self {
            Self::Integer => Value::Integer(first.parse().ok()?),
            Self::Float => Value::Float(first.parse().ok()?),
            Self::Double => Value::Double(first.parse().ok()?),
            Self::Flag => Value::Flag(first.parse().ok()?),
            Self::Text => Value::Text(first.clone()),
            Self::Vector(_) => {
                let values = fields.iter().map(|field| field.as_ref()?.parse().ok());
                Value::Vector(values.collect::<Option<_>>()?)
            }
        })
    }
}

/// The columns of a job's output, in order.
///
/// ```
/// use clinical_corpus::Columns;
///
/// let columns = Columns::new().text("id").vector("mean", 768);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    columns: Vec<(String, Kind)>,
}

impl Columns {
    /// No columns yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A column of [`Kind::Integer`].
    #[must_use]
    pub fn integer(self, name: &str) -> Self {
        self.with(name, Kind::Integer)
    }

    /// A column of [`Kind::Float`].
    #[must_use]
    pub fn float(self, name: &str) -> Self {
        self.with(name, Kind::Float)
    }

    /// A column of [`Kind::Double`].
    #[must_use]
    pub fn double(self, name: &str) -> Self {
        self.with(name, Kind::Double)
    }

    /// A column of [`Kind::Flag`].
    #[must_use]
    pub fn flag(self, name: &str) -> Self {
        self.with(name, Kind::Flag)
    }

    /// A column of [`Kind::Text`].
    #[must_use]
    pub fn text(self, name: &str) -> Self {
        self.with(name, Kind::Text)
    }

    /// A column of [`Kind::Vector`]; in CSV `name_0`, `name_1` and so on.
    #[must_use]
    pub fn vector(self, name: &str, values: usize) -> Self {
        self.with(name, Kind::Vector(values))
    }

    /// One more column.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Kind) -> Self {
        self.columns.push((name.to_owned(), kind));
        self
    }

    /// Names and kinds.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.columns
            .iter()
            .map(|(name, kind)| (name.as_str(), *kind))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let fault = |column: &str| {
            Err(Error::Columns {
                column: column.to_owned(),
            })
        };
        if self.columns.is_empty() {
            return fault("a job without columns");
        }
        for (at, (name, kind)) in self.iter().enumerate() {
            let twice = self.columns[..at].iter().any(|(other, _)| other == name);
            if name.is_empty() || twice || kind == Kind::Vector(0) {
                return fault(name);
            }
        }
        Ok(())
    }

    /// The names of the columns of CSV.
    pub(crate) fn header(&self) -> Vec<String> {
        let names = |(name, kind): (&str, Kind)| match kind {
            Kind::Vector(length) => (0..length).map(|at| format!("{name}_{at}")).collect(),
            _ => vec![name.to_owned()],
        };
        self.iter().flat_map(names).collect()
    }

    /// Appends a row of the record of this number as CSV.
    pub(crate) fn write(&self, number: u64, row: &Row, out: &mut Vec<u8>) -> Result<()> {
        if row.len() != self.columns.len() {
            return Err(Error::RowLength {
                number,
                found: row.len(),
                expected: self.columns.len(),
            });
        }
        let mut fields = Vec::with_capacity(row.len());
        for ((name, kind), value) in self.iter().zip(row) {
            if !kind.holds(value) {
                return Err(Error::ValueKind {
                    number,
                    column: name.to_owned(),
                    kind: kind.to_string(),
                });
            }
            fields_of(kind, value, &mut fields);
        }
        write_row(out, fields);
        Ok(())
    }

    /// The next row of CSV that [`write`](Self::write) wrote. `None` at the end, and for what is no such row.
    pub(crate) fn read<R: Read>(&self, records: &mut Records<R>) -> Result<Option<Row>> {
        if !records.next_record()? {
            return Ok(None);
        }
        let mut at = 0;
        let mut row = Vec::with_capacity(self.columns.len());
        for (_, kind) in self.iter() {
            let mut fields = Vec::with_capacity(kind.width());
            for index in at..at + kind.width() {
                let text = records.text(index)?;
                let missing = text.is_empty() && !records.is_quoted(index);
                fields.push((!missing).then(|| text.into_owned()));
            }
            at += kind.width();
            match kind.parse(&fields) {
                Some(value) => row.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(row))
    }
}

fn fields_of(kind: Kind, value: &Value, fields: &mut Vec<Option<String>>) {
    match value {
        Value::Missing => fields.extend(std::iter::repeat_n(None, kind.width())),
        Value::Integer(value) => fields.push(Some(value.to_string())),
        Value::Float(value) => fields.push(Some(value.to_string())),
        Value::Double(value) => fields.push(Some(value.to_string())),
        Value::Flag(value) => fields.push(Some(value.to_string())),
        Value::Text(value) => fields.push(Some(value.clone())),
        Value::Vector(values) => fields.extend(values.iter().map(|value| Some(value.to_string()))),
    }
}
