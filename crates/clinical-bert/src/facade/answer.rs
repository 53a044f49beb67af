//! Answers as spans of a context.

use std::ops::Range;

use super::text::Token;
use super::{BertModel, ClinicalBert, Head, finite, softmax};
use crate::{Error, Row};

/// How [`ClinicalBert::answer_span_with`] works. The numbers are those of BERT's `run_squad.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SpanOptions {
    /// Most tokens of a row; never more than the model reads. Default: 384.
    pub max_length: usize,
    /// Tokens between the starts of two windows of a long context. Default: 128.
    pub stride: usize,
    /// Most tokens of the question. Default: 64.
    pub max_question: usize,
    /// Most tokens of an answer. Default: 30.
    pub max_answer: usize,
    /// Whether an answer that starts or ends inside a word is extended to the whole word. Default: true.
    pub whole_words: bool,
    /// How many starts and ends of each window are tried, and how many answers are returned at most. Default: 20.
    pub candidates: usize,
}

impl Default for SpanOptions {
    fn default() -> Self {
        Self {
            max_length: 384,
            stride: 128,
            max_question: 64,
            max_answer: 30,
            whole_words: true,
            candidates: 20,
        }
    }
}

impl SpanOptions {
    /// Sets [`Self::max_length`].
    #[must_use]
    pub fn with_max_length(mut self, tokens: usize) -> Self {
        self.max_length = tokens;
        self
    }

    /// Sets [`Self::stride`].
    #[must_use]
    pub fn with_stride(mut self, tokens: usize) -> Self {
        self.stride = tokens;
        self
    }

    /// Sets [`Self::max_question`].
    #[must_use]
    pub fn with_max_question(mut self, tokens: usize) -> Self {
        self.max_question = tokens;
        self
    }

    /// Sets [`Self::max_answer`].
    #[must_use]
    pub fn with_max_answer(mut self, tokens: usize) -> Self {
        self.max_answer = tokens;
        self
    }

    /// Sets [`Self::whole_words`].
    #[must_use]
    pub fn with_whole_words(mut self, whole: bool) -> Self {
        self.whole_words = whole;
        self
    }

    /// Sets [`Self::candidates`].
    #[must_use]
    pub fn with_candidates(mut self, candidates: usize) -> Self {
        self.candidates = candidates;
        self
    }
}

/// What the model says about a question.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SpanAnswer {
    /// Possible answers, the best first, each text once. Empty if no span is possible.
    pub candidates: Vec<SpanCandidate>,
    /// That the context holds no answer; means something for models that were trained with such questions.
    pub no_answer: NoAnswer,
}

/// A span that may be the answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SpanCandidate {
    /// Bytes of the context.
    pub range: Range<usize>,
    /// The sum of the logits of its start and its end.
    pub score: f32,
    /// Its share among the candidates and "no answer" (a softmax over their scores).
    pub probability: f32,
}

/// The case that the context holds no answer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct NoAnswer {
    /// The smallest sum of the two logits of `[CLS]` over the windows.
    pub score: f32,
    /// Its share among the candidates and itself.
    pub probability: f32,
}

