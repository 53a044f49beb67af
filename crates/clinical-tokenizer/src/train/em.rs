//! Training of a unigram model by expectation and maximization, after the trainer of the `tokenizers` crate (itself
//! after SentencePiece): <https://arxiv.org/abs/1804.10959>.

use std::collections::HashMap;

use super::pieces::{Lattice, Pieces};
use super::seeds::{Limits, seeds};
use super::{Counts, in_parts};
use crate::error::{Error, Result};

/// A piece that is expected less often than this is dropped.
const LEAST_EXPECTED: f64 = 0.5;

/// Characters that lost their piece come back just above the least likely piece, this far from each other.
const PENALTY_STEP: f64 = 0.0001;

/// What to train.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Size of the vocabulary with its special tokens.
    pub(super) size: usize,
    /// How many special tokens there are.
    pub(super) special: usize,
    pub(super) limits: Limits,
    /// Passes over the words between two prunings.
    pub(super) passes: usize,
    /// The share of the pieces that a pruning leaves.
    pub(super) shrink: f64,
    pub(super) threads: usize,
}

/// The pieces with their scores, the most likely first.
pub(super) fn train(counts: &Counts, settings: &Settings) -> Result<Vec<(String, f64)>> {
    let Settings { size, special, .. } = *settings;
    let mut alphabet: Vec<char> = counts.iter().flat_map(|(word, _)| word.chars()).collect();
    alphabet.sort_unstable();
    alphabet.dedup();
    if special + alphabet.len() > size {
        let least = special + alphabet.len();
        return Err(Error::VocabularyBelowAlphabet { size, least });
    }
    let mut pieces = Pieces::new(seeds(counts, settings.limits)?);
    // The unknown piece counts in these sizes.
    let wanted = size * 11 / 10;
    loop {
        for _ in 0..settings.passes {
            let expected = expect(counts, &pieces, settings.threads)?;
            maximize(&mut pieces, &expected);
        }
        let before = pieces.order.len() + 1;
        if before <= wanted {
            break;
        }
        let left = wanted.max((before as f64 * settings.shrink) as usize);
        prune(counts, &mut pieces, left, settings.threads)?;
        if pieces.order.len() + 1 >= before {
            break; // nothing can be left out
        }
    }
    finish(&pieces, &alphabet, size - special).map_err(|found| Error::TooFewTexts {
        size,
        found: special + found,
    })
}

/// How often each piece is expected.
fn expect(counts: &Counts, pieces: &Pieces, threads: usize) -> Result<Vec<f64>> {
    let parts = in_parts(counts, threads, |words| {
        let mut expected = vec![0.0; pieces.numbers()];
        let mut lattice = Lattice::default();
        for (word, count) in words {
            pieces.cut(word, false, &mut lattice);
            lattice.expect(*count as f64, &mut expected);
        }
        Ok(expected)
    })?;
    Ok(sum(parts, pieces.numbers()))
}

/// Adds lists up, in order.
fn sum(parts: Vec<Vec<f64>>, length: usize) -> Vec<f64> {
    let mut all = vec![0.0; length];
    for part in parts {
        for (sum, value) in all.iter_mut().zip(part) {
            *sum += value;
        }
    }
    all
}

/// New probabilities from what was expected, with a prior for few pieces.
fn maximize(pieces: &mut Pieces, expected: &[f64]) {
    let mut kept: Vec<(u32, f64)> = Vec::with_capacity(pieces.order.len());
    for &piece in &pieces.order {
        let often = expected[piece as usize];
        if often >= LEAST_EXPECTED {
            kept.push((piece, often));
        }
    }
    let all = digamma(kept.iter().map(|(_, often)| often).sum());
    for (_, score) in &mut kept {
        *score = digamma(*score) - all;
    }
    pieces.keep(kept);
}

/// The derivative of the logarithm of the gamma function.
fn digamma(mut x: f64) -> f64 {
    let mut result = 0.0;
    while x < 7.0 {
        result -= 1.0 / x;
        x += 1.0;
    }
    x -= 0.5;
    let xx = 1.0 / x;
    let xx2 = xx * xx;
    let xx4 = xx2 * xx2;
    result + x.ln() + xx2 / 24.0 - 7.0 / 960.0 * xx4 + 31.0 / 8064.0 * xx4 * xx2
        - 127.0 / 30720.0 * xx4 * xx4
}

