//! Windows over a note that is too long for a model.

use std::ops::Range;

use crate::sections::outline;
use crate::sentences::sentences;
use crate::{Error, py};

/// A piece of a note that fits into a token budget.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Window {
    /// The bytes of the note.
    pub range: Range<usize>,
    /// How many tokens they have, by the caller's count.
    pub tokens: usize,
    /// Where the text starts that the window before does not hold. What is between `range.start`
    /// and here is overlap.
    pub new_from: usize,
}

/// Cuts a note into windows of at most `budget` tokens, in order, that together hold all of it:
/// the first starts at 0, the last ends at `note.len()`, and each starts at the end of the one
/// before, or earlier by the overlap. A note that fits is one window; an empty one has none.
///
/// A window ends at the end of a section ([`outline`]) when that leaves it at least half full, else
/// at the end of a sentence ([`sentences`]). Only a sentence that alone is over the budget is cut
/// between words, and only a word that alone is over the budget within. After a cut inside a
/// section, the next window repeats the last sentences of that section (or pieces of a cut one) of
/// up to `overlap` tokens, counted one by one; after a cut between sections nothing is repeated.
///
/// `count` gives the tokens of a text as the model will see it, special tokens included. Every
/// returned window was counted. The count need not be additive. It is called about once per
/// sentence and a few times per window, on texts that are together a small multiple of the note.
///
/// # Errors
/// Errors of `count` are passed on. [`Error::Overlap`] unless `overlap < budget`,
/// [`Error::Budget`] when a single character is over the budget.
///
/// ```
/// use clinical_notes::{Error, windows};
///
/// let words = |text: &str| Ok::<_, Error>(text.split_whitespace().count());
/// let note = "Plan:\nRest at home. Drink water.\n\nFollow-up:\nSee Dr. A in May.";
/// let windows = windows(note, 7, 2, words)?;
/// let texts: Vec<_> = windows.iter().map(|window| &note[window.range.clone()]).collect();
/// assert_eq!(texts, ["Plan:\nRest at home. Drink water.\n\n", "Follow-up:\nSee Dr. A in May."]);
/// # Ok::<(), Error>(())
/// ```
pub fn windows<E: From<Error>>(
    note: &str,
    budget: usize,
    overlap: usize,
    mut count: impl FnMut(&str) -> std::result::Result<usize, E>,
) -> std::result::Result<Vec<Window>, E> {
    if overlap >= budget {
        return Err(Error::Overlap { overlap, budget }.into());
    }
    if note.is_empty() {
        return Ok(Vec::new());
    }
    let tokens = count(note)?;
    if tokens <= budget {
        return Ok(vec![Window {
            range: 0..note.len(),
            tokens,
            new_from: 0,
        }]);
    }
    let fixed = count("")?;
    let mut packer = Packer {
        note,
        budget,
        fixed,
        count,
        units: Vec::new(),
        last: Weights {
            apart: 1,
            together: 1,
        },
    };
    for (section, range) in sentence_ranges(note) {
        packer.add(section, range)?;
    }
    packer.pack(overlap)
}

/// The sentences of a note, each with the number of its section and with the white space around
/// it. There are no gaps.
fn sentence_ranges(note: &str) -> Vec<(usize, Range<usize>)> {
    let sentences = sentences(note);
    let mut ranges = Vec::with_capacity(sentences.len());
    let mut starts = sentences.iter().map(|sentence| sentence.start).peekable();
    for (number, section) in outline(note).into_iter().enumerate() {
        let mut start = section.range.start;
        while let Some(next) = starts.next_if(|&next| next < section.range.end) {
            if !py::strip(&note[start..next]).is_empty() {
                ranges.push((number, start..next));
                start = next;
            }
        }
        ranges.push((number, start..section.range.end));
    }
    ranges
}

/// A piece of a note that is not cut any further.
struct Unit {
    range: Range<usize>,
    section: usize,
    /// Tokens of this piece alone, without those that every text has; at least 1.
    tokens: usize,
}

struct Packer<'n, C> {
    note: &'n str,
    budget: usize,
    /// Tokens of the empty text.
    fixed: usize,
    count: C,
    units: Vec<Unit>,
    /// Tokens of the last window: of its units one by one, and together.
    last: Weights,
}

/// Tokens of some units without those that every text has.
#[derive(Clone, Copy)]
struct Weights {
    apart: usize,
    together: usize,
}

impl Weights {
    /// How many tokens of units counted one by one fit where so many together do. A counter may give pieces far more or
    /// far fewer tokens than the text they make; differences of less than a factor of two are left to the refills.
    fn apart_in(self, room: usize) -> usize {
        let (apart, together) = (self.apart.max(1), self.together.max(1));
        if apart / together < 2 && together / apart < 2 {
            return room;
        }
        let scaled = room as u128 * apart as u128 / together as u128;
        usize::try_from(scaled).unwrap_or(usize::MAX)
    }
}

