//! The notes of any CSV file, and records without repeats.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::Path;

use clinical_files::csv::{CsvOptions, Records};

use crate::Record;

/// A row of a CSV file: its text and its name. `Debug` shows the length of the text, not the text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Text {
    /// Which row of the file, from 1 without the header.
    pub row: u64,
    /// The value of the column that names notes; without one the number of the row, from 0.
    pub id: String,
    /// The text, as in the file.
    pub text: String,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text")
            .field("row", &self.row)
            .field("text_bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// The text, so that a slice of notes can be given where texts are wanted.
impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Record for Text {
    fn name(&self) -> Option<String> {
        Some(format!("row {}, {}", self.row, self.id))
    }
}

/// The notes of a CSV file, in order. A row that breaks a rule is an error item, and reading goes on after it while
/// [`clinical_files::Error::is_about_one_row`].
///
/// ```
/// use clinical_corpus::{CsvOptions, Texts};
///
/// let file = "id,note\n7,fever\n8,\"cough, pain\"\n";
/// let notes: Result<Vec<_>, _> = Texts::new(file.as_bytes(), "note", Some("id"), &CsvOptions::new())?.collect();
/// assert_eq!(notes?[1].text, "cough, pain");
/// # Ok::<(), clinical_files::Error>(())
/// ```
#[derive(Debug)]
pub struct Texts<R> {
    records: Records<R>,
    text: usize,
    id: Option<usize>,
}

impl Texts<File> {
    /// Opens a file whose column `text` holds the notes and whose column `id` names them.
    ///
    /// # Errors
    ///
    /// Those of [`Records::open`] and of [`Records::column`].
    pub fn open(
        path: impl AsRef<Path>,
        text: &str,
        id: Option<&str>,
        options: &CsvOptions,
    ) -> clinical_files::Result<Self> {
        Self::of_records(Records::open(path, options)?, text, id)
    }
}

impl<R: Read> Texts<R> {
    /// [`open`](Texts::open) for anything that can be read.
    ///
    /// # Errors
    ///
    /// Those of [`Records::new`] and of [`Records::column`].
    pub fn new(
        source: R,
        text: &str,
        id: Option<&str>,
        options: &CsvOptions,
    ) -> clinical_files::Result<Self> {
        Self::of_records(Records::new(source, options)?, text, id)
    }

    fn of_records(
        records: Records<R>,
        text: &str,
        id: Option<&str>,
    ) -> clinical_files::Result<Self> {
        Ok(Self {
            text: records.column(text)?,
            id: id.map(|id| records.column(id)).transpose()?,
            records,
        })
    }

    /// Bytes of the file that were read.
    pub fn bytes_read(&self) -> u64 {
        self.records.bytes_read()
    }

    fn current(&self) -> clinical_files::Result<Text> {
        let row = self.records.at().row;
        let id = match self.id {
            Some(id) => self.records.text(id)?.into_owned(),
            None => (row - 1).to_string(),
        };
        let text = self.records.text(self.text)?.into_owned();
        Ok(Text { row, id, text })
    }
}

impl<R: Read> Iterator for Texts<R> {
    type Item = clinical_files::Result<Text>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.records.next_record() {
            Ok(false) => None,
            Ok(true) => Some(self.current()),
            Err(error) => Some(Err(error)),
        }
    }
}

/// The records without those whose text was seen before. Errors pass. Takes 16 bytes of memory and a little for each
/// record.
///
/// ```
/// use std::convert::Infallible;
///
/// let notes = ["fever", "cough", "fever"].map(|note| Ok::<_, Infallible>(note.to_owned()));
/// let kept = clinical_corpus::unique(notes, |note| note.as_str());
/// assert_eq!(kept.flatten().collect::<Vec<_>>(), ["fever", "cough"]);
/// ```
pub fn unique<R, E>(
    records: impl IntoIterator<Item = Result<R, E>>,
    text: impl Fn(&R) -> &str,
) -> impl Iterator<Item = Result<R, E>> {
    let mut seen = HashSet::new();
    records.into_iter().filter(move |record| match record {
        Ok(record) => seen.insert(fingerprint(text(record))),
        Err(_) => true,
    })
}

/// 128 bits, of which no two texts of a corpus have the same.
fn fingerprint(text: &str) -> (u64, u64) {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        hasher.finish()
    };
    (half(0), half(1))
}
