//! What comes back.

use std::fmt;
use std::ops::{AddAssign, Range};

use clinical_generate::StopReason;
use serde::Serialize;

use crate::{Evidence, Style, Support};

/// An answer to a question about a note. [`Display`](fmt::Display) prints its text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answer {
    /// The text, without special tokens and without white space at either end. A text that
    /// [`Asclepius::complete`](crate::Asclepius::complete) goes on with keeps its white space.
    pub text: String,
    /// Why the model stopped; as text in JSON.
    pub stop: StopReason,
    /// Tokens read and written, all windows together.
    pub usage: Usage,
    /// Sum of the log-probabilities of the answer's tokens.
    pub log_prob: f64,
    /// The tokens of the answer, the end token included, each with its piece of [`text`](Self::text).
    pub tokens: Vec<Token>,
    /// The prompt that the question was asked with; as text in JSON.
    pub style: Style,
    /// Which part of the note the answer rests on: the byte ranges that were read, in order. The whole note is one
    /// range; a cut note lacks an end; a note read in windows has one for each.
    pub windows: Vec<Window>,
    /// The window whose answer this is; `None` where the answers of several were asked again.
    pub window: Option<usize>,
    /// Where in the note the answer comes from, by statement of the answer, quotes before passages that were used. Empty
    /// unless [`AnswerOptions::with_evidence`](crate::AnswerOptions::with_evidence) asks for it, and for an answer that
    /// says that the note has none.
    pub evidence: Vec<Evidence>,
    /// Statements of the answer, as bytes of [`text`](Self::text), that nothing in the note supports: one of their
    /// figures or dates is nowhere in it, or most of their words are not quoted and no passage makes them likelier. Known
    /// only where evidence was asked for.
    pub unsupported: Vec<Range<usize>>,
    /// How sure the model is that the note says this; only with a
    /// [calibration](crate::AnswerOptions::with_calibration), for a whole answer from a note that was read at once.
    pub support: Option<Support>,
    /// Whether the calibration shows this answer: its score is at least the threshold, or it says that the note has no
    /// answer. Whoever shows an answer with `Some(false)` breaks the calibration's promise. `None` without a
    /// calibration.
    pub shown: Option<bool>,
}

/// A token of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// The piece of [`Answer::text`] that became certain with it: `&answer.text[token.range.clone()]`. Empty for the
    /// end token, and for all but the last token of a character.
    pub text: String,
    /// Where this piece stands in [`Answer::text`], in bytes.
    pub range: Range<usize>,
    /// The model's natural log-probability of the token, before any option changed it.
    pub log_prob: f32,
    /// The likeliest tokens at this place, the likeliest first, whichever was chosen. Empty unless
    /// [`Generation::top_log_probs`](crate::Generation::top_log_probs) asks for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<LikelyToken>,
}

/// A token that could have stood at a place of an answer; see [`Token::top`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LikelyToken {
    /// Its id.
    pub id: u32,
    /// What it writes after the tokens before it. Empty for an end token, and for a part of a character.
    pub text: String,
    /// Its name in the vocabulary; empty for an id that has none.
    pub name: String,
    /// The model's natural log-probability of it, before any option changed it.
    pub log_prob: f32,
}

/// A word of an answer; see [`Answer::words`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Word {
    /// Where it stands in [`Answer::text`], in bytes.
    pub range: Range<usize>,
    /// Sum of the log-probabilities of its tokens.
    pub log_prob: f64,
}

impl Word {
    /// How likely the model found the word after all that stands before it, 0 to 1.
    #[must_use]
    pub fn probability(&self) -> f64 {
        self.log_prob.exp()
    }
}

impl Answer {
    /// What stands between white space in the answer, with the log-probability of its tokens: a low one marks a word
    /// that the model was unsure of. A token that reaches into two words counts for both.
    ///
    /// ```
    /// let model = asclepius::Asclepius::embedded()?;
    /// let note = "Service: MEDICINE\nDischarge Diagnosis: pneumonia";
    /// let answer = model.answer(note, "What is the discharge diagnosis?")?;
    /// let unsure = answer.words().into_iter().filter(|word| word.probability() < 0.5);
    /// let unsure: Vec<&str> = unsure.map(|word| &answer.text[word.range]).collect();
    /// # assert!(unsure.len() <= answer.words().len() && !answer.words().is_empty());
    /// # Ok::<(), asclepius::Error>(())
    /// ```
    #[must_use]
    pub fn words(&self) -> Vec<Word> {
        let mut words = Vec::new();
        let mut first = 0;
        for range in word_ranges(&self.text) {
            // Tokens stand in the order of the text.
            while self
                .tokens
                .get(first)
                .is_some_and(|t| t.range.end <= range.start)
            {
                first += 1;
            }
            let of_word = self.tokens[first..]
                .iter()
                .take_while(|token| token.range.start < range.end);
            let log_prob = of_word.map(|token| f64::from(token.log_prob)).sum();
            words.push(Word { range, log_prob });
        }
        words
    }
}

/// The ranges between white space.
fn word_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        match (c.is_whitespace(), start) {
            (true, Some(from)) => {
                ranges.push(from..at);
                start = None;
            }
            (false, None) => start = Some(at),
            _ => {}
        }
    }
    ranges.extend(start.map(|from| from..text.len()));
    ranges
}

/// A part of a note that was read, and what it gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Window {
    /// Bytes of the note.
    pub range: Range<usize>,
    /// The answer from this part alone; `None` where it is the answer itself, or the part was not asked.
    pub answer: Option<String>,
}

/// Tokens that a question cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the prompts.
    pub prompt_tokens: usize,
    /// How many of these had been read before: the prompt prefix that all questions share, or what a
    /// [`Session`](crate::Session) keeps of its note.
    pub reused_tokens: usize,
    /// Tokens written.
    pub new_tokens: usize,
    /// Tokens read to find [`Answer::evidence`].
    pub evidence_tokens: usize,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.reused_tokens += other.reused_tokens;
        self.new_tokens += other.new_tokens;
        self.evidence_tokens += other.evidence_tokens;
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_add_up_their_tokens() {
        let text = "left  pneumonia é.";
        let token = |range: Range<usize>, log_prob: f32| Token {
            id: 0,
            text: text[range.clone()].to_owned(),
            range,
            log_prob,
            top: Vec::new(),
        };
        let answer = Answer {
            text: text.to_owned(),
            stop: StopReason::EndToken,
            usage: Usage::default(),
            log_prob: 0.0,
            // A token of nothing (the first byte of `é`), and the end token.
            tokens: vec![
                token(0..4, -1.0),
                token(4..7, -0.25),
                token(7..15, -0.5),
                token(15..15, -4.0),
                token(15..18, -2.0),
                token(18..19, -0.125),
                token(19..19, -8.0),
            ],
            style: Style::Text,
            windows: Vec::new(),
            window: None,
            evidence: Vec::new(),
            unsupported: Vec::new(),
            support: None,
            shown: None,
        };
        let words: Vec<(&str, f64)> = answer
            .words()
            .into_iter()
            .map(|word| (&answer.text[word.range], word.log_prob))
            .collect();
        assert_eq!(
            words,
            [("left", -1.0), ("pneumonia", -0.75), ("é.", -2.125)]
        );
        assert!(word_ranges(" \n").is_empty());
    }
}
