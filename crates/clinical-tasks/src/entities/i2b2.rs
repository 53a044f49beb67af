//! The i2b2 2010 format: a note with a sentence on each line, and beside it a file with a concept on each line,
//! `c="chest pain" 12:3 12:4||t="problem"` (lines from 1, words from 0).

use std::fmt;
use std::ops::Range;
use std::path::Path;

use super::check_kind;
use crate::error::{FieldAt, RowOf};
use crate::source::{Source, at, bounded};
use crate::{Error, Result, WordRow};

/// A note with its concepts. `Debug` shows its size, not its text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConceptNote {
    /// The note's text as in the file, line ends `\n`.
    pub text: String,
    /// The bytes of the words of each line.
    pub lines: Vec<Vec<Range<usize>>>,
    /// The concepts, in the order of their places.
    pub concepts: Vec<Concept>,
}

impl fmt::Debug for ConceptNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConceptNote")
            .field("text_bytes", &self.text.len())
            .field("lines", &self.lines.len())
            .field("concepts", &self.concepts.len())
            .finish()
    }
}

/// A concept of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Concept {
    /// Its line, from 0.
    pub line: usize,
    /// Its words in the line, from 0.
    pub words: Range<usize>,
    /// Its bytes in the note.
    pub range: Range<usize>,
    /// Its type.
    pub kind: String,
}

impl ConceptNote {
    /// The words of each line with BIO labels; lines without a word are left out.
    pub fn word_rows(&self) -> Vec<WordRow> {
        let rows = self
            .lines
            .iter()
            .enumerate()
            .filter(|(_, words)| !words.is_empty());
        rows.map(|(line, words)| {
            let mut labels = vec!["O".to_owned(); words.len()];
            for concept in self.concepts.iter().filter(|concept| concept.line == line) {
                for word in concept.words.clone() {
                    let prefix = if word == concept.words.start {
                        "B"
                    } else {
                        "I"
                    };
                    labels[word] = format!("{prefix}-{}", concept.kind);
                }
            }
            let words = words.iter().map(|word| self.text[word.clone()].to_owned());
            WordRow {
                words: words.collect(),
                labels,
            }
        })
        .collect()
    }
}

/// Reads the notes of a folder `txt/*.txt` with the concepts of `concept/*.con`, in the order of their names.
///
/// # Errors
///
/// Those of [`read`]; [`Error::NoPartner`] for a file that stands alone.
pub fn read_folder(
    folder: impl AsRef<Path>,
    kinds: Option<&[&str]>,
) -> Result<Vec<(String, ConceptNote)>> {
    let (notes, concepts) = (folder.as_ref().join("txt"), folder.as_ref().join("concept"));
    let (names, others) = (stems(&notes, "txt")?, stems(&concepts, "con")?);
    let lone = |names: &[String], others: &[String]| {
        names
            .iter()
            .find(|name| others.binary_search(name).is_err())
            .cloned()
    };
    if let Some(name) = lone(&names, &others) {
        let path = notes.join(name + ".txt");
        return Err(Error::NoPartner { path });
    }
    if let Some(name) = lone(&others, &names) {
        let path = concepts.join(name + ".con");
        return Err(Error::NoPartner { path });
    }
    if names.is_empty() {
        return Err(Error::NoExamples {
            path: notes,
            what: "note",
        });
    }
    names
        .into_iter()
        .map(|name| {
            let text = notes.join(format!("{name}.txt"));
            let note = read(&text, concepts.join(format!("{name}.con")), kinds)?;
            Ok((name, note))
        })
        .collect()
}

