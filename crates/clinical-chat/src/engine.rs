//! The engine, set up as `transformers` sets up Jinja2: filters, tests and functions with Python's meaning.

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value};

use crate::methods::{self, Arguments};
use crate::operators;
use crate::python::{self, Json, invalid, pay};

/// An engine without templates.
pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_formatter(write);
    environment.set_unknown_method_callback(methods::call);
    // What shows the engine's own state.
    environment.remove_global("debug");
    environment.add_function("raise_exception", raise_exception);
    environment.add_filter("tojson", tojson);
    environment.add_filter("trim", trim);
    environment.add_filter("string", string);
    environment.add_filter("join", join);
    environment.add_filter("capitalize", |text: &str| methods::capitalize(text));
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("attr", |_: &Value, _: &Value| Value::UNDEFINED);
    environment.add_filter("center", center);
    environment.add_filter("truncate", truncate);
    environment.add_filter("wordcount", |text: &str| {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        text.split(|c| !is_word(c))
            .filter(|word| !word.is_empty())
            .count()
    });
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_test("callable", is_callable);
    operators::add(&mut environment);
    environment
}

/// What the engine says when a template refuses a conversation. The words go into the error's detail.
pub(crate) const REFUSED: &str = "\u{2295}refused:";

fn raise_exception(message: &Value) -> Result<Value, Error> {
    Err(Error::new(
        ErrorKind::InvalidOperation,
        format!("{REFUSED}{message}"),
    ))
}

/// `str(value)` of what stands between double braces.
fn write(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if !matches!(state.auto_escape(), AutoEscape::None) {
        return minijinja::escape_formatter(output, state, value);
    }
    let written = match value.as_str() {
        Some(text) => output.write_str(text),
        None => output.write_str(&python::str(state, value)?),
    };
    written.map_err(|_| invalid("the text cannot be written"))
}

fn tojson(
    state: &mut State<'_, '_>,
    value: &Value,
    given: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let given = Arguments::new(&given.into_values(), &names)?;
    let flag = |at: usize| given.optional(at).is_some_and(Value::is_true);
    let indent = given.optional(1).cloned().map(indentation).transpose()?;
    let separators = match given.optional(2) {
        Some(value) => pair(value)?,
        None => [if indent.is_some() { "," } else { ", " }, ": "].map(str::to_owned),
    };
    let json = Json {
        ensure_ascii: flag(0),
        indent,
        separators,
        sort_keys: flag(3),
    };
    json.dumps(state, value).map(Value::from)
}

/// Blanks for a number, or any text.
fn indentation(value: Value) -> Result<String, Error> {
    /// No published template moves a line in by more.
    const MOST: i64 = 100;
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    let blanks = i64::try_from(value).map_err(|_| invalid("indent is a number or a text"))?;
    if blanks > MOST {
        return Err(invalid("indent is at most 100"));
    }
    Ok(" ".repeat(usize::try_from(blanks).unwrap_or(0)))
}

fn pair(value: &Value) -> Result<[String; 2], Error> {
    let parts: Vec<Value> = value.try_iter()?.collect();
    match &parts[..] {
        [item, key] => match (item.as_str(), key.as_str()) {
            (Some(item), Some(key)) => Ok([item.to_owned(), key.to_owned()]),
            _ => Err(invalid("separators are two texts")),
        },
        _ => Err(invalid("separators are two texts")),
    }
}

fn trim(
    state: &mut State<'_, '_>,
    value: &Value,
    characters: Option<&str>,
) -> Result<String, Error> {
    let text = python::str(state, value)?;
    Ok(methods::strip(&text, characters, true, true).to_owned())
}

fn string(state: &mut State<'_, '_>, value: &Value) -> Result<String, Error> {
    python::str(state, value)
}

fn join(
    state: &mut State<'_, '_>,
    values: &Value,
    separator: Option<&Value>,
    named: Kwargs,
) -> Result<String, Error> {
    let separator = match (separator, named.get::<Option<Value>>("d")?) {
        (Some(separator), _) => python::str(state, separator)?,
        (None, Some(separator)) => python::str(state, &separator)?,
        (None, None) => String::new(),
    };
    let attribute = named.get::<Option<Value>>("attribute")?;
    named.assert_all_used()?;
    require_iterable(values)?;
    let mut text = String::new();
    for (i, value) in values.try_iter()?.enumerate() {
        pay(state, separator.len() + 32)?;
        text.push_str(if i > 0 { &separator } else { "" });
        let value = match &attribute {
            Some(name) => value.get_item(name)?,
            None => value,
        };
        text.push_str(&python::str(state, &value)?);
    }
    Ok(text)
}

fn escape(state: &mut State<'_, '_>, value: &Value) -> Result<String, Error> {
    let text = python::str(state, value)?;
    pay(state, 5 * text.len())?;
    let entities = [
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("\"", "&#34;"),
        ("'", "&#39;"),
    ];
    let escaped = |text: String, (c, entity): &(&str, &str)| text.replace(c, entity);
    Ok(entities.iter().fold(text, escaped))
}

