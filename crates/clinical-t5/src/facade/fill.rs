//! Missing spans.

use std::ops::ControlFlow;

use super::{ClinicalT5, Span, T5Options};
use crate::{Error, Result, Sentinels};

/// New tokens for each span, unless the caller says otherwise.
const TOKENS_PER_SPAN: usize = 24;

impl ClinicalT5 {
    /// The sentinels by name: the ids of `<extra_id_0>`, `<extra_id_1>`, ... in this tokenizer.
    #[must_use]
    pub fn sentinels(&self) -> Sentinels {
        Sentinels::ByName(self.sentinels.clone())
    }

    /// Fills what `<extra_id_0>`, `<extra_id_1>`, ... mark in a text, greedily: one [`Span`] for each, in the order of
    /// the text.
    ///
    /// # Errors
    ///
    /// [`Error::NoSentinel`] if there is none, [`Error::SentinelTwice`], and the errors of [`Self::generate`].
    pub fn fill(&self, text: &str) -> Result<Vec<Span>> {
        self.fill_with(text, &T5Options::new())
    }

    /// [`Self::fill`] with options, among them the sentinels that the model was trained with
    /// ([`T5Options::with_sentinels`]). The text has the names `<extra_id_0>`, ... in any case. Unless the options say
    /// another number, there are at most 24 new tokens for each span.
    ///
    /// # Errors
    ///
    /// Those of [`Self::fill`], and [`Error::SentinelsUsedUp`], [`Error::NothingLeft`], [`Error::Deid`],
    /// [`Error::Cancelled`]; [`Error::NoWindows`] where a text that is too long was to be read in windows.
    pub fn fill_with(&self, text: &str, options: &T5Options) -> Result<Vec<Span>> {
        self.model.decoder()?;
        if options.call.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let by_name = self.sentinels();
        let sentinels = options.sentinels().unwrap_or(&by_name);
        let mut ids = self.part(text, options, "fill")?.ids;
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
        let tokens = (asked.len() + 1).saturating_mul(TOKENS_PER_SPAN);
        let mut generation = options.generation(Some(tokens)).with_log_probs(true);
        // T5 closes the last span with the next sentinel; what follows means nothing.
        let closing = sentinels.id(last + 1).ok();
        if let Some(closing) = closing {
            generation = generation.with_stop_sequences([vec![closing]]);
        }
        let sequences = self.run(&ids, &generation, |_| ControlFlow::Continue(()))?;
        let output = sequences.into_iter().next().ok_or(Error::NothingLeft)?;
        let mut numbers: Vec<(u32, Option<usize>)> = Vec::with_capacity(asked.len() + 1);
        for &number in &asked {
            numbers.push((sentinels.id(number)?, Some(number)));
        }
        numbers.extend(closing.map(|closing| (closing, None)));
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
                    text: self.tokenizer.decode(&ids, true)?.trim().to_owned(),
                    ids,
                    log_probs: output.log_probs.get(range).unwrap_or_default().to_vec(),
                    complete,
                })
            })
            .collect()
    }
}

/// The tokens after one sentinel.
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
