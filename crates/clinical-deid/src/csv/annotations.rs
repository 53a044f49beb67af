//! The entity types of the removals in MIMIC-IV notes.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use clinical_files::csv::{CsvOptions, Records};

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
    /// Slots in `names`.
    notes: HashMap<Vec<u8>, Vec<u32>>,
}

impl Annotations {
    /// Reads an annotation file.
    ///
    /// # Errors
    ///
    /// [`Error::Annotations`] with the path and the reason: unreadable, no such columns, broken rows.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_with(path, &CsvOptions::new())
    }

    /// [`open`](Self::open) for a file that is written another way.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_with(path: &Path, options: &CsvOptions) -> Result<Self, Error> {
        let records = Records::open(path, options).map_err(Error::Files);
        records
            .and_then(Self::of_records)
            .map_err(|source| Error::Annotations {
                path: path.display().to_string(),
                source: Box::new(source),
            })
    }

    /// Reads annotations from anything, buffered here.
    ///
    /// # Errors
    ///
    /// Those of reading CSV, [`Error::Files`].
    pub fn read(input: impl Read) -> Result<Self, Error> {
        Self::of_records(Records::new(input, &CsvOptions::new())?)
    }

    fn of_records(mut records: Records<impl Read>) -> Result<Self, Error> {
        let (note, kind) = (records.column(NOTE)?, records.column(TYPE)?);
        let mut found = Self::default();
        let mut slots = HashMap::new();
        while records.next_record()? {
            let name = String::from_utf8_lossy(&records.bytes(kind)).into_owned();
            let next = found.names.len() as u32;
            let slot = *slots.entry(name).or_insert_with_key(|name| {
                found.names.push(name.clone());
                next
            });
            let types = found.notes.entry(records.bytes(note).into_owned());
            types.or_default().push(slot);
        }
        Ok(found)
    }

    /// How many notes have annotations.
    #[must_use]
    pub fn notes(&self) -> usize {
        self.notes.len()
    }

    /// The types of a note in order; none for a note without annotations.
    pub(super) fn of(&self, note: &[u8]) -> Vec<&str> {
        let slots = self.notes.get(note).into_iter().flatten();
        slots
            .map(|&slot| self.names[slot as usize].as_str())
            .collect()
    }
}
