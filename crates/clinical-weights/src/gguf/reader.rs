//! A cursor over the bytes of a GGUF file, and the values of its metadata. Nothing is copied while a file is read.

use std::ops::Range;
use std::path::Path;

use crate::Error;
use crate::limits::MAX_GGUF_KEY_BYTES;
use clinical_files::shown;

/// A position in a mapped file; reading past its end is an error.
pub(super) struct Reader<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8], at: usize) -> Self {
        Self { path, bytes, at }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], Error> {
        let end = usize::try_from(count)
            .ok()
            .and_then(|count| self.at.checked_add(count))
            .filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(Error::Truncated {
                path: self.path.to_owned(),
                expected: (self.at as u64).saturating_add(count),
                found: self.bytes.len() as u64,
            });
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Text after its length.
    pub(super) fn text(&mut self) -> Result<&'a str, Error> {
        let length = self.u64()?;
        let at = self.at;
        std::str::from_utf8(self.take(length)?).map_err(|_| Error::Gguf {
            path: self.path.to_owned(),
            detail: format!("the text at byte {at} is not UTF-8"),
        })
    }

    /// A name: text of a sensible length.
    pub(super) fn name(&mut self) -> Result<&'a str, Error> {
        let name = self.text()?;
        if name.len() > MAX_GGUF_KEY_BYTES {
            return Err(Error::TooMany {
                path: self.path.to_owned(),
                what: "bytes in a name",
                limit: MAX_GGUF_KEY_BYTES,
            });
        }
        Ok(name)
    }

    /// A value of the metadata, after its type.
    pub(super) fn value(&mut self, key: &str) -> Result<Value, Error> {
        let kind = self.u32()?;
        if kind != ARRAY {
            return self.scalar(kind, key);
        }
        let (kind, count) = (self.u32()?, self.u64()?);
        let start = self.at;
        match size(kind) {
            Some(size) => {
                self.take(count.saturating_mul(size))?;
            }
            None if kind == STRING => {
                // Each text has eight bytes of length at least, so a hostile count ends with the file.
                for _ in 0..count {
                    self.text()?;
                }
            }
            None => {
                return Err(Error::GgufMetadata {
                    key: shown(key),
                    problem: format!("is an array of the type {kind}, which is not read"),
                });
            }
        }
        Ok(Value::Array(Array {
            kind,
            count,
            range: start..self.at,
        }))
    }

    fn scalar(&mut self, kind: u32, key: &str) -> Result<Value, Error> {
        Ok(match kind {
            0 => Value::Uint(self.array::<1>()?[0].into()),
            1 => Value::Int(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Uint(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Uint(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Value::F32(f32::from_le_bytes(self.array()?)),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            STRING => {
                let text = self.text()?;
                Value::Text(self.at - text.len()..self.at)
            }
            10 => Value::Uint(self.u64()?),
            11 => Value::Int(i64::from_le_bytes(self.array()?)),
            12 => Value::F64(f64::from_le_bytes(self.array()?)),
            _ => {
                return Err(Error::GgufMetadata {
                    key: shown(key),
                    problem: format!("has the type {kind}, which is unknown"),
                });
            }
        })
    }
}

const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// The bytes of one element, `None` for those that have no fixed size.
fn size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// A value of the metadata. Texts and arrays are where they are in the file.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Uint(u64),
    Int(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Text(Range<usize>),
    Array(Array),
}

/// An array whose elements have been checked.
#[derive(Debug, Clone)]
pub(super) struct Array {
    kind: u32,
    count: u64,
    range: Range<usize>,
}

impl Array {
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The texts of an array of texts.
    pub(super) fn texts<'a>(
        &self,
        path: &'a Path,
        bytes: &'a [u8],
    ) -> Option<impl Iterator<Item = Result<&'a str, Error>>> {
        (self.kind == STRING).then(|| {
            let mut reader = Reader::new(path, bytes, self.range.start);
            (0..self.count).map(move |_| reader.text())
        })
    }

    /// The numbers of an array of numbers.
    pub(super) fn numbers(&self, bytes: &[u8]) -> Option<Vec<f64>> {
        let bytes = bytes.get(self.range.clone())?;
        Some(match self.kind {
            0 => bytes.iter().map(|byte| f64::from(*byte)).collect(),
            1 => bytes.iter().map(|byte| f64::from(*byte as i8)).collect(),
            4 => each(bytes).map(|b| u32::from_le_bytes(b).into()).collect(),
            5 => each(bytes).map(|b| i32::from_le_bytes(b).into()).collect(),
            6 => each(bytes).map(|b| f32::from_le_bytes(b).into()).collect(),
            10 => each(bytes).map(|b| u64::from_le_bytes(b) as f64).collect(),
            11 => each(bytes).map(|b| i64::from_le_bytes(b) as f64).collect(),
            12 => each(bytes).map(f64::from_le_bytes).collect(),
            _ => return None,
        })
    }
}

fn each<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().copied()
}
