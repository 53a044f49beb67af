//! SentencePiece's normalizer: rewrites by rules, turns blanks into `▁`, removes extra blanks, puts one in front.
//!
//! A port of `Normalizer::Normalize` of SentencePiece 0.2.3, with the map from normalized to original bytes.

use super::model::{PieceKind, SentencePieceModel};
use crate::error::{Error, Result};
use crate::limits::MAX_NORMALIZER_GROWTH;
use crate::trie::ByteTrie;

/// Normalized text; `map[i]` is the original byte that normalized byte `i` came from.
#[derive(Debug, Default)]
pub(crate) struct Normalized {
    pub(crate) text: String,
    /// `text.len() + 1` offsets.
    pub(crate) map: Vec<u32>,
    /// Bytes of the blank that was put in front and stands for nothing.
    pub(crate) dummy: usize,
}

/// Finds user-defined pieces in text: they are never rewritten and never cut.
#[derive(Debug, Clone)]
pub(crate) struct Matcher(Option<ByteTrie>);

impl Matcher {
    pub(crate) fn new(model: &SentencePieceModel) -> Self {
        let mut own = model
            .pieces
            .iter()
            .enumerate()
            .filter(|(_, p)| p.kind == PieceKind::UserDefined)
            .peekable();
        Self(
            own.peek()
                .is_some()
                .then(|| ByteTrie::new(own.map(|(i, p)| (p.text.as_bytes(), i as u32)))),
        )
    }

    /// Length of the longest user-defined piece that `text` begins with.
    #[inline]
    pub(crate) fn longest(&self, text: &str) -> Option<usize> {
        self.0.as_ref()?.longest_prefix(text.as_bytes())
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// What the text begins with, after the rules: the new text and how many bytes it stands for.
#[inline]
fn prefix<'t>(model: &'t SentencePieceModel, matcher: &Matcher, text: &'t str) -> (&'t str, usize) {
    if let Some(length) = matcher.longest(text) {
        return (&text[..length], length);
    }
    if let Some((length, new)) = model.charsmap.as_ref().and_then(|map| map.longest(text)) {
        return (new, length);
    }
    let length = text.chars().next().map_or(0, char::len_utf8);
    (&text[..length], length)
}

/// Normalizes one text. `add_dummy_prefix` takes the place of the model's own switch.
pub(crate) fn normalize(
    model: &SentencePieceModel,
    matcher: &Matcher,
    text: &str,
    add_dummy_prefix: bool,
    out: &mut Normalized,
) -> Result<()> {
    out.text.clear();
    out.map.clear();
    out.dummy = 0;
    let space = if model.escape_whitespaces { "▁" } else { " " };
    let mut rest = text;
    if model.remove_extra_whitespaces {
        while !rest.is_empty() {
            let (new, length) = prefix(model, matcher, rest);
            if new != " " {
                break;
            }
            rest = &rest[length..];
        }
    }
    if rest.is_empty() {
        // Nothing but blanks gives nothing at all, not even the blank in front.
        out.map.push(0);
        return Ok(());
    }
    let limit = text
        .len()
        .saturating_mul(MAX_NORMALIZER_GROWTH)
        .saturating_add(64);
    out.text.reserve(rest.len() + rest.len() / 2);
    out.map.reserve(rest.len() + rest.len() / 2);

    let mut consumed = text.len() - rest.len();
    if !model.whitespace_suffix && add_dummy_prefix {
        out.push(space, consumed);
        out.dummy = space.len();
    }
    if model.charsmap.is_none() && matcher.is_empty() && !model.remove_extra_whitespaces {
        out.push_plain(rest, consumed, space);
        consumed = text.len();
        rest = "";
    }
    let mut after_space = model.remove_extra_whitespaces;
    while !rest.is_empty() {
        let (new, length) = prefix(model, matcher, rest);
        let new = if after_space {
            new.trim_start_matches(' ')
        } else {
            new
        };
        if !new.is_empty() {
            for (i, part) in new.split(' ').enumerate() {
                if i > 0 {
                    out.push(space, consumed);
                }
                out.push(part, consumed);
            }
            after_space = new.ends_with(' ');
        }
        consumed += length;
        rest = &rest[length..];
        if !model.remove_extra_whitespaces {
            after_space = false;
        }
        if out.text.len() > limit {
            return Err(Error::NormalizerGrowth {
                limit: MAX_NORMALIZER_GROWTH,
            });
        }
    }
    if model.remove_extra_whitespaces {
        while out.text.ends_with(space) {
            let length = out.text.len() - space.len();
            consumed = out.map[length] as usize;
            out.text.truncate(length);
            out.map.truncate(length);
        }
    }
    if model.whitespace_suffix && add_dummy_prefix {
        out.push(space, consumed);
    }
    out.map.push(consumed as u32);
    Ok(())
}

impl Normalized {
    /// The original bytes of a range of the normalized text. Of the letters that a rule makes of one letter each covers
    /// all of it.
    pub(crate) fn original(&self, start: usize, end: usize) -> (u32, u32) {
        let mut after = end;
        if end > self.dummy.max(start) {
            while after < self.text.len() && self.map[after] == self.map[end - 1] {
                after += 1;
            }
        }
        (self.map[start], self.map[after])
    }

    #[inline]
    fn push(&mut self, text: &str, origin: usize) {
        self.text.push_str(text);
        self.map
            .extend(std::iter::repeat_n(origin as u32, text.len()));
    }

    /// Text without rules: only blanks change. The bytes of a character point to its first byte, as above.
    fn push_plain(&mut self, text: &str, origin: usize, space: &str) {
        let mut at = origin;
        for c in text.chars() {
            if c == ' ' {
                self.push(space, at);
            } else {
                self.push(c.encode_utf8(&mut [0; 4]), at);
            }
            at += c.len_utf8();
        }
    }
}
