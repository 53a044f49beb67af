//! Answers as spans of a context.

use std::ops::Range;

use clinical_facade::{CallOptions, LongText, TextTooLong};
use serde::Serialize;

use super::ClinicalBert;
use super::numbers::{finite, softmax};
use super::options::bert_call_options;
use super::text::Token;
use crate::{BertModel, Error, Result, Row, TaskHead};

/// How [`ClinicalBert::answer_span_with`] works. The numbers are those of BERT's `run_squad.py`.
///
/// `with_max_tokens` bounds a row; default: 384, and never more than the model reads. A context that is too long is
/// read in windows, `stride` apart, unless a policy is given; `LongText::Windows` says by how many tokens they overlap
/// instead.
#[derive(Debug, Clone)]
pub struct SpanOptions {
    stride: usize,
    max_question: usize,
    max_answer: usize,
    whole_words: bool,
    candidates: usize,
    batch_tokens: Option<usize>,
    call: CallOptions,
}

/// Most tokens of a row.
const ROW: usize = 384;

impl Default for SpanOptions {
    fn default() -> Self {
        Self {
            stride: 128,
            max_question: 64,
            max_answer: 30,
            whole_words: true,
            candidates: 20,
            batch_tokens: None,
            call: CallOptions::default(),
        }
    }
}

bert_call_options!(SpanOptions);

impl SpanOptions {
    /// Tokens between the starts of two windows of a long context. Default: 128.
    #[must_use]
    pub fn with_stride(mut self, tokens: usize) -> Self {
        self.stride = tokens;
        self
    }

    /// Most tokens of the question. Default: 64.
    #[must_use]
    pub fn with_max_question(mut self, tokens: usize) -> Self {
        self.max_question = tokens;
        self
    }

    /// Most tokens of an answer. Default: 30.
    #[must_use]
    pub fn with_max_answer(mut self, tokens: usize) -> Self {
        self.max_answer = tokens;
        self
    }

    /// Whether an answer that starts or ends inside a word is extended to the whole word. Default: true.
    #[must_use]
    pub fn with_whole_words(mut self, whole: bool) -> Self {
        self.whole_words = whole;
        self
    }

    /// How many starts and ends of each window are tried, and how many answers are returned at most. Default: 20.
    #[must_use]
    pub fn with_candidates(mut self, candidates: usize) -> Self {
        self.candidates = candidates;
        self
    }
}

/// What the model says about a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SpanAnswer {
    /// Possible answers, the best first, each text once. Empty if no span is possible.
    pub candidates: Vec<SpanCandidate>,
    /// That the context holds no answer; means something for models that were trained with such questions.
    pub no_answer: NoAnswer,
}

/// A span that may be the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SpanCandidate {
    /// Bytes of the context; written as `start` and `end`.
    #[serde(flatten)]
    pub range: Range<usize>,
    /// The sum of the logits of its start and its end.
    pub score: f32,
    /// Its share among the candidates and "no answer" (a softmax over their scores).
    pub probability: f32,
}

/// The case that the context holds no answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NoAnswer {
    /// The smallest sum of the two logits of `[CLS]` over the windows.
    pub score: f32,
    /// Its share among the candidates and itself.
    pub probability: f32,
}

impl SpanAnswer {
    /// The best answer, or `None` if "no answer" scores more than `threshold` above it (0 as in `run_squad.py`, or
    /// tuned on development data; infinity for models that always answer).
    #[must_use]
    pub fn best(&self, threshold: f32) -> Option<&SpanCandidate> {
        let best = self.candidates.first()?;
        (self.no_answer.score - best.score <= threshold).then_some(best)
    }

    /// By how much the best answer's logits lie above those of "no answer": what
    /// [`Calibration`](crate::Calibration) takes as the score of an answer. Minus infinity if no span is possible.
    #[must_use]
    pub fn score(&self) -> f64 {
        let best = self.candidates.first();
        best.map_or(f64::NEG_INFINITY, |best| {
            f64::from(best.score) - f64::from(self.no_answer.score)
        })
    }
}

/// A span of tokens with the score of its row.
struct Span {
    score: f32,
    tokens: Range<usize>,
}

impl ClinicalBert {
    /// Where `context` answers `question`; see [`answer_span_with`](Self::answer_span_with).
    ///
    /// # Errors
    ///
    /// As [`answer_span_with`](Self::answer_span_with).
    pub fn answer_span(&self, question: &str, context: &str) -> Result<SpanAnswer> {
        self.answer_span_with(question, context, &SpanOptions::default())
    }

