//! Texts of any length, of which only an end matters.
//!
//! A tokenizer takes a multiple of a text as memory, so texts above a limit are refused. Who wants a few thousand
//! tokens of the start or the end of a text needs not more than a part of it.

use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::inner::Inner;
use crate::limits::MAX_TEXT_BYTES;

/// Up to here a text is read as a whole without a thought.
pub(crate) const SHORT: usize = 64 << 10;

/// Bytes of a part for each token that is asked for. Tokens of notes have 3 to 5.
const BYTES_PER_TOKEN: usize = 32;

/// Tokens at the cut of a part may be others than in the whole text; none of them is among those that were asked for.
const MARGIN: usize = 64;

/// Where a blank is looked for around the end of a part.
const NEAR: usize = 4 << 10;

/// See [`Tokenizer::encode_start`](crate::Tokenizer::encode_start).
pub(crate) fn start(
    inner: &Inner,
    text: &str,
    add_special: bool,
    limit: usize,
) -> Result<Encoding> {
    let enough = limit.saturating_add(MARGIN);
    for bytes in parts(inner, text, limit)? {
        let part = &text[..before_blank(text, bytes)];
        let encoding = inner.backend.encode(part, None, add_special, enough)?;
        if encoding.len() > enough {
            return Ok(encoding);
        }
    }
    inner.backend.encode(text, None, add_special, limit)
}

/// See [`Tokenizer::encode_end`](crate::Tokenizer::encode_end).
pub(crate) fn end(inner: &Inner, text: &str, add_special: bool, limit: usize) -> Result<Encoding> {
    for bytes in parts(inner, text, limit)? {
        let from = before_blank(text, text.len() - bytes);
        let part = &text[from..];
        let mut encoding = inner.backend.encode(part, None, add_special, usize::MAX)?;
        if encoding.len() > limit.saturating_add(MARGIN) {
            encoding.move_by(from);
            return Ok(encoding);
        }
    }
    inner.backend.encode(text, None, add_special, usize::MAX)
}

/// The bytes of the parts that are tried before the whole, each four times as long as the one before: together they are
/// little longer than the last. A text up to the limit is read as a whole.
fn parts(inner: &Inner, text: &str, limit: usize) -> Result<Vec<usize>> {
    let bytes = text.len();
    if bytes > MAX_TEXT_BYTES {
        return Err(Error::TextTooLong {
            bytes,
            limit: MAX_TEXT_BYTES,
        });
    }
    if bytes <= inner.max_text_bytes {
        return Ok(Vec::new());
    }
    let first = limit.saturating_mul(BYTES_PER_TOKEN).max(SHORT);
    let longer = |bytes: &usize| bytes.checked_mul(4);
    let all = std::iter::successors(Some(first), longer);
    Ok(all.take_while(|part| *part < bytes).collect())
}

/// The last position up to `at` where a blank follows a letter, if there is one nearby; else one between characters.
fn before_blank(text: &str, at: usize) -> usize {
    if at == 0 || at >= text.len() {
        return at.min(text.len());
    }
    let at = text.floor_char_boundary(at);
    let from = text.floor_char_boundary(at.saturating_sub(NEAR));
    let near = &text.as_bytes()[from..at];
    let found = near
        .windows(2)
        .rposition(|pair| !pair[0].is_ascii_whitespace() && pair[1] == b' ');
    found.map_or(at, |place| from + place + 1)
}

#[cfg(test)]
mod tests {
    use super::before_blank;

    #[test]
    fn parts_end_at_blanks_or_between_characters() {
        assert_eq!(before_blank("a bc d", 5), 4);
        assert_eq!(before_blank("a bc d", 4), 1);
        assert_eq!(before_blank("a bc d", 6), 6);
        assert_eq!(before_blank("a bc d", 0), 0);
        assert_eq!(before_blank("aéé", 2), 1);
        assert_eq!(before_blank(&"é".repeat(9000), 9001), 9000);
    }
}
