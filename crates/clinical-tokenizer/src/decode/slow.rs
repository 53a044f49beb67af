//! Decoding of the slow tokenizers (`PreTrainedTokenizer._decode` of `transformers` 4.57.6), token by token.
//!
//! The ids are cut into groups at the added tokens; a group becomes one string by the rules of its tokenizer; groups
//! and added tokens are joined with single blanks.

use crate::backend::Slow;
use crate::chars::is_py_space;
use crate::sentencepiece::slow::SlowSentencePiece;
use crate::sentencepiece::{Family, PieceDecoder};

/// What to do with a token when decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Part of a group.
    Text,
    /// A special token inside a group.
    Special,
    /// Stands between groups as it is.
    Joined,
}

/// The state of one decoding.
#[derive(Debug, Clone)]
pub(crate) struct SlowDecoder {
    skip: bool,
    /// Strings joined so far: groups that were not empty, and added tokens.
    joined: usize,
    group: Group,
}

#[derive(Debug, Clone, Default)]
struct Group {
    /// Tokens of this group so far.
    tokens: usize,
    after_special: bool,
    /// The pieces since the last special token.
    pieces: Option<PieceDecoder>,
    /// Their text, where it cannot be written before the next special token is known.
    held: String,
    /// Blanks at the end, where the group is stripped.
    blanks: String,
    wrote: bool,
}

impl SlowDecoder {
    pub(crate) fn new(skip: bool) -> Self {
        Self {
            skip,
            joined: 0,
            group: Group::default(),
        }
    }

    pub(crate) fn skips(&self) -> bool {
        self.skip
    }

    /// Adds a token; an id without a token adds nothing.
    pub(crate) fn push(&mut self, slow: Slow<'_>, id: u32, out: &mut String) {
        let Some(name) = slow.id_to_token(id) else {
            return;
        };
        if self.skip && (slow.is_special_id(id) || slow.is_special_name(name)) {
            return;
        }
        match classify(slow, name) {
            Class::Joined => {
                self.end_group(slow, false, out);
                if self.joined > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                self.joined += 1;
            }
            class => self.push_to_group(slow, name, class, out),
        }
    }

    /// Ends the text.
    pub(crate) fn finish(&mut self, slow: Slow<'_>, out: &mut String) {
        self.end_group(slow, true, out);
    }

    fn end_group(&mut self, slow: Slow<'_>, last: bool, out: &mut String) {
        let mut group = std::mem::take(&mut self.group);
        if group.tokens == 0 {
            return;
        }
        let mut text = std::mem::take(&mut group.held);
        if let Some(mut pieces) = group.pieces.take() {
            pieces.finish(&mut text);
        }
        group.write(slow, &text, self.joined, out);
        if group.wrote {
            self.joined += 1;
        } else if last && self.joined > 0 {
            // The last group is joined even when it is empty.
            out.push(' ');
        }
    }

    fn push_to_group(&mut self, slow: Slow<'_>, name: &str, class: Class, out: &mut String) {
        let (group, joined) = (&mut self.group, self.joined);
        let index = group.tokens;
        group.tokens += 1;
        let model = match slow {
            Slow::SentencePiece(model) => model,
            Slow::Bert(_) => {
                // `" ".join(tokens).replace(" ##", "")`
                match name.strip_prefix("##") {
                    Some(rest) if index > 0 => group.write(slow, rest, joined, out),
                    _ if index > 0 => {
                        group.write(slow, " ", joined, out);
                        group.write(slow, name, joined, out);
                    }
                    _ => group.write(slow, name, joined, out),
                }
                return;
            }
        };
        // The blank that encoding puts in front of the first token.
        let mut name = name;
        let mut class = class;
        if index == 0
            && model.add_prefix_space
            && let Some(rest) = name.strip_prefix('▁')
        {
            name = rest;
            class = if model.is_special_name(rest) {
                Class::Special
            } else {
                Class::Text
            };
        }
        if class == Class::Special {
            let blank = match model.family {
                Family::Llama => model.legacy && index > 0 && !group.after_special,
                Family::T5 => !group.after_special,
            };
            let mut text = if blank {
                String::from(" ")
            } else {
                String::new()
            };
            text.push_str(&std::mem::take(&mut group.held));
            if let Some(mut pieces) = group.pieces.take() {
                pieces.finish(&mut text);
            }
            text.push_str(name);
            group.after_special = true;
            group.write(slow, &text, joined, out);
            return;
        }
        let mut text = String::new();
        if model.family == Family::Llama
            && group.after_special
            && index == 1
            && model.add_prefix_space
            && !name.starts_with('▁')
        {
            text.push(' ');
        }
        group.after_special = false;
        let inner = &model.processor.model;
        let pieces = group
            .pieces
            .get_or_insert_with(|| PieceDecoder::new(inner, model.dummy_prefix()));
        // A special token that follows puts a blank *before* this text, so the text has to wait for it.
        if !self.skip && waits_for_special(model) {
            group.write(slow, &text, joined, out);
            pieces_into(&mut self.group, model, name);
        } else {
            pieces.push(inner, name, &mut text);
            group.write(slow, &text, joined, out);
        }
    }
}

fn pieces_into(group: &mut Group, model: &SlowSentencePiece, name: &str) {
    if let Some(pieces) = group.pieces.as_mut() {
        pieces.push(&model.processor.model, name, &mut group.held);
    }
}

fn waits_for_special(model: &SlowSentencePiece) -> bool {
    model.family == Family::T5 || model.legacy
}

fn classify(slow: Slow<'_>, name: &str) -> Class {
    if slow.is_joined_name(name) {
        Class::Joined
    } else if slow.is_special_name(name) {
        Class::Special
    } else {
        Class::Text
    }
}

impl Group {
    /// Writes a part of the group's string: without blanks at its ends (T5, BERT), after the blank that joins it.
    fn write(&mut self, slow: Slow<'_>, text: &str, joined: usize, out: &mut String) {
        let mut text = text;
        let strip = slow.strips_groups();
        if strip && !self.wrote {
            text = text.trim_start_matches(is_py_space);
        }
        if text.is_empty() {
            return;
        }
        if !self.wrote && joined > 0 {
            out.push(' ');
        }
        self.wrote = true;
        if !strip {
            return out.push_str(text);
        }
        let kept = text.trim_end_matches(is_py_space);
        if !kept.is_empty() {
            out.push_str(&self.blanks);
            self.blanks.clear();
            out.push_str(kept);
        }
        self.blanks.push_str(&text[kept.len()..]);
    }
}
