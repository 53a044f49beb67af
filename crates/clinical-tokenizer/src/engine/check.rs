//! Checks a `tokenizer.json` before the `tokenizers` crate sees it.
//!
//! That crate indexes, unwraps and asserts on what it reads: a merge whose result is no piece, a template that names a
//! missing token, a charsmap that points outside of itself or a cut-off decoder make it panic. Each is a typed error
//! here.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::file::{Added, File, Merge, Model, Text, Vocabulary};
use crate::error::{Error, Result};
use crate::limits::{
    MAX_ADDED_TOKEN_BYTES, MAX_ADDED_TOKENS, MAX_DECODER_GROWTH, MAX_NORMALIZER_GROWTH,
    MAX_PIECE_BYTES, MAX_TEMPLATE_PIECES, MAX_TOKEN_ID, MAX_UNIGRAM_PIECE_BYTES, MAX_VOCABULARY,
};
use crate::sentencepiece::check_charsmap;

/// Total bytes of the pieces of a unigram model: the engine keeps a hash table for every byte of them.
const MAX_UNIGRAM_BYTES: usize = 8 << 20;

/// A word longer than this would be searched in quadratic time by the engine. BERT has 100.
const MAX_WORDPIECE_CHARS: u64 = 10_000;

/// What the rest of the crate wants to know about a checked file.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) pre_tokenizer: Option<Value>,
    pub(crate) normalizer: Option<Value>,
    pub(crate) decoder: Option<Value>,
    pub(crate) model_kind: String,
    pub(crate) truncates: bool,
    pub(crate) pads: bool,
    /// The highest id of the model's own vocabulary.
    pub(crate) highest: u32,
    /// Letters and digits, as bits, between which words that begin with `▁` are merged one by one.
    pub(crate) word_letters: u128,
}

/// Checks a file. The error names the first rule that is broken.
pub(crate) fn check(bytes: &[u8], name: &str) -> Result<Checked> {
    let file: File<'_> =
        serde_json::from_slice(bytes).map_err(|error| Error::json(name, &error))?;
    let vocabulary = check_vocabulary(&file.model)?;
    check_merges(&file.model, &vocabulary)?;
    check_added(&file.added_tokens, &vocabulary)?;
    if let Some(normalizer) = &file.normalizer
        && growth(normalizer, "normalizer")? > MAX_NORMALIZER_GROWTH
    {
        return Err(Error::NormalizerGrowth {
            limit: MAX_NORMALIZER_GROWTH,
        });
    }
    if let Some(decoder) = &file.decoder
        && growth(decoder, "decoder")? > MAX_DECODER_GROWTH
    {
        return Err(Error::DecoderGrowth {
            limit: MAX_DECODER_GROWTH,
        });
    }
    file.pre_tokenizer
        .as_ref()
        .map_or(Ok(()), check_pre_tokenizer)?;
    file.post_processor
        .as_ref()
        .map_or(Ok(()), check_post_processor)?;
    Ok(Checked {
        highest: vocabulary.values().copied().max().unwrap_or(0),
        word_letters: word_letters(&file.model, &vocabulary),
        model_kind: file.model.kind.unwrap_or_default(),
        truncates: file.truncation.is_some_and(|v| !v.is_null()),
        pads: file.padding.is_some_and(|v| !v.is_null()),
        pre_tokenizer: file.pre_tokenizer,
        normalizer: file.normalizer,
        decoder: file.decoder,
    })
}

