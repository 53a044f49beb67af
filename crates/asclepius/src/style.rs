//! How a note and a question become the text that a model reads.

use std::fmt;
use std::str::FromStr;

use clinical_chat::{ChatTemplate, Conversation};
use clinical_prompts::asclepius::Template;
use clinical_tokenizer::Tokenizer;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::{Error, Result};

/// How a note and a question become the text that the model reads.
///
/// What `Auto` stands for is decided when a model is loaded, by its files alone: what their folder is called never
/// counts. [`Asclepius::remarks`](crate::Asclepius::remarks) tells what was decided, and every answer which prompt it
/// was asked with ([`Answer::style`](crate::Answer::style)). From text (`"auto".parse()`): the names of [`Style`], and
/// `auto`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PromptStyle {
    /// The chat template of the files if they have one that can be used and do not call the model Asclepius, else the
    /// published Asclepius prompt.
    ///
    /// Asclepius was trained on its own prompt alone, but a copy of it can inherit a chat template from its base model.
    /// The files call a model Asclepius by the name in `config.json` (the last part of `_name_or_path`, which
    /// `transformers` writes) or in a GGUF file (`general.name`).
    #[default]
    Auto,
    /// A published prompt, byte for byte.
    Published(Template),
    /// The chat template of the files; the published Asclepius prompt is the user's message.
    Chat {
        /// A system message before it.
        system: Option<String>,
    },
}

/// The prompt that an answer was asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Style {
    /// A published prompt.
    Published(Template),
    /// The chat template of the model's files.
    Chat,
    /// No prompt: a text that was to be continued ([`Asclepius::complete`](crate::Asclepius::complete)).
    Text,
}

/// The published prompts by the names of [`Style`].
const PUBLISHED: [(&str, Template); 6] = [
    ("asclepius", Template::Inference),
    ("asclepius-training", Template::Training),
    ("not-fine-tuned", Template::NotFineTuned),
    ("alpaca", Template::Alpaca),
    ("medalpaca", Template::MedAlpaca),
    ("vicuna", Template::Chat),
];

impl Style {
    /// `asclepius`, `asclepius-training`, `not-fine-tuned`, `alpaca`, `medalpaca`, `vicuna`, `chat`, `text`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Published(template) => PUBLISHED
                .iter()
                .find_map(|(name, known)| (*known == template).then_some(*name))
                .unwrap_or("published"),
            Self::Chat => "chat",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Style {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl FromStr for PromptStyle {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "chat" => Ok(Self::Chat { system: None }),
            _ => PUBLISHED
                .iter()
                .find_map(|(known, template)| {
                    (*known == name).then_some(Self::Published(*template))
                })
                .ok_or_else(|| Error::UnknownPromptStyle {
                    name: name.chars().take(40).collect(),
                }),
        }
    }
}

/// Starts the remark about the style, by which an older one is found.
const REMARK: &str = "questions are asked ";

/// Whether a remark is about the style.
pub(crate) fn is_remark(sentence: &str) -> bool {
    sentence.starts_with(REMARK)
}

/// What the files of a model say about prompts.
#[derive(Debug)]
pub(crate) struct Styles {
    /// `None` without a template.
    chat: Option<clinical_chat::Result<ChatTemplate>>,
    /// What [`PromptStyle::Auto`] stands for.
    auto: Style,
    /// Why, in one sentence.
    remark: String,
}

impl Styles {
    /// Reads the chat template, and decides what `Auto` stands for. A template that cannot be used is no error here.
    pub(crate) fn of(tokenizer: &Tokenizer, name: Option<&str>) -> Self {
        let chat = tokenizer
            .chat_template()
            .map(|source| ChatTemplate::new(source, tokenizer.special_tokens_map()));
        let (auto, why) = match &chat {
            None => (PUBLISHED_STYLE, "the files have no chat template".to_owned()),
            Some(_) if name.is_some_and(is_asclepius) => (
                PUBLISHED_STYLE,
                "the files call the model Asclepius, which knows no other, so their chat template is \
                 not used"
                    .to_owned(),
            ),
            Some(Err(error)) => (PUBLISHED_STYLE, unusable(error)),
            // What only shows when a conversation is there.
            Some(Ok(template)) => match template.render(&Conversation::new().user("A")) {
                Ok(_) => (Style::Chat, "the files have one".to_owned()),
                Err(error) => (PUBLISHED_STYLE, unusable(&error)),
            },
        };
        let way = match auto {
            Style::Chat => "through the model's chat template",
            _ => "with the published Asclepius prompt",
        };
        let remark = format!("{REMARK}{way}: {why}");
        Self { chat, auto, remark }
    }

    /// What is asked with, and why, unless the caller chooses.
    pub(crate) fn remark(&self) -> &str {
        &self.remark
    }

    /// The template, for callers who chose it.
    pub(crate) fn chat(&self) -> Result<&ChatTemplate> {
        match &self.chat {
            None => Err(Error::NoChatTemplate),
            Some(Ok(template)) => Ok(template),
            Some(Err(error)) => Err(Error::ChatTemplate(error.clone())),
        }
    }

    /// What a prompt style stands for.
    pub(crate) fn style(&self, choice: &PromptStyle) -> Style {
        match choice {
            PromptStyle::Auto => self.auto,
            PromptStyle::Published(template) => Style::Published(*template),
            PromptStyle::Chat { .. } => Style::Chat,
        }
    }
}

/// What `Auto` stands for where no chat template is used.
const PUBLISHED_STYLE: Style = Style::Published(Template::Inference);

fn unusable(error: &clinical_chat::Error) -> String {
    format!("the chat template of the files cannot be used ({error})")
}

/// What the files call the model: a path that `transformers` wrote counts by its last part alone, which is the model's
/// name on the Hub; folders above it are some machine's.
pub(crate) fn name(config: &Value) -> Option<&str> {
    let name = config.get("_name_or_path")?.as_str()?;
    let mut parts = name.trim_end_matches(['/', '\\']).rsplit(['/', '\\']);
    parts.next().filter(|name| !name.is_empty())
}

fn is_asclepius(name: &str) -> bool {
    name.to_lowercase().contains("asclepius")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_name_is_a_choice() {
        for (name, template) in PUBLISHED {
            let style = PromptStyle::Published(template);
            assert_eq!(name.parse::<PromptStyle>().unwrap(), style);
            assert_eq!(Style::Published(template).to_string(), name);
        }
        assert_eq!(PUBLISHED.len(), Template::ALL.len());
        assert_eq!("auto".parse::<PromptStyle>().unwrap(), PromptStyle::Auto);
        assert!(matches!(
            "".parse::<PromptStyle>(),
            Err(Error::UnknownPromptStyle { .. })
        ));
    }

    #[test]
    fn a_folder_is_no_name() {
        for (path, is) in [
            ("starmpcc/Asclepius-7B", true),
            ("asclepius-r-13b/", true),
            ("C:\\models\\Asclepius-Llama3-8B\\", true),
            ("/srv/asclepius/llama-chat", false),
            ("/srv/asclepius/", true),
            ("meta-llama/Meta-Llama-3-8B", false),
            ("", false),
            ("/", false),
        ] {
            let config = json!({"_name_or_path": path});
            assert_eq!(name(&config).is_some_and(is_asclepius), is, "{path}");
        }
        assert_eq!(name(&json!({"_name_or_path": 3})), None);
    }
}
