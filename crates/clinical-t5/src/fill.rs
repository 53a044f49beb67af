//! Missing spans.

use std::ops::ControlFlow;

use clinical_generate::Generation;

use crate::{ClinicalT5, Error, Sentinels};

/// New tokens for each span, unless the caller says otherwise.
const TOKENS_PER_SPAN: usize = 24;

/// What the model put in the place of one sentinel.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Span {
    /// The number in `<extra_id_0>`, `<extra_id_1>`, ...
    pub sentinel: usize,
    /// The text for its place; empty if the model gave none.
    pub text: String,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// The log-probability of each of its tokens.
    pub log_probs: Vec<f32>,
    /// Whether the output has this sentinel, and goes on or ends behind the span by itself: `false` for a span that is
    /// missing, or cut off by the limit of tokens.
    pub complete: bool,
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl ClinicalT5 {
    /// The sentinels by name: the ids of `<extra_id_0>`, `<extra_id_1>`, ... in this tokenizer.
    #[must_use]
    pub fn sentinels(&self) -> Sentinels {
        Sentinels::ByName(self.sentinels.clone())
    }

    /// Fills the places that `<extra_id_0>`, `<extra_id_1>`, ... mark in a text, greedily: one [`Span`] for each, in the
    /// order of the text.
    ///
    /// # Errors
    ///
    /// [`Error::NoSentinel`] if there is none, [`Error::SentinelTwice`], and the errors of [`Self::generate`].
    pub fn fill(&self, text: &str) -> Result<Vec<Span>, Error> {
        let options = Generation::greedy();
        let spans = text.matches("<extra_id_").count();
        let tokens = spans.saturating_add(1).saturating_mul(TOKENS_PER_SPAN);
        self.fill_with(
            text,
            &options.with_max_new_tokens(tokens),
            &self.sentinels(),
        )
    }

    /// [`Self::fill`] with other options, and with the sentinels that the model was trained with: see
    /// [`Sentinels::TopOfVocabulary`]. The text has the names `<extra_id_0>`, ... in any case.
    ///
    /// # Errors
    ///
    /// Those of [`Self::fill`], and [`Error::SentinelsUsedUp`].
    pub fn fill_with(
        &self,
        text: &str,
        options: &Generation,
        sentinels: &Sentinels,
    ) -> Result<Vec<Span>, Error> {
        let mut ids = self.encode(text, 0)?;
        // The numbers of the sentinels in the order of the text, which are replaced by the ids that stand for them.
        let mut asked = Vec::new();
        for id in &mut ids {
            if let Some(number) = self.sentinels.iter().position(|sentinel| sentinel == id) {
                if asked.contains(&number) {
                    return Err(Error::SentinelTwice { number });
                }
                asked.push(number);
                *id = sentinels.id(number)?;
            }
        }
        let Some(&last) = asked.iter().max() else {
            return Err(Error::NoSentinel);
        };
        let mut options = options.clone().with_log_probs(true);
        // T5 closes the last span with the next sentinel; what follows means nothing.
        let closing = sentinels.id(last + 1).ok();
        if let Some(closing) = closing {
            options = options.with_stop_sequences([vec![closing]]);
        }
        let output = self
            .run(&[&ids], &options, |_| ControlFlow::Continue(()))?
            .into_iter()
            .next();
        let output = output.ok_or(Error::EmptyBatch { what: "outputs" })?;

        let numbers: Vec<(u32, Option<usize>)> = asked
            .iter()
            .map(|&number| Ok((sentinels.id(number)?, Some(number))))
            .chain(closing.map(|closing| Ok((closing, None))))
            .collect::<Result<_, Error>>()?;
        let pieces = split(&output.ids, &numbers, output.stop.is_complete());
        asked
            .into_iter()
            .map(|number| {
                let found = pieces.iter().find(|piece| piece.number == number);
                let (mut range, complete) =
                    found.map_or((0..0, false), |piece| (piece.range.clone(), piece.complete));
                while range.end > range.start && self.is_end(output.ids[range.end - 1]) {
                    range.end -= 1;
                }
                let ids = output.ids[range.clone()].to_vec();
                Ok(Span {
                    sentinel: number,
                    text: self.tokenizer().decode(&ids, true)?.trim().to_owned(),
                    ids,
                    log_probs: output.log_probs.get(range).unwrap_or_default().to_vec(),
                    complete,
                })
            })
            .collect()
    }
}

/// The tokens behind one sentinel.
#[derive(Debug, PartialEq)]
struct Piece {
    number: usize,
    range: std::ops::Range<usize>,
    complete: bool,
}

/// Cuts an output at its sentinels. `numbers` gives the number of each, `None` for the one that closes the last span;
/// `ended` says whether the output came to its own end. Of a sentinel that comes twice the first piece counts.
fn split(ids: &[u32], numbers: &[(u32, Option<usize>)], ended: bool) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    for (at, id) in ids.iter().enumerate() {
        let Some(&(_, next)) = numbers.iter().find(|(sentinel, _)| sentinel == id) else {
            continue;
        };
        if let Some((number, start)) = open.take() {
            pieces.push(Piece {
                number,
                range: start..at,
                complete: true,
            });
        }
        open = next.map(|number| (number, at + 1));
    }
    if let Some((number, start)) = open {
        pieces.push(Piece {
            number,
            range: start..ids.len(),
            complete: ended,
        });
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_cut_at_sentinels() {
        let numbers = [(90, Some(0)), (91, Some(1)), (92, None)];
        let piece = |number, range, complete| Piece {
            number,
            range,
            complete,
        };
        assert_eq!(
            split(&[90, 5, 6, 91, 7, 92], &numbers, true),
            [piece(0, 1..3, true), piece(1, 4..5, true)]
        );
        // No closing sentinel: the output's own end closes, its limit does not.
        assert_eq!(split(&[90, 5], &numbers, true), [piece(0, 1..2, true)]);
        assert_eq!(split(&[90, 5], &numbers, false), [piece(0, 1..2, false)]);
        // In another order, with words before the first, and without words between.
        assert_eq!(
            split(&[5, 91, 90, 6, 92, 7], &numbers, true),
            [piece(1, 2..2, true), piece(0, 3..4, true)]
        );
        assert_eq!(split(&[5, 6, 1], &numbers, true), []);
    }
}
