//! The piece of a note around a sentence, within a budget of tokens.

use std::ops::Range;

use crate::{Error, Result};

/// How the piece around a sentence is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AroundRule {
    /// As the published code means it: the sentence, at most half of the budget, and as many tokens before it as after
    /// it; what is missing at one end of the note is taken at the other one.
    #[default]
    Fixed,
    /// As the published code does it (`split_into_chunks` of `preprocess_clip.py`), byte for byte. Its special tokens
    /// stand at character 0, so wherever a piece or a sentence reaches the end token of the note, it is **empty**: the
    /// last sentence of each note, and the surroundings of those near it. In a note that is shorter than the budget an
    /// index below 0 can pick a piece from its end.
    Published,
}

/// A sentence and the piece of its note around it, as bytes of the note. Ranges that the published rule leaves empty
/// are `0..0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Around {
    /// The piece, the sentence among it.
    pub chunk: Range<usize>,
    /// The sentence, or as much of it as half of the budget holds.
    pub sentence: Range<usize>,
}

/// The least budget: two tokens for the separator and the end, and two for a sentence and its copy in the piece.
const LEAST: usize = 8;

/// Cuts the piece of `text` around a sentence so that it, a separator, the sentence itself and an end token are at most
/// `max_tokens` tokens.
///
/// `tokens` are the bytes of each token of the whole text, as a tokenizer gives them; tokens without bytes (special
/// ones, at `(0, 0)`) are left out by [`AroundRule::Fixed`]. Tokens of texts that are joined may be some more or fewer
/// than those of the whole, as in the published code, which cuts what is too long at the end.
///
/// ```
/// use clinical_tasks::clip::{AroundRule, around};
///
/// let text = "a b c d e f g h ";
/// let tokens: Vec<_> = (0..8).map(|word| (2 * word, 2 * word + 1)).collect();
/// let cut = around(text, 8..9, &tokens, 8, AroundRule::Fixed)?;
/// assert_eq!((&text[cut.chunk], &text[cut.sentence]), ("c d e f g", "e"));
/// # Ok::<(), clinical_tasks::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Budget`] for fewer than 8 tokens, [`Error::PublishedFails`] where the published code does.
pub fn around(
    text: &str,
    sentence: Range<usize>,
    tokens: &[(usize, usize)],
    max_tokens: usize,
    rule: AroundRule,
) -> Result<Around> {
    if max_tokens < LEAST {
        return Err(Error::Budget {
            tokens: max_tokens,
            least: LEAST,
        });
    }
    match rule {
        AroundRule::Fixed => Ok(fixed(text, sentence, tokens, max_tokens)),
        AroundRule::Published => {
            published(sentence, tokens, max_tokens).map_err(|why| Error::PublishedFails {
                what: "a sentence".to_owned(),
                why,
            })
        }
    }
}

impl Error {
    /// Says which example the published code fails on.
    pub(crate) fn about(self, example: String) -> Self {
        match self {
            Self::PublishedFails { why, .. } => Self::PublishedFails { what: example, why },
            other => other,
        }
    }
}

fn fixed(text: &str, sentence: Range<usize>, tokens: &[(usize, usize)], max: usize) -> Around {
    let tokens: Vec<(usize, usize)> = tokens
        .iter()
        .copied()
        .filter(|(start, end)| start < end)
        .collect();
    let first = tokens.partition_point(|&(_, end)| end <= sentence.start);
    let after = tokens
        .partition_point(|&(start, _)| start < sentence.end)
        .max(first);
    let last = after.min(first + max / 2 - 2);
    let each = max.saturating_sub(2 * (last - first) + 2) / 2;
    let (before, behind) = (first.min(each), (tokens.len() - last).min(each));
    let from = first - first.min(2 * each - behind);
    let to = (last + 2 * each - before).min(tokens.len());
    let bytes = |from: usize, to: usize| match tokens.get(from..to) {
        Some([(start, _), .., (_, end)] | [(start, end)]) => *start..*end,
        _ => sentence.clone(),
    };
    let cut = bytes(first, last);
    Around {
        chunk: trimmed(text, bytes(from, to)),
        // A token may hold the blank before the sentence, or a piece of what follows it.
        sentence: trimmed(
            text,
            cut.start.max(sentence.start)..cut.end.min(sentence.end),
        ),
    }
}

/// A range without the white space at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let Some(inside) = text.get(range.clone()) else {
        return range;
    };
    let start = range.start + inside.len() - inside.trim_start().len();
    start..(start + inside.trim().len())
}

fn published(
    sentence: Range<usize>,
    tokens: &[(usize, usize)],
    max: usize,
) -> Result<Around, &'static str> {
    let (max, count) = (max as i64, tokens.len() as i64);
    let mut first = -1;
    let mut last = count;
    for (index, &(start, _)) in tokens.iter().enumerate() {
        if start > sentence.start && first == -1 {
            first = index as i64 - 1;
        }
        if start >= sentence.end {
            last = index as i64;
            break;
        }
    }
    if first == -1 {
        return Err("since no token begins after the start of the sentence");
    }
    if 2 * (last - first + 2) > max {
        last = first + max / 2 - 2;
    }
    let each = (max - (2 * (last - first) + 2)) / 2;
    let mut from = (first - each).max(0);
    let mut to = (last + each).min(count);
    if first - from != each {
        to = last + (2 * each - (first - from));
    } else if to - last != each {
        from = first - (2 * each - (to - last));
    }
    let cut = bytes(tokens, first, last).ok_or("since the sentence has no token")?;
    let chunk = bytes(tokens, from, to).ok_or("since the piece has no token")?;
    if last - first >= max - 2 || to - from + 2 + (last - first) != max {
        return Err("at its own check of the number of tokens");
    }
    Ok(Around {
        chunk,
        sentence: cut,
    })
}

/// The bytes of `tokens[from..to]` as Python slices lists: an index below 0 counts from the end. `None` for no token.
fn bytes(tokens: &[(usize, usize)], from: i64, to: i64) -> Option<Range<usize>> {
    let count = tokens.len() as i64;
    let index = |at: i64| if at < 0 { (at + count).max(0) } else { at.min(count) } as usize;
    let (start, _) = tokens.get(index(from)..index(to))?.first()?;
    let (_, end) = tokens.get(index(to) - 1)?;
    match start < end {
        true => Some(*start..*end),
        false => Some(0..0),
    }
}
