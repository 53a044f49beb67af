//! A tokenizer that runs on the `tokenizers` crate: `tokenizer.json`, or `vocab.json` with `merges.txt`.
//!
//! Calls into the crate go through [`guard`]: the file is checked first (see [`check`]), and a panic that is left
//! becomes an error. (With `panic = "abort"` only the check remains.)

pub(crate) mod byte_level;
pub(crate) mod check;
pub(crate) mod cuts;
mod file;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use tokenizers::{Model, OffsetType, PreTokenizer};

use crate::added::AddedToken;
use crate::decode::fast::{Step, steps};
use crate::encoding::Encoding;
use crate::error::{Error, Result};
use crate::limits::{MAX_ADDED_TOKEN_BYTES, MAX_TOKEN_ID};
use check::Checked;
use cuts::{Cuts, Part};

/// A loaded `tokenizer.json`.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    inner: tokenizers::Tokenizer,
    /// Added tokens by id: their text as it is in the file.
    added: HashMap<u32, String>,
    special_ids: HashSet<u32>,
    steps: Option<Vec<Step>>,
    highest: u32,
    word_letters: u128,
    cuts: Option<Cuts>,
}

/// Runs a call into the engine; a panic becomes an error.
pub(crate) fn guard<T>(
    action: &'static str,
    call: impl FnOnce() -> tokenizers::Result<T>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        // The message may quote the text while encoding, so it is dropped there.
        Ok(Err(error)) => {
            let message = if action == ENCODING {
                String::from("the text cannot be encoded")
            } else {
                error.to_string()
            };
            Err(Error::Engine { action, message })
        }
        Err(_) => Err(Error::EnginePanic { action }),
    }
}

pub(crate) const ENCODING: &str = "encoding";
const LOADING: &str = "loading the tokenizer";
const DECODING: &str = "decoding";

impl Engine {
    /// Loads a checked file. Truncation and padding that were saved with it are switched off, as `transformers` does.
    pub(crate) fn new(bytes: &[u8], checked: &Checked) -> Result<Self> {
        let mut inner = guard(LOADING, || tokenizers::Tokenizer::from_bytes(bytes))?;
        guard(LOADING, || inner.with_truncation(None).map(|_| ()))?;
        inner.with_padding(None);
        let steps = steps(checked.decoder.as_ref());
        let mut this = Self {
            inner,
            added: HashMap::new(),
            special_ids: HashSet::new(),
            steps,
            highest: checked.highest,
            word_letters: checked.word_letters,
            cuts: None,
        };
        this.refresh();
        Ok(this)
    }