fn check_vocabulary<'m>(model: &'m Model<'_>) -> Result<HashMap<&'m str, u32>> {
    let unusable = |what| {
        Err(Error::Component {
            part: "model",
            what,
        })
    };
    let mut out: HashMap<&str, u32>;
    match &model.vocab {
        Vocabulary::Ids(entries) => {
            if entries.is_empty() || entries.len() > MAX_VOCABULARY {
                return Err(Error::VocabularySize {
                    found: entries.len(),
                    limit: MAX_VOCABULARY,
                });
            }
            out = HashMap::with_capacity(entries.len());
            let mut taken = HashSet::with_capacity(entries.len());
            for (index, (Text(text), id)) in entries.iter().enumerate() {
                check_piece(text, index, MAX_PIECE_BYTES)?;
                let Some(id) = u32::try_from(*id).ok().filter(|&id| id < MAX_TOKEN_ID) else {
                    return Err(Error::TokenId {
                        id: *id,
                        limit: MAX_TOKEN_ID,
                    });
                };
                if !taken.insert(id) {
                    return Err(Error::SharedTokenId { id });
                }
                out.insert(text, id);
            }
            if model.kind.as_deref() == Some("Unigram") {
                return unusable("a unigram vocabulary must be a list of pieces and scores");
            }
        }
        Vocabulary::Scores(pieces) => {
            if pieces.is_empty() || pieces.len() > MAX_VOCABULARY {
                return Err(Error::VocabularySize {
                    found: pieces.len(),
                    limit: MAX_VOCABULARY,
                });
            }
            if pieces.iter().map(|Text(text)| text.len()).sum::<usize>() > MAX_UNIGRAM_BYTES {
                return unusable("the pieces of the unigram vocabulary are too long together");
            }
            if model.unk_id.is_none_or(|id| (id as usize) >= pieces.len()) {
                return unusable("the unigram model names no unknown piece (unk_id)");
            }
            out = HashMap::with_capacity(pieces.len());
            for (index, Text(text)) in pieces.iter().enumerate() {
                check_piece(text, index, MAX_UNIGRAM_PIECE_BYTES)?;
                out.insert(text, index as u32);
            }
        }
    }
    if model
        .max_input_chars_per_word
        .is_some_and(|n| n > MAX_WORDPIECE_CHARS)
    {
        return unusable("max_input_chars_per_word is too large");
    }
    Ok(out)
}

fn check_piece(text: &str, index: usize, limit: usize) -> Result<()> {
    if text.len() > limit {
        return Err(Error::PieceTooLong {
            index,
            bytes: text.len(),
            limit,
        });
    }
    Ok(())
}

/// Both sides of a merge and what it makes must be pieces.
fn check_merges(model: &Model<'_>, vocabulary: &HashMap<&str, u32>) -> Result<()> {
    let prefix = model
        .continuing_subword_prefix
        .as_deref()
        .unwrap_or_default();
    let mut joined = String::new();
    for (index, merge) in model.merges.0.iter().enumerate() {
        let missing = || Error::MergeOutOfVocabulary { index };
        let (left, right) = match merge {
            Merge::Pair(Text(left), Text(right)) => (&**left, &**right),
            Merge::Line(Text(line)) if line.starts_with("#version") => continue,
            Merge::Line(Text(line)) => line
                .split_once(' ')
                .filter(|(_, right)| !right.contains(' '))
                .ok_or(Error::MergeLine { line: index + 1 })?,
        };
        let rest = right.get(prefix.len()..).ok_or_else(missing)?;
        joined.clear();
        joined.push_str(left);
        joined.push_str(rest);
        if ![left, right, &joined]
            .iter()
            .all(|piece| vocabulary.contains_key(piece))
        {
            return Err(missing());
        }
    }
    Ok(())
}

/// The engine gives added tokens the ids after the vocabulary, whatever the file says; the file must say the same.
fn check_added(tokens: &[Added], vocabulary: &HashMap<&str, u32>) -> Result<()> {
    if tokens.len() > MAX_ADDED_TOKENS {
        return Err(Error::AddedTokens {
            what: "there are too many added tokens",
            limit: MAX_ADDED_TOKENS,
        });
    }
    let mut own: HashMap<&str, u32> = HashMap::new();
    let mut next = vocabulary.len() as u32;
    for token in tokens {
        if token.content.len() > MAX_ADDED_TOKEN_BYTES {
            return Err(Error::AddedTokens {
                what: "an added token is too long",
                limit: MAX_ADDED_TOKEN_BYTES,
            });
        }
        if token.id >= u64::from(MAX_TOKEN_ID) {
            return Err(Error::TokenId {
                id: token.id,
                limit: MAX_TOKEN_ID,
            });
        }
        if token.content.is_empty() {
            continue;
        }
        let content = token.content.as_str();
        let given = own
            .get(content)
            .or_else(|| vocabulary.get(content))
            .copied()
            .unwrap_or_else(|| {
                next += 1;
                next - 1
            });
        if u64::from(given) != token.id {
            return Err(Error::AddedTokenId {
                token: token.content.clone(),
                declared: token.id as u32,
                given,
            });
        }
        own.insert(content, given);
    }
    Ok(())
}

