//! Sentences of a clinical note, by rules.
//!
//! clinicalBERT and the CLIP data set were split with SciSpacy, a statistical model that cannot be
//! copied exactly. This is a declared substitute: rules for the way notes are written. The README
//! says how well it agrees with hand-marked sentences.
//!
//! 1. Blank lines, rules (`-----`), list items and headers on a line of their own separate
//!    sentences. `Service: MEDICINE` is one sentence.
//! 2. A line break inside a paragraph separates sentences when the writer chose it, that is, when
//!    the next word would have fitted on the line (or the lines are a list), and the next line
//!    does not go on in lower case.
//! 3. `.`, `!` and `?` before white space end a sentence, unless what follows or the word before
//!    says otherwise: titles (`Dr.`), initials, `e.g.`, `p.o.`, `b.i.d.`, decimals, item numbers.
//! 4. MIMIC tags (`[**...**]`) and their replacement tokens (`[Name]`, `[Reg#]`) are never cut.

mod lines;
mod words;

use std::ops::Range;

use crate::sections;
use crate::{line_ends, py};

/// The sentences of a text, in order, as byte ranges. Ranges start and end on characters other
/// than white space, do not overlap, and hold every such character.
///
/// ```
/// use clinical_notes::sentences::sentences;
///
/// let text = "Seen by Dr. [**Last Name 123**] at 5 p.m. today. T 98.6.\nMeds:\n1. Lasix 20 mg b.i.d.\n2. ASA";
/// let sentences: Vec<_> = sentences(text).into_iter().map(|range| &text[range]).collect();
/// assert_eq!(sentences, [
///     "Seen by Dr. [**Last Name 123**] at 5 p.m. today.",
///     "T 98.6.",
///     "Meds:",
///     "1. Lasix 20 mg b.i.d.",
///     "2. ASA",
/// ]);
/// ```
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let text = &*line_ends::in_place(text);
    let tags = tags(text);
    let mut found = Vec::new();
    for block in lines::blocks(text, &tags) {
        Block {
            text,
            tags: &tags,
            end: block.end,
            start: block.start,
            item: None,
        }
        .split(&mut found);
    }
    found
}

/// The longest tag, in bytes; the longest in MIMIC-III has about 60.
const MAX_TAG: usize = 200;

/// How much of a word is read, in bytes. No abbreviation is longer.
const MAX_WORD: usize = 40;

/// The tags of a text: `[**` to the next `**]`, as the published converter finds them, but also
/// over a line break.
fn tags(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut tags = Vec::new();
    let mut from = 0;
    while let Some(open) = text[from..].find("[**").map(|at| from + at) {
        let body = &bytes[open + 3..bytes.len().min(open + 3 + MAX_TAG)];
        let close = body.windows(3).position(|window| window == b"**]");
        let blank = |body: &[u8]| {
            let lf = body.windows(2).any(|window| window == b"\n\n");
            lf || body.windows(3).any(|window| window == b"\n\r\n")
        };
        match close.filter(|&len| !blank(&body[..len])) {
            Some(len) => {
                from = open + 3 + len + 3;
                tags.push(open..from);
            }
            None => from = open + 3,
        }
    }
    tags
}

/// The end of the tag that starts at `at`, if one does.
fn tag_end(tags: &[Range<usize>], at: usize) -> Option<usize> {
    let tag = tags.binary_search_by_key(&at, |tag| tag.start).ok()?;
    Some(tags[tag].end)
}

/// A piece of text without line breaks that separate sentences.
struct Block<'t> {
    text: &'t str,
    tags: &'t [Range<usize>],
    end: usize,
    /// Where the current sentence starts.
    start: usize,
    /// The number of the current list item.
    item: Option<u32>,
}

/// What ends a sentence, seen from its full stop.
struct Stop<'t> {
    /// The word before, without opening punctuation.
    word: &'t str,
    /// Where that word starts.
    word_start: usize,
    /// The stop itself: `.`, `?`, `...`.
    mark: &'t str,
    /// The text after the white space that follows, to the end of the block.
    next: &'t str,
}

