//! The entity types of the removals in MIMIC-IV notes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::records::{Records, Step};
use super::{BUFFER_BYTES, MAX_ROW_BYTES, broken, column, start_of, without_bom};
use crate::Error;

/// Column of both files that names a note.
pub(super) const NOTE: &str = "note_id";
/// Column of the annotations that holds the type.
const TYPE: &str = "entity_type";

/// What was removed from each note of a MIMIC-IV file, from an annotation file such as
/// `discharge_annotation.csv` (columns `note_id` and `entity_type`; others are not looked at).
///
/// Held in memory, about four bytes for each removal. A note's types keep the order of the file.
///
/// ```
/// use clinical_deid::Normalizer;
/// use clinical_deid::csv::{Annotations, Options, convert};
///
/// let annotations = "note_id,entity_type\n7,NAME\n7,DATE\n";
/// let mut options = Options::new("text");
/// options.annotations = Some(Annotations::read(annotations.as_bytes())?);
/// let mut output = Vec::new();
/// convert(&b"note_id,text\n7,Dr. ___ on ___\n8,___\n"[..], &mut output, &Normalizer::mimic_iv(), &options, |_| ())?;
/// assert_eq!(output, b"note_id,text\n7,Dr.  [Name]  on  [DR]\n8,[MISC]\n");
/// # Ok::<(), clinical_deid::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations {
    /// Every type once.
    names: Vec<String>,
    /// Places in `names`.
    notes: HashMap<Vec<u8>, Vec<u32>>,
}

impl Annotations {
    /// Reads an annotation file.
    ///
    /// # Errors
    ///
    /// [`Error::Annotations`] with the path and the reason: unreadable, no such columns, broken rows.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let named = |source| Error::Annotations {
            path: path.display().to_string(),
            source: Box::new(source),
        };
        let file = File::open(path).map_err(|cause| {
            named(Error::Read {
                path: "it".into(),
                cause,
            })
        })?;
        Self::read(file).map_err(named)
    }

    /// Reads annotations from anything, buffered here.
    ///
    /// # Errors
    ///
    /// Those of reading CSV, all of [`Error`].
    pub fn read(input: impl Read) -> Result<Self, Error> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
        let start = start_of(&mut input).map_err(|cause| broken(cause.into(), 0, 0))?;
        let (_, start) = without_bom(&start)?;
        let mut records = Records::new(start.chain(input), MAX_ROW_BYTES);
        let mut found = Self::default();
        let mut places = HashMap::new();
        let mut columns = None;
        let mut row = 0;
        loop {
            let step = records
                .read()
                .map_err(|cause| broken(cause, row, MAX_ROW_BYTES))?;
            match (step, columns) {
                (Step::End, None) => return Err(Error::NoHeader),
                (Step::End, Some(_)) => return Ok(found),
                (Step::BlankLine, _) => {}
                (Step::Record, None) => {
                    columns = Some((column(&records, NOTE)?, column(&records, TYPE)?));
                    row = 1;
                }
                (Step::Record, Some((note, kind))) => {
                    let field = |index: usize| {
                        let field = records.fields().get(index).ok_or(Error::RowWidth {
                            row,
                            found: records.fields().len(),
                            expected: note.max(kind) + 1,
                        })?;
                        Ok::<_, Error>(field.value(records.raw()))
                    };
                    let name = String::from_utf8_lossy(&field(kind)?).into_owned();
                    let next = found.names.len() as u32;
                    let place = *places.entry(name).or_insert_with_key(|name| {
                        found.names.push(name.clone());
                        next
                    });
                    let types = found.notes.entry(field(note)?.into_owned()).or_default();
                    types.push(place);
                    row += 1;
                }
            }
        }
    }

    /// How many notes have annotations.
    #[must_use]
    pub fn notes(&self) -> usize {
        self.notes.len()
    }

    /// The types of a note in order; none for a note without annotations.
    pub(super) fn of(&self, note: &[u8]) -> Vec<&str> {
        let places = self.notes.get(note).into_iter().flatten();
        places
            .map(|&place| self.names[place as usize].as_str())
            .collect()
    }
}
