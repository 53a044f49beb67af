//! Which prompts a question needs: one, or one for each window of a long note.

use std::ops::Range;

use crate::options::{AnswerOptions, LongNote};
use crate::prompt::Prompter;
use crate::{Error, Result};

/// Windows leave room for the prompt without the note in steps of this many tokens.
const QUESTION_STEP: usize = 64;

/// The tokens of a prompt that is too long are counted up to this many times the room.
const COUNTED: usize = 4;

/// One prompt and the part of the note in it.
pub(crate) struct Part {
    pub ids: Vec<u32>,
    pub range: Range<usize>,
}

/// The prompts for a question about a note, in the order of the note; at least one.
pub(crate) fn plan(
    prompter: &Prompter<'_>,
    note: &str,
    question: &str,
    positions: usize,
    options: &AnswerOptions,
) -> Result<Vec<Part>> {
    // One position at least must be left for a new token.
    let reserve = options.reserve.max(1);
    let room = positions.saturating_sub(reserve);
    let counted = COUNTED.saturating_mul(room);
    let ids = prompter.ids_up_to(note, question, counted)?;
    if ids.len() <= room {
        let range = 0..note.len();
        return Ok(vec![Part { ids, range }]);
    }
    let empty = prompter.ids_up_to("", question, counted)?.len();
    if empty > room {
        return Err(Error::QuestionTooLong {
            tokens: empty,
            room,
        });
    }
    let part = |range: Range<usize>| -> Result<Part> {
        let ids = prompter.ids(&note[range.clone()], question)?;
        Ok(Part { ids, range })
    };
    let fits = |range: Range<usize>| -> Result<bool> {
        Ok(prompter.ids_up_to(&note[range], question, room)?.len() <= room)
    };
    match &options.long_note {
        LongNote::Error => Err(Error::NoteTooLong {
            tokens: ids.len(),
            reserve,
            room,
        }),
        LongNote::CutStart => {
            let starts = borders(note);
            let at = first_that_fits(starts.len(), |at| fits(starts[at]..note.len()))?;
            Ok(vec![part(starts[at]..note.len())?])
        }
        LongNote::CutEnd => {
            let ends = borders(note);
            let last = ends.len() - 1;
            let at = first_that_fits(ends.len(), |at| fits(0..ends[last - at]))?;
            Ok(vec![part(0..ends[last - at])?])
        }
        LongNote::Windows { overlap, .. } => {
            let count =
                |text: &str| -> Result<usize> { Ok(prompter.ids(text, question)?.len() - empty) };
            clinical_notes::windows(note, room - rounded(empty, room), *overlap, count)?
                .into_iter()
                .map(|window| part(window.range))
                .collect()
        }
    }
}

/// A prompt's tokens without the note, rounded up so that questions of like length share their windows; as they are where
/// that would take more than a little of the room.
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

/// The first of `count` ever shorter candidates that fits; the last one (nothing of the note) always does.
fn first_that_fits(count: usize, fits: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    let (mut low, mut high) = (0, count - 1);
    while low < high {
        let middle = (low + high) / 2;
        if fits(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_stand_before_words() {
        assert_eq!(borders("ab  cd\né"), [0, 4, 7, 9]);
        assert_eq!(borders(""), [0]);
    }

    #[test]
    fn finds_the_longest_that_fits() {
        for count in 1..9 {
            for first in 0..count {
                assert_eq!(first_that_fits(count, |at| Ok(at >= first)).unwrap(), first);
            }
        }
    }
}
