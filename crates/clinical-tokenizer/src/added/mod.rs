//! Tokens that were added to a vocabulary, and how a text is cut at them.

mod split;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::chars::is_py_space;
use crate::error::{Error, Result};
use crate::limits::{MAX_ADDED_TOKEN_BYTES, MAX_ADDED_TOKENS, MAX_TOKEN_ID};
pub(crate) use split::SplitTrie;

/// A token that is found in text as a whole, before the model sees the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct AddedToken {
    /// Its text.
    pub content: String,
    /// Left out when ids are decoded with `skip_special`.
    pub special: bool,
    /// Takes the blanks on its left along.
    pub lstrip: bool,
    /// Takes the blanks on its right along.
    pub rstrip: bool,
    /// Is not found inside words.
    pub single_word: bool,
    /// Is looked for in the normalized text (`tokenizer.json` only; a lower-casing BERT tokenizer lower-cases it).
    pub normalized: bool,
}

impl AddedToken {
    /// A plain token, as the DEID tags `[Name]`, `[Reg#]` are: found anywhere, kept when decoding.
    pub fn new(content: impl Into<String>) -> Self {
        Self {
            content: content.into(),
            normalized: true,
            ..Self::default()
        }
    }

    /// A special token: left out when decoding with `skip_special`.
    pub fn special(content: impl Into<String>) -> Self {
        Self {
            content: content.into(),
            special: true,
            ..Self::default()
        }
    }

    /// Sets whether the token takes blanks on its left and right along.
    #[must_use]
    pub fn strip(mut self, left: bool, right: bool) -> Self {
        (self.lstrip, self.rstrip) = (left, right);
        self
    }
}

/// The added tokens of a slow tokenizer.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddedVocabulary {
    tokens: BTreeMap<u32, AddedToken>,
    ids: HashMap<String, u32>,
    /// Ids in the order in which Python's dict has them.
    order: Vec<u32>,
    /// How many of them the vocabulary has no piece for.
    own: usize,
    trie: SplitTrie,
    /// No token is looked for in a text.
    ignored: bool,
}

/// A stretch of a text that was cut at added tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// An added token and where it stands.
    Added(u32, Range<usize>),
    /// Text for the model: usually one range, more where a token was given back to its neighbour.
    Text(Vec<Range<usize>>),
}

impl AddedVocabulary {
    /// Puts a token in the place of `id`. `own` says that the vocabulary has no piece of its name.
    pub(crate) fn insert(&mut self, id: u32, token: AddedToken, own: bool) -> Result<()> {
        if token.content.len() > MAX_ADDED_TOKEN_BYTES {
            return Err(Error::AddedTokens {
                what: "an added token is too long",
                limit: MAX_ADDED_TOKEN_BYTES,
            });
        }
        if id >= MAX_TOKEN_ID {
            return Err(Error::TokenId {
                id: id.into(),
                limit: MAX_TOKEN_ID,
            });
        }
        if self.tokens.len() >= MAX_ADDED_TOKENS {
            return Err(Error::AddedTokens {
                what: "there are too many added tokens",
                limit: MAX_ADDED_TOKENS,
            });
        }
        self.trie.add(&token.content);
        if self.ids.insert(token.content.clone(), id).is_none() && own {
            self.own += 1;
        }
        if self.tokens.insert(id, token).is_none() {
            self.order.push(id);
        }
        Ok(())
    }

    /// Looks for no token in a text from now on.
    pub(crate) fn ignore(&mut self) {
        self.ignored = true;
    }

    pub(crate) fn id(&self, content: &str) -> Option<u32> {
        self.ids.get(content).copied()
    }

    pub(crate) fn get(&self, id: u32) -> Option<&AddedToken> {
        self.tokens.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &AddedToken)> {
        self.tokens.iter().map(|(&id, token)| (id, token))
    }

