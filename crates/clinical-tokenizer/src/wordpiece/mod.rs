//! `BertTokenizer` of `transformers` 4.57.6 (`use_fast=False`): basic tokenizer, then WordPiece, over a `vocab.txt`.

mod letters;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::added::{AddedToken, AddedVocabulary, Segment};
use crate::align::{Aligned, Aligner};
use crate::chars::{
    is_bert_control, is_bert_ideograph, is_bert_punctuation, is_bert_space, is_py_space,
};
use crate::error::{Error, Result};
use crate::limits::{MAX_PIECE_BYTES, MAX_VOCABULARY};
use crate::sentencepiece::Token;
use crate::trie::{ByteTrie, NONE};
use letters::{Placed, compose, placed, span, strip_accents};

/// A word longer than this many characters becomes the unknown token.
const MAX_WORD_CHARS: usize = 100;

/// The five special tokens of BERT, by role.
#[derive(Debug, Clone)]
pub(crate) struct BertRoles {
    pub(crate) unk: String,
    pub(crate) sep: String,
    pub(crate) pad: String,
    pub(crate) cls: String,
    pub(crate) mask: String,
}

/// The switches of `BertTokenizer`.
#[derive(Debug, Clone)]
pub(crate) struct BertSettings {
    pub(crate) lower_case: bool,
    /// `None`: accents go exactly when letters are lower-cased.
    pub(crate) strip_accents: Option<bool>,
    pub(crate) split_ideographs: bool,
    pub(crate) basic: bool,
    pub(crate) never_split: Vec<String>,
}

/// A slow BERT tokenizer.
#[derive(Debug, Clone)]
pub(crate) struct SlowBert {
    /// The lines of the file, in order: a line that occurs twice has the later id.
    pub(crate) lines: Vec<String>,
    ids: HashMap<String, u32>,
    words: ByteTrie,
    pieces: ByteTrie,
    pub(crate) added: AddedVocabulary,
    pub(crate) settings: BertSettings,
    pub(crate) roles: BertRoles,
    pub(crate) specials: Vec<String>,
    special_names: HashSet<String>,
    pub(crate) special_ids: HashSet<u32>,
    /// Lines whose name an added token has taken over.
    renamed: HashMap<u32, u32>,
    unk: u32,
}

