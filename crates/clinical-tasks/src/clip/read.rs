//! Reading CLIP: sentences with labels, and the lists of notes of each part.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{ActionSentence, DischargeNote, Label, Labels};
use crate::error::{FieldAt, RowOf, label};
use crate::source::{Node, Source, at, bounded, csv_error, open_csv};
use crate::{Error, Portion, Portions, Result, literal};

/// The file of the sentences.
pub const SENTENCES: &str = "sentence_level.csv";

/// The lists of notes, in the order of [`Portion::ALL`].
pub const SPLITS: [&str; 3] = ["train_ids.csv", "val_ids.csv", "test_ids.csv"];

/// The data set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clip {
    /// The notes of each part, by their ids.
    pub notes: Portions<Vec<DischargeNote>>,
    /// Notes that no list names. The published code leaves them out as well.
    pub unassigned: Vec<u64>,
    /// Rows whose sentence has no word. They are left out: there is nothing to label.
    pub blank_sentences: usize,
}

/// Reads `sentence_level.csv` (columns `doc_id`, `sentence`, `labels`; others are passed over) and the three lists of a
/// folder.
///
/// # Errors
///
/// [`Error`]: no such file, no CSV, a missing column, a field that is too long or not a list as Python writes it, an
/// unknown label, a list that names a note twice, or one that is not there.
pub fn read_folder(folder: impl AsRef<Path>) -> Result<Clip> {
    let folder = folder.as_ref();
    let (mut notes, blank_sentences) = read_sentences(&folder.join(SENTENCES))?;
    let mut seen = HashMap::new();
    let portions = Portions::try_from_fn(|portion: Portion| {
        take_notes(
            &folder.join(SPLITS[portion as usize]),
            &mut notes,
            &mut seen,
        )
    })?;
    Ok(Clip {
        notes: portions,
        unassigned: notes.into_keys().collect(),
        blank_sentences,
    })
}

fn read_sentences(path: &Path) -> Result<(BTreeMap<u64, DischargeNote>, usize)> {
    let mut records = open_csv(path)?;
    let column = |name| records.column(name).map_err(|error| csv_error(path, error));
    let columns = [column("doc_id")?, column("sentence")?, column("labels")?];
    let mut notes: BTreeMap<u64, DischargeNote> = BTreeMap::new();
    let mut blank = 0;
    while records
        .next_record()
        .map_err(|error| csv_error(path, error))?
    {
        let row = RowOf::Csv(records.at());
        let text = |column: usize, name: &str| {
            let text = records
                .text(column)
                .map_err(|error| csv_error(path, error))?;
            bounded(text.len(), || at(path, row, name))?;
            Ok::<_, Error>(text)
        };
        let id = whole(&text(columns[0], "doc_id")?, || at(path, row, "doc_id"))?;
        let words = list(path, row, "sentence", &text(columns[1], "sentence")?)?;
        let labels = labels(
            path,
            row,
            &list(path, row, "labels", &text(columns[2], "labels")?)?,
        )?;
        let note = notes.entry(id).or_insert_with(|| DischargeNote {
            id,
            text: String::new(),
            sentences: Vec::new(),
        });
        let sentence = words.join(" ");
        if clinical_files::strip(&sentence).is_empty() {
            blank += 1;
            continue;
        }
        let start = note.text.len();
        note.text.push_str(&sentence);
        let range = start..note.text.len();
        note.text.push(' ');
        note.sentences.push(ActionSentence { range, labels });
    }
    match notes.is_empty() {
        true => Err(Error::NoExamples {
            path: path.to_owned(),
            what: "sentence",
        }),
        false => Ok((notes, blank)),
    }
}

/// A list of texts as Python writes it.
fn list(path: &Path, row: RowOf, name: &str, field: &str) -> Result<Vec<String>> {
    let value = literal::parse(field).map_err(|problem| Error::NotALiteral {
        at: at(path, row, name),
        expected: problem.expected,
        offset: problem.offset,
    })?;
    let items = Node::new(path, row, name, &value).items()?;
    items
        .iter()
        .map(|item| item.text().map(str::to_owned))
        .collect()
}

fn labels(path: &Path, row: RowOf, tags: &[String]) -> Result<Labels> {
    let mut labels = Labels::default();
    for tag in tags {
        let found = Label::from_dataset(tag).map_err(|_| Error::UnknownLabel {
            at: at(path, row, "labels"),
            label: label(tag),
            known: Label::ALL.map(|label| format!("I-{label}")).join(", "),
        })?;
        labels[found.index()] = true;
    }
    Ok(labels)
}

fn whole(text: &str, at: impl FnOnce() -> FieldAt) -> Result<u64> {
    text.trim().parse().map_err(|_| Error::WrongType {
        at: at(),
        expected: "a whole number, the ROW_ID of a note",
    })
}

/// Takes the notes of a list out of all notes, in the order of their ids.
fn take_notes(
    path: &Path,
    notes: &mut BTreeMap<u64, DischargeNote>,
    seen: &mut HashMap<u64, FieldAt>,
) -> Result<Vec<DischargeNote>> {
    let source = Source::read(path)?;
    let mut taken = Vec::new();
    for (line, text) in source.lines().filter(|(_, text)| !text.trim().is_empty()) {
        let place = at(path, RowOf::Line(line), "");
        let id = whole(text, || place.clone())?;
        if let Some(first) = seen.get(&id) {
            return Err(Error::Duplicate {
                at: place,
                first: Box::new(first.clone()),
            });
        }
        match notes.remove(&id) {
            Some(note) => taken.push(note),
            None => return Err(Error::NoNote { at: place }),
        }
        seen.insert(id, place);
    }
    if taken.is_empty() {
        return Err(Error::NoExamples {
            path: path.to_owned(),
            what: "id of a note",
        });
    }
    taken.sort_by_key(|note| note.id);
    Ok(taken)
}
