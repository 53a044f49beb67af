//! The only file of a study with text of notes, written where the caller asks for it.

use std::path::Path;

use clinical_files::write_file;
use clinical_tasks::Portion;
use serde::Serialize;

use crate::Result;
use crate::data::{Examples, TaskData, question};
use crate::prediction::{EntityAt, Found, Prediction, lines};

/// A prediction with its texts.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    prediction: &'a Prediction,
    /// What the model read, in the parts of the task's files.
    text: Vec<&'a str>,
    /// The right answers, or the words of entities.
    truth_text: Vec<&'a str>,
    /// The predicted ones, as far as they stand in the text.
    predicted_text: Vec<&'a str>,
    /// What the model wrote, if it was tested with texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<&'a str>,
}

/// Writes a line for each prediction, with its texts.
pub(crate) fn write(
    data: &TaskData,
    predictions: &[Prediction],
    written: &[String],
    path: &Path,
) -> Result<()> {
    let mut joined = Vec::with_capacity(predictions.len());
    for prediction in predictions {
        joined.push(match &data.examples {
            Examples::Entities(all) => {
                let line = all.test.get(prediction.example);
                line.map_or_else(String::new, |line| line.row.words.join(" "))
            }
            _ => String::new(),
        });
    }
    let rows = predictions.iter().zip(&joined).enumerate();
    let rows = rows.map(|(number, (prediction, joined))| {
        let (text, truth_text, predicted_text) = texts(data, prediction, joined);
        Row {
            prediction,
            text,
            truth_text,
            predicted_text,
            written: written.get(number).map(String::as_str),
        }
    });
    let rows: Vec<Row<'_>> = rows.collect();
    Ok(write_file(path, &lines(&rows, path)?)?)
}

type Texts<'a> = (Vec<&'a str>, Vec<&'a str>, Vec<&'a str>);

fn texts<'a>(data: &'a TaskData, prediction: &Prediction, joined: &'a str) -> Texts<'a> {
    let index = prediction.example;
    if index >= data.len(Portion::Test) {
        return Texts::default();
    }
    match (&data.examples, &prediction.found) {
        (Examples::MedNli(pairs), _) => {
            let pair = &pairs.test[index];
            (
                vec![&pair.premise, &pair.hypothesis],
                Vec::new(),
                Vec::new(),
            )
        }
        (Examples::Clip(notes), _) => {
            let (note, at) = notes.get(Portion::Test, index);
            (
                note.sentence(at).into_iter().collect(),
                Vec::new(),
                Vec::new(),
            )
        }
        (Examples::RadQa(reports), found) => {
            let (report, at) = reports.get(Portion::Test, index);
            let question = question(report, at);
            let predicted = match found {
                Found::Answer {
                    predicted: Some(range),
                    ..
                } => report.context.get(range.clone()),
                _ => None,
            };
            (
                vec![&question.question, &report.context],
                question.texts(),
                predicted.into_iter().collect(),
            )
        }
        (
            Examples::Entities(all),
            Found::Entities {
                truth, predicted, ..
            },
        ) => {
            let words = &all.test[index].row.words;
            let start_of =
                |word: usize| -> usize { words.iter().take(word).map(|word| word.len() + 1).sum() };
            let of = |entity: &EntityAt| {
                let end = start_of(entity.words.end).saturating_sub(1);
                joined.get(start_of(entity.words.start)..end)
            };
            (
                vec![joined],
                truth.iter().filter_map(of).collect(),
                predicted.iter().filter_map(of).collect(),
            )
        }
        _ => Texts::default(),
    }
}