/// Reads the lines of a `vocab.txt`.
pub(crate) fn read_vocabulary(text: &str) -> Result<Vec<String>> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let mut lines = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        if index >= MAX_VOCABULARY {
            return Err(Error::VocabularySize {
                found: index + 1,
                limit: MAX_VOCABULARY,
            });
        }
        if line.len() > MAX_PIECE_BYTES {
            return Err(Error::PieceTooLong {
                index,
                bytes: line.len(),
                limit: MAX_PIECE_BYTES,
            });
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

/// Whether a vocabulary was made from text with capital letters: some piece that is not in brackets has one.
pub(crate) fn is_cased(lines: &[String]) -> bool {
    let bracketed = |line: &str| line.starts_with('[') && line.ends_with(']');
    lines
        .iter()
        .any(|line| !bracketed(line) && line.chars().any(char::is_uppercase))
}

impl SlowBert {
    pub(crate) fn new(
        lines: Vec<String>,
        settings: BertSettings,
        roles: BertRoles,
    ) -> Result<Self> {
        let ids: HashMap<String, u32> = lines
            .iter()
            .enumerate()
            .map(|(i, line)| (line.clone(), i as u32))
            .collect();
        for name in [&roles.unk, &roles.cls, &roles.sep] {
            if !ids.contains_key(name.as_str()) {
                return Err(Error::MissingToken {
                    token: name.clone(),
                    kind: "BERT",
                });
            }
        }
        let unk = ids[&roles.unk];
        // Later lines win, as in Python's dict.
        let keys = || lines.iter().enumerate().rev();
        let words = ByteTrie::new(keys().map(|(i, line)| (line.as_bytes(), i as u32)));
        let pieces = ByteTrie::new(
            keys().filter_map(|(i, line)| Some((line.strip_prefix("##")?.as_bytes(), i as u32))),
        );
        let mut this = Self {
            lines,
            ids,
            words,
            pieces,
            added: AddedVocabulary::default(),
            settings,
            roles,
            specials: Vec::new(),
            special_names: HashSet::new(),
            special_ids: HashSet::new(),
            renamed: HashMap::new(),
            unk,
        };
        let roles = this.roles.clone();
        for name in [roles.unk, roles.sep, roles.pad, roles.cls, roles.mask] {
            this.mark_special(&name);
        }
        Ok(this)
    }

    fn mark_special(&mut self, name: &str) {
        if !name.is_empty() && self.special_names.insert(name.to_owned()) {
            self.specials.push(name.to_owned());
        }
    }

    /// Adds a special token: one that is there keeps its flags unless `token` comes with its own.
    pub(crate) fn add_special(&mut self, token: AddedToken, own_flags: bool) -> Result<()> {
        self.mark_special(&token.content);
        if own_flags || self.added.id(&token.content).is_none() {
            self.add(AddedToken {
                special: true,
                ..token
            })?;
        }
        Ok(())
    }

    /// Adds a token, with the id of the line of that name or a new one. Returns whether the id is new.
    pub(crate) fn add(&mut self, mut token: AddedToken) -> Result<bool> {
        if token.content.is_empty() {
            return Ok(false);
        }
        if self.settings.lower_case && !token.special && token.normalized {
            token.content = token.content.to_lowercase();
        }
        let known = self.token_to_id(&token.content);
        let id = known.unwrap_or_else(|| {
            let size = (self.ids.len() + self.added.own()) as u32;
            let taken = |id: u32| self.added.get(id).is_some() || (id as usize) < self.lines.len();
            if taken(size) { self.vocab_size() } else { size }
        });
        if token.special {
            self.mark_special(&token.content);
        }
        let own = !self.ids.contains_key(&token.content);
        self.added.insert(id, token, own)?;
        Ok(known.is_none())
    }

    /// Puts a token in the place of an id that a file gives.
    pub(crate) fn place(&mut self, id: u32, token: AddedToken) -> Result<()> {
        let own = !self.ids.contains_key(&token.content);
        self.added.insert(id, token, own)
    }

    /// Prepares the look-ups after tokens were added.
    pub(crate) fn refresh(&mut self) {
        self.special_ids = self
            .specials
            .iter()
            .filter_map(|name| self.token_to_id(name))
            .collect();
        let taken = |(id, token): (u32, &AddedToken)| {
            Some((
                *self.ids.get(&token.content).filter(|&&line| line != id)?,
                id,
            ))
        };
        self.renamed = self.added.iter().filter_map(taken).collect();
    }

    /// The id of the token of a role.
    pub(crate) fn role_id(&self, name: &str) -> u32 {
        self.token_to_id(name).unwrap_or(self.unk)
    }

    /// Whether decoding writes this token as it is, between blanks (`legacy_added_tokens` of `transformers`).
    pub(crate) fn is_joined_name(&self, name: &str) -> bool {
        let Some(id) = self.added.id(name) else {
            return false;
        };
        let roles = [
            &self.roles.unk,
            &self.roles.sep,
            &self.roles.pad,
            &self.roles.cls,
            &self.roles.mask,
        ];
        !self.is_special_name(name)
            || (!roles.iter().any(|role| *role == name) && id as usize >= self.ids.len())
    }

    pub(crate) fn token_to_id(&self, name: &str) -> Option<u32> {
        self.added.id(name).or_else(|| self.ids.get(name).copied())
    }

    pub(crate) fn id_to_token(&self, id: u32) -> Option<&str> {
        let line = || {
            self.lines
                .get(id as usize)
                .filter(|line| self.ids.get(*line) == Some(&id))
                .map(String::as_str)
        };
        self.added
            .get(id)
            .map(|token| token.content.as_str())
            .or_else(line)
    }

    pub(crate) fn vocab_size(&self) -> u32 {
        let lines = self.lines.len() as u32;
        self.added.highest().map_or(lines, |id| lines.max(id + 1))
    }

    pub(crate) fn is_special_name(&self, name: &str) -> bool {
        self.special_names.contains(name)
    }

    /// The tokens of a text, without `[CLS]` and `[SEP]`.
    pub(crate) fn tokenize(&self, text: &str) -> Result<Vec<Token>> {
        let aligned = if self.settings.lower_case {
            self.lower_case(text)
        } else {
            Aligned::same(text)
        };
        let work = aligned.text();
        let mut out = Vec::with_capacity(text.len() / 4 + 1);
        let mut push = |id: u32, range: Range<usize>| {
            let range = aligned.original(range);
            out.push(Token {
                id,
                start: range.start as u32,
                end: range.end as u32,
            });
        };
        for segment in self.added.split(work) {
            match segment {
                Segment::Added(id, range) => push(id, range),
                Segment::Text(stretch) if self.settings.basic => {
                    self.basic(&stretch, work, &mut push)
                }
                Segment::Text(stretch) => {
                    let chars: Vec<Placed> = placed(&stretch, work).collect();
                    for word in chars
                        .split(|(c, _)| is_py_space(*c))
                        .filter(|word| !word.is_empty())
                    {
                        self.word(word, &mut push);
                    }
                }
            }
        }
        Ok(out)
    }

    /// Lower-cases everything but special tokens and the added tokens that keep their case.
    fn lower_case<'t>(&self, text: &'t str) -> Aligned<'t> {
        let keep: Vec<&str> = self
            .specials
            .iter()
            .map(String::as_str)
            .chain(
                self.added
                    .in_order()
                    .filter(|t| !t.special && t.normalized)
                    .map(|t| t.content.as_str()),
            )
            .filter(|name| !name.is_empty())
            .collect();
        let mut begins = [false; 256];
        keep.iter()
            .for_each(|name| begins[usize::from(name.as_bytes()[0])] = true);
        if !text.chars().any(char::is_uppercase) && text.chars().all(|c| c.to_lowercase().eq([c])) {
            return Aligned::same(text);
        }
        let mut out = Aligner::with_capacity(text.len());
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let kept = if begins[usize::from(rest.as_bytes()[0])] {
                keep.iter().find(|name| rest.starts_with(**name))
            } else {
                None
            };
            if let Some(name) = kept {
                out.push_same(name, at);
                at += name.len();
            } else {
                // Of the letters that one letter becomes, the first covers it and the others cover nothing.
                let mut origin = at;
                at += c.len_utf8();
                for lower in c.to_lowercase() {
                    out.push_char_from(lower, origin);
                    origin = at;
                }
            }
        }
        out.finish(text.len())
    }

    /// BERT's basic tokenizer: clean, set ideographs apart, compose (NFC), split at blanks, lower, split at
    /// punctuation.
    fn basic(
        &self,
        stretch: &[Range<usize>],
        text: &str,
        push: &mut impl FnMut(u32, Range<usize>),
    ) {
        let mut words: Vec<Placed> = Vec::new();
        let mut finish = |word: &mut Vec<Placed>| {
            if !word.is_empty() {
                self.split_word(compose(std::mem::take(word)), push);
            }
        };
        for (c, range) in placed(stretch, text) {
            if c == '\0' || c == char::REPLACEMENT_CHARACTER || is_bert_control(c) {
                continue;
            }
            if is_bert_space(c) || is_py_space(c) {
                finish(&mut words);
            } else if self.settings.split_ideographs && is_bert_ideograph(c) {
                finish(&mut words);
                words.push((c, range));
                finish(&mut words);
            } else {
                words.push((c, range));
            }
        }
        finish(&mut words);
    }

    /// Lower-cases a word, removes its accents and cuts it at punctuation.
    fn split_word(&self, word: Vec<Placed>, push: &mut impl FnMut(u32, Range<usize>)) {
        let name: String = word.iter().map(|(c, _)| c).collect();
        let never = &self.settings.never_split;
        let whole = self.is_special_name(&name) || never.contains(&name);
        let mut word = word;
        if !whole {
            if self.settings.lower_case {
                word = word
                    .into_iter()
                    .flat_map(|(c, at)| c.to_lowercase().map(move |lower| (lower, at.clone())))
                    .collect();
            }
            if self
                .settings
                .strip_accents
                .unwrap_or(self.settings.lower_case)
            {
                word = strip_accents(word);
            }
        }
        if never.contains(&name) {
            let range = span(&word);
            return push(self.token_to_id(&name).unwrap_or(self.unk), range);
        }
        if whole {
            return self.word(&word, push);
        }
        let mut start = 0;
        for end in 1..=word.len() {
            let cut = end == word.len()
                || is_bert_punctuation(word[end].0)
                || is_bert_punctuation(word[end - 1].0);
            if cut {
                self.word(&word[start..end], push);
                start = end;
            }
        }
    }

    /// WordPiece: the longest piece that fits, again and again; a word that does not come out is unknown as a whole.
    fn word(&self, word: &[Placed], push: &mut impl FnMut(u32, Range<usize>)) {
        let mut found: Vec<(u32, Range<usize>)> = Vec::new();
        let mut start = 0;
        while start < word.len() && word.len() <= MAX_WORD_CHARS {
            let trie = if start == 0 {
                &self.words
            } else {
                &self.pieces
            };
            let (mut node, mut best) = (ByteTrie::ROOT, None);
            for (i, (c, _)) in word.iter().enumerate().skip(start) {
                node = trie.walk(node, c.encode_utf8(&mut [0; 4]).as_bytes());
                if node == NONE {
                    break;
                }
                if trie.value(node) != NONE {
                    best = Some((trie.value(node), i + 1));
                }
            }
            let Some((id, end)) = best else { break };
            found.push((id, span(&word[start..end])));
            start = end;
        }
        if start < word.len() {
            push(
                self.token_to_id(&self.roles.unk).unwrap_or(self.unk),
                span(word),
            );
        } else {
            found
                .into_iter()
                .for_each(|(id, range)| push(*self.renamed.get(&id).unwrap_or(&id), range));
        }
    }
}
