//! WordPiece vocabularies for BERT.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use serde_json::json;

use super::{Counts, Words, check_size, processors};
use crate::error::{Error, Result};
use crate::open;
use crate::tokenizer::Tokenizer;

/// The special tokens, in the order of their ids.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// A longer word, in characters, is `[UNK]` for BERT, so it is not learnt.
const MAX_WORD: usize = 100;

/// In front of a piece that continues a word.
const CONTINUES: &str = "##";

/// Training of a BERT tokenizer from texts: pairs of pieces are joined, those first that are most frequent, as
/// `BertWordPieceTokenizer` of `tokenizers` does it. (The original program of Google was never published.)
///
/// Saved as `vocab.txt` with `tokenizer_config.json`, which `transformers` opens. The ids are, in order: `[PAD]`,
/// `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`, the characters, the characters that continue words, joined pieces.
///
/// ```
/// use clinical_tokenizer::WordPieceTraining;
///
/// let notes = ["Seen for chest pain.", "No chest pain today, seen for a fall."];
/// let training = WordPieceTraining::bert(true).with_vocab_size(50).with_min_frequency(1);
/// let tokenizer = training.train(notes.iter())?;
/// assert_eq!(tokenizer.vocab_size(), 50);
/// let ids = tokenizer.encode("Chest pain", true)?.into_ids();
/// assert_eq!(tokenizer.decode(&ids, true)?, "chest pain");
/// # Ok::<(), clinical_tokenizer::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct WordPieceTraining {
    vocab_size: usize,
    lower_case: bool,
    min_frequency: u64,
    alphabet: usize,
    threads: usize,
}

impl WordPieceTraining {
    /// As BERT: 30,522 tokens where letters are lower-cased (and lose their accents), 28,996 where case is kept.
    pub fn bert(lower_case: bool) -> Self {
        Self {
            vocab_size: if lower_case { 30_522 } else { 28_996 },
            lower_case,
            min_frequency: 2,
            alphabet: 1000,
            threads: processors(),
        }
    }

    /// The number of tokens (default 30,522 and 28,996), the five special ones counted.
    pub fn with_vocab_size(mut self, vocab_size: usize) -> Self {
        self.vocab_size = vocab_size;
        self
    }

    /// Pairs that occur less often are not joined (default 2).
    pub fn with_min_frequency(mut self, min_frequency: u64) -> Self {
        self.min_frequency = min_frequency;
        self
    }

    /// How many characters are kept at most, the most frequent ones (default 1,000). A word with another one is
    /// `[UNK]`.
    pub fn with_alphabet(mut self, characters: usize) -> Self {
        self.alphabet = characters;
        self
    }

    /// The number of threads that count words (default: that of the processors). It does not change the tokenizer.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Trains on texts of any length; they are read line by line, once, and not kept. Memory: the different words.
    ///
    /// The same texts, in any order, give the same tokenizer, byte for byte when saved.
    ///
    /// # Errors
    ///
    /// As [`UnigramTraining::train`](crate::UnigramTraining::train).
    pub fn train<T: AsRef<str>>(&self, texts: impl Iterator<Item = T>) -> Result<Tokenizer> {
        check_size(self.vocab_size, SPECIAL.len())?;
        let normalizer = json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": self.lower_case,
        });
        let words = Words::new(normalizer, json!({ "type": "BertPreTokenizer" }))?;
        let mut counts = words.count(texts, self.threads)?;
        counts.retain(|(word, _)| word.chars().count() <= MAX_WORD);
        let mut text = self.vocabulary(&counts)?.join("\n");
        text.push('\n');
        let config = json!({
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lower_case,
            "do_basic_tokenize": true,
            "tokenize_chinese_chars": true,
            "strip_accents": null,
            "clean_up_tokenization_spaces": true,
            "model_max_length": 512,
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        });
        let config = config.to_string();
        open::words(text.into_bytes(), Some(config.as_bytes()), "(trained)").map(Tokenizer::from)
    }

    /// The lines of `vocab.txt`.
    fn vocabulary(&self, counts: &Counts) -> Result<Vec<String>> {
        let mut often: HashMap<char, u64> = HashMap::new();
        for (word, count) in counts {
            for character in word.chars() {
                *often.entry(character).or_default() += count;
            }
        }
        let mut alphabet: Vec<(char, u64)> = often.into_iter().collect();
        alphabet.sort_unstable_by(|(a, x), (b, y)| y.cmp(x).then(a.cmp(b)));
        alphabet.truncate(self.alphabet);
        let alphabet: BTreeSet<char> = alphabet
            .into_iter()
            .map(|(character, _)| character)
            .collect();
        let inside: BTreeSet<char> = counts
            .iter()
            .flat_map(|(word, _)| word.chars().skip(1))
            .filter(|character| alphabet.contains(character))
            .collect();
        let first = alphabet.iter().map(char::to_string);
        let inside = inside
            .iter()
            .map(|character| format!("{CONTINUES}{character}"));
        let mut tokens: Vec<String> = SPECIAL.iter().map(|token| (*token).to_owned()).collect();
        tokens.extend(first.chain(inside));
        let (size, least) = (self.vocab_size, tokens.len());
        if least > size {
            return Err(Error::VocabularyBelowAlphabet { size, least });
        }
        let tokens = Joining::new(tokens, counts).run(size, self.min_frequency);
        match tokens.len() < size {
            true => Err(Error::TooFewTexts {
                size,
                found: tokens.len(),
            }),
            false => Ok(tokens),
        }
    }
}

