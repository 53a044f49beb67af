//! From a note and a question to ids.

use std::borrow::Cow;

use clinical_chat::Conversation;
use clinical_prompts::asclepius::Template;
use clinical_prompts::{MarkerPolicy, Options};

use crate::options::AnswerOptions;
use crate::prefix::{PROBES, alike};
use crate::style::{PromptStyle, Style};
use crate::{Asclepius, Error, Result};

/// Of a note with more bytes only this many are read at first: they are nearly always enough to know that it is too
/// long.
const START: usize = 1 << 20;

/// Builds the prompts of one style for one model.
pub(crate) struct Prompter<'m> {
    pub(crate) model: &'m Asclepius,
    pub(crate) options: &'m AnswerOptions,
    pub(crate) style: Style,
}

impl<'m> Prompter<'m> {
    /// Prompts in the style that the options ask for.
    pub(crate) fn new(model: &'m Asclepius, options: &'m AnswerOptions) -> Result<Self> {
        let style = model.styles.style(&options.prompt);
        Self::with_style(model, options, style)
    }

    /// Prompts in a style, whatever the options say.
    pub(crate) fn with_style(
        model: &'m Asclepius,
        options: &'m AnswerOptions,
        style: Style,
    ) -> Result<Self> {
        if style == Style::Chat {
            model.styles.chat()?;
        }
        Ok(Self {
            model,
            options,
            style,
        })
    }

    /// The positions that are kept for the answer, and the tokens that a prompt may have.
    pub(crate) fn reserve_and_room(&self) -> (usize, usize) {
        // One position at least must be left for a new token.
        let reserve = self.options.reserve.max(1);
        let room = self.model.max_tokens().saturating_sub(reserve);
        let most = self.options.call.max_tokens.unwrap_or(usize::MAX);
        (reserve, room.min(most))
    }

    /// The system message of a chat prompt.
    pub(crate) fn system(&self) -> Option<&'m str> {
        match (&self.options.prompt, self.style) {
            (PromptStyle::Chat { system }, Style::Chat) => system.as_deref(),
            _ => None,
        }
    }

    /// Refuses what no prompt may hold, wherever in the texts it stands.
    pub(crate) fn check(&self, note: &str, question: &str) -> Result<()> {
        self.message(note, question).map(drop)
    }

    /// The ids of the prompt, its start token as the checkpoint says.
    pub(crate) fn ids(&self, note: &str, question: &str) -> Result<Vec<u32>> {
        self.encode(note, question, "", usize::MAX)
    }

    /// [`ids`](Self::ids) of the prompt and an answer after it.
    pub(crate) fn ids_with_answer(
        &self,
        note: &str,
        question: &str,
        answer: &str,
    ) -> Result<Vec<u32>> {
        self.encode(note, question, answer, usize::MAX)
    }

    /// [`ids`](Self::ids) if there are at most `limit`; otherwise more than `limit`, and perhaps not all: a note far
    /// beyond the model's context is not read to its end.
    pub(crate) fn ids_up_to(&self, note: &str, question: &str, limit: usize) -> Result<Vec<u32>> {
        if note.len() > START {
            let start = &note[..note.floor_char_boundary(START)];
            let ids = self.encode(start, question, "", limit)?;
            if ids.len() > limit {
                return Ok(ids);
            }
        }
        self.encode(note, question, "", limit)
    }

    /// What all prompts about a note start with, however they go on.
    pub(crate) fn note_ids(&self, note: &str) -> Result<Vec<u32>> {
        let mut first = self.ids(note, PROBES[0])?;
        let second = self.ids(note, PROBES[1])?;
        first.truncate(alike(&first, &second).max(1));
        Ok(first)
    }

    /// The ids of a conversation, given as roles and contents.
    pub(crate) fn chat_ids(&self, messages: &[(&str, &str)]) -> Result<Vec<u32>> {
        let mut conversation = Conversation::new();
        for (role, content) in messages {
            conversation = conversation.message(role, &self.guard("message", content)?);
        }
        let text = self.model.styles.chat()?.render(&conversation)?;
        // The template writes the special tokens itself.
        Ok(self.model.tokenizer().encode(&text, false)?.into_ids())
    }

    /// The tokens of a text alone.
    pub(crate) fn tokens(&self, text: &str) -> Result<usize> {
        let text = self.guard("note", text)?;
        let encoding = self.model.tokenizer().encode(&text, false)?;
        Ok(encoding.len())
    }

    fn encode(&self, note: &str, question: &str, answer: &str, limit: usize) -> Result<Vec<u32>> {
        let answer = self.guard("answer", answer)?;
        let message = self.message(note, question)?;
        let (text, start) = match self.style {
            Style::Published(_) | Style::Text => (message, true),
            // The template writes the special tokens itself.
            Style::Chat => {
                let chat = self.model.styles.chat()?;
                let conversation = match self.system() {
                    Some(system) => Conversation::new().system(system),
                    None => Conversation::new(),
                };
                let conversation = conversation.user(message.trim_end());
                (chat.render(&conversation)?, false)
            }
        };
        let text = format!("{text}{answer}");
        let encoding = self.model.tokenizer().encode_start(&text, start, limit)?;
        Ok(encoding.into_ids())
    }

    /// What the model is asked: the published prompt, or the text alone.
    fn message(&self, note: &str, question: &str) -> Result<String> {
        let template = match self.style {
            Style::Published(template) => template,
            Style::Chat => Template::Inference,
            Style::Text => return Ok(self.guard("text", note)?.into_owned()),
        };
        let note = self.guard("note", note)?;
        let question = self.guard("question", question)?;
        let options = Options::new().with_markers(self.options.markers);
        Ok(template.render(&note, &question, &options)?)
    }

    /// Treats the spelling of a special token inside a text: the tokenizer would read it as the token itself, and the
    /// text could end the prompt, or speak in the model's place.
    fn guard<'t>(&self, field: &'static str, text: &'t str) -> Result<Cow<'t, str>> {
        let mut text = Cow::Borrowed(text);
        if self.options.markers == MarkerPolicy::Allow {
            return Ok(text);
        }
        for token in self.model.spellings() {
            let Some(offset) = text.find(token.as_str()) else {
                continue;
            };
            if self.options.markers == MarkerPolicy::Error {
                return Err(Error::SpecialToken {
                    field,
                    token: token.clone(),
                    offset,
                });
            }
            text = Cow::Owned(text.replace(token.as_str(), &escaped(token)));
        }
        Ok(text)
    }
}

/// A backslash before every punctuation mark, as [`MarkerPolicy::Escape`] does with markers; one in front of a token
/// that has none.
fn escaped(token: &str) -> String {
    if !token.contains(|c: char| c.is_ascii_punctuation()) {
        let mut characters = token.chars();
        let first = characters.next().map_or(String::new(), String::from);
        return format!("{first}\\{}", characters.as_str());
    }
    let mut text = String::with_capacity(2 * token.len());
    for c in token.chars() {
        if c.is_ascii_punctuation() {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_escaped_token_is_no_token() {
        assert_eq!(super::escaped("</s>"), r"\<\/s\>");
        assert_eq!(super::escaped("BOS"), r"B\OS");
    }
}
