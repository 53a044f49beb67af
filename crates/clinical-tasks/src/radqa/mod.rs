//! RadQA: a question about a radiology report, answered by a piece of the report or not at all.

mod deid;
mod read;

use std::fmt;
use std::ops::Range;

use clinical_prompts::radqa::{
    Example, FewShot, ZeroShot, decoder_input, decoder_target, finetuning_input, finetuning_target,
};
pub use clinical_prompts::radqa::{NO_ANSWER, answer_of, quoted_answer_of};

pub use deid::{PublishedAnswers, convert, convert_as_published};
pub use read::{FILES, read, read_csv, read_folder};

use crate::rows::prompted;
use crate::{Result, RowOptions, SpanRow, WritingRow};

/// A section of a radiology report with its questions. `Debug` shows the length of the text, not the text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RadiologyReport {
    /// `title`: the note's ROW_ID in NOTEEVENTS.
    pub title: String,
    /// `context`: findings or impression.
    pub context: String,
    /// Its questions, in the order of the file.
    pub questions: Vec<ReportQuestion>,
}

impl fmt::Debug for RadiologyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RadiologyReport")
            .field("title", &self.title)
            .field("context_bytes", &self.context.len())
            .field("questions", &self.questions.len())
            .finish()
    }
}

/// A question about a report. `Debug` shows the number of its answers, not their text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportQuestion {
    /// `id`, one of its kind.
    pub id: String,
    /// The question.
    pub question: String,
    /// The answers of one or more annotators; none where the report does not answer (`is_impossible`).
    pub answers: Vec<ReferenceAnswer>,
}

impl fmt::Debug for ReportQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportQuestion")
            .field("id", &self.id)
            .field("answers", &self.answers.len())
            .finish_non_exhaustive()
    }
}

impl ReportQuestion {
    /// The texts of the answers, as the metrics want them.
    pub fn texts(&self) -> Vec<&str> {
        self.answers.iter().map(|answer| &*answer.text).collect()
    }

    fn what(&self) -> String {
        format!("question {}", clinical_files::shown(&self.id))
    }
}

/// A piece of a report that answers a question. `Debug` shows where it is, not its text.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReferenceAnswer {
    /// The piece, `context[range]`.
    pub text: String,
    /// `answer_start`: where it starts in the report, in characters.
    pub start: usize,
    /// Where it stands in the report, in bytes.
    pub range: Range<usize>,
}

impl fmt::Debug for ReferenceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReferenceAnswer")
            .field("start", &self.start)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

impl ReferenceAnswer {
    /// An answer that stands at this character of the report; `None` where it does not.
    pub(crate) fn at(context: &str, text: &str, start: usize) -> Option<Self> {
        let starts = context.char_indices().map(|(at, _)| at);
        let from = starts.chain([context.len()]).nth(start)?;
        context[from..].starts_with(text).then(|| Self {
            text: text.to_owned(),
            start,
            range: from..from + text.len(),
        })
    }
}

/// A solved example of a few-shot prompt: a report and the index of its question.
#[derive(Debug, Clone, Copy)]
pub struct SolvedQuestion<'a> {
    /// The report.
    pub report: &'a RadiologyReport,
    /// The question.
    pub question: &'a ReportQuestion,
}

impl RadiologyReport {
    /// The published row for T5: `question: ... context: ...` to the first answer, or to nothing. For Clinical-T5 of a
    /// report that [`convert`] made.
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`](crate::Error::Prompt).
    pub fn writing_row(
        &self,
        question: &ReportQuestion,
        options: &RowOptions,
    ) -> Result<WritingRow> {
        let input = finetuning_input(&question.question, &self.context, options.prompts());
        Ok(WritingRow {
            input: prompted(input, || question.what())?,
            target: finetuning_target(&question.texts()).to_owned(),
        })
    }

    /// The published row for a decoder: `Context: ... Question: ... Answer: ` to the longest answer and the text of the
    /// end token.
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`](crate::Error::Prompt).
    pub fn decoder_row(
        &self,
        question: &ReportQuestion,
        end: &str,
        options: &RowOptions,
    ) -> Result<WritingRow> {
        let input = decoder_input(&self.context, &question.question, options.prompts());
        Ok(WritingRow {
            input: prompted(input, || question.what())?,
            target: decoder_target(&question.texts(), end),
        })
    }

    /// The row for a span head, with the first answer, as `run_qa.py` trains.
    pub fn span_row(&self, question: &ReportQuestion) -> SpanRow {
        SpanRow {
            question: question.question.clone(),
            context: self.context.clone(),
            answer: question.answers.first().map(|answer| answer.range.clone()),
        }
    }

    /// The published zero-shot prompt with this number.
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`](crate::Error::Prompt); no such prompt.
    pub fn zero_shot(
        &self,
        question: &ReportQuestion,
        number: u8,
        options: &RowOptions,
    ) -> Result<String> {
        let prompt = ZeroShot::new(number)
            .and_then(|prompt| prompt.render(&self.context, &question.question, options.prompts()));
        prompted(prompt, || question.what())
    }

    /// The published few-shot prompt with this number, with solved examples of the caller's.
    ///
    /// # Errors
    ///
    /// [`Error::Prompt`](crate::Error::Prompt): no such prompt, or another number of examples.
    pub fn few_shot(
        &self,
        question: &ReportQuestion,
        number: u8,
        solved: &[SolvedQuestion<'_>],
        options: &RowOptions,
    ) -> Result<String> {
        let examples: Vec<Example<'_>> = solved
            .iter()
            .map(|solved| Example {
                context: &solved.report.context,
                question: &solved.question.question,
                answer: solved
                    .question
                    .answers
                    .first()
                    .map_or(NO_ANSWER, |answer| &answer.text),
            })
            .collect();
        let prompt = FewShot::new(number).and_then(|prompt| {
            prompt.render(
                &examples,
                &self.context,
                &question.question,
                options.prompts(),
            )
        });
        prompted(prompt, || question.what())
    }
}
