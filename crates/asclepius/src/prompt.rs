//! From a note and a question to ids.

use std::borrow::Cow;

use clinical_prompts::asclepius::Template;
use clinical_prompts::{MarkerPolicy, Options};
use clinical_tokenizer::Tokenizer;

use crate::chat::ChatTemplate;
use crate::options::PromptStyle;
use crate::{Error, Result};

/// Builds prompts of one style for one model.
pub(crate) struct Prompter<'m> {
    tokenizer: &'m Tokenizer,
    /// Spellings that the tokenizer reads as special tokens.
    special: &'m [String],
    chat: Option<(&'m ChatTemplate, Option<String>)>,
    template: Template,
    markers: MarkerPolicy,
}

impl<'m> Prompter<'m> {
    /// `chat` is the directory's template; `own` says that the directory is an Asclepius.
    pub fn new(
        tokenizer: &'m Tokenizer,
        special: &'m [String],
        chat: Option<&'m ChatTemplate>,
        own: bool,
        style: &PromptStyle,
        markers: MarkerPolicy,
    ) -> Result<Self> {
        let (chat, template) = match style {
            PromptStyle::Auto if own => (None, Template::Inference),
            PromptStyle::Auto => (chat.map(|chat| (chat, None)), Template::Inference),
            PromptStyle::Published(template) => (None, *template),
            PromptStyle::Chat { system } => {
                let chat = chat.ok_or(Error::NoChatTemplate)?;
                (Some((chat, system.clone())), Template::Inference)
            }
        };
        Ok(Self {
            tokenizer,
            special,
            chat,
            template,
            markers,
        })
    }

    /// The ids of the prompt, its start token as the checkpoint says.
    pub fn ids(&self, note: &str, question: &str) -> Result<Vec<u32>> {
        self.ids_with_answer(note, question, "")
    }

    /// [`ids`](Self::ids) of the prompt and an answer behind it.
    pub fn ids_with_answer(&self, note: &str, question: &str, answer: &str) -> Result<Vec<u32>> {
        self.encode(note, question, answer, usize::MAX)
    }

    /// [`ids`](Self::ids) if there are at most `limit`; otherwise more than `limit`, and perhaps not all: a note far beyond
    /// the model's context is not read to its end.
    pub fn ids_up_to(&self, note: &str, question: &str, limit: usize) -> Result<Vec<u32>> {
        self.encode(note, question, "", limit)
    }

    fn encode(&self, note: &str, question: &str, answer: &str, limit: usize) -> Result<Vec<u32>> {
        let answer = self.guard("answer", answer)?;
        let note = self.guard("note", note)?;
        let question = self.guard("question", question)?;
        let options = Options::new().with_markers(self.markers);
        let prompt = self.template.render(&note, &question, &options)?;
        let encoding = match &self.chat {
            None => {
                let text = format!("{prompt}{answer}");
                self.tokenizer.encode_start(&text, true, limit)?
            }
            // The template writes the special tokens itself.
            Some((chat, system)) => {
                let text = chat.render(system.as_deref(), prompt.trim_end())?;
                let text = format!("{text}{answer}");
                self.tokenizer.encode_start(&text, false, limit)?
            }
        };
        Ok(encoding.into_ids())
    }

    /// Treats the spelling of a special token inside a text: the tokenizer would read it as the token itself, and the
    /// text could end the prompt, or speak in the model's place.
    fn guard<'t>(&self, field: &'static str, text: &'t str) -> Result<Cow<'t, str>> {
        let mut text = Cow::Borrowed(text);
        if self.markers == MarkerPolicy::Allow {
            return Ok(text);
        }
        for token in self.special {
            let Some(offset) = text.find(token.as_str()) else {
                continue;
            };
            if self.markers == MarkerPolicy::Error {
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

/// A backslash before every punctuation mark, as [`MarkerPolicy::Escape`] does with markers; one in front of a token that
/// has none.
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
