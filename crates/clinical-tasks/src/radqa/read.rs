//! Reading RadQA: JSON in the format of SQuAD 2.0 as published, and the CSV files that the study made of it.

use std::path::Path;

use clinical_files::csv::Records;
use serde_json::Value;

use super::{RadiologyReport, ReferenceAnswer, ReportQuestion};
use crate::error::RowOf;
use crate::source::{Node, Once, Source, at, bounded, csv_error, open_csv};
use crate::{Error, Portion, Portions, Result, literal};

/// The files as published, in the order of [`Portion::ALL`].
pub const FILES: [&str; 3] = ["train.json", "dev.json", "test.json"];

/// Reads one of the published files.
///
/// # Errors
///
/// [`Error`]: no such file, no JSON, a field that is missing, blank, too long or of another type, an answer that does
/// not stand where it says, a question that is answered by nothing and not said to be impossible, an `id` that stands
/// twice.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<RadiologyReport>> {
    read_once(path.as_ref(), &mut Once::default())
}

/// Reads the three files of a folder. No `id` may stand in two of them.
///
/// # Errors
///
/// Those of [`read`].
pub fn read_folder(folder: impl AsRef<Path>) -> Result<Portions<Vec<RadiologyReport>>> {
    let mut ids = Once::default();
    Portions::try_from_fn(|portion: Portion| {
        read_once(&folder.as_ref().join(FILES[portion as usize]), &mut ids)
    })
}

fn read_once(path: &Path, ids: &mut Once) -> Result<Vec<RadiologyReport>> {
    let source = Source::read(path)?;
    let file = source.json()?;
    let mut reports = Vec::new();
    for note in Node::new(path, RowOf::File, "", &file)
        .field("data")?
        .items()?
    {
        let title = note.field("title")?.name()?;
        for paragraph in note.field("paragraphs")?.items()? {
            let context = paragraph.field("context")?.words()?;
            let mut questions = Vec::new();
            for item in paragraph.field("qas")?.items()? {
                questions.push(question(&item, context, ids)?);
            }
            reports.push(RadiologyReport {
                title: title.clone(),
                context: context.to_owned(),
                questions,
            });
        }
    }
    not_empty(path, reports)
}

fn question(item: &Node<'_>, context: &str, ids: &mut Once) -> Result<ReportQuestion> {
    let id = item.field("id")?;
    let name = id.name()?;
    ids.add(name.clone(), id.at())?;
    let impossible = match item.optional("is_impossible")? {
        Some(flag) => flag.flag()?,
        None => false,
    };
    let list = item.field("answers")?;
    let mut answers = Vec::new();
    // An impossible question may have plausible answers, which are none.
    for answer in list.items()?.iter().filter(|_| !impossible) {
        let (text, start) = (
            answer.field("text")?,
            answer.field("answer_start")?.count()?,
        );
        answers.push(reference(context, &text, start)?);
    }
    if answers.is_empty() && !impossible {
        return Err(Error::Missing { at: list.at() });
    }
    Ok(ReportQuestion {
        id: name,
        question: item.field("question")?.words()?.to_owned(),
        answers,
    })
}

fn reference(context: &str, text: &Node<'_>, start: usize) -> Result<ReferenceAnswer> {
    let answer = ReferenceAnswer::at(context, text.words()?, start);
    answer.ok_or_else(|| Error::NotInContext {
        at: text.at(),
        start,
    })
}

fn not_empty(path: &Path, reports: Vec<RadiologyReport>) -> Result<Vec<RadiologyReport>> {
    match reports.iter().any(|report| !report.questions.is_empty()) {
        true => Ok(reports),
        false => Err(Error::NoExamples {
            path: path.to_owned(),
            what: "question",
        }),
    }
}

/// Reads a file that the study's `convert_squad_format_to_csv.py` made: the columns `id`, `title`, `context`,
/// `question`, `answers`, the last a dictionary as Python writes it. Rows that follow each other with one title and
/// context are one report.
///
/// # Errors
///
/// Those of [`read`]; [`Error::Csv`], [`Error::NotALiteral`].
pub fn read_csv(path: impl AsRef<Path>) -> Result<Vec<RadiologyReport>> {
    let path = path.as_ref();
    let mut records = open_csv(path)?;
    let named =
        |records: &Records<_>, name| records.column(name).map_err(|error| csv_error(path, error));
    let columns = CsvColumns {
        id: named(&records, "id")?,
        title: named(&records, "title")?,
        context: named(&records, "context")?,
        question: named(&records, "question")?,
        answers: named(&records, "answers")?,
    };
    let mut ids = Once::default();
    let mut reports: Vec<RadiologyReport> = Vec::new();
    while records
        .next_record()
        .map_err(|error| csv_error(path, error))?
    {
        let row = RowOf::Csv(records.at());
        let text = |column: usize, name: &str| -> Result<String> {
            let text = records
                .text(column)
                .map_err(|error| csv_error(path, error))?;
            bounded(text.len(), || at(path, row, name))?;
            match clinical_files::strip(&text) {
                "" => Err(Error::Blank {
                    at: at(path, row, name),
                }),
                _ => Ok(text.into_owned()),
            }
        };
        let (id, context) = (text(columns.id, "id")?, text(columns.context, "context")?);
        ids.add(id.clone(), at(path, row, "id"))?;
        let title = text(columns.title, "title")?;
        let question = ReportQuestion {
            id,
            question: text(columns.question, "question")?,
            answers: csv_answers(path, row, &context, &text(columns.answers, "answers")?)?,
        };
        match reports.last_mut() {
            Some(last) if last.title == title && last.context == context => {
                last.questions.push(question);
            }
            _ => reports.push(RadiologyReport {
                title,
                context,
                questions: vec![question],
            }),
        }
    }
    not_empty(path, reports)
}

struct CsvColumns {
    id: usize,
    title: usize,
    context: usize,
    question: usize,
    answers: usize,
}

/// `{'text': [..], 'answer_start': [..]}`.
fn csv_answers(
    path: &Path,
    row: RowOf,
    context: &str,
    field: &str,
) -> Result<Vec<ReferenceAnswer>> {
    let value: Value = literal::parse(field).map_err(|problem| Error::NotALiteral {
        at: at(path, row, "answers"),
        expected: problem.expected,
        offset: problem.offset,
    })?;
    let node = Node::new(path, row, "answers", &value);
    let texts: Vec<Node<'_>> = node.field("text")?.items()?;
    let starts: Vec<Node<'_>> = node.field("answer_start")?.items()?;
    if texts.len() != starts.len() {
        return Err(Error::WrongType {
            at: node.at(),
            expected: "a list of texts and one of as many starts",
        });
    }
    let pairs = texts.iter().zip(&starts);
    pairs
        .map(|(text, start)| reference(context, text, start.count()?))
        .collect()
}
