//! What can go wrong.

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A chat template that cannot be used, or a conversation that it does not take. No message quotes a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The template is no Jinja2, or uses what no chat template needs (other templates, blocks, chains of a thousand
    /// links).
    #[error("the chat template cannot be read: {reason}{}", in_line(*.line))]
    Template {
        /// What the engine says of the template.
        reason: String,
        /// The line of the template, from 1.
        line: Option<usize>,
    },
    /// The template fails on this conversation.
    #[error("the chat template fails on this conversation: {reason}{}", in_line(*.line))]
    Render {
        /// The kind of failure.
        reason: String,
        /// The line of the template, from 1.
        line: Option<usize>,
    },
    /// The template itself refuses the conversation, by `raise_exception`.
    #[error(
        "the chat template refuses this conversation{}",
        message.as_deref().map(|text| format!(": {text}")).unwrap_or_default()
    )]
    Refused {
        /// Its words, where they stand in the template as they are; a message put together from the conversation is not
        /// shown.
        message: Option<String>,
    },
    /// The template does more steps, or builds more bytes, than any published one would for a conversation of this
    /// length.
    #[error(
        "the chat template builds too much for a conversation of this length: use another template"
    )]
    TooMuch,
    /// The template engine panicked. Only the rendering is lost.
    #[error("the template engine failed on this chat template: use another template")]
    Engine,
    /// The text of [`Conversation::from_json`](crate::Conversation::from_json) is no JSON object.
    #[error("a conversation must be a JSON object with the key `messages`: {reason}")]
    Conversation {
        /// What is wrong, and where.
        reason: String,
    },
}

fn in_line(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})"))
        .unwrap_or_default()
}
