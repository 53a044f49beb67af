//! `NOTEEVENTS.csv` of MIMIC-III.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use clinical_files::RowAt;
use clinical_files::csv::CsvOptions;

use super::Timestamp;
use super::records::{Column, Records};
use crate::Result;

/// A row of `NOTEEVENTS.csv`. `Debug` shows the length of the text, not the text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// `ROW_ID`.
    pub row_id: u64,
    /// `SUBJECT_ID`: the patient.
    pub subject_id: u64,
    /// `HADM_ID`: the hospital stay.
    pub hadm_id: Option<u64>,
    /// `CHARTTIME`: what time the note is about. Discharge summaries have none.
    pub chart_time: Option<Timestamp>,
    /// `STORETIME`: when the note was saved.
    pub store_time: Option<Timestamp>,
    /// `CATEGORY`, for example `Discharge summary`.
    pub category: String,
    /// `DESCRIPTION`, for example `Report` or `Addendum`.
    pub description: String,
    /// `CGID`: the caregiver.
    pub caregiver_id: Option<u64>,
    /// `ISERROR` is 1: a physician marked the note as an error.
    pub is_error: bool,
    /// `TEXT`, as in the file.
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
            .field("row_id", &self.row_id)
            .field("category", &self.category)
            .field("text_bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// The notes of `NOTEEVENTS.csv`, in file order.
///
/// Column order and the case of column names do not matter. `HADM_ID`, `DESCRIPTION` and `ISERROR`
/// may be missing, other columns are ignored. Missing numbers and times, times and flags are read as
/// databases, R and pandas export them. A record that breaks a rule is an error item, and reading goes
/// on after it while [`Error::is_about_one_row`](crate::Error::is_about_one_row).
#[derive(Debug)]
pub struct Notes<R> {
    records: Records<R>,
    columns: Columns,
    category: Option<String>,
    skip_errors: bool,
}

#[derive(Debug)]
struct Columns {
    row_id: Column,
    subject_id: Column,
    hadm_id: Column,
    chart_time: Column,
    store_time: Column,
    category: Column,
    description: Column,
    caregiver_id: Column,
    is_error: Column,
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
            row_id: records.required("ROW_ID")?,
            subject_id: records.required("SUBJECT_ID")?,
            hadm_id: records.optional("HADM_ID"),
            chart_time: records.required("CHARTTIME")?,
            store_time: records.required("STORETIME")?,
            category: records.required("CATEGORY")?,
            description: records.optional("DESCRIPTION"),
            caregiver_id: records.required("CGID")?,
            is_error: records.optional("ISERROR"),
            text: records.required("TEXT")?,
        };
        Ok(Self {
            records,
            columns,
            category: None,
            skip_errors: false,
        })
    }

    /// Only notes of this category. White space at the ends does not count (the file has
    /// `Respiratory `), case does.
    pub fn with_category(mut self, category: &str) -> Self {
        self.category = Some(category.trim().to_owned());
        self
    }

    /// Whether notes that a physician marked as errors are left out. Default: `false`, as in the
    /// published corpora.
    pub fn with_skip_errors(mut self, skip: bool) -> Self {
        self.skip_errors = skip;
        self
    }

    /// The note of the current record, or `None` when the filters leave it out.
    fn note(&self) -> Result<Option<Note>> {
        let (records, columns) = (&self.records, &self.columns);
        let category = records.text(columns.category)?;
        let is_error = records.flag(columns.is_error)?;
        let other = self
            .category
            .as_ref()
            .is_some_and(|wanted| wanted != category.trim());
        if other || is_error && self.skip_errors {
            return Ok(None);
        }
        Ok(Some(Note {
            row_id: records.id(columns.row_id)?,
            subject_id: records.id(columns.subject_id)?,
            hadm_id: records.number(columns.hadm_id)?,
            chart_time: records.time(columns.chart_time)?,
            store_time: records.time(columns.store_time)?,
            category: category.into_owned(),
            description: records.text(columns.description)?.into_owned(),
            caregiver_id: records.number(columns.caregiver_id)?,
            is_error,
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