    /// Where `context` answers `question`, chosen as BERT's `run_squad.py` does.
    ///
    /// A long context is read in windows of tokens, `stride` apart. A span may start only in the window that has the
    /// most text around its first token.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] for a model without a question answering head, [`Error::Empty`], [`Error::QuestionTooLong`],
    /// [`Error::WindowTooSmall`], [`Error::Overlap`], [`Error::Zero`], [`Error::NotFinite`], [`Error::Cancelled`];
    /// [`Error::TooLong`] if the options say so.
    pub fn answer_span_with(
        &self,
        question: &str,
        context: &str,
        options: &SpanOptions,
    ) -> Result<SpanAnswer> {
        let BertModel::Span(model) = &self.model else {
            return Err(self.no_head("answering with a span", TaskHead::Span));
        };
        options.check()?;
        let question = self.text.ids(question)?;
        let before = question.len() + self.text.around_pair().1;
        self.one(
            (&options.call, options.batch_tokens),
            || {
                let mut tokens = self.text.tokens(context, 0)?;
                let windows = self.context_windows(question.len(), &mut tokens, options)?;
                let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
                let rows = windows
                    .iter()
                    .map(|window| self.text.pair(&question, &ids[window.clone()]))
                    .collect();
                Ok((rows, (tokens, windows)))
            },
            |rows: &[Row<'_>]| {
                let logits = model.forward(rows)?;
                let longest = logits.dims()[1];
                let logits = finite(logits.into_data())?;
                let read = |(row, logits): (&Row<'_>, &[f32])| -> Vec<[f32; 2]> {
                    let pairs = logits.chunks_exact(2).take(row.ids.len());
                    pairs.map(|pair| [pair[0], pair[1]]).collect()
                };
                let rows = rows.iter().zip(logits.chunks(longest * 2));
                Ok(rows.map(read).collect())
            },
            |(tokens, windows), found: Vec<Vec<[f32; 2]>>| {
                let null = found
                    .iter()
                    .map(|logits| logits[0][0] + logits[0][1])
                    .fold(f32::INFINITY, f32::min);
                let spans = found
                    .iter()
                    .enumerate()
                    .flat_map(|(row, logits)| spans(logits, before, &windows, row, options))
                    .collect();
                Ok(choose(spans, null, &tokens, context, options))
            },
        )
    }

    /// The tokens of the context in each row. A cut shortens `context`.
    pub(super) fn context_windows(
        &self,
        question: usize,
        context: &mut Vec<Token>,
        options: &SpanOptions,
    ) -> Result<Vec<Range<usize>>> {
        let parts = [
            ("question", "ask", question),
            ("context", "read", context.len()),
        ];
        for (part, verb, tokens) in parts {
            if tokens == 0 {
                return Err(Error::Empty { part, verb });
            }
        }
        if question > options.max_question {
            return Err(Error::QuestionTooLong {
                tokens: question,
                limit: options.max_question,
            });
        }
        let length = options
            .call
            .max_tokens
            .unwrap_or(ROW)
            .min(self.max_tokens());
        let around = question + self.text.around_pair().0;
        let room = length.saturating_sub(around);
        let small = |stride| Error::WindowTooSmall {
            length,
            room,
            stride,
        };
        if room == 0 {
            return Err(small(options.stride));
        }
        if context.len() <= room {
            return Ok(std::iter::once(0..context.len()).collect());
        }
        let stride = match options.call.long_text {
            None => options.stride,
            Some(LongText::Windows { overlap }) => room.saturating_sub(overlap),
            Some(LongText::CutEnd) => {
                context.truncate(room);
                room
            }
            Some(LongText::CutStart) => {
                context.drain(..context.len() - room);
                room
            }
            Some(_) => {
                let tokens = context.len() + around;
                return Err(TextTooLong::new("context", tokens, length).into());
            }
        };
        if stride == 0 {
            let overlap = room;
            return Err(Error::Overlap {
                overlap,
                window: room,
            });
        }
        if room < stride {
            return Err(small(stride));
        }
        let (mut windows, mut start) = (Vec::new(), 0);
        loop {
            let end = context.len().min(start + room);
            windows.push(start..end);
            if end == context.len() {
                return Ok(windows);
            }
            start += stride;
        }
    }
}

impl SpanOptions {
    pub(super) fn check(&self) -> Result<()> {
        for (option, value) in [
            ("stride", self.stride),
            ("max_answer", self.max_answer),
            ("candidates", self.candidates),
        ] {
            if value == 0 {
                return Err(Error::Zero { option });
            }
        }
        Ok(())
    }
}

