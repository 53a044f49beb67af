//! The pieces of a unigram model while it is trained, and the ways to cut a word into them.

use std::collections::HashMap;

/// The piece that stands for what no piece spells.
const UNKNOWN: u32 = 0;

/// How much less likely the unknown piece is than the least likely piece (SentencePiece).
const UNKNOWN_PENALTY: f64 = 10.0;

/// All pieces that there ever were, with the scores of those that are left.
///
/// Pieces are numbered from 1 as they were seeded; numbers never change.
pub(super) struct Pieces {
    texts: Vec<String>,
    /// By number: the logarithm of its probability; NaN for a piece that is gone, and for the unknown piece.
    scores: Vec<f64>,
    /// What is left, in the order that decides which pieces are kept.
    pub(super) order: Vec<u32>,
    /// A tree of all texts: from a node by a character to a node.
    next: HashMap<(u32, char), u32>,
    /// By node: the piece that ends there, or [`UNKNOWN`].
    ends: Vec<u32>,
    unknown_score: f64,
}

/// A piece in a word, from a character to another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    start: usize,
    end: usize,
    piece: u32,
    score: f64,
}

/// A word cut in all ways; kept between words for its memory.
#[derive(Debug, Default)]
pub(super) struct Lattice {
    characters: Vec<char>,
    /// By start, then by length.
    edges: Vec<Edge>,
    forward: Vec<f64>,
    backward: Vec<f64>,
    /// The last edge of the best way to each character.
    last: Vec<Option<usize>>,
}

impl Pieces {
    /// Pieces with their probabilities as logarithms.
    pub(super) fn new(seeds: Vec<(String, f64)>) -> Self {
        let mut this = Self {
            texts: vec![String::new()],
            scores: vec![f64::NAN],
            order: Vec::with_capacity(seeds.len()),
            next: HashMap::new(),
            ends: vec![UNKNOWN],
            unknown_score: 0.0,
        };
        for (text, score) in seeds {
            let piece = this.texts.len() as u32;
            let mut node = 0;
            for character in text.chars() {
                let fresh = this.ends.len() as u32;
                node = *this.next.entry((node, character)).or_insert(fresh);
                if node == fresh {
                    this.ends.push(UNKNOWN);
                }
            }
            this.ends[node as usize] = piece;
            this.texts.push(text);
            this.scores.push(score);
            this.order.push(piece);
        }
        this.refresh();
        this
    }

    /// All numbers are below this.
    pub(super) fn numbers(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn text(&self, piece: u32) -> &str {
        &self.texts[piece as usize]
    }

    pub(super) fn score(&self, piece: u32) -> f64 {
        self.scores[piece as usize]
    }

    /// The lowest score.
    pub(super) fn lowest(&self) -> f64 {
        let scores = self.order.iter().map(|&piece| self.score(piece));
        scores.fold(f64::INFINITY, f64::min)
    }

    /// Leaves these pieces with their scores.
    pub(super) fn keep(&mut self, kept: Vec<(u32, f64)>) {
        self.scores.fill(f64::NAN);
        self.order.clear();
        for (piece, score) in kept {
            self.scores[piece as usize] = score;
            self.order.push(piece);
        }
        self.refresh();
    }

    fn refresh(&mut self) {
        self.unknown_score = self.lowest() - UNKNOWN_PENALTY;
    }

    /// Cuts a word in all ways. With `without_whole` the word itself is no piece.
    pub(super) fn cut(&self, word: &str, without_whole: bool, lattice: &mut Lattice) {
        lattice.characters.clear();
        lattice.characters.extend(word.chars());
        lattice.edges.clear();
        let length = lattice.characters.len();
        for start in 0..length {
            let mut node = 0;
            let mut single = false;
            for end in start + 1..=length {
                match self.next.get(&(node, lattice.characters[end - 1])) {
                    Some(&next) => node = next,
                    None => break,
                }
                let piece = self.ends[node as usize];
                let score = self.score(piece);
                if piece == UNKNOWN || score.is_nan() {
                    continue;
                }
                if without_whole && end - start == length {
                    continue;
                }
                single |= end == start + 1;
                lattice.push(start, end, piece, score);
            }
            if !single {
                lattice.push(start, start + 1, UNKNOWN, self.unknown_score);
            }
        }
    }
}

impl Lattice {
    fn push(&mut self, start: usize, end: usize, piece: u32, score: f64) {
        self.edges.push(Edge {
            start,
            end,
            piece,
            score,
        });
    }

    /// Adds to `expected` how often each piece is expected in a word that occurs `count` times.
    pub(super) fn expect(&mut self, count: f64, expected: &mut [f64]) {
        let length = self.characters.len();
        for sums in [&mut self.forward, &mut self.backward] {
            sums.clear();
            sums.resize(length + 1, f64::NEG_INFINITY);
        }
        self.forward[0] = 0.0;
        self.backward[length] = 0.0;
        for edge in &self.edges {
            let way = self.forward[edge.start] + edge.score;
            self.forward[edge.end] = log_sum(self.forward[edge.end], way);
        }
        for edge in self.edges.iter().rev() {
            let way = self.backward[edge.end] + edge.score;
            self.backward[edge.start] = log_sum(self.backward[edge.start], way);
        }
        let all = self.forward[length];
        for edge in &self.edges {
            let way = self.forward[edge.start] + edge.score + self.backward[edge.end] - all;
            expected[edge.piece as usize] += count * way.exp();
        }
    }

    /// The pieces of the most likely way, last first, and its score. Of two alike the one with the longer last piece.
    pub(super) fn best(&mut self, mut each: impl FnMut(u32)) -> f64 {
        let length = self.characters.len();
        self.forward.clear();
        self.forward.resize(length + 1, f64::NEG_INFINITY);
        self.forward[0] = 0.0;
        self.last.clear();
        self.last.resize(length + 1, None);
        for (index, edge) in self.edges.iter().enumerate() {
            let way = self.forward[edge.start] + edge.score;
            if way > self.forward[edge.end] {
                self.forward[edge.end] = way;
                self.last[edge.end] = Some(index);
            }
        }
        let mut at = length;
        while let Some(index) = self.last[at] {
            each(self.edges[index].piece);
            at = self.edges[index].start;
        }
        self.forward[length]
    }
}

/// The logarithm of the sum of two numbers given as logarithms.
fn log_sum(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY {
        return high;
    }
    high + (low - high).exp().ln_1p()
}
