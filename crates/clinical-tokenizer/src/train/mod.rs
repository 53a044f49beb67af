//! New tokenizers from texts: [`UnigramTraining`] for T5, [`WordPieceTraining`] for BERT.
//!
//! Normalizing and cutting texts into words is done by the `tokenizers` crate, as when they are encoded. The trainers
//! are written here, after those of that crate: its own depend on the order of its hash maps and on the number of
//! threads, print, and count in 32 bits. The same texts give the same tokenizer here, whatever the number of threads.

mod em;
mod pieces;
mod seeds;
mod unigram;
mod wordpiece;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokenizers::{
    NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
};

use crate::engine::{ENCODING, from_value, guard};
use crate::error::{Error, Result};
use crate::limits::DEFAULT_MAX_TEXT_BYTES;

pub use unigram::UnigramTraining;
pub use wordpiece::WordPieceTraining;

/// Words with how often they occur, sorted.
pub(crate) type Counts = Vec<(String, u64)>;

/// The parts that work is cut into, whatever the number of threads: sums of floating-point numbers stay the same.
const PARTS: usize = 16;

/// Longer words, in characters, are left out: that is no language, and it would take memory.
const MAX_WORD: usize = 1000;

/// Bytes of text that are collected before threads are started.
const BATCH_BYTES: usize = 8 << 20;

/// How texts become words.
pub(crate) struct Words {
    normalizer: NormalizerWrapper,
    rule: PreTokenizerWrapper,
}

impl Words {
    /// The normalizer and the pre-tokenizer, given as in a `tokenizer.json`.
    pub(crate) fn new(normalizer: serde_json::Value, rule: serde_json::Value) -> Result<Self> {
        Ok(Self {
            normalizer: from_value(normalizer)?,
            rule: from_value(rule)?,
        })
    }

    /// Counts the words of all lines of the texts. Words with a zero character and those of more than [`MAX_WORD`]
    /// characters are left out.
    pub(crate) fn count<T: AsRef<str>>(
        &self,
        texts: impl Iterator<Item = T>,
        threads: usize,
    ) -> Result<Counts> {
        let mut all: HashMap<String, u64> = HashMap::new();
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for text in texts {
            let text = text.as_ref();
            for line in text.split_inclusive('\n') {
                if line.len() > DEFAULT_MAX_TEXT_BYTES {
                    return Err(Error::TextTooLong {
                        bytes: line.len(),
                        limit: DEFAULT_MAX_TEXT_BYTES,
                    });
                }
                bytes += line.len();
                lines.push(line.to_owned());
                if bytes >= BATCH_BYTES {
                    self.add(&lines, threads, &mut all)?;
                    lines.clear();
                    bytes = 0;
                }
            }
        }
        self.add(&lines, threads, &mut all)?;
        all.retain(|word, _| {
            !word.is_empty() && !word.contains('\0') && word.chars().count() <= MAX_WORD
        });
        if all.is_empty() {
            return Err(Error::NoTrainingText);
        }
        let mut counts: Counts = all.into_iter().collect();
        counts.sort_unstable();
        Ok(counts)
    }

    fn add(&self, lines: &[String], threads: usize, all: &mut HashMap<String, u64>) -> Result<()> {
        let found = in_parts(lines, threads, |lines| {
            let mut counts: HashMap<String, u64> = HashMap::new();
            for line in lines {
                self.words(line, &mut counts)?;
            }
            Ok(counts)
        })?;
        for (word, count) in found.into_iter().flatten() {
            *all.entry(word).or_default() += count;
        }
        Ok(())
    }

    fn words(&self, line: &str, counts: &mut HashMap<String, u64>) -> Result<()> {
        guard(ENCODING, || {
            let mut text = NormalizedString::from(line);
            self.normalizer.normalize(&mut text)?;
            let mut words = PreTokenizedString::from(text);
            self.rule.pre_tokenize(&mut words)?;
            for (word, _, _) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
                match counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(word.to_owned(), 1);
                    }
                }
            }
            Ok(())
        })
    }
}

/// Works on [`PARTS`] parts of a list on some threads; the results in order.
pub(crate) fn in_parts<T: Sync, R: Send>(
    list: &[T],
    threads: usize,
    work: impl Fn(&[T]) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let parts: Vec<&[T]> = list.chunks(list.len().div_ceil(PARTS).max(1)).collect();
    let threads = threads.clamp(1, parts.len().max(1));
    if threads == 1 {
        return parts.into_iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, Result<R>)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                match parts.get(at) {
                    Some(part) => done.push((at, work(part))),
                    None => return done,
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let failed = |_| vec![(usize::MAX, Err(Error::EnginePanic { action: "training" }))];
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(failed))
            .collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The number of threads unless the caller chose another: that of the processors.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A vocabulary must hold more than its special tokens.
pub(crate) fn check_size(size: usize, special: usize) -> Result<()> {
    let limit = crate::limits::MAX_VOCABULARY;
    if size > limit {
        return Err(Error::VocabularySize { found: size, limit });
    }
    match size > special {
        true => Ok(()),
        false => Err(Error::VocabularyBelowSpecial { size, special }),
    }
}
