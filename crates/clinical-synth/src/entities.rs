//! Entities: where the note says what.
//!
//! While a note is written its entities stand between marks, characters of the private use area that no note has.
//! [`unmark`] takes them out and tells where they were.

use std::ops::Range;

/// A part of an invented note with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SynthEntity {
    /// Bytes of the note.
    pub range: Range<usize>,
    /// One of [`SynthEntity::LABELS`].
    pub label: &'static str,
}

impl SynthEntity {
    /// All labels, in alphabetical order.
    pub const LABELS: [&'static str; 8] = [
        "CONDITION",
        "DATE",
        "DOSE",
        "DRUG",
        "FREQUENCY",
        "PERSON",
        "PROCEDURE",
        "TEST",
    ];
}

/// A label by its place in [`SynthEntity::LABELS`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Label {
    Condition,
    Date,
    Dose,
    Drug,
    Frequency,
    Person,
    Procedure,
    Test,
}

/// The mark before an entity is this plus the number of its label.
const FIRST: u32 = 0xE000;
/// The mark after an entity.
const END: char = '\u{E0FF}';

/// An entity between its marks.
pub(crate) fn mark(label: Label, text: &str) -> String {
    let start = char::from_u32(FIRST + label as u32).unwrap_or(END);
    format!("{start}{text}{END}")
}

/// A text without its marks, and the entities that they held.
pub(crate) fn unmark(marked: &str) -> (String, Vec<SynthEntity>) {
    let mut text = String::with_capacity(marked.len());
    let mut entities = Vec::new();
    let mut open: Option<(usize, &'static str)> = None;
    for character in marked.chars() {
        let number = u32::from(character).checked_sub(FIRST);
        let label = number.and_then(|number| SynthEntity::LABELS.get(number as usize));
        match (label, character) {
            (Some(label), _) => open = Some((text.len(), label)),
            (None, END) => {
                if let Some((start, label)) = open.take() {
                    let range = start..text.len();
                    entities.push(SynthEntity { range, label });
                }
            }
            (None, other) => text.push(other),
        }
    }
    (text, entities)
}

/// A text without its marks.
pub(crate) fn plain(marked: &str) -> String {
    unmark(marked).0
}

/// The words of each line with their BIO labels.
pub(crate) fn labelled_words<'a>(
    note: &'a str,
    entities: &[SynthEntity],
) -> Vec<Vec<(&'a str, String)>> {
    let mut lines = Vec::new();
    let mut at = 0;
    for line in note.split('\n') {
        let words: Vec<_> = words(line)
            .into_iter()
            .map(|word| {
                let start = at + word.start;
                let of = entities.iter().find(|entity| entity.range.contains(&start));
                let label = of.map_or_else(
                    || "O".to_owned(),
                    |entity| {
                        let place = if entity.range.start == start {
                            "B"
                        } else {
                            "I"
                        };
                        format!("{place}-{}", entity.label)
                    },
                );
                (&line[word], label)
            })
            .collect();
        if !words.is_empty() {
            lines.push(words);
        }
        at += line.len() + 1;
    }
    lines
}

/// Cuts a line into words as BERT does before it looks for pieces: runs of letters and digits, and every other character
/// but white space by itself. So a label of a word is a label of whole pieces.
fn words(line: &str) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::new();
    let mut inside = false;
    for (at, c) in line.char_indices() {
        let end = at + c.len_utf8();
        match out.last_mut() {
            Some(word) if inside && c.is_alphanumeric() => word.end = end,
            _ if !c.is_whitespace() => out.push(at..end),
            _ => {}
        }
        inside = c.is_alphanumeric();
    }
    out
}