    fn refresh(&mut self) {
        let tokens = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        self.special_ids = tokens
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(&id, _)| id)
            .collect();
        self.added = tokens
            .iter()
            .map(|(&id, token)| (id, token.content.clone()))
            .collect();
        self.refresh_cuts();
    }

    fn refresh_cuts(&mut self) {
        self.cuts = Cuts::of(&self.inner, self.word_letters);
    }

    /// Replaces the pre-tokenizer, given as in the file.
    pub(crate) fn set_pre_tokenizer(&mut self, value: Value) -> Result<()> {
        let part: tokenizers::PreTokenizerWrapper = from_value(value)?;
        self.inner.with_pre_tokenizer(Some(part));
        self.refresh_cuts();
        Ok(())
    }

    /// Replaces the normalizer, given as in the file.
    pub(crate) fn set_normalizer(&mut self, value: Value) -> Result<()> {
        let part: tokenizers::NormalizerWrapper = from_value(value)?;
        guard(LOADING, || {
            self.inner.with_normalizer(Some(part)).map(|_| ())
        })?;
        self.refresh_cuts();
        Ok(())
    }

    /// Replaces the post-processor, given as in the file.
    pub(crate) fn set_post_processor(&mut self, value: Value) -> Result<()> {
        let part: tokenizers::PostProcessorWrapper = from_value(value)?;
        self.inner.with_post_processor(Some(part));
        Ok(())
    }

    /// Special tokens in a text are ordinary text from now on.
    pub(crate) fn split_special(&mut self) {
        self.inner.set_encode_special_tokens(true);
    }

    /// Adds tokens; returns how many ids are new.
    pub(crate) fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize> {
        let before = self.vocab_size();
        let mut list = Vec::with_capacity(tokens.len());
        for token in tokens.iter().filter(|token| !token.content.is_empty()) {
            if token.content.len() > MAX_ADDED_TOKEN_BYTES {
                return Err(Error::AddedTokens {
                    what: "an added token is too long",
                    limit: MAX_ADDED_TOKEN_BYTES,
                });
            }
            list.push(
                tokenizers::AddedToken::from(token.content.as_str(), token.special)
                    .single_word(token.single_word)
                    .lstrip(token.lstrip)
                    .rstrip(token.rstrip)
                    .normalized(token.normalized),
            );
        }
        if before as usize + list.len() > MAX_TOKEN_ID as usize {
            return Err(Error::TokenId {
                id: u64::from(before) + list.len() as u64,
                limit: MAX_TOKEN_ID,
            });
        }
        if list.is_empty() {
            return Ok(0); // the engine would build its search anew
        }
        guard("adding tokens", || self.inner.add_tokens(list).map(|_| ()))?;
        self.refresh();
        Ok((self.vocab_size() - before) as usize)
    }

    pub(crate) fn token_to_id(&self, name: &str) -> Option<u32> {
        self.inner.token_to_id(name)
    }

    pub(crate) fn id_to_token(&self, id: u32) -> Option<String> {
        // The engine itself would give the normalized form of an added token.
        self.added
            .get(&id)
            .cloned()
            .or_else(|| self.inner.get_model().id_to_token(id))
    }

    pub(crate) fn is_special_id(&self, id: u32) -> bool {
        self.special_ids.contains(&id)
    }

    /// The added tokens with their ids, in order of the ids.
    pub(crate) fn added(&self) -> Vec<(u32, AddedToken)> {
        let tokens = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        let mut list: Vec<(u32, AddedToken)> = tokens
            .iter()
            .map(|(&id, token)| (id, from_engine(token)))
            .collect();
        list.sort_by_key(|(id, _)| *id);
        list
    }

    /// Ids of the model's own vocabulary.
    pub(crate) fn base_size(&self) -> u32 {
        self.highest + 1
    }

    pub(crate) fn vocab_size(&self) -> u32 {
        self.added
            .keys()
            .copied()
            .max()
            .map_or(self.highest, |id| id.max(self.highest))
            + 1
    }

    /// Encodes one text or two. A single text is read until it has more than `enough` tokens; what comes after them may
    /// be left out.
    pub(crate) fn encode(
        &self,
        text: &str,
        second: Option<&str>,
        add_special: bool,
        enough: usize,
    ) -> Result<Encoding> {
        let encoding = guard(ENCODING, || {
            let enough = second.map_or(enough, |_| usize::MAX);
            let first = self.sequence(text, 0, OffsetType::Byte, enough)?;
            let other = second
                .map(|text| self.sequence(text, 1, OffsetType::Byte, usize::MAX))
                .transpose()?;
            self.inner.post_process(first, other, add_special)
        })?;
        let special: Vec<bool> = encoding
            .get_special_tokens_mask()
            .iter()
            .map(|&mask| mask == 1)
            .collect();
        let sequences: Vec<Option<u8>> = encoding
            .get_sequence_ids()
            .into_iter()
            .map(|id| id.map(|id| id as u8))
            .collect();
        let source = |sequence: Option<u8>| {
            if sequence == Some(1) {
                second.unwrap_or_default()
            } else {
                text
            }
        };
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            offsets: encoding
                .get_offsets()
                .iter()
                .zip(&sequences)
                .map(|(&range, &id)| widen(source(id), range))
                .collect(),
            sequences: sequences
                .iter()
                .zip(&special)
                .map(|(id, &special)| if special { None } else { Some(id.unwrap_or(0)) })
                .collect(),
            special,
        })
    }

    /// Number of tokens of a text; no offsets are worked out.
    pub(crate) fn count(&self, text: &str, add_special: bool) -> Result<usize> {
        guard(ENCODING, || {
            let tokens = self.sequence(text, 0, OffsetType::None, usize::MAX)?;
            let encoding = self.inner.post_process(tokens, None, add_special)?;
            Ok(encoding.len())
        })
    }

    /// The tokens of one text without those around it, part by part until there are more than `enough`.
    fn sequence(
        &self,
        text: &str,
        type_id: u32,
        offsets: OffsetType,
        enough: usize,
    ) -> tokenizers::Result<tokenizers::Encoding> {
        let Some(cuts) = self.cuts else {
            return self.part(text, type_id, offsets);
        };
        let mut parts = cuts.parts(text);
        let Some(first) = parts.next() else {
            return self.part(text, type_id, offsets);
        };
        let mut whole = self.part(first.text, type_id, offsets)?;
        for part in parts {
            if whole.len() > enough {
                break;
            }
            let mut tokens = self.part(part.text, type_id, offsets)?;
            move_offsets(&mut tokens, &part);
            whole.merge_with(tokens, false);
        }
        Ok(whole)
    }

    /// What the engine's `encode` does before the post-processor.
    fn part(
        &self,
        text: &str,
        type_id: u32,
        offsets: OffsetType,
    ) -> tokenizers::Result<tokenizers::Encoding> {
        let added = self.inner.get_added_vocabulary();
        let mut words = added.extract_and_normalize(self.inner.get_normalizer(), text);
        if let Some(rule) = self.inner.get_pre_tokenizer() {
            rule.pre_tokenize(&mut words)?;
        }
        self.inner
            .get_model()
            .tokenize_in_pretokenized(&mut words, None)?;
        words.into_encoding(None, type_id, offsets)
    }

    /// The steps of the decoder, if text can be written as tokens come.
    pub(crate) fn steps(&self) -> Option<&[Step]> {
        self.steps.as_deref()
    }

    /// Decodes all ids at once with the engine, for decoders whose text cannot be written as tokens come.
    pub(crate) fn decode_whole(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        guard(DECODING, || self.inner.decode(ids, skip_special))
    }

    /// The file as it is to be saved.
    pub(crate) fn to_json(&self) -> Result<String> {
        guard("saving the tokenizer", || self.inner.to_string(false))
    }
}

