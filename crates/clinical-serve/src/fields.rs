//! The parameters of a call, one by one: what is not known is refused, never ignored.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::reply::ApiError;

/// The most characters of a foreign name that an error repeats.
const SHOWN: usize = 40;

/// A JSON object whose parameters are taken out; what is left at the end is unknown. Errors name parameters and quote
/// no value.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(_) => Err(ApiError::bad(
                "invalid_json",
                "the body is no JSON object: send {\"name\": value, ..}",
            )),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                let what = match error.classify() {
                    serde_json::error::Category::Eof => "the body ends before its JSON does",
                    _ => "the body is not JSON",
                };
                Err(ApiError::bad(
                    "invalid_json",
                    format!("{what} (line {line}, column {column})"),
                ))
            }
        }
    }

    /// A parameter; `null` is none. `what` says what it must be.
    pub(crate) fn take<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        what: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|_| ApiError::param(name, format!("`{name}` must be {what}"))),
        }
    }

    /// A parameter that must be there.
    pub(crate) fn need<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        what: &str,
    ) -> Result<T, ApiError> {
        self.take(name, what)?
            .ok_or_else(|| ApiError::param(name, format!("`{name}` is missing: it is {what}")))
    }

    /// A number within a range.
    pub(crate) fn number(
        &mut self,
        name: &'static str,
        from: f64,
        to: f64,
    ) -> Result<Option<f64>, ApiError> {
        let what = format!("a number from {from} to {to}");
        match self.take::<f64>(name, &what)? {
            Some(value) if !(from..=to).contains(&value) => {
                Err(ApiError::param(name, format!("`{name}` must be {what}")))
            }
            value => Ok(value),
        }
    }

    /// A whole number within a range.
    pub(crate) fn count(
        &mut self,
        name: &'static str,
        from: usize,
        to: usize,
    ) -> Result<Option<usize>, ApiError> {
        let what = format!("a whole number from {from} to {to}");
        match self.take::<usize>(name, &what)? {
            Some(value) if !(from..=to).contains(&value) => {
                Err(ApiError::param(name, format!("`{name}` must be {what}")))
            }
            value => Ok(value),
        }
    }

    /// One string, or several.
    pub(crate) fn strings(&mut self, name: &'static str) -> Result<Option<Vec<String>>, ApiError> {
        let what = "a string or a list of strings";
        let value = self.take::<Value>(name, what)?;
        let strings = value.map(|value| match value {
            Value::String(one) => Some(vec![one]),
            Value::Array(many) => many
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => None,
        });
        match strings {
            Some(None) => Err(ApiError::param(name, format!("`{name}` must be {what}"))),
            strings => Ok(strings.flatten()),
        }
    }

    /// Parameters that change nothing about the answer.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.0.remove(*name);
        }
    }

    /// A parameter that is fine only where it asks for nothing.
    pub(crate) fn only(
        &mut self,
        name: &'static str,
        is_nothing: impl Fn(&Value) -> bool,
        reason: &str,
    ) -> Result<(), ApiError> {
        match self.0.remove(name) {
            Some(value) if !value.is_null() && !is_nothing(&value) => Err(ApiError::param(
                name,
                format!("`{name}` is not supported: {reason}"),
            )),
            _ => Ok(()),
        }
    }

    /// Everything was looked at.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let Some(name) = self.0.keys().next() else {
            return Ok(());
        };
        let name: String = name.chars().take(SHOWN).collect();
        let message = format!(
            "`{}` is no parameter of this call, and nothing is ignored: leave it out, or see /openapi.json",
            name.escape_debug()
        );
        Err(ApiError::bad("unknown_parameter", message).of(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(error: ApiError) -> String {
        error.to_json()["error"]["message"].to_string()
    }

    #[test]
    fn what_is_not_taken_is_refused_and_no_value_is_quoted() {
        let body = br#"{"temperature": "secret text", "n": 3, "odd": 1, "stop": ["a", 2]}"#;
        let mut fields = Fields::parse(body).unwrap();
        let error = fields.number("temperature", 0.0, 2.0).unwrap_err();
        assert!(!message(error).contains("secret"));
        assert_eq!(fields.count("n", 1, 4).unwrap(), Some(3));
        assert!(fields.strings("stop").is_err());
        assert!(message(fields.finish().unwrap_err()).contains("odd"));
        for body in ["", "[1]", "{\"a\": ", "{\"a\": secret}"] {
            let error = Fields::parse(body.as_bytes()).err().unwrap();
            assert!(!message(error).contains("secret"));
        }
    }

    #[test]
    fn null_is_nothing() {
        let mut fields = Fields::parse(br#"{"a": null, "b": null}"#).unwrap();
        assert_eq!(fields.count("a", 1, 2).unwrap(), None);
        fields.only("b", |_| false, "").unwrap();
        fields.finish().unwrap();
    }
}
