//! Entities: words with labels, in the formats of the i2b2 tasks.

pub mod conll;
pub mod i2b2;

use std::ops::Range;

use crate::error::{FieldAt, label};
use crate::{Error, Result};

/// Types of the 2006 task (deidentification).
pub const I2B2_2006: [&str; 8] = [
    "ID", "HOSPITAL", "PATIENT", "PHONE", "DATE", "DOCTOR", "LOCATION", "AGE",
];

/// Types of the 2010 task (concepts).
pub const I2B2_2010: [&str; 3] = ["problem", "treatment", "test"];

/// Types of the 2012 task (events).
pub const I2B2_2012: [&str; 6] = [
    "OCCURRENCE",
    "EVIDENTIAL",
    "TREATMENT",
    "CLINICAL_DEPT",
    "PROBLEM",
    "TEST",
];

/// Types of the 2014 task (deidentification).
pub const I2B2_2014: [&str; 23] = [
    "IDNUM",
    "HOSPITAL",
    "PATIENT",
    "PHONE",
    "DATE",
    "DOCTOR",
    "LOCATION-OTHER",
    "AGE",
    "BIOID",
    "STATE",
    "ZIP",
    "HEALTHPLAN",
    "ORGANIZATION",
    "MEDICALRECORD",
    "CITY",
    "STREET",
    "COUNTRY",
    "URL",
    "USERNAME",
    "PROFESSION",
    "FAX",
    "EMAIL",
    "DEVICE",
];

/// An entity: words of a sequence and their type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntitySpan {
    /// Its words, by their places in the sequence.
    pub words: Range<usize>,
    /// Its type, `problem` for example.
    pub kind: String,
}

/// The entities that labels of words name, as seqeval's `get_entities` and CoNLL's script find them: an `I-` after `O`
/// or after another type begins an entity as `B-` does; `E-` ends one, `S-` is one.
///
/// ```
/// use clinical_tasks::entities::entity_spans;
///
/// let spans = entity_spans(&["O", "B-problem", "I-problem", "I-test", "B-test"]);
/// let found: Vec<_> = spans.iter().map(|span| (span.words.clone(), &*span.kind)).collect();
/// assert_eq!(found, [(1..3, "problem"), (3..4, "test"), (4..5, "test")]);
/// ```
pub fn entity_spans<S: AsRef<str>>(labels: &[S]) -> Vec<EntitySpan> {
    let mut spans = Vec::new();
    let (mut before, mut kind_before) = ('O', "");
    let mut start = 0;
    let labels = labels.iter().map(AsRef::as_ref).chain(["O"]);
    for (word, label) in labels.enumerate() {
        let (prefix, kind) = parts(label);
        if ends(before, prefix, kind_before != kind) {
            spans.push(EntitySpan {
                words: start..word,
                kind: kind_before.to_owned(),
            });
        }
        if begins(before, prefix, kind_before != kind) {
            start = word;
        }
        (before, kind_before) = (prefix, kind);
    }
    spans
}

/// The prefix of a label and the type after its first hyphen: all after the prefix where there is no hyphen, and `_`
/// where there is nothing.
fn parts(label: &str) -> (char, &str) {
    let mut chars = label.chars();
    let prefix = chars.next().unwrap_or('O');
    let rest = chars.as_str();
    let kind = rest.split_once('-').map_or(rest, |(_, kind)| kind);
    (prefix, if kind.is_empty() { "_" } else { kind })
}

/// Whether an entity ends before a label.
fn ends(before: char, now: char, other_kind: bool) -> bool {
    let inside = !matches!(before, 'O' | '.');
    matches!(before, 'E' | 'S')
        || matches!((before, now), ('B' | 'I', 'B' | 'S' | 'O'))
        || inside && other_kind
}

/// Whether an entity begins with a label.
fn begins(before: char, now: char, other_kind: bool) -> bool {
    let outside = matches!(before, 'E' | 'S' | 'O');
    matches!(now, 'B' | 'S')
        || outside && matches!(now, 'E' | 'I')
        || !matches!(now, 'O' | '.') && other_kind
}

/// Labels with the repair of the published tagging script: an `I-` that no entity of its type precedes becomes `B-`.
pub fn repaired<S: AsRef<str>>(labels: &[S]) -> Vec<String> {
    let mut repaired: Vec<String> = Vec::with_capacity(labels.len());
    for text in labels.iter().map(AsRef::as_ref) {
        let goes_on = |kind: &str| {
            let before = repaired.last().and_then(|label| label.split_once('-'));
            before.is_some_and(|(_, before)| before == kind)
        };
        repaired.push(match text.strip_prefix("I-") {
            Some(kind) if !goes_on(kind) => format!("B-{kind}"),
            _ => text.to_owned(),
        });
    }
    repaired
}

/// Checks a type against those of the task. `None` allows any.
fn check_kind(kind: &str, known: Option<&[&str]>, at: impl FnOnce() -> FieldAt) -> Result<()> {
    match known {
        Some(known) if !known.contains(&kind) => Err(Error::UnknownLabel {
            at: at(),
            label: label(kind),
            known: known.join(", "),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stray_labels_begin_entities() {
        let labels = ["I-test", "I-test", "O", "B-test", "I-problem", "I-problem"];
        let fixed = ["B-test", "I-test", "O", "B-test", "B-problem", "I-problem"];
        assert_eq!(repaired(&labels), fixed);
        assert_eq!(entity_spans(&labels), entity_spans(&fixed));
        assert_eq!(entity_spans(&labels).len(), 3);
        assert!(entity_spans::<&str>(&[]).is_empty());
    }

    #[test]
    fn types_may_have_hyphens() {
        let spans = entity_spans(&["B-LOCATION-OTHER", "I-LOCATION-OTHER"]);
        assert_eq!(spans[0].kind, "LOCATION-OTHER");
        assert_eq!(spans[0].words, 0..2);
    }
}
