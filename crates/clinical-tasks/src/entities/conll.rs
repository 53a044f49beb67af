//! CoNLL: a word and its label on each line, a blank line after each sentence.

use std::path::Path;

use super::check_kind;
use crate::error::{FieldAt, RowOf, label};
use crate::source::{Source, at, bounded};
use crate::{Error, Result, WordRow};

/// Reads a file: the word is the first column, the label the last, whatever stands between them; columns are separated
/// by white space, or by tabs where a line has some. `-DOCSTART-` lines are passed over.
///
/// Labels are `O`, or `B-`, `I-`, `E-`, `S-` with a type, which must be one of `kinds` where they are given.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("train.conll");
/// use clinical_tasks::entities::{I2B2_2010, conll, entity_spans};
///
/// std::fs::write(&path, "chest B-problem\npain I-problem\n. O\n\nCBC B-test\n")?;
/// let sentences = conll::read(&path, Some(&I2B2_2010))?;
/// assert_eq!(sentences[0].words, ["chest", "pain", "."]);
/// assert_eq!(entity_spans(&sentences[0].labels)[0].words, 0..2);
/// assert_eq!(sentences.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error`]: no such file, no UTF-8, a line with one column, an unknown label, a word that is too long.
pub fn read(path: impl AsRef<Path>, kinds: Option<&[&str]>) -> Result<Vec<WordRow>> {
    let path = path.as_ref();
    let source = Source::read(path)?;
    let mut sentences = Vec::new();
    let mut sentence = WordRow::default();
    for (number, line) in source.lines() {
        if line.trim().is_empty() || line.starts_with("-DOCSTART-") {
            end(&mut sentence, &mut sentences);
            continue;
        }
        let place = |column: &str| at(path, RowOf::Line(number), column);
        let (word, label) = columns(line).ok_or_else(|| Error::WrongLine {
            at: place(""),
            expected: "a word and its label, in columns",
        })?;
        bounded(word.len(), || place("word"))?;
        check_label(label, kinds, || place("label"))?;
        sentence.words.push(word.to_owned());
        sentence.labels.push(label.to_owned());
    }
    end(&mut sentence, &mut sentences);
    match sentences.is_empty() {
        true => Err(Error::NoExamples {
            path: path.to_owned(),
            what: "word with a label",
        }),
        false => Ok(sentences),
    }
}

fn end(sentence: &mut WordRow, sentences: &mut Vec<WordRow>) {
    if !sentence.words.is_empty() {
        sentences.push(std::mem::take(sentence));
    }
}

/// The first and the last column.
fn columns(line: &str) -> Option<(&str, &str)> {
    match line.contains('\t') {
        // A word of tabbed columns may hold a space.
        true => {
            let (word, rest) = line.split_once('\t')?;
            let label = rest.rsplit('\t').next()?.trim();
            (!word.is_empty() && !label.is_empty()).then_some((word, label))
        }
        false => {
            let mut columns = line.split_whitespace();
            Some((columns.next()?, columns.next_back()?))
        }
    }
}

fn check_label(text: &str, kinds: Option<&[&str]>, at: impl FnOnce() -> FieldAt) -> Result<()> {
    match text.split_once('-') {
        None if text == "O" => Ok(()),
        Some(("B" | "I" | "E" | "S", kind)) if !kind.is_empty() => check_kind(kind, kinds, at),
        _ => Err(Error::UnknownLabel {
            at: at(),
            label: label(text),
            known: "O, and B-, I-, E- or S- with a type".to_owned(),
        }),
    }
}
