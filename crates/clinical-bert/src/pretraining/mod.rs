//! Masked-LM and next-sentence examples, as the published recipe makes them.
//!
//! A port of `create_pretraining_data.py` (google-research/bert, used unchanged for Bio_ClinicalBERT) with its random
//! numbers: the same sentences, seed and options give the same examples in the same order. That script holds the whole
//! corpus and all examples in memory; [`Examples`] works on blocks of documents, so its memory does not grow with the
//! corpus. One block as large as the corpus is the script itself.

mod documents;
mod pair;
mod random;

use std::collections::VecDeque;

pub use documents::{Document, Documents};

use clinical_nn::Loss;

use crate::Error;
use pair::Pairs;
use random::PythonRandom;

/// The recipe. The defaults are those of Bio_ClinicalBERT.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PretrainingOptions {
    /// Most tokens of an example, the special ones included. Default: 128.
    pub max_seq_length: usize,
    /// Most masked tokens of an example. Default: 20, which `run_pretraining.py` read; the published data was written
    /// with 22. Both give the same examples up to 136 tokens: 15 % of 128 are 19.
    pub max_predictions: usize,
    /// The part of the tokens (special ones counted) that is predicted. Default: 0.15.
    pub masked_lm_prob: f64,
    /// How often a document is cut to a random shorter length. Default: 0.1.
    pub short_seq_prob: f64,
    /// How often every document is used, with other masks and pairs each time. Default: 5.
    pub dupe_factor: usize,
    /// Default: 12345, the published one.
    pub seed: u64,
    /// How many documents are held at a time. Random second texts and the final shuffle stay within a block. The last
    /// block takes up to half as many more, so that it is never a small rest. Default: 4096; `usize::MAX` takes the
    /// whole corpus, as the published script does.
    pub block: usize,
}

impl Default for PretrainingOptions {
    fn default() -> Self {
        Self {
            max_seq_length: 128,
            max_predictions: 20,
            masked_lm_prob: 0.15,
            short_seq_prob: 0.1,
            dupe_factor: 5,
            seed: 12_345,
            block: 4096,
        }
    }
}

impl PretrainingOptions {
    /// Two texts of one token with their special tokens.
    const LEAST_LENGTH: usize = 5;

    fn check(&self, vocabulary: &Vocabulary) -> Result<(), Error> {
        if self.max_seq_length < Self::LEAST_LENGTH {
            return Err(Error::SequenceTooShort {
                length: self.max_seq_length,
                minimum: Self::LEAST_LENGTH,
            });
        }
        for (option, value) in [
            ("max_predictions", self.max_predictions),
            ("dupe_factor", self.dupe_factor),
            ("block", self.block),
        ] {
            if value == 0 {
                return Err(Error::Zero { option });
            }
        }
        for (option, value) in [
            ("masked_lm_prob", self.masked_lm_prob),
            ("short_seq_prob", self.short_seq_prob),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::Probability { option, value });
            }
        }
        for id in [vocabulary.start, vocabulary.separator, vocabulary.mask] {
            if id as usize >= vocabulary.size {
                return Err(Error::OutsideVocabulary {
                    id,
                    vocabulary: vocabulary.size,
                });
            }
        }
        Ok(())
    }
}

/// The ids that examples are built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vocabulary {
    /// Tokens of the vocabulary: one in ten masked tokens becomes a random one of them.
    pub size: usize,
    /// `[CLS]`.
    pub start: u32,
    /// `[SEP]`.
    pub separator: u32,
    /// `[MASK]`.
    pub mask: u32,
}

/// One training example: `[CLS] first [SEP] second [SEP]`, some tokens of it masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PretrainingExample {
    /// What the model reads.
    pub ids: Vec<u32>,
    /// 0 up to the first separator, 1 after it.
    pub types: Vec<u32>,
    /// The predicted positions, ascending.
    pub positions: Vec<usize>,
    /// The original token at each of them.
    pub labels: Vec<u32>,
    /// Whether the second text comes from elsewhere (class 1 of the next-sentence head) or follows the first (class 0).
    pub is_random_next: bool,
}

/// The losses of one batch ([`BertForPretraining::pretraining_loss`](crate::BertForPretraining::pretraining_loss)).
#[derive(Debug, Clone)]
pub struct PretrainingLoss {
    /// Over the predicted tokens of the batch.
    pub masked: Loss,
    /// Over the pairs; `None` for a model without that head.
    pub next_sentence: Option<Loss>,
}

