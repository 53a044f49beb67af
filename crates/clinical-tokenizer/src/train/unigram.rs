//! Unigram tokenizers, as Clinical-T5-Scratch has one.

use serde_json::{Value, json};

use super::em::{self, Settings};
use super::seeds::Limits;
use super::{Words, check_size, processors};
use crate::added::AddedToken;
use crate::error::{Error, Result};
use crate::limits::MAX_EXTRA_IDS;
use crate::tokenizer::Tokenizer;

/// The special tokens, in the order of their ids.
const SPECIAL: [&str; 3] = ["<pad>", "</s>", "<unk>"];

/// Training of a T5 tokenizer from texts.
///
/// The layout of the file is that of Clinical-T5-Scratch (`t5_tokenizer_model.py`, which trains on a file line by
/// line): control characters and Unicode forms are normalized, blanks joined, letters lower-cased if asked; digits are
/// single tokens and punctuation is cut off; `</s>` ends a text; `<pad>` is 0, `</s>` 1, `<unk>` 2.
///
/// The ids are, in order: the three special tokens, the pieces with the most likely first, `<extra_id_0>` to
/// `<extra_id_99>` (in increasing order, as `T5TokenizerFast` appends them to such a file), then the tokens of the caller.
///
/// ```
/// use clinical_tokenizer::UnigramTraining;
///
/// let notes = ["Seen by Dr. [Name] for chest pain.", "No chest pain today, seen by Dr. [Name]."];
/// let notes = notes.repeat(50); // far too few, but for the example
/// let training = UnigramTraining::clinical_t5(true).with_vocab_size(30).with_word_seeds();
/// let training = training.with_added_tokens(clinical_deid::SPECIAL_TOKENS);
/// let tokenizer = training.train(notes.iter())?;
/// assert_eq!(tokenizer.vocab_size(), 30 + 100 + 15);
/// assert_eq!(tokenizer.token_to_id("<extra_id_0>"), Some(30));
/// assert_eq!(tokenizer.token_to_id("[Name]"), Some(130));
/// let ids = tokenizer.encode("Chest pain", true)?.into_ids();
/// assert_eq!(tokenizer.decode(&ids, true)?, "chest pain");
/// # Ok::<(), clinical_tokenizer::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct UnigramTraining {
    vocab_size: usize,
    lower_case: bool,
    extra_ids: usize,
    added: Vec<String>,
    word_seeds: bool,
    threads: usize,
}

impl UnigramTraining {
    /// As Clinical-T5-Scratch: 32,000 tokens with the special ones, 100 extra ids beside them. It lower-cases; the
    /// tokenizer of Clinical-T5-Large keeps case.
    pub fn clinical_t5(lower_case: bool) -> Self {
        Self {
            vocab_size: 32_000,
            lower_case,
            extra_ids: 100,
            added: Vec::new(),
            word_seeds: false,
            threads: processors(),
        }
    }

    /// The number of tokens (default 32,000), the three special ones counted; extra ids and added tokens come on top.
    pub fn with_vocab_size(mut self, vocab_size: usize) -> Self {
        self.vocab_size = vocab_size;
        self
    }

    /// The number of sentinels `<extra_id_N>` (default 100, at most [`MAX_EXTRA_IDS`]).
    pub fn with_extra_ids(mut self, extra_ids: usize) -> Self {
        self.extra_ids = extra_ids;
        self
    }

    /// Tokens that are added behind the extra ids, in this order (default: none): for Clinical-T5 the 15 of
    /// de-identification, `clinical_deid::SPECIAL_TOKENS`. They are found anywhere in a text, and kept when decoding.
    pub fn with_added_tokens<T: Into<String>>(
        mut self,
        tokens: impl IntoIterator<Item = T>,
    ) -> Self {
        self.added = tokens.into_iter().map(Into::into).collect();
        self
    }

    /// Lets whole words that occur more than once be tokens (default: not, as published).
    ///
    /// The published trainer only begins with parts that at least two different words have. That does for millions of
    /// notes with their misspellings; with few texts, a word that occurs a thousand times is never one token.
    pub fn with_word_seeds(mut self) -> Self {
        self.word_seeds = true;
        self
    }

