//! Reading single keys of a configuration file.

use serde_json::{Map, Value};

use super::{Named, token_id};
use crate::added::AddedToken;
use crate::error::{Error, Result};
use crate::limits::MAX_ADDED_TOKENS;

/// Reads the keys of one file; `null` is the same as no key.
pub(super) struct Reader<'a> {
    pub(super) file: &'static str,
    pub(super) map: &'a Map<String, Value>,
}

impl Reader<'_> {
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(&self, key: &str, expected: &'static str) -> Error {
        Error::ConfigValue {
            file: self.file.into(),
            key: key.into(),
            expected,
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.get(key)
            .map(|value| {
                value
                    .as_bool()
                    .ok_or_else(|| self.wrong(key, "true or false"))
            })
            .transpose()
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>> {
        let text = |value: &Value| {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| self.wrong(key, "a string"))
        };
        self.get(key).map(text).transpose()
    }

    pub(super) fn named(&self, key: &str) -> Result<Option<Named>> {
        self.get(key).map(|value| self.one(key, value)).transpose()
    }

    pub(super) fn named_list(&self, key: &str) -> Result<Option<Vec<Named>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(list)) => list
                .iter()
                .map(|value| self.one(key, value))
                .collect::<Result<_>>()
                .map(Some),
            Some(_) => Err(self.wrong(key, "a list of tokens")),
        }
    }

    /// A string or an object with `content`; special tokens are meant wherever this is used.
    fn one(&self, key: &str, value: &Value) -> Result<Named> {
        match value {
            Value::String(name) => Ok(Named::Name(name.clone())),
            Value::Object(map) => Ok(Named::Token(AddedToken {
                special: true,
                ..self.token(key, map)?
            })),
            _ => Err(self.wrong(key, "a string or an object with `content`")),
        }
    }

    fn token(&self, key: &str, map: &Map<String, Value>) -> Result<AddedToken> {
        let content = map
            .get("content")
            .and_then(Value::as_str)
            .ok_or_else(|| self.wrong(key, "an object with `content`"))?;
        let flag = |name: &str, default: bool| match map.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| self.wrong(key, "an object whose flags are true or false")),
        };
        let special = flag("special", false)?;
        Ok(AddedToken {
            content: content.to_owned(),
            special,
            lstrip: flag("lstrip", false)?,
            rstrip: flag("rstrip", false)?,
            single_word: flag("single_word", false)?,
            normalized: flag("normalized", !special)?,
        })
    }

    pub(super) fn added_tokens_decoder(&self) -> Result<Option<Vec<(u32, AddedToken)>>> {
        const KEY: &str = "added_tokens_decoder";
        let map = match self.get(KEY) {
            None => return Ok(None),
            Some(Value::Object(map)) => map,
            Some(_) => return Err(self.wrong(KEY, "an object from ids to tokens")),
        };
        if map.len() > MAX_ADDED_TOKENS {
            return Err(Error::AddedTokens {
                what: "there are too many added tokens",
                limit: MAX_ADDED_TOKENS,
            });
        }
        let mut list = Vec::with_capacity(map.len());
        for (id, token) in map {
            let id = id
                .parse::<u64>()
                .map_err(|_| self.wrong(KEY, "an object from ids to tokens"))?;
            let token = token
                .as_object()
                .ok_or_else(|| self.wrong(KEY, "an object from ids to tokens"))?;
            let token = self.token(KEY, token)?;
            if !token.content.is_empty() {
                list.push((token_id(id)?, token));
            }
        }
        list.sort_by_key(|(id, _)| *id);
        Ok(Some(list))
    }
}

/// A string, a list of named templates, or a map of them; `None` for anything else. A template that cannot be used must
/// not keep a model from loading.
pub(super) fn chat_templates(value: Option<&Value>) -> Option<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        None => Some(Vec::new()),
        Some(Value::String(template)) => Some(vec![("default".to_owned(), template.clone())]),
        Some(Value::Array(list)) => list
            .iter()
            .map(|entry| Some((text(entry.get("name")?)?, text(entry.get("template")?)?)))
            .collect(),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, template)| Some((name.clone(), text(template)?)))
            .collect(),
        Some(_) => None,
    }
}
