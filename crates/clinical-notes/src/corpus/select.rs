//! Which notes the published models were trained on.

use std::collections::HashSet;

use super::mimic_iii::Note;
use crate::{Error, Result};

/// The patients of the pretraining corpus of Clinical-T5 (`preprocessing/combine_mimics.py` and
/// `remove_patient_ids.py` of `elehman16/do-we-still-need-clinical-lms`).
///
/// MIMIC-III and MIMIC-IV share patients, but not identifiers. Of MIMIC-III, all notes of CareVue
/// patients are taken (they are in MIMIC-III only), and of the others all but discharge summaries
/// and radiology reports (MIMIC-IV may hold them); of MIMIC-IV, everything. Patients of the
/// fine-tuning sets are left out of both.
#[derive(Debug, Clone, Default)]
pub struct PretrainingPatients {
    /// `SUBJECT_ID` of the MIMIC-III patients in the CareVue subset.
    pub carevue: HashSet<u64>,
    /// Patients to leave out, of both data sets (their numbers do not overlap).
    pub left_out: HashSet<u64>,
}

impl PretrainingPatients {
    /// Whether a MIMIC-III note is part of the corpus.
    pub fn keeps(&self, note: &Note) -> bool {
        let twice = matches!(&*note.category, "Radiology" | "Discharge summary");
        (self.carevue.contains(&note.subject_id) || !twice) && self.keeps_patient(note.subject_id)
    }

    /// Whether the notes of a MIMIC-IV patient are part of the corpus.
    pub fn keeps_patient(&self, subject_id: u64) -> bool {
        !self.left_out.contains(&subject_id)
    }
}

/// Whether Asclepius-R was trained on a MIMIC-III note (`preprocessing/mimiciii_preproc.py` of
/// `starmpcc/Asclepius`): a discharge summary whose `ROW_ID` is not held out. The published list
/// of 517 held-out rows is `preprocessing/mimiciii_filter_index.txt` there; read it with
/// [`row_ids`].
pub fn is_asclepius_r_note(note: &Note, held_out: &HashSet<u64>) -> bool {
    note.category == "Discharge summary" && !held_out.contains(&note.row_id)
}

/// Reads a list of `ROW_ID`s, one per line. Blank lines are skipped.
///
/// # Errors
/// [`Error::NotARowNumber`] for a line that is not a whole number.
///
/// ```
/// use clinical_notes::corpus::row_ids;
///
/// assert_eq!(row_ids("12\n7\r\n\n")?.len(), 2);
/// assert!(row_ids("12\nROW_ID\n").is_err());
/// # Ok::<(), clinical_notes::Error>(())
/// ```
pub fn row_ids(list: &str) -> Result<HashSet<u64>> {
    let lines = list.lines().enumerate();
    lines
        .map(|(i, line)| (i, line.trim()))
        .filter(|(_, line)| !line.is_empty())
        .map(|(i, line)| {
            line.parse()
                .map_err(|_| Error::NotARowNumber { line: i + 1 })
        })
        .collect()
}
