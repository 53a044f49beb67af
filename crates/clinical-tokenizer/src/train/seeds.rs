//! The pieces that the training of a unigram model begins with.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::Counts;
use crate::error::{Error, Result};

/// Between two words in the text that repeated parts are looked for in.
const BOUNDARY: char = '\0';

/// What the pieces at the beginning may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most pieces.
    pub(super) pieces: usize,
    /// Most characters of a piece.
    pub(super) characters: usize,
    /// Whether words that occur more than once are pieces.
    pub(super) words: bool,
}

/// All characters, then the parts that more than one word has, those first that cover the most; with the logarithms of
/// their probabilities.
pub(super) fn seeds(counts: &Counts, limits: Limits) -> Result<Vec<(String, f64)>> {
    let mut characters: HashMap<char, u64> = HashMap::new();
    let mut flat = String::new();
    for (word, count) in counts {
        flat.push_str(word);
        flat.push(BOUNDARY);
        for character in word.chars() {
            *characters.entry(character).or_default() += count;
        }
    }
    let mut characters: Vec<(u64, char)> = characters.into_iter().map(|(c, n)| (n, c)).collect();
    characters.sort_unstable_by_key(|&entry| Reverse(entry));

    let failed = |_| Error::Engine {
        action: "training",
        message: "no suffix array".to_owned(),
    };
    let suffixes = esaxx_rs::suffix_rs(&flat).map_err(failed)?;
    let mut parts: HashMap<String, u64> = HashMap::new();
    for (part, repeats) in suffixes.iter() {
        let fits = part.len() > 1 && part.len() <= limits.characters;
        if fits && !part.contains(&BOUNDARY) {
            let score = u64::from(repeats) * part.len() as u64;
            parts.insert(part.iter().collect(), score);
        }
    }
    drop(suffixes);
    if limits.words {
        for (word, count) in counts {
            let length = word.chars().count();
            if *count > 1 && length > 1 && length <= limits.characters {
                let score = parts.entry(word.clone()).or_default();
                *score = (*score).max(count * length as u64);
            }
        }
    }
    let mut parts: Vec<(u64, String)> = parts.into_iter().map(|(text, n)| (n, text)).collect();
    parts.sort_unstable_by(|a, b| b.cmp(a));

    let room = limits.pieces.saturating_sub(characters.len());
    let single = characters
        .into_iter()
        .map(|(score, character)| (character.to_string(), score as f64));
    let longer = parts
        .into_iter()
        .take(room)
        .map(|(score, text)| (text, score as f64));
    let mut seeds: Vec<(String, f64)> = single.chain(longer).collect();
    let sum: f64 = seeds.iter().map(|(_, score)| score).sum();
    for (_, score) in &mut seeds {
        *score = score.ln() - sum.ln();
    }
    Ok(seeds)
}
