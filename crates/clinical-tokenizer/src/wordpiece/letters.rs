//! Characters of a word that know the bytes they came from.

use std::ops::Range;

use unicode_normalization::char::{canonical_combining_class, decompose_canonical};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::chars::is_nonspacing_mark;

/// A character of a word with the bytes of the text that it came from.
pub(super) type Placed = (char, Range<usize>);

/// The characters of a stretch with their positions.
pub(super) fn placed<'t>(
    stretch: &'t [Range<usize>],
    text: &'t str,
) -> impl Iterator<Item = Placed> + 't {
    stretch.iter().flat_map(move |range| {
        text[range.clone()]
            .char_indices()
            .map(move |(i, c)| (c, range.start + i..range.start + i + c.len_utf8()))
    })
}

/// The bytes that a run of characters covers.
pub(super) fn span(word: &[Placed]) -> Range<usize> {
    let start = word.iter().map(|(_, at)| at.start).min().unwrap_or(0);
    let end = word.iter().map(|(_, at)| at.end).max().unwrap_or(0);
    start..end
}

/// Composes a word (NFC). Characters that were put together share the bytes of all of them.
pub(super) fn compose(word: Vec<Placed>) -> Vec<Placed> {
    if word.iter().all(|(c, _)| *c < '\u{300}') {
        return word;
    }
    // Nothing composes across a character that begins anew by itself.
    let begins = |c: char| {
        c < '\u{300}'
            || (canonical_combining_class(c) == 0
                && is_nfc_quick(std::iter::once(c)) == IsNormalized::Yes)
    };
    let mut out = Vec::with_capacity(word.len());
    let mut start = 0;
    for end in 1..=word.len() {
        if end < word.len() && !begins(word[end].0) {
            continue;
        }
        let run = &word[start..end];
        start = end;
        let composed: Vec<char> = run.iter().map(|(c, _)| *c).nfc().collect();
        if composed.iter().eq(run.iter().map(|(c, _)| c)) {
            out.extend_from_slice(run);
        } else {
            let range = span(run);
            out.extend(composed.into_iter().map(|c| (c, range.clone())));
        }
    }
    out
}

/// Decomposes a word (NFD) and drops the nonspacing marks.
pub(super) fn strip_accents(word: Vec<Placed>) -> Vec<Placed> {
    if word.iter().all(|(c, _)| c.is_ascii()) {
        return word;
    }
    let mut out: Vec<Placed> = Vec::with_capacity(word.len());
    for (c, at) in word {
        decompose_canonical(c, |part| {
            if !is_nonspacing_mark(part) {
                out.push((part, at.clone()));
            }
        });
    }
    // Canonical order among the marks that stay.
    let mut start = 0;
    while start < out.len() {
        let end = start
            + out[start..]
                .iter()
                .take_while(|(c, _)| canonical_combining_class(*c) != 0)
                .count();
        out[start..end].sort_by_key(|(c, _)| canonical_combining_class(*c));
        start = end.max(start + 1);
    }
    out
}
