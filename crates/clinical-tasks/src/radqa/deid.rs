//! Converting the tags of reports, and finding the answers again.

use clinical_deid::{Answer, Normalizer};

use super::{RadiologyReport, ReferenceAnswer, ReportQuestion};
use crate::{Error, Result};

/// Converts the tags of each report and its answers; answers are found again through the map of old and new offsets.
///
/// An answer that was marked through the middle of a tag becomes the whole tag. Questions have no tags. See
/// [`convert_as_published`] for what the published script does instead.
///
/// # Errors
///
/// [`Error::Deid`], with the report's index.
pub fn convert(
    reports: &[RadiologyReport],
    normalizer: &Normalizer,
) -> Result<Vec<RadiologyReport>> {
    reports
        .iter()
        .enumerate()
        .map(|(index, report)| {
            convert_one(report, normalizer).map_err(|error| of_report(index, error))
        })
        .collect()
}

fn of_report(index: usize, source: clinical_deid::Error) -> Error {
    Error::Deid {
        what: format!("report {index} (the first is 0)"),
        source,
    }
}

fn convert_one(
    report: &RadiologyReport,
    normalizer: &Normalizer,
) -> Result<RadiologyReport, clinical_deid::Error> {
    let old: Vec<Answer<'_>> = report
        .questions
        .iter()
        .flat_map(|question| &question.answers)
        .map(|answer| Answer {
            text: &answer.text,
            start: answer.start,
        })
        .collect();
    let converted = normalizer.normalize_with_answers(&report.context, &old)?;
    let mut answers = converted.answers.into_iter().map(|answer| ReferenceAnswer {
        text: answer.text,
        start: answer.start,
        range: answer.range,
    });
    let questions = report.questions.iter().map(|question| ReportQuestion {
        answers: answers.by_ref().take(question.answers.len()).collect(),
        ..question.clone()
    });
    let questions = questions.collect();
    Ok(RadiologyReport {
        title: report.title.clone(),
        context: converted.context.text,
        questions,
    })
}

/// The answers of one question as the published script leaves them. `Debug` shows the starts, not the texts.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedAnswers {
    /// The converted texts.
    pub texts: Vec<String>,
    /// `answer_start`, in characters: where each text stands **first** in the converted report. After a cut answer those
    /// of the question before, however many it has.
    pub starts: Vec<usize>,
}

impl std::fmt::Debug for PublishedAnswers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishedAnswers")
            .field("texts", &self.texts.len())
            .field("starts", &self.starts)
            .finish()
    }
}

/// What the published script (`preprocessing/radqa_preprocessing.py`) makes of the answers, question by question, in the
/// order of the file.
///
/// It converts each answer by itself and searches for it from the start of the converted report, so a text that also
/// stands earlier gets the earlier start. Where one answer of a question is not found (it cuts a tag), all answers of
/// the question are extended to the next `**]` behind them, and the starts written are those of the question before.
///
/// # Errors
///
/// [`Error::Deid`]; [`Error::PublishedFails`] where the script stops: the first question has a cut answer, or no `**]`
/// follows an answer.
pub fn convert_as_published(
    reports: &[RadiologyReport],
    normalizer: &Normalizer,
) -> Result<Vec<PublishedAnswers>> {
    let mut before: Option<Vec<usize>> = None;
    let mut converted = Vec::new();
    for (index, report) in reports.iter().enumerate() {
        let one = |text: &str| {
            let text = normalizer.normalize(text).map(String::from);
            text.map_err(|error| of_report(index, error))
        };
        let context = one(&report.context)?;
        for question in &report.questions {
            let what = || question.what();
            let texts = question.answers.iter().map(|answer| one(&answer.text));
            let texts: Vec<String> = texts.collect::<Result<_>>()?;
            let found = texts.iter().map(|text| first_start(&context, text));
            let answers = match found.collect::<Option<Vec<usize>>>() {
                Some(starts) => PublishedAnswers { texts, starts },
                None => {
                    let long = question.answers.iter().map(|answer| {
                        let long = to_next_closer(&report.context, answer);
                        let fails = || Error::PublishedFails {
                            what: what(),
                            why: "since no `**]` follows an answer",
                        };
                        one(long.ok_or_else(fails)?)
                    });
                    PublishedAnswers {
                        texts: long.collect::<Result<_>>()?,
                        starts: before.clone().ok_or_else(|| Error::PublishedFails {
                            what: what(),
                            why: "since the first question has an answer that cuts a tag",
                        })?,
                    }
                }
            };
            before = Some(answers.starts.clone());
            converted.push(answers);
        }
    }
    Ok(converted)
}

/// `context.index(text)`, in characters.
fn first_start(context: &str, text: &str) -> Option<usize> {
    let at = context.find(text)?;
    Some(context[..at].chars().count())
}

/// The answer and what follows it, up to the next `**]`.
fn to_next_closer<'c>(context: &'c str, answer: &ReferenceAnswer) -> Option<&'c str> {
    let end = answer.range.end;
    let closer = context.get(end..)?.find("**]")?;
    context.get(answer.range.start..end + closer + "**]".len())
}
