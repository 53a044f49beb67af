//! How sure a model is that the note says what the answer says.

use clinical_facade::LongText;
use clinical_generate::{Score, StopReason, score_batch, score_candidates};
use serde::Serialize;

use crate::answer::Answer;
use crate::ask::Asked;
use crate::options::AnswerOptions;
use crate::plan::{Part, plan};
use crate::prefix::alike;
use crate::prompt::Prompter;
use crate::run::Reader;
use crate::{Asclepius, Error, Result};

/// Sentences by which a model says that the note has no answer; the first one is that of the published training data.
const REFUSALS: [&str; 3] = [
    "This is not mentioned in the discharge summary.",
    "The discharge summary does not mention this.",
    "Not mentioned.",
];

/// Natural log-probabilities that tell whether a note says what an answer says; made by [`Asclepius::support`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Support {
    /// Of the answer and its end, after the note.
    pub answer: f64,
    /// Of the answer and its end, after the prompt without a note.
    pub without_note: f64,
    /// Of any sentence that says that the note does not tell, after the note.
    pub refusal: f64,
}

impl Support {
    /// What the note adds to the answer, in nats: near 0 or below it is a guess that the question alone suggests.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.answer - self.without_note
    }

    /// The log-odds of the answer against "the note does not say": what [`Calibration`](crate::Calibration) takes as
    /// the score of an answer. It is no probability that the answer is right.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.answer - self.refusal
    }
}

impl Asclepius {
    /// Asks the model how likely it finds an answer with the note, without it, and beside saying that the note does not
    /// tell. The note is read once, the prompt without it once more.
    ///
    /// ```
    /// use asclepius::{AnswerOptions, Asclepius};
    ///
    /// let model = Asclepius::embedded()?;
    /// let note = "Service: MEDICINE\nDischarge Diagnosis: pneumonia";
    /// let question = "What is the discharge diagnosis?";
    /// let options = AnswerOptions::default();
    /// let right = model.support(note, question, "The diagnosis was pneumonia.", &options)?;
    /// let wrong = model.support(note, question, "The diagnosis was sepsis.", &options)?;
    /// assert!(right.score() > wrong.score() && right.gain() > wrong.gain());
    /// # Ok::<(), asclepius::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`answer_with`](Self::answer_with); a note that fits only in windows is [`Error::TooLong`], and an answer
    /// without text is [`Error::NoAnswer`].
    pub fn support(
        &self,
        note: &str,
        question: &str,
        answer: &str,
        options: &AnswerOptions,
    ) -> Result<Support> {
        if answer.trim().is_empty() {
            return Err(Error::NoAnswer);
        }
        let options = whole_notes(options);
        let prompter = Prompter::new(self, &options)?;
        let part = plan(&prompter, note, question)?.swap_remove(0);
        let note = &note[part.range.clone()];
        support(&prompter, &mut &*self, (&part, note), question, answer)
    }
}

impl Asked<'_> {
    /// Adds whether the calibration of the options shows the answer.
    pub(crate) fn with_support(
        &self,
        mut answer: Answer,
        reader: &mut impl Reader,
    ) -> Result<Answer> {
        let options = self.prompter.options;
        let Some(calibration) = options.calibration.as_deref() else {
            return Ok(answer);
        };
        if !self.holds_back() {
            return Ok(answer);
        }
        if options.is_no_answer(&answer.text) {
            answer.shown = Some(true);
            return Ok(answer);
        }
        answer.shown = Some(false);
        // The promise is about whole answers from notes that were read at once.
        let [part] = &self.parts[..] else {
            return Ok(answer);
        };
        // One that was cut off is no whole answer, and its time is over.
        if matches!(answer.stop, StopReason::Cancelled | StopReason::Deadline) {
            return Ok(answer);
        }
        let note = &self.note[part.range.clone()];
        let found = support(
            &self.prompter,
            reader,
            (part, note),
            self.question,
            &answer.text,
        );
        match found {
            Ok(support) => {
                answer.shown = Some(calibration.shows(support.score()));
                answer.support = Some(support);
            }
            // What the model wrote reads as a special token: it cannot be scored as text.
            Err(Error::SpecialToken { .. }) => {}
            // Together with its end it is longer than what the model reads.
            Err(Error::Generate(clinical_generate::Error::PromptTooLong { .. })) => {}
            Err(error) => return Err(error),
        }
        Ok(answer)
    }
}

