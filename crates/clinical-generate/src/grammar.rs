//! Answers that follow a regular expression, a grammar or a JSON schema, through the `llguidance` crate.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher as Parser, ParserFactory};

use crate::{Constraint, Error, Matcher, TokenMask};

/// Longest token, in bytes, that may be part of an answer; longer ones are never chosen. Real vocabularies stay far
/// below.
const LONGEST_TOKEN: usize = 1024;

/// The bytes of each token of a vocabulary, prepared for grammars. Make it once for a tokenizer; clones share it.
#[derive(Clone)]
pub struct TokenBytes(Arc<Prepared>);

struct Prepared {
    factory: ParserFactory,
    /// For tokens with the same bytes: the one that the parser knows, and the others.
    twins: Vec<(u32, Vec<u32>)>,
    known: HashMap<u32, u32>,
    len: usize,
}

impl TokenBytes {
    /// `bytes[id]` is what token `id` adds to the text (a SentencePiece `▁` is a space); empty for special tokens and
    /// all others that cannot be part of an answer.
    ///
    /// # Errors
    ///
    /// [`Error::Grammar`] if there are no tokens, or too many.
    pub fn new(bytes: &[Vec<u8>]) -> Result<Self, Error> {
        let len = bytes.len();
        let total: usize = bytes.iter().map(Vec::len).sum();
        if bytes.iter().all(Vec::is_empty) || len >= 1 << 24 || total >= 1 << 31 {
            return Err(Error::Grammar(format!(
                "a vocabulary of {len} tokens and {total} bytes cannot be used"
            )));
        }
        let mut words = vec![Vec::new(); len];
        let mut first: HashMap<&[u8], usize> = HashMap::with_capacity(len);
        let mut twins: Vec<(u32, Vec<u32>)> = Vec::new();
        let mut known = HashMap::new();
        for (id, word) in bytes.iter().enumerate() {
            // 0xff marks special tokens to the parser, and is in no UTF-8 text.
            if word.is_empty()
                || word.len() > LONGEST_TOKEN
                || word[0] == TokTrie::SPECIAL_TOKEN_MARKER
            {
                continue;
            }
            match first.get(word.as_slice()) {
                None => {
                    first.insert(word, id);
                    words[id].clone_from(word);
                }
                Some(&twin) => {
                    let (twin, id) = (twin as u32, id as u32);
                    known.insert(id, twin);
                    match twins.iter_mut().find(|(other, _)| *other == twin) {
                        Some((_, others)) => others.push(id),
                        None => twins.push((twin, vec![id])),
                    }
                }
            }
        }
        // Ends are the engine's job: the parser gets an end token that no model has.
        words.push(Vec::new());
        let info = TokRxInfo::new(words.len() as u32, len as u32);
        let environment: llguidance::toktrie::TokEnv =
            Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words)));
        let mut factory = ParserFactory::new_simple(&environment).map_err(refused)?;
        factory.quiet();
        Ok(Self(Arc::new(Prepared {
            factory,
            twins,
            known,
            len,
        })))
    }
}

impl fmt::Debug for TokenBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenBytes({} tokens)", self.0.len)
    }
}

/// A [`Constraint`] that lets only texts of a formal language come up.
///
/// Give it to [`Generation::with_constraint`](crate::Generation::with_constraint). A space before the answer is
/// allowed, because SentencePiece models put one there.
pub struct Grammar {
    tokens: TokenBytes,
    /// Never moves on; each answer follows a copy.
    parser: Mutex<Parser>,
}

impl Grammar {
    /// Answers are JSON values that fit a JSON schema; `{}` is any JSON.
    ///
    /// # Errors
    ///
    /// [`Error::Grammar`] for text that is not JSON, or a schema with parts that cannot be followed.
    pub fn json_schema(tokens: &TokenBytes, schema: &str) -> Result<Self, Error> {
        let schema: serde_json::Value = serde_json::from_str(schema)
            .map_err(|error| Error::Grammar(format!("the schema is not JSON: {error}")))?;
        Self::lark(
            tokens,
            &format!("start: / ?/ answer\nanswer: %json {schema}"),
        )
    }

    /// Answers match the whole of a regular expression.
    ///
    /// # Errors
    ///
    /// [`Error::Grammar`] for a pattern that is not a regular expression, or uses look-around or groups by number.
    pub fn regex(tokens: &TokenBytes, pattern: &str) -> Result<Self, Error> {
        Self::new(
            tokens,
            TopLevelGrammar::from_regex(&format!(" ?({pattern})")),
        )
    }

    /// Answers follow a context-free grammar in the Lark-like notation of `llguidance`.
    ///
    /// # Errors
    ///
    /// [`Error::Grammar`] for a grammar that cannot be read.
    pub fn lark(tokens: &TokenBytes, grammar: &str) -> Result<Self, Error> {
        Self::new(tokens, TopLevelGrammar::from_lark(grammar.to_owned()))
    }

    fn new(tokens: &TokenBytes, grammar: TopLevelGrammar) -> Result<Self, Error> {
        let parser = Parser::new(Ok(tokens
            .0
            .factory
            .create_parser(grammar)
            .map_err(refused)?));
        match parser.get_error() {
            Some(error) => Err(Error::Grammar(error)),
            None => Ok(Self {
                tokens: tokens.clone(),
                parser: Mutex::new(parser),
            }),
        }
    }
}

fn refused(error: impl fmt::Display) -> Error {
    Error::Grammar(format!("{error:#}"))
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammar")
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl Constraint for Grammar {
    fn start(&self, _row: usize) -> Box<dyn Matcher> {
        let parser = self.parser.lock().unwrap_or_else(PoisonError::into_inner);
        Box::new(State::new(&self.tokens, parser.deep_clone()))
    }

    fn check(&self, _vocabulary: usize) -> Result<(), Error> {
        // A model may have more logits than the tokenizer has tokens (padding), or fewer (added tokens).
        Ok(())
    }
}

struct State {
    tokens: TokenBytes,
    parser: Parser,
    can_end: bool,
}

impl State {
    fn new(tokens: &TokenBytes, mut parser: Parser) -> Self {
        let can_end = parser.is_accepting().unwrap_or(false);
        Self {
            tokens: tokens.clone(),
            parser,
            can_end,
        }
    }
}

impl Matcher for State {
    fn allow(&mut self, mask: &mut TokenMask) {
        if self.parser.is_stopped() {
            return;
        }
        let Ok(allowed) = self.parser.compute_mask() else {
            return;
        };
        let pairs = allowed.as_slice().chunks(2);
        mask.allow_words(
            pairs.map(|pair| u64::from(pair[0]) | u64::from(*pair.get(1).unwrap_or(&0)) << 32),
        );
        // The parser's own end token, where a model has more logits than the tokenizer has tokens.
        mask.forbid(self.tokens.0.len as u32);
        for (twin, others) in &self.tokens.0.twins {
            if mask.contains(*twin) {
                others.iter().for_each(|&id| mask.allow(id));
            }
        }
    }

    fn can_end(&self) -> bool {
        self.can_end
    }

    fn must_end(&self) -> bool {
        self.parser.is_stopped()
    }

    fn accept(&mut self, id: u32) {
        let id = self.tokens.0.known.get(&id).copied().unwrap_or(id);
        self.can_end =
            self.parser.consume_token(id).is_ok() && self.parser.is_accepting().unwrap_or(false);
    }

    fn fork(&self) -> Box<dyn Matcher> {
        Box::new(State {
            tokens: self.tokens.clone(),
            parser: self.parser.deep_clone(),
            can_end: self.can_end,
        })
    }
}
