//! Which line breaks separate sentences.

use std::ops::Range;

use super::{tag_end, words};
use crate::py;
use crate::sections::{is_rule, title_of};

/// Lines of wrapped prose end between these columns. Shorter texts are too narrow to tell, and
/// notes with longer lines are not wrapped.
const WRAP_COLUMNS: std::ops::RangeInclusive<usize> = 40..=120;

/// Lines of wrapped prose end at most this many columns before the longest one.
const RAGGED: usize = 10;

/// The longest label in lower case, in bytes: `cardiovascular`.
const MAX_LABEL: usize = 14;

/// One line: its bytes without white space at the ends, and its length in characters.
#[derive(Debug, Clone)]
struct Line {
    range: Range<usize>,
    columns: usize,
}

/// Cuts a text at the line breaks that separate sentences. The blocks are in order, and only white
/// space is between them.
pub(super) fn blocks(text: &str, tags: &[Range<usize>]) -> Vec<Range<usize>> {
    let lines = lines(text, tags);
    let wrap = wrap_column(&lines);
    let mut blocks: Vec<Range<usize>> = Vec::new();
    for paragraph in paragraphs(text, &lines) {
        let listed = is_list(text, paragraph);
        let mut item = None;
        for (i, line) in paragraph.iter().enumerate() {
            let marker = item_marker(&text[line.range.clone()]);
            let joined = i > 0 && {
                let wrapped = !listed && wraps(text, &paragraph[i - 1], line, wrap);
                !separates(text, &paragraph[i - 1], line, wrapped, marker, item)
            };
            match blocks.last_mut() {
                Some(block) if joined => block.end = line.range.end,
                _ => {
                    blocks.push(line.range.clone());
                    if let Some(Marker::Number(number)) = marker {
                        item = Some(number);
                    }
                }
            }
        }
    }
    blocks
}

/// The lines of a text. A line break inside a tag does not count.
fn lines(text: &str, tags: &[Range<usize>]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut push = |start: usize, end: usize| {
        let line = &text[start..end];
        let content = py::strip(line);
        let from = start + line.len() - line.trim_start_matches(py::is_space).len();
        lines.push(Line {
            range: from..from + content.len(),
            columns: content.chars().count(),
        });
    };
    let mut at = 0;
    while let Some(next) = text[at..].find(['\n', '[']).map(|offset| at + offset) {
        at = match tag_end(tags, next) {
            Some(end) => end,
            None => next + 1,
        };
        if text[next..].starts_with('\n') {
            push(start, next);
            start = at;
        }
    }
    push(start, text.len());
    lines
}

/// The column at which the lines of a text are wrapped: the longest line that is not alone with
/// its length. `None` when no lines are long, or one is too long.
fn wrap_column(lines: &[Line]) -> Option<usize> {
    let mut columns: Vec<usize> = lines.iter().map(|line| line.columns).collect();
    columns.sort_unstable();
    let longest = *columns.last().filter(|&last| WRAP_COLUMNS.contains(last))?;
    let typical = columns
        .windows(2)
        .rev()
        .find(|pair| pair[1] - pair[0] <= RAGGED);
    match typical {
        Some(pair) if WRAP_COLUMNS.contains(&pair[1]) => Some(pair[1]),
        _ => Some(longest),
    }
}

/// Lines without a blank line or a title on a line of its own between them; such a title is a
/// paragraph too.
fn paragraphs<'l>(text: &str, lines: &'l [Line]) -> impl Iterator<Item = &'l [Line]> {
    let alone = |line: &Line| {
        let line = &text[line.range.clone()];
        title_of(line).is_some_and(|title| title.end == line.len())
    };
    lines
        .split(|line| line.range.is_empty())
        .flat_map(move |lines| lines.chunk_by(move |line, next| !alone(line) && !alone(next)))
}

/// Whether a paragraph is a list without markers: three or more lines, none of which goes on with
/// the one before.
fn is_list(text: &str, paragraph: &[Line]) -> bool {
    let goes_on = |pair: &[Line]| {
        let (line, next) = (&text[pair[0].range.clone()], &text[pair[1].range.clone()]);
        next.starts_with(char::is_lowercase) || words::is_open_ended(line)
    };
    let marked = |line: &Line| item_marker(&text[line.range.clone()]).is_some();
    paragraph.len() >= 3 && !paragraph.iter().any(marked) && !paragraph.windows(2).any(goes_on)
}