/// Pieces of an over-long sentence are about this fraction of a window, so that windows fill up.
const PIECES_PER_WINDOW: usize = 8;

/// How often a window is filled up after its tokens were counted.
const REFILLS: usize = 4;

impl<C, E> Packer<'_, C>
where
    C: FnMut(&str) -> std::result::Result<usize, E>,
    E: From<Error>,
{
    /// Adds a piece of the note, cut further when it is over the budget.
    fn add(&mut self, section: usize, range: Range<usize>) -> std::result::Result<(), E> {
        let tokens = (self.count)(&self.note[range.clone()])?;
        if tokens > self.budget {
            return self.add_pieces(section, range, tokens);
        }
        self.units.push(Unit {
            range,
            section,
            // Where a counter gives a piece no more than the empty text, all of a note would seem to fit.
            tokens: tokens.saturating_sub(self.fixed).max(1),
        });
        Ok(())
    }

    /// Adds a piece that is over the budget: groups of its words, or of the characters of its only
    /// word.
    fn add_pieces(
        &mut self,
        section: usize,
        range: Range<usize>,
        tokens: usize,
    ) -> std::result::Result<(), E> {
        let text = &self.note[range.clone()];
        let has_words = cut_between_words(text, 0, 0) < text.len();
        if !has_words && text.chars().nth(1).is_none() {
            return Err(Error::Budget {
                budget: self.budget,
                offset: range.start,
            }
            .into());
        }
        // `tokens` is over the limit, so the pieces are smaller than the text.
        let limit = (self.budget.saturating_sub(self.fixed) / PIECES_PER_WINDOW).max(1);
        let size = (text.len() as u128 * limit as u128 / tokens as u128) as usize;
        let mut start = 0;
        while start < text.len() {
            let end = match has_words {
                true => cut_between_words(text, start, start + size),
                false => cut_between_characters(text, start, start + size),
            };
            self.add(section, range.start + start..range.start + end)?;
            start = end;
        }
        Ok(())
    }

    fn pack(mut self, overlap: usize) -> std::result::Result<Vec<Window>, E> {
        let mut windows = Vec::new();
        // Units `from..new` are overlap, `new..end` are new.
        let (mut from, mut new) = (0, 0);
        while new < self.units.len() {
            let (start, mut end, mut tokens) = self.fill(from, new)?;
            if let Some(boundary) = self.last_section_start(new, end) {
                let shorter = self.count_units(start, boundary)?;
                if shorter <= self.budget && shorter >= self.budget.div_ceil(2) {
                    (end, tokens) = (boundary, shorter);
                }
            }
            windows.push(Window {
                range: self.units[start].range.start..self.units[end - 1].range.end,
                tokens,
                new_from: self.units[new].range.start,
            });
            (from, new) = (self.overlap_start(start, end, overlap), end);
        }
        Ok(windows)
    }

    /// The longest window that starts with unit `from` and holds unit `new` at least: its first
    /// unit (later than `from` when the overlap does not fit), its end, and its tokens.
    fn fill(&mut self, from: usize, new: usize) -> std::result::Result<(usize, usize, usize), E> {
        let (mut start, mut end) = (from, new + 1);
        let mut estimate = self.estimate(start, end);
        while start < new && estimate > self.budget {
            estimate = estimate.saturating_sub(self.units[start].tokens);
            start += 1;
        }
        let room = self.budget.saturating_sub(estimate);
        // More is tried after a count; but what came before may have had more tokens together than one by one.
        end = self.grow(end, self.last.apart_in(room).min(room));
        let mut tokens = self.count_units(start, end)?;
        while tokens > self.budget {
            // The parts were counted one by one, and together they can have more tokens.
            if start < new {
                start = new;
            } else if end > new + 1 {
                let shorter = end - (end - new).div_ceil(8);
                let share = match tokens / 2 > self.budget {
                    true => (end - new) as u128 * self.budget as u128 / tokens as u128,
                    false => u128::MAX,
                };
                let share = usize::try_from(share).map_or(shorter, |share| new + share);
                end = shorter.min(share).max(new + 1);
            } else {
                return Err(Error::Budget {
                    budget: self.budget,
                    offset: self.units[new].range.start,
                }
                .into());
            }
            tokens = self.count_units(start, end)?;
        }
        let mut refills = REFILLS;
        while refills > 0 {
            let longer = self.grow(end, self.room(start, end, tokens));
            if longer == end {
                break;
            }
            let more = self.count_units(start, longer)?;
            if more > self.budget {
                break;
            }
            // A window that doubles is no refill, so that the texts that are counted stay a small multiple of it.
            refills -= usize::from(longer - start < 2 * (end - start));
            (end, tokens) = (longer, more);
        }
        self.last = self.weights(start, end, tokens);
        Ok((start, end, tokens))
    }

    /// How many tokens of units counted one by one still fit after `start..end`, which have `tokens` together: at most
    /// three times as many as are there already, since the next ones may be dearer.
    fn room(&self, start: usize, end: usize, tokens: usize) -> usize {
        let (room, weights) = (self.budget - tokens, self.weights(start, end, tokens));
        let scaled = weights.apart_in(room);
        scaled.min(weights.apart.saturating_mul(3).max(room))
    }

    fn weights(&self, start: usize, end: usize, tokens: usize) -> Weights {
        Weights {
            apart: self.estimate(start, end) - self.fixed,
            together: tokens.saturating_sub(self.fixed),
        }
    }

    /// How far a window can grow from `end` by units of together at most `room` tokens.
    fn grow(&self, mut end: usize, mut room: usize) -> usize {
        while let Some(unit) = self.units.get(end).filter(|unit| unit.tokens <= room) {
            room -= unit.tokens;
            end += 1;
        }
        end
    }

    /// The last start of a section inside `new..end`, when the cut at `end` is inside a section.
    fn last_section_start(&self, new: usize, end: usize) -> Option<usize> {
        let starts_section = |i: &usize| self.units[*i].section != self.units[*i - 1].section;
        if end == self.units.len() || starts_section(&end) {
            return None;
        }
        (new + 1..end).rev().find(starts_section)
    }

    /// Where the window after `start..end` starts: at `end`, or earlier in the same section by
    /// units of together at most `overlap` tokens, but always later than `start`.
    fn overlap_start(&self, start: usize, end: usize, overlap: usize) -> usize {
        let Some(next) = self.units.get(end) else {
            return end;
        };
        let mut room = self.last.apart_in(overlap).min(overlap);
        let mut from = end;
        while from > start + 1 {
            let unit = &self.units[from - 1];
            if unit.section != next.section || unit.tokens > room {
                break;
            }
            room -= unit.tokens;
            from -= 1;
        }
        from
    }

    fn estimate(&self, start: usize, end: usize) -> usize {
        let tokens = self.units[start..end].iter().map(|unit| unit.tokens);
        tokens.fold(self.fixed, usize::saturating_add)
    }

    fn count_units(&mut self, start: usize, end: usize) -> std::result::Result<usize, E> {
        let range = self.units[start].range.start..self.units[end - 1].range.end;
        (self.count)(&self.note[range])
    }
}