/// The spans of one row. The context starts at token `before` of it.
fn spans(
    logits: &[[f32; 2]],
    before: usize,
    windows: &[Range<usize>],
    row: usize,
    options: &SpanOptions,
) -> Vec<Span> {
    let window = &windows[row];
    let top = |which: usize| {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b][which].total_cmp(&logits[a][which]));
        order.truncate(options.candidates);
        order
    };
    let context = before..before + window.len();
    let ends = top(1);
    let mut spans = Vec::new();
    for start in top(0) {
        if !context.contains(&start) || widest(windows, window.start + start - before) != row {
            continue;
        }
        for &end in &ends {
            if context.contains(&end) && end >= start && end - start < options.max_answer {
                let first = window.start + start - before;
                spans.push(Span {
                    score: logits[start][0] + logits[end][1],
                    tokens: first..first + end - start + 1,
                });
            }
        }
    }
    spans
}

/// The window with the most context around a token: the smaller of what is left and right of it, then the longer
/// window.
fn widest(windows: &[Range<usize>], token: usize) -> usize {
    let score = |window: &Range<usize>| {
        let context = (token - window.start).min(window.end - 1 - token);
        context as f64 + 0.01 * window.len() as f64
    };
    let mut best: Option<(usize, f64)> = None;
    for (index, window) in windows
        .iter()
        .enumerate()
        .filter(|(_, window)| window.contains(&token))
    {
        if best.is_none_or(|(_, found)| score(window) > found) {
            best = Some((index, score(window)));
        }
    }
    best.map_or(0, |(index, _)| index)
}

/// The best spans, each text once, with probabilities.
fn choose(
    mut spans: Vec<Span>,
    null: f32,
    tokens: &[Token],
    context: &str,
    options: &SpanOptions,
) -> SpanAnswer {
    spans.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<(Range<usize>, f32)> = Vec::new();
    // "No answer" is one of the candidates if it is good enough, after spans of the same score.
    let better = spans.iter().filter(|span| span.score >= null).count();
    for (rank, span) in spans.iter().enumerate() {
        let taken = kept.len() + usize::from(rank >= better);
        if taken >= options.candidates {
            break;
        }
        let Range { mut start, mut end } = span.tokens.clone();
        if options.whole_words {
            while start > 0 && tokens[start].continues {
                start -= 1;
            }
            while tokens.get(end).is_some_and(|token| token.continues) {
                end += 1;
            }
        }
        let bytes = tokens[start].bytes.start..tokens[end - 1].bytes.end;
        let same = |range: &Range<usize>| context.get(range.clone()) == context.get(bytes.clone());
        if !kept.iter().any(|(range, _)| same(range)) {
            kept.push((bytes, span.score));
        }
    }
    let mut scores: Vec<f32> = kept.iter().map(|(_, score)| *score).collect();
    scores.push(null);
    let probabilities = softmax(&scores);
    let candidates = kept
        .into_iter()
        .zip(&probabilities)
        .map(|((range, score), &probability)| SpanCandidate {
            range,
            score,
            probability,
        });
    SpanAnswer {
        candidates: candidates.collect(),
        no_answer: NoAnswer {
            score: null,
            probability: probabilities[probabilities.len() - 1],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_the_window_with_the_most_around_it() {
        let windows = [0..10, 4..14, 8..12];
        assert_eq!(widest(&windows, 0), 0);
        assert_eq!(widest(&windows, 6), 0);
        assert_eq!(widest(&windows, 7), 1);
        assert_eq!(widest(&windows, 11), 1);
        assert_eq!(widest(&windows, 13), 1);
    }

    #[test]
    fn answers_are_whole_words_and_each_text_once() {
        let context = "ab ab c";
        let token = |bytes: Range<usize>, continues| Token {
            id: 0,
            bytes,
            continues,
        };
        let tokens = [
            token(0..1, false),
            token(1..2, true),
            token(3..4, false),
            token(4..5, true),
            token(6..7, false),
        ];
        let spans = || {
            [(3.0, 1..2), (2.0, 2..3), (1.0, 4..5), (0.5, 0..1)]
                .map(|(score, tokens)| Span { score, tokens })
                .into()
        };
        let ranges = |options: &SpanOptions| -> Vec<Range<usize>> {
            let found = choose(spans(), 0.0, &tokens, context, options);
            found
                .candidates
                .into_iter()
                .map(|candidate| candidate.range)
                .collect()
        };
        let options = SpanOptions::default();
        assert_eq!(ranges(&options), [0..2, 6..7]);
        assert_eq!(
            ranges(&options.clone().with_whole_words(false)),
            [1..2, 3..4, 6..7]
        );
        assert_eq!(
            ranges(&options.clone().with_whole_words(false).with_candidates(2)),
            [1..2, 3..4]
        );
        // "No answer" comes after the spans that score at least as much.
        let found = choose(spans(), 2.5, &tokens, context, &options.with_candidates(2));
        assert_eq!(found.candidates.len(), 1);
        assert_eq!(found.best(0.0), Some(&found.candidates[0]));
        assert!((found.no_answer.probability + found.candidates[0].probability - 1.0).abs() < 1e-6);
    }
}
