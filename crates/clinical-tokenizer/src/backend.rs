//! The three ways a text becomes tokens, as one type.

use crate::added::AddedToken;
use crate::encoding::Encoding;
use crate::engine::Engine;
use crate::error::Result;
use crate::sentencepiece::slow::SlowSentencePiece;
use crate::sentencepiece::{Family, Token};
use crate::wordpiece::SlowBert;

#[derive(Debug, Clone)]
pub(crate) enum Backend {
    SentencePiece(Box<SlowSentencePiece>),
    Bert(Box<SlowBert>),
    Engine(Box<Engine>),
}

/// A tokenizer that follows a slow tokenizer of `transformers`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slow<'a> {
    SentencePiece(&'a SlowSentencePiece),
    Bert(&'a SlowBert),
}

impl<'a> Slow<'a> {
    pub(crate) fn id_to_token(self, id: u32) -> Option<&'a str> {
        match self {
            Self::SentencePiece(slow) => slow.id_to_token(id),
            Self::Bert(slow) => slow.id_to_token(id),
        }
    }

    pub(crate) fn is_special_id(self, id: u32) -> bool {
        match self {
            Self::SentencePiece(slow) => slow.special_ids.contains(&id),
            Self::Bert(slow) => slow.special_ids.contains(&id),
        }
    }

    pub(crate) fn is_special_name(self, name: &str) -> bool {
        match self {
            Self::SentencePiece(slow) => slow.is_special_name(name),
            Self::Bert(slow) => slow.is_special_name(name),
        }
    }

    /// Whether decoding writes this token as it is, joined with blanks.
    pub(crate) fn is_joined_name(self, name: &str) -> bool {
        match self {
            Self::SentencePiece(slow) => slow.is_joined_name(name),
            Self::Bert(slow) => slow.is_joined_name(name),
        }
    }

    /// Whether blanks at the ends of a group are removed when decoding.
    pub(crate) fn strips_groups(self) -> bool {
        match self {
            Self::SentencePiece(slow) => slow.family == Family::T5,
            Self::Bert(_) => true,
        }
    }
}