/// The names of the files with an extension, without it, in order.
fn stems(folder: &Path, extension: &str) -> Result<Vec<String>> {
    let failed = |cause| clinical_files::Error::Read {
        path: folder.to_owned(),
        cause,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|found| found == extension)
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Reads a note and its concepts, of the types `kinds` where they are given. What follows the type (`||a="present"` of
/// assertion files) is passed over.
///
/// # Errors
///
/// [`Error`]: no such file, no UTF-8, a line that is no concept, an unknown type, words that the note does not have
/// there (case and white space do not count), a concept over two lines, two concepts that share a word.
pub fn read(
    note: impl AsRef<Path>,
    concepts: impl AsRef<Path>,
    kinds: Option<&[&str]>,
) -> Result<ConceptNote> {
    let note = Source::read(note.as_ref())?;
    let mut text = String::new();
    let mut lines = Vec::new();
    for (number, line) in note.lines() {
        bounded(line.len(), || at(note.path(), RowOf::Line(number), ""))?;
        lines.push(words(line, text.len()));
        text.push_str(line);
        text.push('\n');
    }
    let path = concepts.as_ref();
    let source = Source::read(path)?;
    let mut found: Vec<(Concept, FieldAt)> = Vec::new();
    for (number, line) in source.lines().filter(|(_, line)| !line.trim().is_empty()) {
        let place = at(path, RowOf::Line(number), "");
        bounded(line.len(), || place.clone())?;
        let written = written(line).ok_or_else(|| Error::WrongLine {
            at: place.clone(),
            expected: "a concept such as c=\"chest pain\" 12:3 12:4||t=\"problem\", on one line of the note",
        })?;
        check_kind(written.kind, kinds, || place.clone())?;
        let concept = of_note(&written, &text, &lines);
        found.push((
            concept.ok_or_else(|| Error::OtherWords { at: place.clone() })?,
            place,
        ));
    }
    found.sort_by_key(|(concept, _)| (concept.line, concept.words.start));
    let shared = found.windows(2).find(|pair| {
        let (first, second) = (&pair[0].0, &pair[1].0);
        first.line == second.line && second.words.start < first.words.end
    });
    if let Some([_, (_, place)]) = shared {
        return Err(Error::Overlap { at: place.clone() });
    }
    let concepts = found.into_iter().map(|(concept, _)| concept).collect();
    Ok(ConceptNote {
        text,
        lines,
        concepts,
    })
}

/// The bytes of the words of a line that starts at `offset`.
fn words(line: &str, offset: usize) -> Vec<Range<usize>> {
    let start = |word: &str| offset + (word.as_ptr() as usize - line.as_ptr() as usize);
    let words = line.split_whitespace();
    words
        .map(|word| start(word)..start(word) + word.len())
        .collect()
}

/// A line of a concept file.
struct Written<'l> {
    text: &'l str,
    /// Its line in the note, from 1.
    line: usize,
    /// Its first and last word.
    first: usize,
    last: usize,
    kind: &'l str,
}

fn written(line: &str) -> Option<Written<'_>> {
    let (concept, kind) = line.trim().rsplit_once("||t=\"")?;
    let (kind, _) = kind.split_once('"')?;
    let (text, places) = concept.strip_prefix("c=\"")?.rsplit_once('"')?;
    let mut places = places.split_whitespace().map(|place| {
        let (line, word) = place.split_once(':')?;
        Some((line.parse::<usize>().ok()?, word.parse::<usize>().ok()?))
    });
    let ((line, first), (last_line, last)) = (places.next()??, places.next()??);
    let good = places.next().is_none() && line == last_line && line > 0 && first <= last;
    good.then_some(Written {
        text,
        line,
        first,
        last,
        kind,
    })
}

/// The concept in the note; `None` where the note has other words there.
fn of_note(written: &Written<'_>, text: &str, lines: &[Vec<Range<usize>>]) -> Option<Concept> {
    let line = written.line - 1;
    let words = written.first..written.last.checked_add(1)?;
    let own = lines.get(line)?.get(words.clone())?;
    let there = own.iter().flat_map(|word| text[word.clone()].chars());
    let said = written.text.chars().filter(|c| !c.is_whitespace());
    let lower = |c: char| c.to_lowercase();
    let same = there.flat_map(lower).eq(said.flat_map(lower));
    same.then(|| Concept {
        line,
        words,
        range: own[0].start..own[own.len() - 1].end,
        kind: written.kind.to_owned(),
    })
}