/// Options under which a note that is too long is an error, and not read in windows.
pub(crate) fn whole_notes(options: &AnswerOptions) -> AnswerOptions {
    match options.long_text() {
        LongText::Windows { .. } => options.clone().with_long_text(LongText::Error),
        _ => options.clone(),
    }
}

fn support(
    prompter: &Prompter<'_>,
    reader: &mut impl Reader,
    (part, note): (&Part, &str),
    question: &str,
    answer: &str,
) -> Result<Support> {
    let answers: Vec<&str> = std::iter::once(answer).chain(REFUSALS).collect();
    let scores = scores(prompter, reader, (part, note), question, &answers)?;
    let without = Part {
        ids: prompter.ids("", question)?,
        range: 0..0,
    };
    let mut model = prompter.model;
    let without = self::scores(prompter, &mut model, (&without, ""), question, &[answer])?;
    let total = |scores: &[Score]| scores.first().map_or(f64::NEG_INFINITY, Score::total);
    let refusals: Vec<f64> = scores.iter().skip(1).map(Score::total).collect();
    Ok(Support {
        answer: total(&scores),
        without_note: total(&without),
        refusal: log_sum_exp(&refusals),
    })
}

/// The scores of answers and their ends, after the prompt of a part whose text of the note is given beside it.
pub(crate) fn scores(
    prompter: &Prompter<'_>,
    reader: &mut impl Reader,
    (part, note): (&Part, &str),
    question: &str,
    answers: &[&str],
) -> Result<Vec<Score>> {
    let model = prompter.model;
    let texts = answers.iter().map(|answer| {
        let mut ids = prompter.ids_with_answer(note, question, answer)?;
        ids.extend(model.end_ids().first());
        Ok(ids)
    });
    let texts = texts.collect::<Result<Vec<_>>>()?;
    // A tokenizer may join the end of the prompt and the start of an answer.
    let shared = texts.iter().map(|ids| alike(&part.ids, ids)).min();
    let prompt = &part.ids[..shared.unwrap_or(0)];
    let candidates: Vec<&[u32]> = texts.iter().map(|ids| &ids[prompt.len()..]).collect();
    reader.after_prefix(prompter, part, |prefix| {
        let rest = prefix.and_then(|prefix| Some((prefix, prompt.strip_prefix(prefix.ids())?)));
        Ok(match rest {
            Some((prefix, rest)) => prefix.score_candidates(model.model(), rest, &candidates)?,
            None if prompt.is_empty() => {
                let pairs: Vec<(&[u32], &[u32])> =
                    texts.iter().map(|ids| ids.split_at(1)).collect();
                score_batch(model.model(), &pairs)?
            }
            None => score_candidates(model.model(), prompt, &candidates)?,
        })
    })
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match most.is_finite() {
        true => {
            most + values
                .iter()
                .map(|value| (value - most).exp())
                .sum::<f64>()
                .ln()
        }
        false => most,
    }
}

#[cfg(test)]
mod tests {
    use super::log_sum_exp;

    #[test]
    fn sums_of_probabilities() {
        assert!((log_sum_exp(&[0.25f64.ln(), 0.5f64.ln()]) - 0.75f64.ln()).abs() < 1e-12);
        assert_eq!(log_sum_exp(&[]), f64::NEG_INFINITY);
        assert!((log_sum_exp(&[-2000.0, -2000.0]) - (2.0f64.ln() - 2000.0)).abs() < 1e-9);
    }
}