impl<'t> Block<'t> {
    fn split(mut self, found: &mut Vec<Range<usize>>) {
        let mut at = self.start;
        let mut word_start = at;
        while let Some(c) = self.text[at..self.end].chars().next() {
            if let Some(end) = tag_end(self.tags, at) {
                at = end.min(self.end);
                continue;
            }
            let rest = &self.text[at..self.end];
            if py::is_space(c) {
                let next = rest.trim_start_matches(py::is_space);
                let gap = &rest[..rest.len() - next.len()];
                at += gap.len();
                word_start = at;
                let after_label = self.text[..at - gap.len()].ends_with(':');
                if is_wide(gap) && !after_label && sections::title_of(next).is_some() {
                    self.close(at, found);
                }
            } else if matches!(c, '.' | '!' | '?') {
                let after = rest.trim_start_matches(['.', '!', '?']);
                let mark = &rest[..rest.len() - after.len()];
                let tail = after.trim_start_matches(['"', '\'', ')', ']', '\u{201d}', '\u{2019}']);
                let end = at + rest.len() - tail.len();
                let next = tail.trim_start_matches(py::is_space);
                let from = self.text.ceil_char_boundary(at.saturating_sub(MAX_WORD));
                let word = &self.text[word_start.max(from)..at];
                let bare = word.trim_start_matches(words::is_opening);
                let stop = Stop {
                    word: bare,
                    word_start: at - bare.len(),
                    mark,
                    next,
                };
                if self.starts_item(&stop, found) || next.is_empty() {
                    at = end;
                } else if next.len() < tail.len() {
                    at = end;
                    if stop.ends_sentence() {
                        self.close(end, found);
                    }
                } else {
                    at += mark.len();
                    if mark == "." && stop.ends_glued_sentence() {
                        self.close(at, found);
                        word_start = at;
                    }
                }
            } else {
                at += c.len_utf8();
            }
        }
        self.close(self.end, found);
    }

    /// Ends the current sentence at `end`; the next one starts there.
    fn close(&mut self, end: usize, found: &mut Vec<Range<usize>>) {
        let sentence = &self.text[self.start..end];
        let trimmed = py::strip(sentence);
        if !trimmed.is_empty() {
            let start = end - sentence.trim_start_matches(py::is_space).len();
            found.push(start..start + trimmed.len());
        }
        self.start = end;
    }

    /// Whether the word before a stop is the number of a list item: at the start of a sentence, or
    /// one more than the number of the current item, which ends there.
    fn starts_item(&mut self, stop: &Stop<'_>, found: &mut Vec<Range<usize>>) -> bool {
        if stop.mark != "." || stop.next.is_empty() {
            return false;
        }
        let first = py::strip(&self.text[self.start..stop.word_start]).is_empty();
        let Some(number) = words::item_number(stop.word) else {
            let letter = stop.word.len() == 1 && stop.word.starts_with(char::is_alphabetic);
            return first && letter;
        };
        if first {
            self.item = Some(number);
            return true;
        }
        let next = self.item.is_some_and(|item| item + 1 == number);
        if next {
            self.close(stop.word_start, found);
            self.item = Some(number);
        }
        next
    }
}

/// Whether white space on a line is wide enough to separate columns.
fn is_wide(gap: &str) -> bool {
    !gap.contains('\n') && (gap.contains('\t') || gap.len() >= 2)
}

impl Stop<'_> {
    /// For a stop before white space.
    fn ends_sentence(&self) -> bool {
        let next = words::Start::of(self.next);
        if self.mark != "." {
            // "? pneumonia" asks, "...and" goes on, "no fever? Will check" ends.
            let asks = self.word.is_empty() && self.mark.starts_with('?');
            return !asks && next != words::Start::Lower;
        }
        match next {
            words::Start::Lower => words::may_end_before_lower(self.word),
            next => words::may_end(self.word, next, self.next),
        }
    }

    /// For a stop with no white space after it, as in `no fever.He`.
    fn ends_glued_sentence(&self) -> bool {
        let mut next = self.next.chars();
        let capitalised = next.next().is_some_and(char::is_uppercase)
            && next.next().is_some_and(char::is_lowercase);
        capitalised && self.word.len() >= 4 && words::may_end_before_lower(self.word)
    }
}

#[cfg(test)]
mod tests;