/// Whether a line was broken because the next word did not fit.
fn wraps(text: &str, line: &Line, next: &Line, wrap: Option<usize>) -> bool {
    let word = text[next.range.clone()]
        .split(py::is_space)
        .next()
        .unwrap_or_default();
    wrap.is_some_and(|wrap| line.columns + 1 + word.chars().count() > wrap)
}

/// Whether the break between two lines of a paragraph separates sentences.
fn separates(
    text: &str,
    line: &Line,
    next: &Line,
    wrapped: bool,
    marker: Option<Marker>,
    item: Option<u32>,
) -> bool {
    let (line, next) = (&text[line.range.clone()], &text[next.range.clone()]);
    if is_rule(line) || is_rule(next) || title_of(next).is_some() {
        return true;
    }
    match marker {
        Some(Marker::Bullet) => return true,
        Some(Marker::Number(number)) if !wrapped || number == item.map_or(1, |item| item + 1) => {
            return true;
        }
        _ => {}
    }
    if wrapped {
        return false;
    }
    let starts = !next.starts_with(char::is_lowercase) || is_label(next);
    (starts || line.ends_with(['.', '!', '?', ';', ':'])) && !words::is_open_ended(line)
}

/// Whether a line starts with a label in lower case, such as `neuro:`.
fn is_label(line: &str) -> bool {
    let word = line.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '/');
    word.starts_with(':') && line.len() - word.len() <= MAX_LABEL
}

/// What a list item starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Bullet,
    Number(u32),
}

/// The marker that a line starts with: `-`, `*`, `#`, `•` and the like, `1.`, `1)` or `a)`.
fn item_marker(line: &str) -> Option<Marker> {
    let first = line.chars().next()?;
    let after = &line[first.len_utf8()..];
    if matches!(
        first,
        '-' | '*' | '#' | '\u{2022}' | '\u{b7}' | '\u{2013}' | '\u{2014}' | '\u{25aa}' | '\u{25cf}'
    ) {
        // "-5" and "**" are no items, "-Lasix" and "# CHF" are.
        let item = after.starts_with(|c: char| py::is_space(c) || c.is_alphabetic() || c == first);
        return item.then_some(Marker::Bullet);
    }
    let lettered = first.is_ascii_alphabetic() && after.starts_with(") ");
    if lettered || matches!(first, '+' | '>') && after.starts_with(' ') {
        return Some(Marker::Bullet);
    }
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = words::item_number(&line[..digits])?;
    let after = &line[digits..];
    let mut rest = after.chars();
    let closed = matches!(rest.next(), Some('.' | ')'));
    let item = closed
        && rest
            .next()
            .is_some_and(|c| py::is_space(c) || c.is_alphabetic());
    item.then_some(Marker::Number(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_of_list_items() {
        for line in [
            "- Lasix",
            "-Lasix",
            "* ASA",
            "# CHF",
            "\u{2022} iron",
            "a) one",
            "-- x",
            "+ edema",
        ] {
            assert_eq!(item_marker(line), Some(Marker::Bullet), "{line}");
        }
        for (line, number) in [("1. Lasix", 1), ("12) ASA", 12), ("3.Iron", 3)] {
            assert_eq!(item_marker(line), Some(Marker::Number(number)), "{line}");
        }
        for line in ["", "-", "-5 L", "1.5 mg", "2150. x", "1", "a. b", "o2 sat"] {
            assert_eq!(item_marker(line), None, "{line}");
        }
    }

    #[test]
    fn the_wrap_column_ignores_an_outlier() {
        let line = |columns| Line {
            range: 0..1,
            columns,
        };
        let wrap =
            |columns: &[usize]| wrap_column(&columns.iter().copied().map(line).collect::<Vec<_>>());
        assert_eq!(wrap(&[70, 72, 20, 95]), Some(72));
        assert_eq!(wrap(&[70, 20]), Some(70));
        assert_eq!(wrap(&[70, 72, 300]), None);
        assert_eq!(wrap(&[30, 20]), None);
        assert_eq!(wrap(&[]), None);
    }
}
