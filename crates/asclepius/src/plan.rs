//! Which prompts a question needs: one, or one for each window of a long note.

use std::ops::Range;

use clinical_facade::{LongText, TextTooLong};

use crate::prompt::Prompter;
use crate::{Error, Result};

/// Windows leave room for the prompt without the note in steps of this many tokens.
const QUESTION_STEP: usize = 64;

/// The tokens of a prompt that is too long are counted up to this many times the room.
const COUNTED: usize = 4;

/// A text of so many times fewer bytes than there is room for tokens is counted without the prompt around it. Escapes
/// and the seams between texts add tokens, but never that many.
const SHORT: usize = 8;

/// One prompt and the part of the note in it.
#[derive(Debug)]
pub(crate) struct Part {
    pub ids: Vec<u32>,
    pub range: Range<usize>,
}

/// The prompts for a question about a note, in the order of the note; at least one.
pub(crate) fn plan(prompter: &Prompter<'_>, note: &str, question: &str) -> Result<Vec<Part>> {
    Plan::new(prompter, note, question)?.parts()
}

/// A question about a note, before it is known whether it fits.
struct Plan<'a> {
    prompter: &'a Prompter<'a>,
    note: &'a str,
    question: &'a str,
    /// Positions kept for the answer.
    reserve: usize,
    /// Tokens that a prompt may have.
    room: usize,
}

impl<'a> Plan<'a> {
    fn new(prompter: &'a Prompter<'a>, note: &'a str, question: &'a str) -> Result<Self> {
        // Without a note a model invents one.
        if note.trim().is_empty() {
            return Err(Error::NothingLeft);
        }
        // What is refused is refused in the part that a cut would leave out, too.
        prompter.check(note, question)?;
        let (reserve, room) = prompter.reserve_and_room();
        Ok(Self {
            prompter,
            note,
            question,
            reserve,
            room,
        })
    }

    fn parts(&self) -> Result<Vec<Part>> {
        let ids = self.up_to(self.note, COUNTED.saturating_mul(self.room))?;
        if ids.len() <= self.room {
            let range = 0..self.note.len();
            return Ok(vec![Part { ids, range }]);
        }
        let empty = self.without_note()?;
        match self.prompter.options.long_text() {
            LongText::CutStart => self.one(self.end_that_fits()?),
            LongText::CutEnd => self.one(self.start_that_fits()?),
            LongText::Windows { overlap } => self.windows(empty, overlap),
            _ => Err(TextTooLong::new("note", ids.len(), self.room)
                .with_reserved(self.reserve)
                .into()),
        }
    }

    /// The ids of the prompt with a part of the note, as far as `limit`.
    fn up_to(&self, note: &str, limit: usize) -> Result<Vec<u32>> {
        self.prompter.ids_up_to(note, self.question, limit)
    }

    /// The tokens of the prompt without the note.
    fn without_note(&self) -> Result<usize> {
        let tokens = self.up_to("", COUNTED.saturating_mul(self.room))?.len();
        let room = self.room;
        match tokens > room {
            true => Err(Error::QuestionTooLong { tokens, room }),
            false => Ok(tokens),
        }
    }

    fn fits(&self, range: Range<usize>) -> Result<bool> {
        let ids = self.up_to(&self.note[range], self.room)?;
        Ok(ids.len() <= self.room)
    }

    fn part(&self, range: Range<usize>) -> Result<Part> {
        let ids = self
            .prompter
            .ids(&self.note[range.clone()], self.question)?;
        Ok(Part { ids, range })
    }

    /// The only part of a cut note.
    fn one(&self, range: Range<usize>) -> Result<Vec<Part>> {
        if self.note[range.clone()].trim().is_empty() {
            return Err(Error::NothingLeft);
        }
        Ok(vec![self.part(range)?])
    }

    /// The longest start of the note that fits and ends between words.
    fn start_that_fits(&self) -> Result<Range<usize>> {
        let ends = borders(self.note);
        let longest = longest(ends.len(), |at| self.fits(0..ends[at]))?;
        Ok(0..ends[longest])
    }

    /// The longest end of the note that fits and starts between words.
    fn end_that_fits(&self) -> Result<Range<usize>> {
        let (starts, end) = (borders(self.note), self.note.len());
        let last = starts.len() - 1;
        let longest = longest(starts.len(), |at| self.fits(starts[last - at]..end))?;
        Ok(starts[last - longest]..end)
    }

    /// One part for each window; the prompt has `empty` tokens without the note.
    fn windows(&self, empty: usize, overlap: usize) -> Result<Vec<Part>> {
        // A count beyond the room only says how finely a text is cut.
        let counted = COUNTED.saturating_mul(self.room);
        let count = |text: &str| -> Result<usize> {
            // A token has a byte at least, so a short text fits however it is joined to the prompt.
            if text.len() < self.room / SHORT {
                return self.prompter.tokens(text);
            }
            Ok(self.up_to(text, counted)?.len().saturating_sub(empty))
        };
        let room = self.room - rounded(empty, self.room);
        clinical_notes::windows(self.note, room, overlap, count)?
            .into_iter()
            .map(|window| self.part(window.range))
            .collect()
    }
}

/// A prompt's tokens without the note, rounded up so that questions of like length share their windows; as they are
/// where that would take more than a little of the room.
fn rounded(empty: usize, room: usize) -> usize {
    let up = empty.next_multiple_of(QUESTION_STEP);
    if (room.saturating_sub(up)) >= 8 * QUESTION_STEP {
        up
    } else {
        empty
    }
}

/// Byte offsets where a note may be cut: between words, and at both ends.
fn borders(note: &str) -> Vec<usize> {
    let mut borders = vec![0];
    let mut after_space = false;
    for (at, c) in note.char_indices() {
        if after_space && !c.is_whitespace() {
            borders.push(at);
        }
        after_space = c.is_whitespace();
    }
    borders.push(note.len());
    borders.dedup();
    borders
}

/// The last of `count` ever longer candidates that fits; the first one (nothing of the note) always does. None is tried
/// that is more than about twice as long as the result, however many there are.
fn longest(count: usize, fits: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    let (mut low, mut step) = (0, 1);
    // `low` fits; what is at `high` or after it does not, or is not there.
    let mut high = loop {
        let next = low + step;
        if next >= count {
            break count;
        }
        if !fits(next)? {
            break next;
        }
        (low, step) = (next, 2 * step);
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn borders_stand_before_words() {
        assert_eq!(borders("ab  cd\né"), [0, 4, 7, 9]);
        assert_eq!(borders(""), [0]);
    }

    #[test]
    fn finds_the_longest_that_fits() {
        for count in 1..40 {
            for last in 0..count {
                let tried = Cell::new(0);
                let fits = |at| {
                    tried.set(tried.get().max(at));
                    Ok(at <= last)
                };
                assert_eq!(longest(count, fits).unwrap(), last);
                assert!(tried.get() <= 2 * last + 2, "{count} {last}");
            }
        }
    }
}
