//! How well a sentence splitter agrees with sentences marked by hand.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

/// Marked notes that the rules were written with.
pub const TUNING: &str = include_str!("../data/sentences_tuning.txt");

/// Marked notes that the rules were not written with.
pub const HELD_OUT: &str = include_str!("../data/sentences_heldout.txt");

/// Between two notes of a file.
const NOTE_END: &str = "\n####\n";

/// After the last character of each sentence.
const MARK: char = '¶';

/// Ends of sentences in which a splitter and a person agree.
#[derive(Debug, Default)]
pub struct Agreement {
    pub notes: usize,
    pub marked: usize,
    pub found: usize,
    pub agreed: usize,
    /// Sentences with both ends agreed.
    pub whole: usize,
}

impl Agreement {
    /// Compares the ends of sentences in every note of a marked file.
    pub fn of(file: &str, split: impl Fn(&str) -> Vec<Range<usize>>) -> Self {
        let mut sum = Self::default();
        for note in file.split(NOTE_END) {
            let (text, marked) = read(note);
            let found: HashSet<Range<usize>> = split(&text).into_iter().collect();
            let ends = |ranges: &HashSet<Range<usize>>| {
                ranges.iter().map(|range| range.end).collect::<HashSet<_>>()
            };
            sum.notes += 1;
            sum.marked += marked.len();
            sum.found += found.len();
            sum.agreed += ends(&marked).intersection(&ends(&found)).count();
            sum.whole += marked.intersection(&found).count();
        }
        sum
    }

    pub fn precision(&self) -> f64 {
        self.agreed as f64 / self.found as f64
    }

    pub fn recall(&self) -> f64 {
        self.agreed as f64 / self.marked as f64
    }

    pub fn f1(&self) -> f64 {
        2.0 * self.agreed as f64 / (self.marked + self.found) as f64
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} notes, {} sentences: precision {:.3}, recall {:.3}, F1 {:.3} of ends; {:.3} whole",
            self.notes,
            self.marked,
            self.precision(),
            self.recall(),
            self.f1(),
            self.whole as f64 / self.marked as f64,
        )
    }
}

/// A marked note without its marks, and its sentences.
pub fn read(note: &str) -> (String, HashSet<Range<usize>>) {
    let (mut text, mut marked) = (String::new(), HashSet::new());
    for piece in note.split_inclusive(MARK) {
        let sentence = piece.strip_suffix(MARK);
        let start = text.len() + piece.len() - piece.trim_start().len();
        text.push_str(sentence.unwrap_or(piece));
        match sentence {
            Some(_) => marked.insert(start..text.len()),
            None => false,
        };
        assert!(
            sentence.is_some() || piece.trim().is_empty(),
            "text without a mark: {piece}"
        );
    }
    (text, marked)
}