/// The last start of a word in `start + 1..=wanted`, or else the first one after, or else the end.
fn cut_between_words(text: &str, start: usize, wanted: usize) -> usize {
    if wanted >= text.len() {
        return text.len();
    }
    let mut after_space = false;
    let mut last = None;
    for (at, c) in text[start..].char_indices() {
        let (at, space) = (start + at, py::is_space(c));
        if after_space && !space {
            if at > wanted {
                return last.unwrap_or(at);
            }
            last = Some(at);
        }
        after_space = space;
    }
    last.unwrap_or(text.len())
}

/// The last start of a character in `start + 1..=wanted`, or else the first one after.
fn cut_between_characters(text: &str, start: usize, wanted: usize) -> usize {
    let end = text.floor_char_boundary(wanted);
    match end > start {
        true => end,
        false => text.ceil_char_boundary(start + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_the_last_word_that_fits() {
        let text = "aa bb  cc";
        assert_eq!(cut_between_words(text, 0, 2), 3);
        assert_eq!(cut_between_words(text, 0, 6), 3);
        assert_eq!(cut_between_words(text, 0, 7), 7);
        assert_eq!(cut_between_words(text, 3, 4), 7);
        assert_eq!(cut_between_words(text, 3, 9), 9);
        assert_eq!(cut_between_words("abc", 0, 1), 3);
        assert_eq!(cut_between_words("  abc", 0, 1), 2);
    }

    #[test]
    fn cuts_between_characters() {
        let text = "a\u{1F600}b";
        assert_eq!(cut_between_characters(text, 0, 0), 1);
        assert_eq!(cut_between_characters(text, 0, 3), 1);
        assert_eq!(cut_between_characters(text, 1, 2), 5);
        assert_eq!(cut_between_characters(text, 1, 9), 6);
    }

    #[test]
    fn sentences_and_sections_meet_without_gaps() {
        let note = " \n\nPlan:\n Rest. Eat.\n\n---\n\nSigned A. B.\n";
        let parts: Vec<_> = sentence_ranges(note)
            .into_iter()
            .map(|(section, range)| (section, &note[range]))
            .collect();
        assert_eq!(
            parts,
            [
                (0, " \n\nPlan:\n "),
                (0, "Rest. "),
                (0, "Eat.\n\n"),
                (0, "---\n"),
                (1, "\nSigned A. B.\n"),
            ]
        );
    }
}
