//! `LlamaTokenizer` and `T5Tokenizer` of `transformers` 4.57.6 (`use_fast=False`) over a SentencePiece model.

use std::collections::HashSet;
use std::ops::Range;

use super::{Found, Processor, Scratch, SentencePieceKind, SentencePieceModel, Token};
use crate::added::{AddedToken, AddedVocabulary, Segment, join, locate};
use crate::align::{Aligned, Aligner};
use crate::error::{Error, Result};
use crate::limits::MAX_EXTRA_IDS;

/// Which slow tokenizer is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// `LlamaTokenizer`: `<s>` before the text, nothing after it.
    Llama,
    /// `T5Tokenizer`: `</s>` after the text, sentinels `<extra_id_0>`, `<extra_id_1>`, ... with blanks taken along.
    T5,
}

/// How a SentencePiece model is used. The defaults are those of the slow tokenizers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SentencePieceOptions {
    /// LLaMA or T5.
    pub family: Family,
    /// The behaviour before `transformers` 4.31: the model itself puts a blank before every stretch of text, also after
    /// an added token. `true` when a checkpoint does not say otherwise.
    pub legacy: bool,
    /// Puts the BOS token before each text (LLaMA).
    pub add_bos: bool,
    /// Puts the end token after each text (LLaMA; T5 always does).
    pub add_eos: bool,
    /// Puts a blank before the text where `legacy` is false, and removes it when decoding.
    pub add_prefix_space: bool,
    /// Number of sentinels of a T5 tokenizer.
    pub extra_ids: usize,
    /// The BOS token. `None` for the family's own, `<s>` or none.
    pub bos: Option<AddedToken>,
    /// The end token. `None` for `</s>`.
    pub eos: Option<AddedToken>,
    /// The unknown token. `None` for `<unk>`.
    pub unk: Option<AddedToken>,
    /// The padding token. `None` for the family's own, `<pad>` for T5 and none for LLaMA.
    pub pad: Option<AddedToken>,
    /// Further special tokens. A name alone does not change a token that is already there.
    pub additional: Vec<AddedToken>,
    /// Added tokens with their ids.
    pub added: Vec<(u32, AddedToken)>,
    pub(crate) named_additional: Vec<String>,
}

impl SentencePieceOptions {
    /// The options of `LlamaTokenizer`.
    pub fn llama() -> Self {
        Self {
            family: Family::Llama,
            legacy: true,
            add_bos: true,
            add_eos: false,
            add_prefix_space: true,
            extra_ids: 0,
            bos: None,
            eos: None,
            unk: None,
            pad: None,
            additional: Vec::new(),
            added: Vec::new(),
            named_additional: Vec::new(),
        }
    }

    /// The options of `T5Tokenizer`.
    pub fn t5() -> Self {
        Self {
            family: Family::T5,
            add_bos: false,
            add_eos: true,
            extra_ids: 100,
            ..Self::llama()
        }
    }

    /// The family that usually goes with a kind of model: T5 with unigram, LLaMA with BPE.
    pub fn for_model(model: &SentencePieceModel) -> Self {
        match model.kind() {
            SentencePieceKind::Unigram => Self::t5(),
            SentencePieceKind::Bpe => Self::llama(),
        }
    }
}

/// A slow SentencePiece tokenizer.
#[derive(Debug, Clone)]
pub(crate) struct SlowSentencePiece {
    pub(crate) processor: Processor,
    pub(crate) added: AddedVocabulary,
    pub(crate) family: Family,
    pub(crate) legacy: bool,
    pub(crate) add_bos: bool,
    pub(crate) add_eos: bool,
    pub(crate) add_prefix_space: bool,
    /// Number of sentinels that belong to the tokenizer by itself (`extra_ids`).
    pub(crate) sentinels: usize,
    /// Contents of the special tokens in the order bos, eos, unk, pad, additional.
    pub(crate) specials: Vec<String>,
    special_names: HashSet<String>,
    pub(crate) special_ids: HashSet<u32>,
    pub(crate) roles: Roles,
    unk_name: String,
    /// Tokens of the unknown token's name alone, which are cut off again (see [`Self::encode_stretch`]).
    unk_length: usize,
    /// The id that stands for each piece: its own, unless an added token or a reserved piece has the same name.
    emit: Vec<u32>,
}

/// Ids of the special tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Roles {
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) unk: Option<u32>,
    pub(crate) pad: Option<u32>,
}

