//! One field of a record: its value, and a value in its style.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

use super::Quoting;

pub(super) const QUOTE: u8 = b'"';
pub(super) const BACKSLASH: u8 = b'\\';

/// A field by its position in the record's bytes, quotes included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Field {
    pub(super) raw: Range<usize>,
    pub(super) quoted: bool,
    /// Whether the value is not simply the bytes (between the quotes).
    pub(super) escaped: bool,
}

impl Field {
    pub(super) fn starting_at(at: usize) -> Self {
        Self {
            raw: at..at,
            ..Self::default()
        }
    }

    /// The field's value in the bytes of its record.
    pub(super) fn value<'r>(&self, record: &'r [u8], style: Style) -> Cow<'r, [u8]> {
        let raw = &record[self.raw.clone()];
        let inner = match self.quoted {
            true => raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default(),
            false => raw,
        };
        match self.escaped {
            false => Cow::Borrowed(inner),
            true if !self.quoted && inner == b"\\N" => Cow::Borrowed(b""),
            true => Cow::Owned(style.unescape(inner, self.quoted)),
        }
    }
}

/// How the fields of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) separator: u8,
    pub(super) quoting: Quoting,
}

impl Style {
    /// Without the first of two quotes and, in a file of backslashes, without one before what it protects.
    fn unescape(self, mut raw: &[u8], quoted: bool) -> Vec<u8> {
        let backslashes = self.quoting == Quoting::Backslash;
        let escape = if backslashes { BACKSLASH } else { QUOTE };
        let mut value = Vec::with_capacity(raw.len());
        while let Some(at) = memchr2(QUOTE, escape, raw) {
            let next = raw.get(at + 1).copied();
            let protected = match (raw[at], next) {
                (QUOTE, Some(QUOTE)) => quoted,
                (BACKSLASH, Some(byte)) => backslashes && self.is_special(byte),
                _ => false,
            };
            // The first byte of a pair goes, and the second is never the first of another.
            value.extend_from_slice(&raw[..at + usize::from(!protected)]);
            raw = &raw[at + 1..];
            if let (true, Some((&byte, rest))) = (protected, raw.split_first()) {
                value.push(byte);
                raw = rest;
            }
        }
        value.extend_from_slice(raw);
        value
    }

    /// Whether a byte means something in this file.
    fn is_special(self, byte: u8) -> bool {
        match byte {
            b'\n' | b'\r' => true,
            QUOTE => self.quoting != Quoting::None,
            BACKSLASH => self.quoting == Quoting::Backslash,
            other => other == self.separator,
        }
    }

    /// Appends a value: in quotes where `quoted` says so or it must be.
    pub(super) fn encode(self, value: &[u8], quoted: bool, out: &mut Vec<u8>) {
        let quoted = quoted || value.iter().any(|&byte| self.is_special(byte));
        if !quoted || self.quoting == Quoting::None {
            out.extend_from_slice(value);
            return;
        }
        out.push(QUOTE);
        for &byte in value {
            match (byte, self.quoting) {
                (QUOTE | BACKSLASH, Quoting::Backslash) => out.push(BACKSLASH),
                (QUOTE, _) => out.push(QUOTE),
                _ => {}
            }
            out.push(byte);
        }
        out.push(QUOTE);
    }
}

/// Appends a row as RFC 4180 has it, with commas and `\n`: fields in quotes where they must be. A field that is empty,
/// but not missing, is written `""` and can so be told from one that is (`None`).
///
/// ```
/// let mut out = Vec::new();
/// clinical_files::csv::write_row(&mut out, [Some("7"), None, Some(""), Some("a \"b\", c")]);
/// assert_eq!(out, b"7,,\"\",\"a \"\"b\"\", c\"\n");
/// ```
pub fn write_row<F: AsRef<[u8]>>(out: &mut Vec<u8>, fields: impl IntoIterator<Item = Option<F>>) {
    let style = Style {
        separator: b',',
        quoting: Quoting::Doubled,
    };
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if let Some(field) = field {
            let value = field.as_ref();
            style.encode(value, value.is_empty(), out);
        }
    }
    out.push(b'\n');
}
