//! Where in the note an answer comes from.
//!
//! Reading order: `words` (what is compared), `quotes` (found by the text alone), `used` (found by asking the model
//! again).

mod quotes;
mod used;
mod words;

use std::ops::Range;

use clinical_generate::StopReason;
use serde::Serialize;

use crate::answer::Answer;
use crate::ask::Asked;
use crate::{Result, Style};

/// A part of an answer, and a part of the note that shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Evidence {
    /// Bytes of [`Answer::text`].
    pub answer: Range<usize>,
    /// Bytes of the note as it was given to this library; [`Answer::map_evidence`] leads back to what was there before
    /// a de-identification.
    pub note: Range<usize>,
    /// How it was found.
    pub kind: EvidenceKind,
    /// [`Quote`](EvidenceKind::Quote): the part of the statement's words that is quoted here, above 0 and at most 1, a
    /// figure counting twice. [`Used`](EvidenceKind::Used): by how much the passage raises the log-probability of the
    /// statement, in nats. Neither is a probability that the answer is right.
    pub score: f32,
}

/// How a piece of evidence was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EvidenceKind {
    /// The words stand in the note, but for case, accents, and the spelling of figures and dates. Certain where it
    /// matches; it says nothing of a paraphrase.
    Quote,
    /// The model finds the statement likelier with this passage than without it.
    Used,
}

/// What is looked for; see [`AnswerOptions::with_evidence`](crate::AnswerOptions::with_evidence).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FindEvidence {
    /// Nothing.
    #[default]
    Nothing,
    /// Quotes: no model is asked, and it takes milliseconds.
    Quotes,
    /// Quotes, and the passages that the model used: about the price of another answer.
    QuotesAndUse,
}

/// The words of an answer that stand in the note, for an answer from anywhere: no model is asked. `question` chooses
/// among several places.
///
/// ```
/// let note = "Discharge Medications:\n1. Lisinopril 40 mg daily\n2. Aspirin 81 mg daily";
/// let answer = "The dose is 40mg.";
/// let found = asclepius::quotes(note, "What is the dose of lisinopril?", answer);
/// assert_eq!(&note[found[0].note.clone()], "40 mg");
/// assert_eq!(&answer[found[0].answer.clone()], "40mg");
/// ```
#[must_use]
pub fn quotes(note: &str, question: &str, answer: &str) -> Vec<Evidence> {
    quotes::quotes(note, question, answer).evidence
}

impl Answer {
    /// The answer with its evidence and its [`windows`](Self::windows) led back to another text, from which the note was
    /// made: `back` gives the range of that text for a range of the note, as
    /// [`Normalized::original_range`](clinical_deid::Normalized::original_range) does. `None` where it knows a range not,
    /// because it belongs to another note.
    ///
    /// ```
    /// use asclepius::{AnswerOptions, Asclepius, FindEvidence};
    ///
    /// let old = "Attending: Dr. [**Last Name 12**]\nDischarge Diagnosis: pneumonia";
    /// let note = clinical_deid::Normalizer::mimic_iii().normalize(old)?;
    /// let options = AnswerOptions::new().with_evidence(FindEvidence::Quotes);
    /// let question = "What is the discharge diagnosis?";
    /// let answer = Asclepius::embedded()?.answer_with(&note.text, question, &options)?;
    /// let answer = answer.map_evidence(|range| note.original_range(range)).expect("the same note");
    /// for evidence in &answer.evidence {
    ///     println!("{}: {}", &answer.text[evidence.answer.clone()], &old[evidence.note.clone()]);
    /// }
    /// # assert!(answer.evidence.iter().any(|evidence| &old[evidence.note.clone()] == "pneumonia"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn map_evidence(
        mut self,
        back: impl Fn(Range<usize>) -> Option<Range<usize>>,
    ) -> Option<Self> {
        for evidence in &mut self.evidence {
            evidence.note = back(evidence.note.clone())?;
        }
        for window in &mut self.windows {
            window.range = back(window.range.clone())?;
        }
        Some(self)
    }
}

impl Asked<'_> {
    /// Adds what the options ask for.
    pub(crate) fn with_evidence(&self, mut answer: Answer) -> Result<Answer> {
        let options = self.prompter.options;
        let nothing = options.evidence == FindEvidence::Nothing
            || answer.style == Style::Text
            || options.is_no_answer(&answer.text);
        let Some(read) = read(&answer).filter(|_| !nothing) else {
            return Ok(answer);
        };
        let found = quotes::quotes(&self.note[read.clone()], self.question, &answer.text);
        answer.evidence = found.evidence;
        for evidence in &mut answer.evidence {
            evidence.note = evidence.note.start + read.start..evidence.note.end + read.start;
        }
        // Of an answer over answers of windows no part of the note is the prompt.
        let part = answer.window.and_then(|at| self.parts.get(at));
        if let (FindEvidence::QuotesAndUse, Some(part)) = (options.evidence, part)
            && answer.stop != StopReason::Cancelled
        {
            let (used, tokens) = used::used(self, part, &answer)?;
            answer.usage.evidence_tokens = tokens;
            answer.evidence.extend(used);
        }
        let used = |range: &Range<usize>| {
            let used = answer
                .evidence
                .iter()
                .filter(|e| e.kind == EvidenceKind::Used);
            used.into_iter()
                .any(|e| e.answer.start < range.end && range.start < e.answer.end)
        };
        let missing = found.missing.into_iter();
        let missing = missing.filter(|missing| missing.figure || !used(&missing.statement));
        answer.unsupported = missing.map(|missing| missing.statement).collect();
        Ok(answer)
    }
}

/// The part of the note that the answer rests on.
fn read(answer: &Answer) -> Option<Range<usize>> {
    match answer.window {
        Some(at) => answer.windows.get(at).map(|window| window.range.clone()),
        None => {
            let (first, last) = (answer.windows.first()?, answer.windows.last()?);
            Some(first.range.start..last.range.end)
        }
    }
}