fn default(value: &Value, given: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let given = Arguments::new(&given.into_values(), &["default_value", "boolean"])?;
    let also_false = given.optional(1).is_some_and(Value::is_true);
    match value.is_undefined() || (also_false && !value.is_true()) {
        true => Ok(given.given(0).cloned().unwrap_or_else(|| Value::from(""))),
        false => Ok(value.clone()),
    }
}

/// Python's `int(value)`, of a text after `float(value)` failing that, and a default in place of an error.
fn int(value: &Value, given: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let given = Arguments::new(&given.into_values(), &["default", "base"])?;
    let base = u32::try_from(given.integer(1)?.unwrap_or(10)).unwrap_or(10);
    let found = match value.as_str() {
        Some(text) => parse_int(text, base).or_else(|| whole(number(text)?)),
        None if value.kind() == ValueKind::Bool => Some(i128::from(value.is_true())),
        None => match python::float(value) {
            Some(float) => whole(float),
            None => i128::try_from(value.clone()).ok(),
        },
    };
    let found = found.map(|found| i64::try_from(found).map_or(Value::from(found), Value::from));
    Ok(found
        .or_else(|| given.given(0).cloned())
        .unwrap_or_else(|| Value::from(0)))
}

fn parse_int(text: &str, base: u32) -> Option<i128> {
    let digits = text.trim().replace('_', "");
    let lower = digits.to_lowercase();
    let bare = match base {
        16 => lower.strip_prefix("0x"),
        8 => lower.strip_prefix("0o"),
        2 => lower.strip_prefix("0b"),
        _ => None,
    };
    (2..=36).contains(&base).then_some(())?;
    i128::from_str_radix(bare.unwrap_or(&lower), base).ok()
}

fn number(text: &str) -> Option<f64> {
    text.trim().replace('_', "").parse().ok()
}

/// The whole part of a number that has one.
fn whole(number: f64) -> Option<i128> {
    (number.is_finite() && number.abs() < 1e37).then_some(number as i128)
}

fn float(value: &Value, given: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let given = Arguments::new(&given.into_values(), &["default"])?;
    let found = match value.as_str() {
        Some(text) => number(text),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(found
        .map(Value::from)
        .or_else(|| given.given(0).cloned())
        .unwrap_or_else(|| Value::from(0.0)))
}

fn center(
    state: &mut State<'_, '_>,
    value: &Value,
    given: Rest<ValueOrKwargs>,
) -> Result<String, Error> {
    let mut given = given.into_values();
    if given.is_empty() {
        given.push(Value::from(80));
    }
    let text = python::str(state, value)?;
    methods::justify(
        state,
        &text,
        &Arguments::new(&given, &["width", "fillchar"])?,
        "center",
    )
}

fn truncate(text: &str, given: Rest<ValueOrKwargs>) -> Result<String, Error> {
    let names = ["length", "killwords", "end", "leeway"];
    let given = Arguments::new(&given.into_values(), &names)?;
    let size = |at: usize, usual: i64| {
        let size = given.integer(at)?.unwrap_or(usual);
        Ok::<_, Error>(usize::try_from(size).unwrap_or(0))
    };
    let (length, leeway) = (size(0, 255)?, size(3, 5)?);
    let end = given.optional_text(2)?.unwrap_or("...");
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.to_owned());
    }
    let kept: String = text
        .chars()
        .take(length.saturating_sub(end.chars().count()))
        .collect();
    let kept = match given.optional(1).is_some_and(Value::is_true) {
        true => &kept,
        false => kept
            .rsplit_once(' ')
            .map_or(kept.as_str(), |(words, _)| words),
    };
    Ok([kept, end].concat())
}

fn length(value: &Value) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    let length = value
        .len()
        .or_else(|| Some(value.as_object()?.try_iter()?.count()));
    length.ok_or_else(|| invalid("a value has no length"))
}

fn is_sequence(value: &Value) -> bool {
    value.is_undefined()
        || matches!(
            value.kind(),
            ValueKind::String
                | ValueKind::Bytes
                | ValueKind::Seq
                | ValueKind::Map
                | ValueKind::Iterable
        )
}

fn is_iterable(value: &Value) -> bool {
    require_iterable(value).is_ok()
}

/// Python cannot iterate over `None`; the engine can.
pub(crate) fn require_iterable(value: &Value) -> Result<(), Error> {
    match value.is_none() {
        true => Err(invalid("None is not iterable")),
        false => value.try_iter().map(drop),
    }
}

fn is_callable(value: &Value) -> bool {
    value.kind() == ValueKind::Plain
        || value
            .as_object()
            .is_some_and(|object| object.type_name().ends_with("Macro"))
}
