//! The normalization rules inside a SentencePiece model (`precompiled_charsmap`).
//!
//! Layout: a `u32` with the size of a double array in bytes, the double array (little-endian `u32` units, as the Darts
//! library writes it), then all replacements as text, each ended by NUL. The double array maps a prefix of the input to
//! the position of its replacement. A unit holds a label (low byte), an offset (upper bits), a leaf flag, or a value.

use crate::error::{Error, Result};
use crate::limits::MAX_CHARSMAP_RULE_BYTES;

/// Rules that rewrite the longest matching prefix.
#[derive(Debug, Clone)]
pub(crate) struct Charsmap {
    units: Vec<u32>,
    text: String,
}

/// SentencePiece looks at this many nested rules at one position.
const MAX_NESTED_RULES: usize = 32;

fn label(unit: u32) -> u32 {
    unit & ((1 << 31) | 0xff)
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}

fn has_leaf(unit: u32) -> bool {
    (unit >> 8) & 1 == 1
}

fn value(unit: u32) -> usize {
    (unit & 0x7fff_ffff) as usize
}

impl Charsmap {
    /// Reads and checks the rules, so that a later look-up cannot leave the array or the text.
    pub(crate) fn from_bytes(blob: &[u8]) -> Result<Self> {
        let broken = |what| Err(Error::Charsmap { what });
        let Some((size, rest)) = blob.split_first_chunk::<4>() else {
            return broken("they are cut off");
        };
        let size = u32::from_le_bytes(*size) as usize;
        if size >= rest.len() {
            return broken("the double array is cut off");
        }
        // Darts allots units in blocks of 256; then `position ^ byte` never leaves the array.
        if size < 1024 || !size.is_multiple_of(1024) {
            return broken("the double array is not made of whole blocks");
        }
        let (array, text) = rest.split_at(size);
        let Ok(text) = std::str::from_utf8(text) else {
            return broken("the replacements are not UTF-8");
        };
        if !text.ends_with('\0') {
            return broken("the last replacement has no end");
        }
        if text
            .split('\0')
            .any(|rule| rule.len() > MAX_CHARSMAP_RULE_BYTES)
        {
            return broken("a replacement is too long");
        }
        let units: Vec<u32> = array
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();

        let inside = |position: usize| position | 0xff < units.len();
        if label(units[0]) != 0
            || has_leaf(units[0])
            || offset(units[0]) == 0
            || !inside(offset(units[0]))
        {
            return broken("the double array has no root");
        }
        for (i, &unit) in units.iter().enumerate().skip(1) {
            if label(unit) <= 0xff {
                let next = i ^ offset(unit);
                if !inside(next) || (has_leaf(unit) && label(units[next]) <= 0xff) {
                    return broken("the double array points outside of itself");
                }
            } else if !text.is_char_boundary(value(unit)) || value(unit) >= text.len() {
                return broken("a rule points outside of the replacements");
            }
        }
        Ok(Self {
            units,
            text: text.to_owned(),
        })
    }

    /// The double array and the replacements.
    pub(crate) fn parts(&self) -> (&[u32], &str) {
        (&self.units, &self.text)
    }

    /// The rule for the longest prefix of `input` that has one: its length and its replacement.
    #[inline]
    pub(crate) fn longest(&self, input: &str) -> Option<(usize, &str)> {
        let bytes = input.as_bytes();
        let mut position = offset(self.units[0]);
        let mut found: Option<(usize, usize)> = None;
        let mut rules = 0;
        for (i, &byte) in bytes.iter().enumerate() {
            position ^= usize::from(byte);
            let unit = *self.units.get(position)?;
            if label(unit) != u32::from(byte) {
                break;
            }
            position ^= offset(unit);
            if has_leaf(unit) && rules < MAX_NESTED_RULES {
                rules += 1;
                found = Some((i + 1, value(*self.units.get(position)?)));
            }
        }
        let (length, start) = found?;
        if !input.is_char_boundary(length) {
            return None; // a rule that ends inside a character: no model has one
        }
        let rest = self.text.get(start..)?;
        Some((length, rest.split('\0').next().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(units: &[u32], text: &str) -> Vec<u8> {
        let mut out = ((units.len() * 4) as u32).to_le_bytes().to_vec();
        out.extend(units.iter().flat_map(|u| u.to_le_bytes()));
        out.extend(text.as_bytes());
        out
    }

    /// Root at 0 with offset 1; `a` at `1 ^ 97`, a leaf; its value in unit `96 ^ 97 ^ ...`.
    fn one_rule() -> Vec<u32> {
        let mut units = vec![0u32; 256];
        units[0] = 1 << 10;
        let at = 1 ^ 97;
        units[at] = 97 | (1 << 8) | (2 << 10);
        units[at ^ 2] = 1 << 31;
        units
    }

    fn refused(units: &[u32], text: &str) -> &'static str {
        match Charsmap::from_bytes(&blob(units, text)) {
            Err(Error::Charsmap { what }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rule_is_applied() {
        let map = Charsmap::from_bytes(&blob(&one_rule(), "bcd\0")).unwrap();
        assert_eq!(map.longest("ax"), Some((1, "bcd")));
        assert_eq!(map.longest("x"), None);
        assert_eq!(map.longest(""), None);
    }

    #[test]
    fn damaged_tables_are_refused() {
        assert!(matches!(
            Charsmap::from_bytes(&[]),
            Err(Error::Charsmap { .. })
        ));
        assert!(matches!(
            Charsmap::from_bytes(&[0, 0, 0, 255, 1]),
            Err(Error::Charsmap { .. })
        ));
        assert_eq!(
            refused(&one_rule()[..255], "b\0"),
            "the double array is not made of whole blocks"
        );
        assert_eq!(refused(&one_rule(), "b"), "the last replacement has no end");
        assert_eq!(refused(&[0; 256], "b\0"), "the double array has no root");
        assert_eq!(
            refused(&one_rule(), &format!("{}\0", "x".repeat(513))),
            "a replacement is too long"
        );
        let mut units = one_rule();
        units[5] = 400 << 10;
        assert_eq!(
            refused(&units, "b\0"),
            "the double array points outside of itself"
        );
        let mut units = one_rule();
        units[5] = (1 << 31) | 9;
        assert_eq!(
            refused(&units, "b\0"),
            "a rule points outside of the replacements"
        );
        units[5] = (1 << 31) | 1;
        assert_eq!(
            refused(&units, "é\0"),
            "a rule points outside of the replacements"
        );
    }
}