impl SlowSentencePiece {
    pub(crate) fn new(model: SentencePieceModel, options: &SentencePieceOptions) -> Result<Self> {
        if options.extra_ids > MAX_EXTRA_IDS {
            return Err(Error::AddedTokens {
                what: "there are too many sentinels (extra_ids)",
                limit: MAX_EXTRA_IDS,
            });
        }
        let mut added = AddedVocabulary::default();
        for i in (0..options.extra_ids).rev() {
            let id = model.pieces.len() + options.extra_ids - 1 - i;
            let name = format!("<extra_id_{i}>");
            let own = model.id(&name).is_none();
            added.insert(id as u32, AddedToken::special(name).strip(true, true), own)?;
        }
        for (id, token) in &options.added {
            added.insert(*id, token.clone(), model.id(&token.content).is_none())?;
        }
        let t5 = options.family == Family::T5;
        // A model whose control piece has another name than the family's keeps its own.
        let fallback = |name: &str, own: Option<u32>| {
            let own = own
                .filter(|_| model.id(name).is_none())
                .map(|id| model.pieces[id as usize].text.as_str());
            Some(AddedToken::special(own.unwrap_or(name)))
        };
        let given =
            |token: &Option<AddedToken>| token.clone().filter(|token| !token.content.is_empty());
        let roles = [
            given(&options.bos).or_else(|| {
                if t5 {
                    None
                } else {
                    fallback("<s>", model.bos())
                }
            }),
            given(&options.eos).or_else(|| fallback("</s>", model.eos())),
            given(&options.unk).or_else(|| fallback("<unk>", Some(model.unk()))),
            given(&options.pad).or_else(|| {
                if t5 {
                    fallback("<pad>", model.pad())
                } else {
                    None
                }
            }),
        ];
        let unk_name = roles[2]
            .as_ref()
            .map_or_else(String::new, |token| token.content.clone());
        let mut this = Self {
            processor: Processor::new(model),
            added,
            family: options.family,
            legacy: options.legacy,
            add_bos: options.add_bos,
            add_eos: options.add_eos || t5,
            add_prefix_space: options.add_prefix_space,
            sentinels: options.extra_ids,
            specials: Vec::new(),
            special_names: HashSet::new(),
            special_ids: HashSet::new(),
            roles: Roles::default(),
            unk_name,
            unk_length: 0,
            emit: Vec::new(),
        };
        for token in roles.iter().flatten().chain(&options.additional) {
            this.add_special(token.clone())?;
        }
        let sentinels = (0..options.extra_ids).map(|i| format!("<extra_id_{i}>"));
        for name in options.named_additional.iter().cloned().chain(sentinels) {
            if this.added.id(&name).is_none() {
                this.add_special(AddedToken::special(name))?;
            } else if this.special_names.insert(name.clone()) {
                this.specials.push(name);
            }
        }
        let id =
            |token: &Option<AddedToken>| token.as_ref().map(|token| this.lookup(&token.content));
        this.roles = Roles {
            bos: id(&roles[0]),
            eos: id(&roles[1]),
            unk: id(&roles[2]),
            pad: id(&roles[3]),
        };
        this.refresh();
        let mut length = 0;
        let unk = this.unk_name.clone();
        this.processor
            .encode(&unk, this.dummy_prefix(), &mut Scratch::default(), |_| {
                length += 1
            })?;
        this.unk_length = length;
        Ok(this)
    }

    /// Whether the model puts a blank before each stretch of text.
    pub(crate) fn dummy_prefix(&self) -> bool {
        self.legacy && self.processor.model.add_dummy_prefix
    }

    fn add_special(&mut self, mut token: AddedToken) -> Result<()> {
        token.special = true;
        if token.content.is_empty() {
            return Ok(());
        }
        if self.special_names.insert(token.content.clone()) {
            self.specials.push(token.content.clone());
        }
        self.add(token).map(|_| ())
    }

    /// Adds a token, with the id of the piece of that name or a new one. Returns whether the id is new.
    pub(crate) fn add(&mut self, token: AddedToken) -> Result<bool> {
        if token.content.is_empty() {
            return Ok(false);
        }
        let piece = self.processor.model.id(&token.content);
        let known = self.added.id(&token.content).or(piece);
        let id = known.unwrap_or_else(|| self.next_id());
        if token.special && self.special_names.insert(token.content.clone()) {
            self.specials.push(token.content.clone());
        }
        self.added.insert(id, token, piece.is_none())?;
        Ok(known.is_none())
    }

    /// The size of the vocabulary, as in `transformers`; where ids were left out, the id after the highest one.
    fn next_id(&self) -> u32 {
        let size = (self.processor.model.pieces.len() + self.added.own()) as u32;
        if self.added.get(size).is_some() {
            self.added.highest().map_or(size, |id| id.max(size) + 1)
        } else {
            size
        }
    }

    /// Prepares the look-up from pieces to ids after tokens were added.
    pub(crate) fn refresh(&mut self) {
        let pieces = &self.processor.model.pieces;
        let emit = pieces
            .iter()
            .map(|piece| self.lookup(&piece.text))
            .collect();
        self.emit = emit;
        self.special_ids = self.specials.iter().map(|name| self.lookup(name)).collect();
    }

    /// The id of a token by name; the unknown id for a name that is none.
    pub(crate) fn lookup(&self, name: &str) -> u32 {
        let model = &self.processor.model;
        self.added
            .id(name)
            .or_else(|| model.id(name))
            .unwrap_or(model.unk)
    }

    pub(crate) fn token_to_id(&self, name: &str) -> Option<u32> {
        self.added
            .id(name)
            .or_else(|| self.processor.model.id(name))
    }

    pub(crate) fn id_to_token(&self, id: u32) -> Option<&str> {
        let piece = || {
            self.processor
                .model
                .pieces
                .get(id as usize)
                .map(|piece| piece.text.as_str())
        };
        self.added
            .get(id)
            .map(|token| token.content.as_str())
            .or_else(piece)
    }

