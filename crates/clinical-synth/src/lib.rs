#![doc = include_str!("../README.md")]

mod draw;
mod entities;
mod facts;
mod note;
mod phrases;
mod questions;
pub mod study;
mod t5;
mod untold;
mod variety;
mod vocab;

pub use clinical_prompts::asclepius::Task;
use serde::{Deserialize, Serialize};

use crate::draw::Draw;
pub use crate::entities::SynthEntity;
use crate::facts::Facts;
pub use crate::questions::NOT_MENTIONED;
pub use crate::t5::{Example, T5Task};

/// A question about a note and its one right answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Which of the eight tasks, by its published name.
    #[serde(with = "task_name")]
    pub task: Task,
    /// A finer name inside the task, for example `dose`; used in reports only.
    pub kind: String,
    /// The question, one line.
    pub question: String,
    /// The answer, one sentence. It follows from the note and the question alone, so exact match is
    /// a fair measure.
    pub answer: String,
    /// The part of the answer that is quoted from the note, for questions that quote. It is a
    /// substring of both.
    pub span: Option<String>,
}

/// A task as its published name.
mod task_name {
    use clinical_prompts::asclepius::Task;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(task: &Task, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(task.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Task, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}

/// A note and questions about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// A short discharge summary, about 600 to 1,300 characters, without a final newline.
    pub note: String,
    /// Questions in random order, tasks taken in turn; those of [`Generator::with_variety`] at the end.
    pub pairs: Vec<Pair>,
    /// Not part of the JSON form: a case that was read from there has none.
    #[serde(skip)]
    entities: Vec<SynthEntity>,
}

impl Case {
    /// The entities of the note: sorted, not overlapping, known from the facts that made it. Empty for a case that was
    /// deserialized.
    ///
    /// Abbreviations count (`HTN` is a condition, `Cr` a test, `b.i.d.` a frequency). Persons are without their title,
    /// doses with their unit, tests without their value. Symptoms and reasons of drugs are conditions. Durations and
    /// ages have no label.
    pub fn entities(&self) -> &[SynthEntity] {
        &self.entities
    }

    /// The words of the note with BIO labels (`B-DRUG`, `I-DRUG`, `O`), one list for each line of the note.
    ///
    /// Words are cut by the text alone, as BERT does before it looks for pieces, so that the cuts tell nothing of the
    /// labels: runs of letters and digits, and every other sign by itself (`12`, `.`, `5`).
    pub fn labelled_words(&self) -> Vec<Vec<(&str, String)>> {
        entities::labelled_words(&self.note, &self.entities)
    }
}

/// Which half of the world a generator draws from.
///
/// A note belongs to exactly one half, by a hash of its text, whatever the seed: no held-out note can
/// ever equal a training note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Seven eighths of all notes.
    Train,
    /// One eighth of all notes.
    HeldOut,
}

impl Split {
    /// The half that `note` belongs to.
    pub fn of(note: &str) -> Self {
        if fnv1a(note.as_bytes()).is_multiple_of(8) {
            Self::HeldOut
        } else {
            Self::Train
        }
    }

    fn domain(self) -> &'static [u8; 8] {
        match self {
            Self::Train => b"train---",
            Self::HeldOut => b"held-out",
        }
    }
}

/// 64-bit FNV-1a, folded so that all bits reach the low ones.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^ (hash >> 32)
}

/// How many pairs a case has at most unless [`Generator::with_pairs`] says otherwise.
pub const DEFAULT_PAIRS: usize = 8;

/// An endless, reproducible iterator of [`Case`]s.
///
/// The same seed and split give the same cases on every machine and in every release of this crate
/// that does not say otherwise in its change log.
#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    split: Split,
    pairs: usize,
    /// With more wordings, and so many unanswerable questions more.
    variety: Option<usize>,
    next: u64,
}

impl Generator {
    /// Training cases for `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            split: Split::Train,
            pairs: DEFAULT_PAIRS,
            variety: None,
            next: 0,
        }
    }

    /// Cases that no training generator ever makes.
    pub fn held_out(seed: u64) -> Self {
        Self {
            split: Split::HeldOut,
            ..Self::new(seed)
        }
    }

    /// Sets the greatest number of pairs per case (default 8; a note has 25 to 50 in all).
    #[must_use]
    pub fn with_pairs(mut self, pairs: usize) -> Self {
        self.pairs = pairs;
        self
    }

    /// Puts questions in many more wordings, and adds to each case, after its pairs, `unanswered` questions about what no
    /// note tells or this one does not, their kinds beginning with `no `. The notes are the same. For training: what is
    /// measured is measured on the plain questions, and on questions that no template has.
    #[must_use]
    pub fn with_variety(mut self, unanswered: usize) -> Self {
        self.variety = Some(unanswered);
        self
    }

    /// The split this generator draws from.
    pub fn split(&self) -> Split {
        self.split
    }

    /// The examples for a T5 model, drawn from the same cases.
    pub fn t5(self) -> impl Iterator<Item = Example> {
        t5::Examples::new(self)
    }

    /// The next patient whose note lies in the split, with the stream that made it.
    fn draw(&mut self) -> (Facts, note::Written, Draw) {
        loop {
            let mut draw = Draw::new(self.split.domain(), self.seed, self.next);
            self.next += 1;
            let facts = Facts::draw(&mut draw);
            let written = note::write(&facts, &mut draw);
            if Split::of(&written.text) == self.split {
                return (facts, written, draw);
            }
        }
    }
}

impl Iterator for Generator {
    type Item = Case;

    fn next(&mut self) -> Option<Case> {
        let (facts, written, mut draw) = self.draw();
        let mut all = questions::all(&facts, &written, &mut draw, self.variety.is_some());
        draw.shuffle(&mut all);
        let mut pairs = by_turns(all, self.pairs, &mut draw);
        if let Some(count) = self.variety {
            pairs.extend(untold::unanswered(&facts, &written, &mut draw, count));
        }
        Some(Case {
            note: written.text,
            pairs,
            entities: written.entities,
        })
    }
}

/// Takes up to `limit` pairs, one task after the other, so that rare tasks are not crowded out by
/// those with many questions. Extraction, relations and times take two turns per round: they are
/// most of what one asks about a note, and the hardest.
fn by_turns(all: Vec<Pair>, limit: usize, draw: &mut Draw) -> Vec<Pair> {
    let limit = limit.min(all.len());
    let mut queues: Vec<Vec<Pair>> = vec![Vec::new(); Task::ALL.len()];
    for pair in all {
        let at = Task::ALL.iter().position(|t| *t == pair.task).unwrap_or(0);
        queues[at].push(pair);
    }
    let mut chosen = Vec::with_capacity(limit);
    while chosen.len() < limit && queues.iter().any(|q| !q.is_empty()) {
        let mut round: Vec<usize> = (0..queues.len()).collect();
        round.extend([2, 3, 7]);
        draw.shuffle(&mut round);
        for at in round {
            if chosen.len() < limit
                && let Some(pair) = queues[at].pop()
            {
                chosen.push(pair);
            }
        }
    }
    chosen
}