impl PretrainingLoss {
    /// What is minimised: the sum of both means. Its targets are the predicted tokens; to average the two parts over
    /// batches exactly, weight each by its own targets.
    #[must_use]
    pub fn total(self) -> Loss {
        match self.next_sentence {
            None => self.masked,
            Some(next) => Loss {
                mean: self.masked.mean + next.mean,
                targets: self.masked.targets,
            },
        }
    }
}

/// Examples from a stream of documents, made as they are asked for.
///
/// ```
/// use clinical_bert::pretraining::{Examples, PretrainingOptions, Vocabulary};
///
/// # fn main() -> Result<(), clinical_bert::Error> {
/// // Two documents of three sentences each, as token ids.
/// let documents = [
///     vec![vec![10, 11, 12], vec![13, 14], vec![15, 16, 17]],
///     vec![vec![20, 21], vec![22, 23, 24], vec![25]],
/// ];
/// let vocabulary = Vocabulary { size: 30, start: 2, separator: 3, mask: 4 };
/// let examples = Examples::new(documents.map(Ok), vocabulary, PretrainingOptions::default())?;
/// for example in examples {
///     let example = example?;
///     assert_eq!(example.ids[0], 2);
///     assert_eq!(example.positions.len(), example.labels.len());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Examples<I> {
    source: std::iter::Fuse<I>,
    options: PretrainingOptions,
    vocabulary: Vocabulary,
    random: PythonRandom,
    waiting: VecDeque<Document>,
    ready: std::vec::IntoIter<PretrainingExample>,
    failed: Option<Error>,
    ended: bool,
}

impl<I: Iterator<Item = Result<Document, Error>>> Examples<I> {
    /// Examples from `documents`, each the token ids of its sentences. Sentences without tokens and documents without
    /// sentences are left out.
    ///
    /// # Errors
    ///
    /// For options outside their range. The iterator gives the errors of `documents`, and ends after one.
    pub fn new(
        documents: impl IntoIterator<IntoIter = I, Item = Result<Document, Error>>,
        vocabulary: Vocabulary,
        options: PretrainingOptions,
    ) -> Result<Self, Error> {
        options.check(&vocabulary)?;
        Ok(Self {
            source: documents.into_iter().fuse(),
            options,
            vocabulary,
            random: PythonRandom::new(options.seed),
            waiting: VecDeque::new(),
            ready: Vec::new().into_iter(),
            failed: None,
            ended: false,
        })
    }

    /// The documents of the next block; empty at the end.
    fn block(&mut self) -> Result<Vec<Document>, Error> {
        let size = self.options.block;
        let most = size.saturating_add(size / 2);
        while self.waiting.len() <= most {
            let Some(document) = self.source.next() else {
                return Ok(self.waiting.drain(..).collect());
            };
            let mut document = document?;
            document.retain(|sentence| !sentence.is_empty());
            if let Some(&id) = document
                .iter()
                .flatten()
                .find(|&&id| id as usize >= self.vocabulary.size)
            {
                return Err(Error::OutsideVocabulary {
                    id,
                    vocabulary: self.vocabulary.size,
                });
            }
            if !document.is_empty() {
                self.waiting.push_back(document);
            }
        }
        Ok(self.waiting.drain(..size).collect())
    }

    /// `create_training_instances` for one block.
    fn make(&mut self, mut documents: Vec<Document>) -> Vec<PretrainingExample> {
        self.random.shuffle(&mut documents);
        let mut examples = Vec::new();
        for _ in 0..self.options.dupe_factor {
            for document in 0..documents.len() {
                Pairs {
                    documents: &documents,
                    options: &self.options,
                    vocabulary: &self.vocabulary,
                    random: &mut self.random,
                }
                .of(document, &mut examples);
            }
        }
        self.random.shuffle(&mut examples);
        examples
    }
}

impl<I: Iterator<Item = Result<Document, Error>>> Iterator for Examples<I> {
    type Item = Result<PretrainingExample, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(example) = self.ready.next() {
                return Some(Ok(example));
            }
            if let Some(error) = self.failed.take() {
                self.ended = true;
                return Some(Err(error));
            }
            if self.ended {
                return None;
            }
            match self.block() {
                Ok(documents) if documents.is_empty() => self.ended = true,
                Ok(documents) => self.ready = self.make(documents).into_iter(),
                // What was read before the error still gives its examples; nothing is read after it.
                Err(error) => {
                    self.failed = Some(error);
                    let documents = self.waiting.drain(..).collect();
                    self.ready = self.make(documents).into_iter();
                }
            }
        }
    }
}