impl SpanAnswer {
    /// The best answer, or `None` if "no answer" scores more than `threshold` above it (0 as in `run_squad.py`, or tuned
    /// on development data; infinity for models that always answer).
    #[must_use]
    pub fn best(&self, threshold: f32) -> Option<&SpanCandidate> {
        let best = self.candidates.first()?;
        (self.no_answer.score - best.score <= threshold).then_some(best)
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
    pub fn answer_span(&self, question: &str, context: &str) -> Result<SpanAnswer, Error> {
        self.answer_span_with(question, context, &SpanOptions::default())
    }

    /// Where `context` answers `question`, chosen as BERT's `run_squad.py` does.
    ///
    /// A long context is read in windows of tokens, `stride` apart. A span may start only in the window that has the most
    /// text around its first token.
    ///
    /// # Errors
    ///
    /// [`Error::Head`] for a model without a question answering head, [`Error::Empty`], [`Error::QuestionTooLong`],
    /// [`Error::WindowTooSmall`], [`Error::Zero`], [`Error::NotFinite`].
    pub fn answer_span_with(
        &self,
        question: &str,
        context: &str,
        options: &SpanOptions,
    ) -> Result<SpanAnswer, Error> {
        let BertModel::Span(model) = &self.model else {
            return Err(self.no_head("answering with a span", Head::Span));
        };
        for (option, value) in [
            ("stride", options.stride),
            ("max_answer", options.max_answer),
            ("candidates", options.candidates),
        ] {
            if value == 0 {
                return Err(Error::Zero { option });
            }
        }
        let question = self.text.ids(question)?;
        let tokens = self.text.tokens(context, 0)?;
        let windows = self.context_windows(question.len(), tokens.len(), options)?;
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        let rows: Vec<_> = windows
            .iter()
            .map(|window| self.text.pair(&question, &ids[window.clone()]))
            .collect();
        let before = question.len() + self.text.around_pair().1;
        let forward = |batch: &[usize], inputs: &[Row<'_>]| {
            let logits = model.forward(inputs)?;
            let longest = logits.dims()[1];
            let logits = finite(logits.into_data())?;
            let read = |(&row, logits): (&usize, &[f32])| {
                let logits: Vec<[f32; 2]> = logits
                    .chunks_exact(2)
                    .take(rows[row].ids.len())
                    .map(|pair| [pair[0], pair[1]])
                    .collect();
                let null = logits[0][0] + logits[0][1];
                (null, spans(&logits, before, &windows, row, options))
            };
            let rows = batch.iter().zip(logits.chunks(longest * 2));
            Ok(rows.map(read).collect())
        };
        let found: Vec<(f32, Vec<Span>)> = self.batches(&rows, forward, |_| {})?;
        let null = found
            .iter()
            .map(|(null, _)| *null)
            .fold(f32::INFINITY, f32::min);
        let spans = found.into_iter().flat_map(|(_, spans)| spans).collect();
        Ok(choose(spans, null, &tokens, context, options))
    }

    /// The tokens of the context in each row.
    fn context_windows(
        &self,
        question: usize,
        context: usize,
        options: &SpanOptions,
    ) -> Result<Vec<Range<usize>>, Error> {
        for (part, verb, tokens) in [("question", "ask", question), ("context", "read", context)] {
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
        let length = options.max_length.min(self.max_length());
        let room = length.saturating_sub(question + self.text.around_pair().0);
        if room == 0 || (context > room && room < options.stride) {
            return Err(Error::WindowTooSmall {
                length,
                room,
                stride: options.stride,
            });
        }
        let mut windows = Vec::new();
        let mut start = 0;
        loop {
            let end = context.min(start + room);
            windows.push(start..end);
            if end == context {
                return Ok(windows);
            }
            start += options.stride;
        }
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

/// The window with the most context around a token: the smaller of what is left and right of it, then the longer window.
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
    // "No answer" takes one of the places if it is good enough for one, behind spans of the same score.
    let better = spans.iter().filter(|span| span.score >= null).count();
    for (place, span) in spans.iter().enumerate() {
        let taken = kept.len() + usize::from(place >= better);
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
        assert_eq!(ranges(&options.with_whole_words(false)), [1..2, 3..4, 6..7]);
        assert_eq!(
            ranges(&options.with_whole_words(false).with_candidates(2)),
            [1..2, 3..4]
        );
        // "No answer" takes the place behind the spans that score at least as much.
        let found = choose(spans(), 2.5, &tokens, context, &options.with_candidates(2));
        assert_eq!(found.candidates.len(), 1);
        assert_eq!(found.best(0.0), Some(&found.candidates[0]));
        assert!((found.no_answer.probability + found.candidates[0].probability - 1.0).abs() < 1e-6);
    }
}
