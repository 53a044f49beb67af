//! `discharge.csv` and `radiology.csv` of MIMIC-IV-Note.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clinical_files::RowAt;
use clinical_files::csv::CsvOptions;

use super::Timestamp;
use super::records::{Column, Records};
use crate::Result;

/// A row of `discharge.csv` or `radiology.csv`. `Debug` shows the length of the text, not the
/// text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// `note_id`, for example `10000032-DS-21`.
    pub note_id: String,
    /// `subject_id`: the patient.
    pub subject_id: u64,
    /// `hadm_id`: the hospital stay.
    pub hadm_id: Option<u64>,
    /// `note_type`: `DS` discharge summary, `AD` its addendum, `RR` radiology report, `AR` its
    /// addendum.
    pub note_type: String,
    /// `charttime`.
    pub chart_time: Option<Timestamp>,
    /// `storetime`.
    pub store_time: Option<Timestamp>,
    /// `text`, as in the file.
    pub text: String,
}

/// The text, so that a slice of notes can be given where texts are wanted.
impl AsRef<str> for Note {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Note")
            .field("note_id", &self.note_id)
            .field("note_type", &self.note_type)
            .field("text_bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// The notes of `discharge.csv` or `radiology.csv`, in file order.
///
/// Column order and the case of column names do not matter. Only `note_id`, `subject_id` and
/// `text` must be there. A record that breaks a rule is an error item, and reading goes on after it
/// while [`Error::is_about_one_row`](crate::Error::is_about_one_row).
///
/// ```
/// use clinical_notes::corpus::mimic_iv::Notes;
///
/// let file = "note_id,subject_id,note_type,text\n10-DS-1,10,DS,\"Name: ___\n\"\n10-AD-2,10,AD,More.\n";
/// let notes: Vec<_> = Notes::new(file.as_bytes())?.with_note_type("DS").collect::<Result<_, _>>()?;
/// assert_eq!(notes.len(), 1);
/// assert_eq!(notes[0].text, "Name: ___\n");
/// # Ok::<(), clinical_notes::Error>(())
/// ```
#[derive(Debug)]
pub struct Notes<R> {
    records: Records<R>,
    columns: Columns,
    note_type: Option<String>,
}

#[derive(Debug)]
struct Columns {
    note_id: Column,
    subject_id: Column,
    hadm_id: Column,
    note_type: Column,
    chart_time: Column,
    store_time: Column,
    text: Column,
}

impl Notes<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of [`Notes::new`].
    pub fn open(path: impl AsRef<Path>, options: &CsvOptions) -> Result<Self> {
        Self::of_records(Records::open(path.as_ref(), options)?)
    }
}

impl<R: Read> Notes<R> {
    /// Reads the header line. Reads are buffered here, the source needs no buffer.
    ///
    /// # Errors
    /// [`Error::Files`](crate::Error::Files): a column is missing, or what [`clinical_files::csv`] refuses.
    pub fn new(source: R) -> Result<Self> {
        Self::with_options(source, &CsvOptions::new())
    }

    /// [`new`](Self::new) for a file that is written another way.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn with_options(source: R, options: &CsvOptions) -> Result<Self> {
        Self::of_records(Records::new(source, options)?)
    }

    /// Where the last note is in the file.
    pub fn at(&self) -> RowAt {
        self.records.at()
    }

    /// Bytes of the file that were read.
    pub fn bytes_read(&self) -> u64 {
        self.records.bytes_read()
    }

    fn of_records(records: Records<R>) -> Result<Self> {
        let columns = Columns {
            note_id: records.required("note_id")?,
            subject_id: records.required("subject_id")?,
            hadm_id: records.optional("hadm_id"),
            note_type: records.optional("note_type"),
            chart_time: records.optional("charttime"),
            store_time: records.optional("storetime"),
            text: records.required("text")?,
        };
        Ok(Self {
            records,
            columns,
            note_type: None,
        })
    }

    /// Only notes of this type, for example `DS`.
    pub fn with_note_type(mut self, note_type: &str) -> Self {
        self.note_type = Some(note_type.trim().to_owned());
        self
    }

    /// The note of the current record, or `None` when the filter leaves it out.
    fn note(&self) -> Result<Option<Note>> {
        let (records, columns) = (&self.records, &self.columns);
        let note_type = records.text(columns.note_type)?;
        if self
            .note_type
            .as_ref()
            .is_some_and(|wanted| wanted != note_type.trim())
        {
            return Ok(None);
        }
        Ok(Some(Note {
            note_id: records.text(columns.note_id)?.into_owned(),
            subject_id: records.id(columns.subject_id)?,
            hadm_id: records.number(columns.hadm_id)?,
            note_type: note_type.into_owned(),
            chart_time: records.time(columns.chart_time)?,
            store_time: records.time(columns.store_time)?,
            text: records.text(columns.text)?.into_owned(),
        }))
    }
}

impl<R: Read> Iterator for Notes<R> {
    type Item = Result<Note>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let note = self.records.advance()?.and_then(|()| self.note());
            if let Some(note) = note.transpose() {
                return Some(note);
            }
        }
    }
}
