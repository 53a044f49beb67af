//! How sure a model is that the note says what the answer says.

use clinical_facade::LongText;
use clinical_generate::{Score, score_batch, score_candidates};
use serde::Serialize;

use crate::options::AnswerOptions;
use crate::plan::plan;
use crate::prefix::alike;
use crate::prompt::Prompter;
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
        let mut options = options.clone();
        if let LongText::Windows { .. } = options.long_text() {
            options = options.with_long_text(LongText::Error);
        }
        let prompter = Prompter::new(self, &options)?;
        let part = plan(&prompter, note, question)?.swap_remove(0);
        let note = &note[part.range.clone()];
        let answers: Vec<&str> = std::iter::once(answer).chain(REFUSALS).collect();
        let scores = self.scores(&prompter, note, question, &answers)?;
        let without = self.scores(&prompter, "", question, &answers[..1])?;
        let total = |scores: &[Score]| scores.first().map_or(f64::NEG_INFINITY, Score::total);
        let refusals: Vec<f64> = scores.iter().skip(1).map(Score::total).collect();
        Ok(Support {
            answer: total(&scores),
            without_note: total(&without),
            refusal: log_sum_exp(&refusals),
        })
    }

    /// The scores of answers and their ends.
    fn scores(
        &self,
        prompter: &Prompter<'_>,
        note: &str,
        question: &str,
        answers: &[&str],
    ) -> Result<Vec<Score>> {
        let prompt = prompter.ids(note, question)?;
        let texts = answers.iter().map(|answer| {
            let mut ids = prompter.ids_with_answer(note, question, answer)?;
            ids.extend(self.end_ids().first());
            Ok(ids)
        });
        let texts = texts.collect::<Result<Vec<_>>>()?;
        // A tokenizer may join the end of the prompt and the start of an answer.
        let shared = texts
            .iter()
            .map(|ids| alike(&prompt, ids))
            .min()
            .unwrap_or(0);
        let candidates: Vec<&[u32]> = texts.iter().map(|ids| &ids[shared..]).collect();
        let prompt = &prompt[..shared];
        let prefix = self.prompt_prefix(prompter, &[prompt])?;
        Ok(
            match prefix
                .as_deref()
                .and_then(|prefix| Some((prefix, prompt.strip_prefix(prefix.ids())?)))
            {
                Some((prefix, rest)) => prefix.score_candidates(self.model(), rest, &candidates)?,
                None if prompt.is_empty() => {
                    let pairs: Vec<(&[u32], &[u32])> =
                        texts.iter().map(|ids| ids.split_at(1)).collect();
                    score_batch(self.model(), &pairs)?
                }
                None => score_candidates(self.model(), prompt, &candidates)?,
            },
        )
    }
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