/// Offsets in a part become offsets in the whole text.
fn move_offsets(tokens: &mut tokenizers::Encoding, part: &Part<'_>) {
    for (start, end) in tokens.get_offsets_mut() {
        (*start, *end) = (*start + part.start, *end + part.start);
    }
    // In the text the `▁` in front is the blank before the part; in the part it counts as the first letter.
    if part.blank {
        let alone = tokens.get_tokens().first().is_some_and(|text| text == "▁");
        if let Some((start, end)) = tokens.get_offsets_mut().first_mut() {
            (*start, *end) = (*start - 1, if alone { *start } else { *end });
        }
    }
}

/// Moves offsets out of the middle of characters: the engine trims blanks by counting characters, but counts in bytes.
fn widen(text: &str, (start, end): (usize, usize)) -> (usize, usize) {
    (
        text.floor_char_boundary(start),
        text.ceil_char_boundary(end),
    )
}

pub(crate) fn from_value<T: serde::de::DeserializeOwned>(value: Value) -> Result<T> {
    guard(LOADING, || Ok(serde_json::from_value(value)?))
}

fn from_engine(token: &tokenizers::AddedToken) -> AddedToken {
    AddedToken {
        content: token.content.clone(),
        special: token.special,
        lstrip: token.lstrip,
        rstrip: token.rstrip,
        single_word: token.single_word,
        normalized: token.normalized,
    }
}
