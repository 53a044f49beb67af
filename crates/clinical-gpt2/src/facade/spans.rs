//! Answers as spans of a context, in the study's layout.

use std::ops::Range;

use clinical_facade::{LongText, TextTooLong};
use serde::Serialize;

use super::{ClinicalGpt2, Gpt2Options};
use crate::{Error, Result};

/// What the study puts behind a row; it stands for "no answer".
pub(super) const CLS: &str = "<|CLS|>";
/// What it puts in front of the question.
pub(super) const QUESTION: &str = "<|QUESTION|>";

/// Most tokens of an answer, as in BERT's `run_squad.py`.
const LONGEST: usize = 30;

/// The best span for a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AnswerSpan {
    /// Bytes of the context.
    pub range: Range<usize>,
    /// The sum of the logits of its first and its last token.
    pub score: f32,
    /// The sum of the two logits of `<|CLS|>`, which say that there is no answer; the smallest of several windows.
    pub no_answer: f32,
}

impl AnswerSpan {
    /// The bytes of the answer, `None` if "no answer" scores more than `threshold` above it (0, or tuned on development
    /// data).
    #[must_use]
    pub fn best(&self, threshold: f32) -> Option<Range<usize>> {
        (self.no_answer - self.score <= threshold).then(|| self.range.clone())
    }
}

/// A question with a part of its context, as the model reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuestionRow {
    /// `<|QUESTION|>`, the question, the context, `<|CLS|>`.
    pub ids: Vec<u32>,
    /// The bytes of each token of the context; `None` for the others.
    pub bytes: Vec<Option<Range<usize>>>,
}

impl ClinicalGpt2 {
    /// Where `context` answers `question`, by a span head that was trained as the study did: a row is `<|QUESTION|>`,
    /// the question without blanks in front, the context, `<|CLS|>`. An answer has at most 30 tokens.
    ///
    /// A context that is too long is [`Error::TooLong`] unless the options say otherwise; `LongText::Windows` reads it
    /// in windows of tokens, of which the best span counts.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] without a span head, those of [`question_rows`](Self::question_rows), [`Error::NotFinite`].
    pub fn answer_span(
        &self,
        question: &str,
        context: &str,
        options: &Gpt2Options,
    ) -> Result<AnswerSpan> {
        let mut best: Option<AnswerSpan> = None;
        for row in self.question_rows(question, context, options)? {
            if options.call.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let found = self.best_span(&row)?;
            best = Some(match best {
                None => found,
                Some(best) => {
                    let no_answer = best.no_answer.min(found.no_answer);
                    let better = match found.score > best.score {
                        true => found,
                        false => best,
                    };
                    AnswerSpan {
                        no_answer,
                        ..better
                    }
                }
            });
        }
        best.ok_or(Error::NoText)
    }

    /// The rows of a question, one for each window of its context: for callers who train or who choose spans themselves.
    ///
    /// # Errors
    ///
    /// [`Error::NoMark`], [`Error::TooLong`], [`Error::QuestionTooLong`], [`Error::NoText`], [`Error::Cancelled`],
    /// [`Error::Tokenizer`].
    pub fn question_rows(
        &self,
        question: &str,
        context: &str,
        options: &Gpt2Options,
    ) -> Result<Vec<QuestionRow>> {
        if options.call.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let mark = |token: &'static str| {
            let found = self.tokenizer.token_to_id(token);
            found.ok_or(Error::NoMark { token })
        };
        let (cls, mark) = (mark(CLS)?, mark(QUESTION)?);
        let mut before = vec![mark];
        let question = self.tokenizer.encode(question.trim_start(), false)?;
        before.extend(question.ids());
        let whole = self.room(options, 0);
        // The mark behind the row, and one token of the context at least.
        let room = whole.saturating_sub(before.len() + 1);
        if room == 0 {
            return Err(Error::QuestionTooLong {
                tokens: before.len() + 1,
                room: whole,
            });
        }
        let context = self.tokenizer.encode(context, false)?;
        let windows = windows(context.len(), room, options.long_text())?;
        let row = |window: Range<usize>| {
            let of_context = window.clone().map(|token| context.range(token));
            let mut bytes = vec![None; before.len()];
            bytes.extend(of_context);
            bytes.push(None);
            QuestionRow {
                ids: [before.as_slice(), &context.ids()[window], &[cls]].concat(),
                bytes,
            }
        };
        Ok(windows.into_iter().map(row).collect())
    }

    /// The best span of one row.
    fn best_span(&self, row: &QuestionRow) -> Result<AnswerSpan> {
        let logits = self.model.spans(&[&row.ids])?.into_data();
        let logits: Vec<f32> = logits.iter::<f32>().collect();
        if !logits.iter().all(|x| x.is_finite()) {
            return Err(self.not_finite(&row.ids));
        }
        let (pairs, _) = logits.as_chunks::<2>();
        let (mut best, mut range) = (f32::NEG_INFINITY, 0..0);
        let ends = row.bytes.iter().zip(pairs);
        for (start, (first, logits)) in ends.clone().enumerate() {
            let Some(first) = first else {
                continue;
            };
            for (last, end) in ends.clone().skip(start).take(LONGEST) {
                if let Some(last) = last
                    && logits[0] + end[1] > best
                {
                    (best, range) = (logits[0] + end[1], first.start..last.end);
                }
            }
        }
        let no_answer = pairs.last().map_or(0.0, |pair| pair[0] + pair[1]);
        Ok(AnswerSpan {
            range,
            score: best,
            no_answer,
        })
    }
}

/// The tokens of the context that are read at once.
fn windows(tokens: usize, room: usize, policy: LongText) -> Result<Vec<Range<usize>>> {
    let one = |range: Range<usize>| vec![range];
    match policy {
        _ if tokens == 0 => Err(Error::NoText),
        _ if tokens <= room => Ok(one(0..tokens)),
        LongText::CutEnd => Ok(one(0..room)),
        LongText::CutStart => Ok(one(tokens - room..tokens)),
        LongText::Windows { overlap } => {
            let step = room.saturating_sub(overlap).max(1);
            let count = (tokens - room).div_ceil(step) + 1;
            let window = |number: usize| {
                let start = number * step;
                start..tokens.min(start + room)
            };
            Ok((0..count).map(window).collect())
        }
        _ => Err(TextTooLong::new("context", tokens, room).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_context() {
        let of = |tokens, room, overlap| {
            let windows = windows(tokens, room, LongText::Windows { overlap });
            windows.unwrap()
        };
        let first = |windows: Vec<Range<usize>>| (windows.len(), windows[0].clone());
        assert_eq!(first(of(10, 10, 3)), (1, 0..10));
        assert_eq!(of(11, 10, 3), [0..10, 7..11]);
        assert_eq!(of(24, 10, 3), [0..10, 7..17, 14..24]);
        assert_eq!(of(12, 10, 99), [0..10, 1..11, 2..12]);
        let cut = |policy| first(windows(11, 10, policy).unwrap());
        assert_eq!(cut(LongText::CutStart), (1, 1..11));
        assert_eq!(cut(LongText::CutEnd), (1, 0..10));
        assert!(matches!(
            windows(11, 10, LongText::Error),
            Err(Error::TooLong(long)) if (long.tokens, long.limit) == (11, 10)
        ));
        assert!(matches!(
            windows(0, 10, LongText::Error),
            Err(Error::NoText)
        ));
    }
}