/// The ASCII letters and digits at which a BPE model merges words apart from each other, as bits, where text has `▁`
/// for blanks; none unless no piece goes on over a `▁` after another character. Characters without a piece are counted
/// together with their neighbours, so they are left out.
fn word_letters(model: &Model<'_>, vocabulary: &HashMap<&str, u32>) -> u128 {
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let known = |c: char| vocabulary.contains_key(c.encode_utf8(&mut [0; 4]) as &str);
    let apart = model.kind.as_deref() == Some("BPE")
        && model.dropout.is_none_or(|dropout| dropout == 0.0)
        && !set(&model.continuing_subword_prefix)
        && !set(&model.end_of_word_suffix)
        && set(&model.unk_token)
        && known('▁')
        && !vocabulary
            .keys()
            .any(|piece| piece.trim_start_matches('▁').contains('▁'));
    (b'0'..=b'z')
        .filter(|&b| apart && b.is_ascii_alphanumeric() && known(char::from(b)))
        .fold(0, |letters, b| letters | 1 << b)
}

fn parts<'v>(part: &'v Value, key: &str) -> &'v [Value] {
    part.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// How many times longer the rules of a `normalizer` or a `decoder` can make a text.
///
/// Parts are recognised by their keys, not by their `type`: the engine takes them by their shape when the type is
/// missing.
fn growth(rule: &Value, part: &'static str) -> Result<usize> {
    let length = |key: &str| rule.get(key).and_then(Value::as_str).map_or(0, str::len);
    let mut times = 1 + length("prepend");
    for list in ["normalizers", "decoders"] {
        for rule in parts(rule, list) {
            times = times.saturating_mul(growth(rule, part)?);
        }
    }
    if let Some(pattern) = rule.get("pattern") {
        let text = |kind: &str| pattern.get(kind).and_then(Value::as_str);
        if text("String").or(text("Regex")) == Some("") {
            return Err(Error::Component {
                part,
                what: "it replaces the empty string",
            });
        }
        let replaced = match text("String") {
            Some(old) => length("content").div_ceil(old.len()).max(1),
            None => length("content") + 1,
        };
        times = times.saturating_mul(replaced);
    }
    if let Some(text) = rule.get("precompiled_charsmap").and_then(Value::as_str) {
        let blob = base64(text).ok_or(Error::Charsmap {
            what: "they are not base64",
        })?;
        check_charsmap(&blob)?;
    }
    Ok(times)
}

fn check_pre_tokenizer(part: &Value) -> Result<()> {
    if part.get("length").and_then(Value::as_u64) == Some(0) {
        return Err(Error::Component {
            part: "pre_tokenizer",
            what: "it cuts the text into pieces of length zero",
        });
    }
    parts(part, "pretokenizers")
        .iter()
        .try_for_each(check_pre_tokenizer)
}

fn check_post_processor(part: &Value) -> Result<()> {
    let unusable = |what| {
        Err(Error::Component {
            part: "post_processor",
            what,
        })
    };
    for part in parts(part, "processors") {
        check_post_processor(part)?;
    }
    let tokens = part.get("special_tokens").and_then(Value::as_object);
    for token in tokens.into_iter().flatten().map(|(_, token)| token) {
        let (ids, names) = (parts(token, "ids"), parts(token, "tokens"));
        if ids.len() != names.len() || ids.len() > MAX_TEMPLATE_PIECES {
            return unusable("a special token of the template has not as many ids as names");
        }
        if let Some(id) = ids
            .iter()
            .filter_map(Value::as_u64)
            .find(|&id| id >= u64::from(MAX_TOKEN_ID))
        {
            return Err(Error::TokenId {
                id,
                limit: MAX_TOKEN_ID,
            });
        }
    }
    for template in ["single", "pair"] {
        let pieces = parts(part, template);
        if pieces.len() > MAX_TEMPLATE_PIECES {
            return unusable("the template has too many pieces");
        }
        for piece in pieces {
            let name = piece
                .get("SpecialToken")
                .and_then(|token| token.get("id"))
                .and_then(Value::as_str);
            if name.is_some_and(|name| !tokens.is_some_and(|tokens| tokens.contains_key(name))) {
                return unusable("the template names a special token that is not given");
            }
            let second = piece
                .get("Sequence")
                .and_then(|s| s.get("id"))
                .and_then(Value::as_str)
                == Some("B");
            if template == "single" && second {
                return unusable("the template for one text uses a second text");
            }
        }
    }
    Ok(())
}

/// Standard base64 with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(out)
}
