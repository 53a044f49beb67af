//! What a template is given.

use std::collections::BTreeMap;

use minijinja::Value;
use serde::Serialize;

use crate::python::invalid;
use crate::{Error, Result};

/// A value as JSON has it, the order of keys kept: templates know lists, and a Rust array would become a tuple. What is
/// no JSON makes the rendering fail that uses it.
pub(crate) fn data(value: &impl Serialize) -> Value {
    serde_json::to_string(value)
        .and_then(|text| serde_json::from_str(&text))
        .unwrap_or_else(|_| Value::from(invalid("a variable is not JSON")))
}

/// Messages, and the other arguments of `apply_chat_template`.
///
/// By default the rendering ends where the model answers (`add_generation_prompt`), and `tools` and
/// `documents` are `None`, as `transformers` passes them: defined, and not a list.
#[derive(Debug, Clone)]
pub struct Conversation {
    messages: Vec<Value>,
    variables: BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

impl Default for Conversation {
    fn default() -> Self {
        Self::new()
    }
}

impl Conversation {
    /// A conversation without a message.
    #[must_use]
    pub fn new() -> Self {
        Self {
            messages: Vec::new(),
            variables: BTreeMap::new(),
        }
    }

    /// Reads a JSON object: `messages` and, beside it, any other variables of the template (`tools`, `documents`,
    /// `add_generation_prompt`, `enable_thinking`). The order of keys is kept, as a template may print them.
    ///
    /// # Errors
    ///
    /// [`Error::Conversation`] if it is no such object.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::Conversation { reason };
        let mut variables: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let messages = variables
            .remove("messages")
            .filter(|messages| messages.kind() == minijinja::value::ValueKind::Seq);
        let messages = messages.ok_or_else(|| wrong("`messages` is no list".to_owned()))?;
        let messages = messages
            .try_iter()
            .map_err(|error| wrong(error.kind().to_string()))?
            .collect();
        Ok(Self {
            messages,
            variables,
        })
    }

    /// Adds a message of the role `system`.
    #[must_use]
    pub fn system(self, content: &str) -> Self {
        self.message("system", content)
    }

    /// Adds a message of the role `user`.
    #[must_use]
    pub fn user(self, content: &str) -> Self {
        self.message("user", content)
    }

    /// Adds a message of the role `assistant`.
    #[must_use]
    pub fn assistant(self, content: &str) -> Self {
        self.message("assistant", content)
    }

    /// Adds a message of any role.
    #[must_use]
    pub fn message(self, role: &str, content: &str) -> Self {
        self.with_message(Message { role, content })
    }

    /// Adds a message with keys of its own, such as `tool_calls`.
    #[must_use]
    pub fn with_message(mut self, message: impl Serialize) -> Self {
        self.messages.push(data(&message));
        self
    }

    /// The functions that the model may call, as JSON schemas.
    #[must_use]
    pub fn with_tools(self, tools: impl Serialize) -> Self {
        self.with_variable("tools", tools)
    }

    /// Documents with `title` and `text`.
    #[must_use]
    pub fn with_documents(self, documents: impl Serialize) -> Self {
        self.with_variable("documents", documents)
    }

    /// Whether the rendering ends where the model answers; it does by default.
    #[must_use]
    pub fn with_generation_prompt(self, add: bool) -> Self {
        self.with_variable("add_generation_prompt", add)
    }

    /// Any other variable, such as `enable_thinking`. It takes precedence over a special token of that name.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: impl Serialize) -> Self {
        self.variables.insert(name.to_owned(), data(&value));
        self
    }

    /// All variables of one rendering, in the order in which the later ones win.
    pub(crate) fn variables(&self, specials: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::from([
            ("tools".to_owned(), Value::from(())),
            ("documents".to_owned(), Value::from(())),
            ("add_generation_prompt".to_owned(), Value::from(true)),
        ]);
        let given = specials.iter().chain(&self.variables);
        all.extend(given.map(|(name, value)| (name.clone(), value.clone())));
        all.insert("messages".to_owned(), Value::from(self.messages.clone()));
        all
    }
}
