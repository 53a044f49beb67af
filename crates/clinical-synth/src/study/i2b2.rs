//! The look-alike of the i2b2 2010 concepts.

use std::fmt::Write as _;

use super::{Patients, StudyFile};
use crate::Case;

const PARTS: [(&str, &str); 3] = [
    ("train", "train.conll"),
    ("development", "dev.conll"),
    ("test", "test.conll"),
];

/// The concept that an entity's label is, if any.
fn concept(label: &str) -> Option<&'static str> {
    match label {
        "CONDITION" => Some("problem"),
        "DRUG" | "PROCEDURE" => Some("treatment"),
        "TEST" => Some("test"),
        _ => None,
    }
}

pub(super) fn files(patients: Patients) -> Vec<StudyFile> {
    let mut files = Vec::new();
    for ((part, conll), cases) in PARTS.into_iter().zip(patients.cases()) {
        let mut columns = String::new();
        for (number, case) in (1..).zip(&cases) {
            let written = write(case);
            columns.push_str(&written.columns);
            for (folder, extension, text) in [
                ("txt", "txt", written.text),
                ("concept", "con", written.concepts),
            ] {
                files.push(StudyFile {
                    name: format!("{part}/{folder}/{number:04}.{extension}"),
                    text,
                });
            }
        }
        files.push(StudyFile {
            name: conll.to_owned(),
            text: columns,
        });
    }
    files
}

struct Written {
    text: String,
    concepts: String,
    columns: String,
}

/// A note with a line for each of its lines, words apart, in the two formats.
fn write(case: &Case) -> Written {
    let (mut text, mut concepts, mut columns) = (String::new(), String::new(), String::new());
    for (line, words) in (1..).zip(case.labelled_words()) {
        let (words, labels): (Vec<&str>, Vec<String>) = words.into_iter().unzip();
        text.push_str(&words.join(" "));
        text.push('\n');
        let mut at = 0;
        while at < words.len() {
            let (end, kind) = concept_at(&labels, at);
            if let Some(kind) = kind {
                let said = words[at..end].join(" ").to_lowercase();
                let last = end - 1;
                let _ = writeln!(
                    concepts,
                    "c=\"{said}\" {line}:{at} {line}:{last}||t=\"{kind}\""
                );
            }
            for (place, word) in words[at..end].iter().enumerate() {
                let prefix = if place == 0 { "B" } else { "I" };
                let _ = match kind {
                    Some(kind) => writeln!(columns, "{word} {prefix}-{kind}"),
                    None => writeln!(columns, "{word} O"),
                };
            }
            at = end;
        }
        columns.push('\n');
    }
    Written {
        text,
        concepts,
        columns,
    }
}

/// The end of the entity or word that begins at a word, and the concept that it is.
fn concept_at(labels: &[String], at: usize) -> (usize, Option<&'static str>) {
    let Some(label) = labels[at].strip_prefix("B-") else {
        return (at + 1, None);
    };
    let inside = labels[at + 1..]
        .iter()
        .take_while(|next| next.strip_prefix("I-") == Some(label));
    let end = at + 1 + inside.count();
    (end, concept(label))
}