    /// The number of threads (default: that of the processors). It does not change the tokenizer.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Trains on texts of any length; they are read line by line, once, and not kept. Memory: the different words, and
    /// up to 300 bytes for each of at most a million candidate pieces.
    ///
    /// The same texts, in any order, give the same tokenizer, byte for byte when saved.
    ///
    /// # Errors
    ///
    /// [`Error::NoTrainingText`]; [`Error::VocabularyBelowSpecial`] and [`Error::VocabularyBelowAlphabet`] for a
    /// vocabulary that is too small; [`Error::TooFewTexts`] for one that is too large; [`Error::TextTooLong`] for a
    /// line above 4 MiB.
    pub fn train<T: AsRef<str>>(&self, texts: impl Iterator<Item = T>) -> Result<Tokenizer> {
        check_size(self.vocab_size, SPECIAL.len())?;
        if self.extra_ids > MAX_EXTRA_IDS {
            return Err(Error::AddedTokens {
                what: "there are too many extra ids",
                limit: MAX_EXTRA_IDS,
            });
        }
        let words = Words::new(self.normalizer(), pre_tokenizer())?;
        let counts = words.count(texts, self.threads)?;
        // What `UnigramTrainer` has unless told otherwise, as the script leaves it.
        let settings = Settings {
            size: self.vocab_size,
            special: SPECIAL.len(),
            limits: Limits {
                pieces: 1_000_000,
                characters: 16,
                words: self.word_seeds,
            },
            passes: 2,
            shrink: 0.75,
            threads: self.threads,
        };
        let pieces = em::train(&counts, &settings)?;
        let file = self.file(pieces).to_string();
        let config = self.config().to_string();
        let mut tokenizer = Tokenizer::from_bytes(file.as_bytes(), Some(config.as_bytes()))?;
        let added: Vec<AddedToken> = self.added.iter().map(AddedToken::new).collect();
        tokenizer.add_tokens(&added)?;
        Ok(tokenizer)
    }

    fn normalizer(&self) -> Value {
        let mut steps = vec![
            json!({ "type": "Nmt" }),
            json!({ "type": "NFKC" }),
            json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " }),
        ];
        if self.lower_case {
            steps.push(json!({ "type": "Lowercase" }));
        }
        json!({ "type": "Sequence", "normalizers": steps })
    }

    fn file(&self, pieces: Vec<(String, f64)>) -> Value {
        let own = SPECIAL.iter().map(|text| json!([text, 0.0]));
        let pieces = pieces.into_iter().map(|(text, score)| json!([text, score]));
        let vocab: Vec<Value> = own.chain(pieces).collect();
        let special = SPECIAL
            .iter()
            .copied()
            .zip(0..)
            .map(|(text, id)| (text.to_owned(), id));
        let extra = (self.vocab_size..)
            .zip(self.sentinels())
            .map(|(id, text)| (text, id));
        let added: Vec<Value> = special
            .chain(extra)
            .map(|(text, id)| {
                json!({
                    "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true,
                })
            })
            .collect();
        let text = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
        let end = json!({ "SpecialToken": { "id": "</s>", "type_id": 0 } });
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": self.normalizer(),
            "pre_tokenizer": pre_tokenizer(),
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [text("A"), end],
                "pair": [text("A"), text("B")],
                "special_tokens": { "</s>": { "id": "</s>", "ids": [1], "tokens": ["</s>"] } },
            },
            "decoder": metaspace(),
            "model": { "type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": false },
        })
    }

    /// The class is the one that does as the file says: `T5TokenizerFast` of `transformers` 5 puts its own rules in the
    /// place of those of the file, which changes ids; that of `transformers` 4 opens the directory as well.
    fn config(&self) -> Value {
        let sentinels: Vec<String> = self.sentinels().collect();
        json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "extra_ids": self.extra_ids,
            "additional_special_tokens": sentinels,
            "clean_up_tokenization_spaces": false,
        })
    }

    fn sentinels(&self) -> impl Iterator<Item = String> {
        (0..self.extra_ids).map(|n| format!("<extra_id_{n}>"))
    }
}

fn metaspace() -> Value {
    json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true })
}

fn pre_tokenizer() -> Value {
    json!({
        "type": "Sequence",
        "pretokenizers": [
            metaspace(),
            { "type": "Digits", "individual_digits": true },
            { "type": "Punctuation", "behavior": "Isolated" },
        ],
    })
}