impl Backend {
    pub(crate) fn slow(&self) -> Option<Slow<'_>> {
        match self {
            Self::SentencePiece(slow) => Some(Slow::SentencePiece(slow)),
            Self::Bert(slow) => Some(Slow::Bert(slow)),
            Self::Engine(_) => None,
        }
    }

    /// Encodes one text or two, with the tokens around them if `add_special`. What a single text has beyond `enough`
    /// tokens may be left out.
    pub(crate) fn encode(
        &self,
        text: &str,
        second: Option<&str>,
        add_special: bool,
        enough: usize,
    ) -> Result<Encoding> {
        match self {
            Self::SentencePiece(slow) => {
                let tokens = slow.tokenize(text)?;
                let other = second.map(|text| slow.tokenize(text)).transpose()?;
                let mut out = Encoding::default();
                sentence(slow, &tokens, 0, add_special, &mut out);
                if let Some(other) = other {
                    sentence(slow, &other, 1, add_special, &mut out);
                }
                Ok(out)
            }
            Self::Bert(slow) => {
                let tokens = slow.tokenize(text)?;
                let other = second.map(|text| slow.tokenize(text)).transpose()?;
                let (cls, sep) = (slow.role_id(&slow.roles.cls), slow.role_id(&slow.roles.sep));
                let mut out = Encoding::default();
                if add_special {
                    out.push_special(cls, 0);
                }
                out.push_text(&tokens, 0, 0);
                if add_special {
                    out.push_special(sep, 0);
                }
                if let Some(other) = other {
                    out.push_text(&other, 1, 1);
                    if add_special {
                        out.push_special(sep, 1);
                    }
                }
                Ok(out)
            }
            Self::Engine(engine) => engine.encode(text, second, add_special, enough),
        }
    }

    /// Number of tokens of a text, without the work for offsets where that can be saved.
    pub(crate) fn count(&self, text: &str, add_special: bool) -> Result<usize> {
        match self {
            Self::Engine(engine) => engine.count(text, add_special),
            _ => self
                .encode(text, None, add_special, usize::MAX)
                .map(|encoding| encoding.len()),
        }
    }

    pub(crate) fn token_to_id(&self, name: &str) -> Option<u32> {
        match self {
            Self::SentencePiece(slow) => slow.token_to_id(name),
            Self::Bert(slow) => slow.token_to_id(name),
            Self::Engine(engine) => engine.token_to_id(name),
        }
    }

    pub(crate) fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Self::Engine(engine) => engine.id_to_token(id),
            _ => self
                .slow()
                .and_then(|slow| slow.id_to_token(id))
                .map(str::to_owned),
        }
    }

    pub(crate) fn is_special(&self, id: u32) -> bool {
        match self {
            Self::Engine(engine) => engine.is_special_id(id),
            _ => self.slow().is_some_and(|slow| slow.is_special_id(id)),
        }
    }

    pub(crate) fn vocab_size(&self) -> u32 {
        match self {
            Self::SentencePiece(slow) => slow.vocab_size(),
            Self::Bert(slow) => slow.vocab_size(),
            Self::Engine(engine) => engine.vocab_size(),
        }
    }

    /// Ids of the model file alone, without added tokens.
    pub(crate) fn base_size(&self) -> u32 {
        match self {
            Self::SentencePiece(slow) => slow.processor.model.pieces.len() as u32,
            Self::Bert(slow) => slow.lines.len() as u32,
            Self::Engine(engine) => engine.base_size(),
        }
    }

    /// Adds tokens; returns how many ids are new.
    pub(crate) fn add_tokens(&mut self, tokens: &[AddedToken]) -> Result<usize> {
        let mut new = 0;
        match self {
            Self::SentencePiece(slow) => {
                for token in tokens {
                    new += usize::from(slow.add(token.clone())?);
                }
                slow.refresh();
            }
            Self::Bert(slow) => {
                for token in tokens {
                    new += usize::from(slow.add(token.clone())?);
                }
                slow.refresh();
            }
            Self::Engine(engine) => new = engine.add_tokens(tokens)?,
        }
        Ok(new)
    }

    /// From now on special tokens in a text are ordinary text, as `split_special_tokens` of `transformers` has it: the
    /// fast tokenizers look for plain added tokens still, the slow ones for none.
    pub(crate) fn split_special(&mut self) {
        match self {
            Self::SentencePiece(slow) => slow.added.ignore(),
            Self::Bert(slow) => slow.added.ignore(),
            Self::Engine(engine) => engine.split_special(),
        }
    }

    /// The added tokens with their ids, in order of the ids.
    pub(crate) fn added(&self) -> Vec<(u32, AddedToken)> {
        match self {
            Self::SentencePiece(slow) => slow
                .added
                .iter()
                .map(|(id, token)| (id, token.clone()))
                .collect(),
            Self::Bert(slow) => slow
                .added
                .iter()
                .map(|(id, token)| (id, token.clone()))
                .collect(),
            Self::Engine(engine) => engine.added(),
        }
    }

    /// Special tokens beside those with a role.
    pub(crate) fn is_special_name(&self, name: &str) -> bool {
        match self {
            Self::Engine(engine) => engine
                .token_to_id(name)
                .is_some_and(|id| engine.is_special_id(id)),
            _ => self.slow().is_some_and(|slow| slow.is_special_name(name)),
        }
    }
}

/// One text of a SentencePiece tokenizer with the tokens around it.
fn sentence(
    slow: &SlowSentencePiece,
    tokens: &[Token],
    index: u8,
    add_special: bool,
    out: &mut Encoding,
) {
    let type_id = match slow.family {
        Family::Llama => u32::from(index),
        Family::T5 => 0,
    };
    if let Some(bos) = slow.roles.bos.filter(|_| add_special && slow.add_bos) {
        out.push_special(bos, type_id);
    }
    out.push_text(tokens, type_id, index);
    if let Some(eos) = slow.roles.eos.filter(|_| add_special && slow.add_eos) {
        // T5 does not end a text a second time that ends in `</s>` itself.
        let ended = slow.family == Family::T5 && tokens.last().is_some_and(|token| token.id == eos);
        if !ended {
            out.push_special(eos, type_id);
        }
    }
}
