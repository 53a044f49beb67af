//! What a job needs to know of records and of the errors of their readers.

use std::convert::Infallible;

use clinical_notes::corpus::{mimic_iii, mimic_iv};

/// A record of a corpus: whatever the job's function takes.
pub trait Record {
    /// What the record is called where an error or a list of rejected records speaks of it, and where a run that goes
    /// on looks whether it reads the same records. No text of a note.
    fn name(&self) -> Option<String> {
        None
    }
}

impl Record for mimic_iii::Note {
    fn name(&self) -> Option<String> {
        Some(format!("ROW_ID {}", self.row_id))
    }
}

impl Record for mimic_iv::Note {
    fn name(&self) -> Option<String> {
        Some(format!("note_id {}", self.note_id))
    }
}

impl Record for String {}

impl<R: Record + ?Sized> Record for &R {
    fn name(&self) -> Option<String> {
        (**self).name()
    }
}

/// An error of reading records.
pub trait ReadError: std::error::Error + Send + Sync + 'static {
    /// Whether reading goes on after it. A job that keeps rejected records still ends with other errors: what follows a
    /// missing quote may be made of two patients' notes.
    fn is_about_one_row(&self) -> bool;
}

impl ReadError for clinical_notes::Error {
    fn is_about_one_row(&self) -> bool {
        clinical_notes::Error::is_about_one_row(self)
    }
}

impl ReadError for clinical_files::Error {
    fn is_about_one_row(&self) -> bool {
        clinical_files::Error::is_about_one_row(self)
    }
}

impl ReadError for Infallible {
    fn is_about_one_row(&self) -> bool {
        match *self {}
    }
}
