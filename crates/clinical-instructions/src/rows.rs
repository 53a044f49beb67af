//! Instruction data as files: the published ones, and what this crate makes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clinical_files::csv::{CsvOptions, Records, write_row};
use clinical_notes::corpus::mimic_iii::Note;
use serde::{Deserialize, Serialize};

use crate::lines::lines;
use crate::pipeline::Made;
use crate::{Error, Result};

/// The largest file of lines that is read at once: 8 GiB.
const MAX_FILE: u64 = 8 << 30;

/// A question about a note, with its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// A patient, or a `ROW_ID`; empty where the file has none.
    pub id: String,
    /// The note.
    pub note: String,
    /// The question, or the instruction.
    pub question: String,
    /// Its answer.
    pub answer: String,
    /// The task as the file names it, such as `Named Entity Recognition`
    /// ([`Task`](clinical_prompts::asclepius::Task) parses it).
    pub task: String,
}

/// Reads a data set with its notes, such as `synthetic.csv` of Asclepius-Synthetic-Clinical-Notes: columns `note`,
/// `question`, `answer`, and where they are there `patient_id` (or `id`) and `task`, in any case and order.
///
/// ```
/// use clinical_instructions::{CsvOptions, read_instructions};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("synthetic.csv");
/// std::fs::write(&path, "patient_id,note,question,answer,task\n7,\"BP 120/80\nHR 70\",BP?,120/80,Question Answering\n")?;
/// let rows: Vec<_> = read_instructions(&path, &CsvOptions::new())?.collect::<Result<_, _>>()?;
/// assert_eq!(rows[0].note, "BP 120/80\nHR 70");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Error::Files`] for a file that cannot be read, [`Error::Csv`] for a column that is not there; then, row by row, what
/// is wrong with it.
pub fn read_instructions(path: impl AsRef<Path>, options: &CsvOptions) -> Result<InstructionRows> {
    let mut rows = InstructionRows::open(path.as_ref(), options)?;
    rows.columns = [
        rows.optional("patient_id").or_else(|| rows.optional("id")),
        Some(rows.needed("note")?),
        Some(rows.needed("question")?),
        Some(rows.needed("answer")?),
        rows.optional("task"),
    ];
    Ok(rows)
}

/// Reads `mimiciii_discharge.csv`, the data set of Asclepius-R: `ROW_ID`, `Question`, `Answer`, `Task`, without notes.
/// [`join_notes`] adds these.
///
/// # Errors
///
/// As [`read_instructions`]; a `ROW_ID` that is no whole number.
pub fn read_mimic_questions(path: impl AsRef<Path>, options: &CsvOptions) -> Result<Questions> {
    let mut rows = InstructionRows::open(path.as_ref(), options)?;
    rows.columns = [
        Some(rows.needed("row_id")?),
        None,
        Some(rows.needed("question")?),
        Some(rows.needed("answer")?),
        Some(rows.needed("task")?),
    ];
    let mut of: BTreeMap<u64, Vec<Instruction>> = BTreeMap::new();
    for (at, row) in rows.enumerate() {
        let row = row?;
        let id = row
            .id
            .trim()
            .parse()
            .map_err(|_| Error::RowId { row: at + 1 })?;
        of.entry(id).or_default().push(row);
    }
    Ok(Questions(of))
}

/// Questions by the `ROW_ID` of their note.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions(BTreeMap<u64, Vec<Instruction>>);