    /// Tokens in the order of their addition.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &AddedToken> {
        self.order.iter().filter_map(|id| self.tokens.get(id))
    }

    /// How many names the vocabulary has no piece for.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    pub(crate) fn highest(&self) -> Option<u32> {
        self.tokens.last_key_value().map(|(&id, _)| id)
    }

    /// The id of a stretch that is an added token as a whole.
    fn whole(&self, stretch: &[Range<usize>], text: &str) -> Option<u32> {
        let length: usize = stretch.iter().map(Range::len).sum();
        if length == 0 || length > MAX_ADDED_TOKEN_BYTES {
            return None;
        }
        self.id(&join(stretch, text))
    }

    /// Cuts a text at the added tokens: `PreTrainedTokenizer.tokenize` of `transformers` 4.57.6, step by step.
    pub(crate) fn split(&self, text: &str) -> Vec<Segment> {
        if self.ignored {
            let whole = 0..text.len();
            return match text.is_empty() {
                true => Vec::new(),
                false => vec![Segment::Text(vec![whole])],
            };
        }
        let mut stretches: Vec<Vec<Range<usize>>> = self
            .trie
            .split(text)
            .into_iter()
            .map(|range| vec![range])
            .collect();
        for i in 0..stretches.len() {
            let Some(token) = self.whole(&stretches[i], text).and_then(|id| self.get(id)) else {
                continue;
            };
            // What stands left and right before this token changes it.
            let left = i
                .checked_sub(1)
                .and_then(|left| last_char(&stretches[left], text));
            let right = stretches
                .get(i + 1)
                .and_then(|right| first_char(right, text));
            if token.rstrip && right.is_some() {
                trim_start(&mut stretches[i + 1], text);
            }
            if token.lstrip && left.is_some() {
                trim_end(&mut stretches[i - 1], text);
            }
            if token.single_word && left.is_some_and(|c| c != ' ') {
                let own = std::mem::take(&mut stretches[i]);
                stretches[i - 1].extend(own);
            } else if token.single_word && right.is_some_and(|c| c != ' ') {
                let own = std::mem::take(&mut stretches[i]);
                stretches[i + 1].splice(0..0, own);
            }
        }
        let segment = |stretch: Vec<Range<usize>>| match self.whole(&stretch, text) {
            Some(id) => Segment::Added(
                id,
                stretch[0].start..stretch.last().map_or(0, |range| range.end),
            ),
            None => Segment::Text(merge(stretch)),
        };
        stretches
            .into_iter()
            .filter(|stretch| stretch.iter().any(|range| !range.is_empty()))
            .map(segment)
            .collect()
    }
}

/// The text of a stretch.
pub(crate) fn join<'t>(stretch: &[Range<usize>], text: &'t str) -> Cow<'t, str> {
    match stretch {
        [range] => Cow::Borrowed(&text[range.clone()]),
        _ => Cow::Owned(stretch.iter().map(|range| &text[range.clone()]).collect()),
    }
}

/// Bytes of the text for a range of the joined stretch.
pub(crate) fn locate(stretch: &[Range<usize>], range: Range<usize>) -> Range<usize> {
    if let [only] = stretch {
        return only.start + range.start..only.start + range.end;
    }
    let (mut before, mut start, mut end) = (0, None, 0);
    for part in stretch {
        let after = before + part.len();
        if start.is_none() && range.start < after {
            start = Some(part.start + (range.start - before));
        }
        if range.end > before {
            end = part.start + (range.end.min(after) - before);
        }
        before = after;
    }
    let start = start.unwrap_or_else(|| stretch.last().map_or(0, |part| part.end));
    start..end.max(start)
}

/// Joins ranges that touch.
fn merge(stretch: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut out: Vec<Range<usize>> = Vec::with_capacity(stretch.len());
    for range in stretch.into_iter().filter(|range| !range.is_empty()) {
        match out.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => out.push(range),
        }
    }
    out
}

fn first_char(stretch: &[Range<usize>], text: &str) -> Option<char> {
    stretch
        .iter()
        .find_map(|range| text[range.clone()].chars().next())
}

fn last_char(stretch: &[Range<usize>], text: &str) -> Option<char> {
    stretch
        .iter()
        .rev()
        .find_map(|range| text[range.clone()].chars().next_back())
}

fn trim_start(stretch: &mut Vec<Range<usize>>, text: &str) {
    while let Some(first) = stretch.first_mut() {
        let rest = text[first.clone()].trim_start_matches(is_py_space);
        first.start = first.end - rest.len();
        if first.start < first.end {
            break;
        }
        stretch.remove(0);
    }
}

fn trim_end(stretch: &mut Vec<Range<usize>>, text: &str) {
    while let Some(last) = stretch.last_mut() {
        last.end = last.start + text[last.clone()].trim_end_matches(is_py_space).len();
        if last.start < last.end {
            break;
        }
        stretch.pop();
    }
}
