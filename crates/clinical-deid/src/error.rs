//! What can go wrong. No message quotes the text of a note.

use std::fmt;

/// A reason why text could not be converted.
///
/// No variant and no message holds text of a note: tags are described by their place, shape and length.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The published converter has no rule for this MIMIC-III tag.
    #[error(
        "unknown {shape} tag of {length} character{} at byte {offset} of {place}: \
         choose the unknown-tag mode `keep` or `misc` to convert it all the same",
        if *length == 1 { "" } else { "s" }
    )]
    UnknownTag {
        /// Which note.
        place: Place,
        /// Where the tag's first `[` stands, in bytes from the start of the note.
        offset: usize,
        /// What the body is made of.
        shape: TagShape,
        /// Length of the body in characters.
        length: usize,
    },

    /// The published MIMIC-IV table lacks this entity type.
    #[error(
        "unknown entity type {name} for the underscores at byte {offset} of {place}: \
         use a type of the MIMIC-IV annotations, such as NAME or DATE, \
         or choose the unknown-tag mode `keep` or `misc`"
    )]
    UnknownEntityType {
        /// Which note.
        place: Place,
        /// Where the underscores begin, in bytes from the start of the note.
        offset: usize,
        /// Index of the type in the list that was given.
        index: usize,
        /// The type in quotes if it looks like a label (letters, digits, `_` and `-`, at most 32 of
        /// them); otherwise only its length, since it may then be text of a note.
        name: String,
    },

    /// Entity types were given to a MIMIC-III normaliser.
    #[error(
        "entity types belong to MIMIC-IV notes, but this normalizer converts MIMIC-III tags: \
         call `normalize`, or use `Normalizer::mimic_iv()`"
    )]
    TypesForMimicIii,

    /// The context does not hold an answer's text where the answer says that it starts.
    #[error(
        "the text of answer {index} (the first is 0) does not stand at character {start} of the \
         context: check that starts count characters, not bytes"
    )]
    AnswerNotInContext {
        /// Index of the answer in the list that was given.
        index: usize,
        /// The answer's start, in characters.
        start: usize,
    },

    /// A file could not be read or written, or is not CSV as it was said to be.
    #[cfg(feature = "csv")]
    #[error(transparent)]
    Files(#[from] clinical_files::Error),

    /// An annotation file cannot be used.
    #[cfg(feature = "csv")]
    #[error("the annotations in {path} cannot be used: {source}")]
    Annotations {
        /// The file.
        path: String,
        /// Why.
        source: Box<Error>,
    },
}

/// Which note an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The only note of the call.
    Note,
    /// A note of a list, by its index from 0.
    Item(usize),
    /// The note of a CSV row, by its number from 1, without the header.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note => write!(f, "the note"),
            Self::Item(index) => write!(f, "note {index} (the first is 0)"),
            Self::Row(row) => write!(f, "the note in row {row} (the header is not counted)"),
        }
    }
}

/// What the body of an unknown tag is made of: enough to find the reason, nothing of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TagShape {
    /// The one real MIMIC-III tag type that the published table lacks, `Ethnicity`.
    Ethnicity,
    /// Letters and no digits.
    Text,
    /// Letters and digits.
    TextAndDigits,
    /// Digits with other characters that are not letters, such as `7.16`.
    Digits,
    /// Neither letters nor digits.
    Symbols,
}

impl TagShape {
    pub(crate) fn of(body: &str) -> Self {
        if body.contains("Ethnicity") {
            return Self::Ethnicity;
        }
        let digits = body.chars().any(crate::python::is_numeric_char);
        let letters = body
            .chars()
            .any(|c| c.is_alphabetic() && !crate::python::is_numeric_char(c));
        match (letters, digits) {
            (true, true) => Self::TextAndDigits,
            (true, false) => Self::Text,
            (false, true) => Self::Digits,
            (false, false) => Self::Symbols,
        }
    }
}

impl fmt::Display for TagShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ethnicity => "Ethnicity",
            Self::Text => "text",
            Self::TextAndDigits => "text-and-digits",
            Self::Digits => "digits",
            Self::Symbols => "symbols",
        })
    }
}

/// How an entity type is named in an error: quoted if it can only be a label.
pub(crate) fn label(entity_type: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !entity_type.is_empty() && entity_type.len() <= 32 && entity_type.bytes().all(plain) {
        format!("\"{entity_type}\"")
    } else {
        format!("of {} characters", entity_type.chars().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_tell_letters_from_digits() {
        assert_eq!(TagShape::of("Ethnicity 5"), TagShape::Ethnicity);
        assert_eq!(TagShape::of("Zip"), TagShape::Text);
        assert_eq!(TagShape::of("Sept 5"), TagShape::TextAndDigits);
        assert_eq!(TagShape::of("7.16"), TagShape::Digits);
        assert_eq!(TagShape::of("\u{4e00} \u{4e00}"), TagShape::Digits);
        assert_eq!(TagShape::of("-"), TagShape::Symbols);
    }

    #[test]
    fn only_labels_are_named() {
        assert_eq!(label("WEIRD"), "\"WEIRD\"");
        assert_eq!(label("Mrs. Doe"), "of 8 characters");
        assert_eq!(label(""), "of 0 characters");
        assert_eq!(label(&"A".repeat(33)), "of 33 characters");
    }
}