type Pair = (u32, u32);

/// The words as pieces, and how often each two pieces stand beside each other.
struct Joining {
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
    words: Vec<(Vec<u32>, u64)>,
    pairs: HashMap<Pair, u64>,
    /// Words that hold a pair, or held it once.
    places: HashMap<Pair, Vec<u32>>,
}

impl Joining {
    fn new(tokens: Vec<String>, counts: &Counts) -> Self {
        let numbers = tokens.iter().cloned().zip(0..);
        let ids: HashMap<String, u32> = numbers.collect();
        let mut this = Self {
            tokens,
            ids,
            words: Vec::with_capacity(counts.len()),
            pairs: HashMap::new(),
            places: HashMap::new(),
        };
        for (word, count) in counts {
            let mut pieces = Vec::new();
            for (at, character) in word.chars().enumerate() {
                let text = match at {
                    0 => character.to_string(),
                    _ => format!("{CONTINUES}{character}"),
                };
                // Characters beyond the alphabet are passed over.
                pieces.extend(this.ids.get(&text));
            }
            let index = this.words.len() as u32;
            for pair in pairs(&pieces) {
                *this.pairs.entry(pair).or_default() += count;
                this.places.entry(pair).or_default().push(index);
            }
            this.words.push((pieces, *count));
        }
        this
    }

    /// Joins until there are `size` tokens, or no pair that is frequent enough. Of two pairs alike the one with the
    /// lower ids is joined first.
    fn run(mut self, size: usize, least: u64) -> Vec<String> {
        let entry = |(&pair, &count): (&Pair, &u64)| (count, Reverse(pair));
        let mut queue: BinaryHeap<_> = self.pairs.iter().map(entry).collect();
        while self.tokens.len() < size {
            let Some((count, Reverse(pair))) = queue.pop() else {
                break;
            };
            let now = self.pairs.get(&pair).copied().unwrap_or(0);
            if now != count {
                // There are fewer by now; where there are more, a later entry says so.
                if now > 0 && now < count {
                    queue.push((now, Reverse(pair)));
                }
                continue;
            }
            if count < least.max(1) {
                break;
            }
            for changed in self.join(pair) {
                if let Some(&count) = self.pairs.get(&changed) {
                    queue.push((count, Reverse(changed)));
                }
            }
        }
        self.tokens
    }

    /// Joins a pair everywhere; the pairs that this made.
    fn join(&mut self, pair: Pair) -> BTreeSet<Pair> {
        let second = &self.tokens[pair.1 as usize];
        let second = second.strip_prefix(CONTINUES).unwrap_or(second);
        let text = format!("{}{second}", self.tokens[pair.0 as usize]);
        let joined = match self.ids.get(&text) {
            Some(&id) => id,
            None => {
                let id = self.tokens.len() as u32;
                self.ids.insert(text.clone(), id);
                self.tokens.push(text);
                id
            }
        };
        let mut made = BTreeSet::new();
        let mut places = self.places.remove(&pair).unwrap_or_default();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let (pieces, count) = &mut self.words[place as usize];
            let count = *count;
            let mut after: Vec<u32> = Vec::with_capacity(pieces.len());
            let mut at = 0;
            while at < pieces.len() {
                let here = pieces
                    .get(at + 1)
                    .is_some_and(|&next| (pieces[at], next) == pair);
                after.push(if here { joined } else { pieces[at] });
                at += 1 + usize::from(here);
            }
            if after.len() == pieces.len() {
                continue;
            }
            for old in pairs(pieces) {
                if let Some(left) = self.pairs.get_mut(&old) {
                    *left -= count;
                    if *left == 0 {
                        self.pairs.remove(&old);
                    }
                }
            }
            for new in pairs(&after) {
                *self.pairs.entry(new).or_default() += count;
                if new.0 == joined || new.1 == joined {
                    self.places.entry(new).or_default().push(place);
                    made.insert(new);
                }
            }
            *pieces = after;
        }
        made
    }
}

/// The pairs of a word, in order.
fn pairs(pieces: &[u32]) -> impl Iterator<Item = Pair> {
    pieces.windows(2).map(|two| (two[0], two[1]))
}