impl Questions {
    /// How many questions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Gives questions their notes, in the order of the notes; `convert` makes the text of a note what the model reads, as
/// [`Normalizer`](clinical_deid::Normalizer) does. A note without a question is passed over.
///
/// ```
/// use clinical_deid::Normalizer;
/// use clinical_instructions::{CsvOptions, join_notes, read_mimic_questions};
/// use clinical_notes::corpus::mimic_iii::Notes;
///
/// # let folder = tempfile::tempdir()?;
/// # let (questions, notes) = (folder.path().join("mimiciii_discharge.csv"), folder.path().join("NOTEEVENTS.csv"));
/// std::fs::write(&questions, "ROW_ID,Question,Answer,Task\n174,Who?,A nurse.,Question Answering\n")?;
/// std::fs::write(&notes, "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT\n\
///     174,22532,167853,2151-08-04,,,Discharge summary,Report,,,Seen by [**Name 12**]\n")?;
/// let normalizer = Normalizer::mimic_iii();
/// let questions = read_mimic_questions(&questions, &CsvOptions::new())?;
/// let rows = join_notes(questions, Notes::open(&notes, &CsvOptions::new())?, |text| {
///     Ok(normalizer.normalize(text)?.text)
/// });
/// let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
/// assert_eq!(rows[0].note, "Seen by  [Name]"); // blanks as the published script puts them
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// In place of a row [`Error::Input`]: a note that cannot be read, or what `convert` says; at the end [`Error::NoNote`] if
/// questions are left without a note.
pub fn join_notes<N, E, F>(
    questions: Questions,
    notes: N,
    mut convert: F,
) -> impl Iterator<Item = Result<Instruction>>
where
    N: IntoIterator<Item = Result<Note, E>>,
    E: Into<crate::Cause>,
    F: FnMut(&str) -> Result<String, crate::Cause>,
{
    let mut open = questions.0;
    let mut notes = notes.into_iter().enumerate();
    let mut ready = Vec::new().into_iter();
    let mut over = false;
    std::iter::from_fn(move || {
        loop {
            if let Some(row) = ready.next() {
                return Some(Ok(row));
            }
            if over {
                return None;
            }
            let Some((at, note)) = notes.next() else {
                over = true;
                let (&first, _) = open.first_key_value()?;
                let missing = open.values().map(Vec::len).sum();
                return Some(Err(Error::NoNote { missing, first }));
            };
            let failed = |cause| Error::Input { row: at + 1, cause };
            let note = match note {
                Ok(note) => note,
                Err(cause) => return Some(Err(failed(cause.into()))),
            };
            let Some(mut rows) = open.remove(&note.row_id) else {
                continue;
            };
            match convert(&note.text) {
                Ok(text) => rows.iter_mut().for_each(|row| row.note.clone_from(&text)),
                Err(cause) => return Some(Err(failed(cause))),
            }
            ready = rows.into_iter();
        }
    })
}

/// Reads the output of [`Pipeline::run`](crate::Pipeline::run), dropped rows included.
///
/// # Errors
///
/// [`Error::Files`], [`Error::Line`].
pub fn read_made(path: impl AsRef<Path>) -> Result<Vec<Made>> {
    let path = path.as_ref();
    lines(path, &clinical_files::read_file(path, MAX_FILE)?)
}

/// Writes instruction data for training, by the end of the name: `.csv` with the published columns (`patient_id`,
/// `note`, `question`, `answer`, `task`), `.json` (a list of objects, which the published training reads) or `.jsonl`
/// (one object a line, as `train` reads them). What was there is replaced when the new file is complete.
///
/// # Errors
///
/// [`Error::Format`], [`Error::Files`].
pub fn write_instructions<'r>(
    rows: impl IntoIterator<Item = &'r Instruction>,
    path: impl AsRef<Path>,
) -> Result<usize> {
    let path = path.as_ref();
    let format = Format::of(path)?;
    let mut count = 0;
    clinical_files::replace_file(path, |out| {
        let failed = |cause| clinical_files::Error::Write {
            path: path.to_owned(),
            cause,
        };
        let mut line = Vec::new();
        if format == Format::Csv {
            let names = ["patient_id", "note", "question", "answer", "task"];
            write_row(&mut line, names.map(Some));
        }
        for row in rows {
            format.write(row, count, &mut line);
            count += 1;
            if line.len() > 1 << 20 {
                out.write_all(&line).map_err(failed)?;
                line.clear();
            }
        }
        if format == Format::Json {
            line.extend_from_slice(if count == 0 { b"[]\n" } else { b"\n]\n" });
        }
        out.write_all(&line).map_err(failed)?;
        Ok::<_, Error>(())
    })?;
    Ok(count)
}

/// Whether [`write_instructions`] knows the format of this name: to be asked before a run of hours.
///
/// # Errors
///
/// [`Error::Format`].
pub fn check_format(path: impl AsRef<Path>) -> Result<()> {
    Format::of(path.as_ref()).map(drop)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Json,
    Lines,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        let end = path.extension().and_then(|end| end.to_str());
        match end.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Json),
            Some("jsonl" | "ndjson") => Ok(Self::Lines),
            _ => Err(Error::Format {
                path: path.to_owned(),
            }),
        }
    }

    fn write(self, row: &Instruction, count: usize, out: &mut Vec<u8>) {
        if self == Self::Csv {
            let fields = [&row.id, &row.note, &row.question, &row.answer, &row.task];
            return write_row(out, fields.map(Some));
        }
        if self == Self::Json {
            out.extend_from_slice(if count == 0 { b"[\n" } else { b",\n" });
        }
        let value = serde_json::json!({
            "patient_id": row.id, "note": row.note, "question": row.question, "answer": row.answer, "task": row.task,
        });
        out.extend_from_slice(value.to_string().as_bytes());
        if self == Self::Lines {
            out.push(b'\n');
        }
    }
}

/// The rows of a file; see [`read_instructions`]. After an error that is about one row alone
/// ([`clinical_files::Error::is_about_one_row`]) the next rows follow.
pub struct InstructionRows {
    records: Records<File>,
    path: PathBuf,
    /// Of id, note, question, answer, task.
    columns: [Option<usize>; 5],
}

impl fmt::Debug for InstructionRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstructionRows")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl InstructionRows {
    fn open(path: &Path, options: &CsvOptions) -> Result<Self> {
        Ok(Self {
            records: Records::open(path, options).map_err(in_file(path))?,
            path: path.to_owned(),
            columns: [None; 5],
        })
    }

    fn optional(&self, name: &str) -> Option<usize> {
        self.records.column_in_any_case(name)
    }

    fn needed(&self, name: &str) -> Result<usize> {
        let found = self.optional(name);
        found.ok_or_else(|| in_file(&self.path)(self.records.no_column(name)))
    }

    fn row(&mut self) -> clinical_files::Result<Option<Instruction>> {
        if !self.records.next_record()? {
            return Ok(None);
        }
        let text = |column: Option<usize>| match column {
            Some(column) => Ok(self.records.text(column)?.into_owned()),
            None => Ok(String::new()),
        };
        let [id, note, question, answer, task] = self.columns;
        Ok(Some(Instruction {
            id: text(id)?,
            note: text(note)?,
            question: text(question)?,
            answer: text(answer)?,
            task: text(task)?,
        }))
    }
}

impl Iterator for InstructionRows {
    type Item = Result<Instruction>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.row() {
            Ok(row) => row.map(Ok),
            Err(error) => Some(Err(in_file(&self.path)(error))),
        }
    }
}

/// Which file it is. One that cannot be opened names it itself.
fn in_file(path: &Path) -> impl FnOnce(clinical_files::Error) -> Error {
    |source| match source {
        clinical_files::Error::Read { .. } => Error::Files(source.with_input(path)),
        source => Error::Csv {
            path: path.to_owned(),
            source,
        },
    }
}