/// How a piece is spelled without itself.
enum Spelling {
    /// It is not the most likely spelling of its own text.
    Unused,
    /// It is a character.
    Only,
    Other(Vec<u32>),
}

fn spelling(pieces: &Pieces, piece: u32, lattice: &mut Lattice) -> Spelling {
    let text = pieces.text(piece);
    if text.chars().nth(1).is_none() {
        return Spelling::Only;
    }
    pieces.cut(text, true, lattice);
    let mut other = Vec::new();
    let score = lattice.best(|piece| other.push(piece));
    match score > pieces.score(piece) {
        true => Spelling::Unused,
        false => Spelling::Other(other),
    }
}

/// Leaves at most `left` pieces, the unknown one counted: those whose loss would make the texts least likely, by the
/// estimate of SentencePiece, and those that cannot go.
fn prune(counts: &Counts, pieces: &mut Pieces, left: usize, threads: usize) -> Result<()> {
    let parts = in_parts(counts, threads, |words| {
        let mut often = vec![0.0; pieces.numbers()];
        let mut lattice = Lattice::default();
        for (word, count) in words {
            pieces.cut(word, false, &mut lattice);
            lattice.best(|piece| often[piece as usize] += *count as f64);
        }
        Ok(often)
    })?;
    let often = sum(parts, pieces.numbers());
    let words: f64 = counts.iter().map(|(_, count)| *count as f64).sum();
    let tokens: f64 = often.iter().sum();
    let judged = in_parts(&pieces.order, threads, |part| {
        let mut lattice = Lattice::default();
        let judge = |&piece: &u32| {
            let own = often[piece as usize];
            let spelling = spelling(pieces, piece, &mut lattice);
            let loss = match spelling {
                Spelling::Unused if own == 0.0 => None,
                Spelling::Unused | Spelling::Only => Some(f64::INFINITY),
                Spelling::Other(_) if own == 0.0 => None,
                Spelling::Other(other) => {
                    let more = tokens + own * (other.len() as f64 - 1.0);
                    let instead: f64 = other
                        .iter()
                        .map(|&piece| (often[piece as usize] + own).ln() - more.ln())
                        .sum();
                    Some(own / words * (own.ln() - tokens.ln() - instead))
                }
            };
            (piece, loss)
        };
        Ok(part.iter().map(judge).collect::<Vec<_>>())
    })?;
    let mut kept: Vec<(u32, f64)> = Vec::new();
    let mut candidates: Vec<(u32, f64)> = Vec::new();
    for (piece, loss) in judged.into_iter().flatten() {
        match loss {
            None => {}
            Some(f64::INFINITY) => kept.push((piece, pieces.score(piece))),
            Some(loss) => candidates.push((piece, loss)),
        }
    }
    candidates.sort_by(|(_, a), (_, b)| b.total_cmp(a)); // stable
    let room = left.saturating_sub(kept.len() + 1);
    let chosen = candidates.into_iter().take(room);
    kept.extend(chosen.map(|(piece, _)| (piece, pieces.score(piece))));
    pieces.keep(kept);
    Ok(())
}

/// All characters and the first pieces, `size` in all, by their scores; the number that there are if they are fewer.
fn finish(
    pieces: &Pieces,
    alphabet: &[char],
    size: usize,
) -> std::result::Result<Vec<(String, f64)>, usize> {
    let single: HashMap<char, u32> = pieces
        .order
        .iter()
        .filter_map(|&piece| {
            let mut characters = pieces.text(piece).chars();
            let first = characters.next()?;
            characters.next().is_none().then_some((first, piece))
        })
        .collect();
    let mut lost = pieces.lowest();
    let mut chosen: Vec<(String, f64)> = Vec::with_capacity(size);
    for character in alphabet {
        let score = match single.get(character) {
            Some(&piece) => pieces.score(piece),
            None => {
                lost += PENALTY_STEP;
                lost - PENALTY_STEP
            }
        };
        chosen.push((character.to_string(), score));
    }
    let longer = pieces.order.iter().filter(|&&piece| {
        let mut characters = pieces.text(piece).chars();
        characters.nth(1).is_some()
    });
    let room = size.saturating_sub(chosen.len());
    chosen.extend(
        longer
            .take(room)
            .map(|&piece| (pieces.text(piece).to_owned(), pieces.score(piece))),
    );
    if chosen.len() < size {
        return Err(chosen.len());
    }
    chosen.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.cmp(b)));
    Ok(chosen)
}
