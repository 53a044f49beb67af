//! Text that was changed before tokenizing, with the way back to the original bytes.

use std::borrow::Cow;
use std::ops::Range;

/// Text and, for each of its bytes, the byte of the original that it came from.
#[derive(Debug, Clone)]
pub(crate) struct Aligned<'a> {
    text: Cow<'a, str>,
    /// `text.len() + 1` original offsets; `None` where text and original are the same.
    map: Option<Vec<u32>>,
}

impl<'a> Aligned<'a> {
    /// Text as it is.
    pub(crate) fn same(text: &'a str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            map: None,
        }
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The original bytes of a range of the text.
    pub(crate) fn original(&self, range: Range<usize>) -> Range<usize> {
        match &self.map {
            None => range,
            Some(map) => {
                let at = |i: usize| map.get(i).or(map.last()).map_or(0, |&o| o as usize);
                at(range.start)..at(range.end)
            }
        }
    }
}

/// Builds an [`Aligned`] text piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Aligner {
    text: String,
    map: Vec<u32>,
}

impl Aligner {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            map: Vec::with_capacity(bytes + 1),
        }
    }

    /// Adds text that stands for something else: each byte points to `origin`.
    pub(crate) fn push_from(&mut self, text: &str, origin: usize) {
        self.text.push_str(text);
        self.map
            .extend(std::iter::repeat_n(origin as u32, text.len()));
    }

    /// Adds one character that stands for something else.
    pub(crate) fn push_char_from(&mut self, c: char, origin: usize) {
        self.push_from(c.encode_utf8(&mut [0; 4]), origin);
    }

    /// Adds text that is in the original at `origin`.
    pub(crate) fn push_same(&mut self, text: &str, origin: usize) {
        self.text.push_str(text);
        self.map
            .extend((origin..origin + text.len()).map(|i| i as u32));
    }

    /// Ends the text; `end` is the end of the original.
    pub(crate) fn finish(mut self, end: usize) -> Aligned<'static> {
        self.map.push(end as u32);
        Aligned {
            text: Cow::Owned(self.text),
            map: Some(self.map),
        }
    }
}