    pub(crate) fn vocab_size(&self) -> u32 {
        let pieces = self.processor.model.pieces.len() as u32;
        self.added.highest().map_or(pieces, |id| pieces.max(id + 1))
    }

    pub(crate) fn is_special_name(&self, name: &str) -> bool {
        self.special_names.contains(name)
    }

    /// Whether decoding writes this token as it is, between blanks (`legacy_added_tokens` of `transformers`).
    pub(crate) fn is_joined_name(&self, name: &str) -> bool {
        let Some(id) = self.added.id(name) else {
            return false;
        };
        let role = [
            self.roles.bos,
            self.roles.eos,
            self.roles.unk,
            self.roles.pad,
        ]
        .contains(&Some(id));
        !self.is_special_name(name) || (!role && id as usize >= self.processor.model.pieces.len())
    }

    /// The tokens of a text, without the tokens around it.
    pub(crate) fn tokenize(&self, text: &str) -> Result<Vec<Token>> {
        let mut out = Vec::with_capacity(text.len() / 3 + 1);
        let aligned = if self.legacy || text.is_empty() {
            Aligned::same(text)
        } else {
            self.with_prefix(text)
        };
        let work = aligned.text();
        let mut scratch = Scratch::default();
        let mut first = [false; 2]; // the first token is `▁`; the second one is special
        let mut seen = 0;
        for segment in self.added.split(work) {
            match segment {
                Segment::Added(id, range) => {
                    let range = aligned.original(range);
                    out.push(Token {
                        id,
                        start: range.start as u32,
                        end: range.end as u32,
                    });
                    if seen < 2 {
                        let name = self
                            .added
                            .get(id)
                            .map_or("", |token| token.content.as_str());
                        first[seen] = if seen == 0 {
                            name == "▁"
                        } else {
                            self.is_special_name(name)
                        };
                    }
                    seen += 1;
                }
                Segment::Text(stretch) => {
                    self.encode_stretch(&stretch, work, &mut scratch, |found, range| {
                        let range = aligned.original(range);
                        out.push(Token {
                            id: self.id_of(&found),
                            start: range.start as u32,
                            end: range.end as u32,
                        });
                        if seen < 2 {
                            first[seen] = if seen == 0 {
                                found.surface == "▁"
                            } else {
                                self.is_special_name(found.surface)
                            };
                        }
                        seen += 1;
                    })?
                }
            }
        }
        if !self.legacy && first == [true, true] {
            out.remove(0);
        }
        Ok(out)
    }

    /// What the new behaviour does before the text is cut: `▁` in the text becomes a blank, and one `▁` goes in front.
    fn with_prefix<'t>(&self, text: &'t str) -> Aligned<'t> {
        if !self.add_prefix_space && !text.contains('▁') {
            return Aligned::same(text);
        }
        let mut out = Aligner::with_capacity(text.len() + 3);
        if self.add_prefix_space {
            out.push_from("▁", 0);
        }
        let mut at = 0;
        for part in text.split_inclusive('▁') {
            let plain = part.trim_end_matches('▁');
            out.push_same(plain, at);
            if plain.len() < part.len() {
                out.push_from(" ", at + plain.len());
            }
            at += part.len();
        }
        out.finish(text.len())
    }

    #[inline]
    fn id_of(&self, found: &Found<'_>) -> u32 {
        if found.id == self.processor.model.unk {
            self.lookup(found.surface)
        } else {
            self.emit[found.id as usize]
        }
    }

    /// Encodes one stretch between added tokens; hands over each piece with its bytes in the working text.
    ///
    /// Without a blank in front SentencePiece would drop a blank at the start, so the new behaviour encodes
    /// `<unk>` + text and leaves the tokens of `<unk>` out (`_tokenize` of both slow tokenizers).
    fn encode_stretch(
        &self,
        stretch: &[Range<usize>],
        text: &str,
        scratch: &mut Scratch,
        mut each: impl FnMut(Found<'_>, Range<usize>),
    ) -> Result<()> {
        let own = join(stretch, text);
        let guarded = !self.legacy && own.starts_with(['▁', ' ']);
        let guard = if guarded { self.unk_name.len() } else { 0 };
        let place = |found: &Found<'_>| {
            let (start, end) = (found.start as usize, found.end as usize);
            locate(
                stretch,
                start.saturating_sub(guard)..end.saturating_sub(guard),
            )
        };
        if !guarded {
            return self
                .processor
                .encode(&own, self.dummy_prefix(), scratch, |found| {
                    each(found, place(&found))
                });
        }
        let joined = format!("{}{own}", self.unk_name);
        let mut total = 0;
        self.processor.encode(&joined, false, scratch, |found| {
            total += 1;
            if total > self.unk_length {
                each(found, place(&found));
            }
        })?;
        if total >= self.unk_length {
            return Ok(());
        }
        // Fewer tokens than the guard alone: then nothing is left out.
        self.processor
            .encode(&joined, false, scratch, |found| each(found, place(&found)))
    }
}
