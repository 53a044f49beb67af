//! The methods of Python's strings, lists, tuples and dictionaries that change nothing.

use clinical_files::is_space;
use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Kwargs, Tuple, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

use crate::python::{invalid, is_printable, pay};

/// A method that the engine does not know.
pub(crate) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => string(state, value.as_str().unwrap_or_default(), name, arguments),
        ValueKind::Seq | ValueKind::Iterable => list(state, value, name, arguments),
        ValueKind::Map => dictionary(state, value, name, arguments),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// Arguments by position and by name, as Python binds them.
pub(crate) struct Arguments(Vec<Option<Value>>);

impl Arguments {
    pub(crate) fn new(given: &[Value], names: &[&str]) -> Result<Self, Error> {
        let (given, named) = match given.split_last() {
            Some((last, rest)) if last.is_kwargs() => (rest, Some(Kwargs::try_from(last.clone())?)),
            _ => (given, None),
        };
        if given.len() > names.len() {
            return Err(Error::from(ErrorKind::TooManyArguments));
        }
        let mut bound: Vec<Option<Value>> = given.iter().cloned().map(Some).collect();
        bound.resize(names.len(), None);
        for name in named.iter().flat_map(Kwargs::args) {
            let place = names.iter().position(|known| *known == name);
            let place = place.ok_or_else(|| invalid("a method got an unknown argument"))?;
            bound[place] = named.as_ref().and_then(|named| named.get(name).ok());
        }
        Ok(Self(bound))
    }

    /// An argument that may be missing, or `None`.
    pub(crate) fn optional(&self, at: usize) -> Option<&Value> {
        self.0[at].as_ref().filter(|value| !value.is_none())
    }

    /// An argument that may be missing; `None` counts.
    pub(crate) fn given(&self, at: usize) -> Option<&Value> {
        self.0[at].as_ref()
    }

    fn value(&self, at: usize) -> Result<&Value, Error> {
        self.0[at]
            .as_ref()
            .ok_or_else(|| Error::from(ErrorKind::MissingArgument))
    }

    pub(crate) fn text(&self, at: usize) -> Result<&str, Error> {
        let text = self.value(at)?.as_str();
        text.ok_or_else(|| invalid("a method wants a string"))
    }

    pub(crate) fn optional_text(&self, at: usize) -> Result<Option<&str>, Error> {
        self.optional(at).map(|_| self.text(at)).transpose()
    }

    pub(crate) fn integer(&self, at: usize) -> Result<Option<i64>, Error> {
        let wrong = || invalid("a method wants a whole number");
        let value = self.optional(at);
        value
            .map(|value| i64::try_from(value.clone()).map_err(|_| wrong()))
            .transpose()
    }

    /// A number that is unlimited where it is missing or negative.
    fn limit(&self, at: usize) -> Result<usize, Error> {
        let limit = self.integer(at)?.unwrap_or(-1);
        Ok(usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

/// Python's `strip`: white space, or the characters that are named.
pub(crate) fn strip<'t>(
    text: &'t str,
    characters: Option<&str>,
    left: bool,
    right: bool,
) -> &'t str {
    let goes = |c: char| characters.map_or_else(|| is_space(c), |all| all.contains(c));
    let text = if left {
        text.trim_start_matches(goes)
    } else {
        text
    };
    if right {
        text.trim_end_matches(goes)
    } else {
        text
    }
}

#[allow(clippy::too_many_lines)] // one line for each method
fn string(
    state: &mut State<'_, '_>,
    text: &str,
    name: &str,
    given: &[Value],
) -> Result<Value, Error> {
    pay(state, text.len())?;
    let with = |names: &[&str]| Arguments::new(given, names);
    let alone = || Arguments::new(given, &[]).map(drop);
    let all = |is: &dyn Fn(char) -> bool| Value::from(!text.is_empty() && text.chars().all(is));
    Ok(match name {
        "strip" | "lstrip" | "rstrip" => {
            let arguments = with(&["chars"])?;
            let characters = arguments.optional_text(0)?;
            Value::from(strip(text, characters, name != "rstrip", name != "lstrip"))
        }
        "split" | "rsplit" => {
            let arguments = with(&["sep", "maxsplit"])?;
            let limit = arguments.limit(1)?;
            let parts = split(text, arguments.optional_text(0)?, limit, name == "rsplit")?;
            pay(state, text.len() + 64 * parts.len())?;
            parts.into_iter().map(Value::from).collect()
        }
        "splitlines" => {
            let arguments = with(&["keepends"])?;
            let keep = arguments.optional(0).is_some_and(Value::is_true);
            let lines = lines(text, keep);
            pay(state, text.len() + 64 * lines.len())?;
            lines.into_iter().map(Value::from).collect()
        }
        "partition" | "rpartition" => {
            partition(text, with(&["sep"])?.text(0)?, name == "rpartition")?
        }
        "replace" => {
            let arguments = with(&["old", "new", "count"])?;
            Value::from(replace(
                state,
                text,
                arguments.text(0)?,
                arguments.text(1)?,
                arguments.limit(2)?,
            )?)
        }
        "startswith" | "endswith" => {
            let arguments = with(&["prefix", "start", "end"])?;
            let part =
                clip(text, arguments.integer(1)?, arguments.integer(2)?).map(|(_, part)| part);
            Value::from(affix(part, arguments.value(0)?, name == "startswith")?)
        }
        "find" | "rfind" | "index" | "rindex" => {
            let arguments = with(&["sub", "start", "end"])?;
            let part = clip(text, arguments.integer(1)?, arguments.integer(2)?);
            let found = position(part, arguments.text(0)?, name.starts_with('r'));
            match found {
                Some(at) => Value::from(at),
                None if name.ends_with("find") => Value::from(-1),
                None => return Err(invalid("a text does not contain another")),
            }
        }
        "count" => {
            let arguments = with(&["sub", "start", "end"])?;
            let part = clip(text, arguments.integer(1)?, arguments.integer(2)?);
            let sub = arguments.text(0)?;
            Value::from(part.map_or(0, |(_, part)| part.matches(sub).count()))
        }
        "removeprefix" => {
            let arguments = with(&["prefix"])?;
            Value::from(text.strip_prefix(arguments.text(0)?).unwrap_or(text))
        }
        "removesuffix" => {
            let arguments = with(&["suffix"])?;
            Value::from(text.strip_suffix(arguments.text(0)?).unwrap_or(text))
        }
        "join" => Value::from(join(state, text, with(&["iterable"])?.value(0)?)?),
        "format" => {
            pay(state, widths(text))?;
            Value::from(format(FormatStyle::StrFormat, text, given)?)
        }
        "ljust" | "rjust" | "center" => {
            let arguments = with(&["width", "fillchar"])?;
            Value::from(justify(state, text, &arguments, name)?)
        }
        "zfill" => Value::from(zfill(state, text, with(&["width"])?.integer(0)?)?),
        "expandtabs" => Value::from(expandtabs(state, text, with(&["tabsize"])?.integer(0)?)?),
        "upper" => alone().map(|()| Value::from(text.to_uppercase()))?,
        "lower" => alone().map(|()| Value::from(text.to_lowercase()))?,
        // Rust has no table for it; upper and lower case together join what belongs together.
        "casefold" => alone().map(|()| Value::from(text.to_uppercase().to_lowercase()))?,
        "capitalize" => alone().map(|()| Value::from(capitalize(text)))?,
        "title" => alone().map(|()| Value::from(title(text)))?,
        "swapcase" => alone().map(|()| text.chars().map(swapped).collect::<String>().into())?,
        "isalpha" => alone().map(|()| all(&char::is_alphabetic))?,
        "isalnum" => alone().map(|()| all(&char::is_alphanumeric))?,
        "isnumeric" => alone().map(|()| all(&char::is_numeric))?,
        "isdecimal" => alone().map(|()| all(&is_decimal))?,
        "isdigit" => alone().map(|()| all(&|c| is_decimal(c) || SUPERSCRIPTS.contains(c)))?,
        "isspace" => alone().map(|()| all(&is_space))?,
        "isascii" => alone().map(|()| Value::from(text.is_ascii()))?,
        "isprintable" => alone().map(|()| Value::from(text.chars().all(is_printable)))?,
        "islower" => alone()
            .map(|()| {
                text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase)
            })?
            .into(),
        "isupper" => alone()
            .map(|()| {
                text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase)
            })?
            .into(),
        "istitle" => alone()
            .map(|()| text.chars().any(is_cased) && title(text) == text)?
            .into(),
        "isidentifier" => alone().map(|()| is_identifier(text))?.into(),
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

const SUPERSCRIPTS: &str = "²³¹⁰⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉";

/// A decimal digit: of those that are numeric and no fraction or sign, Rust tells the ASCII ones alone.
fn is_decimal(c: char) -> bool {
    c.is_ascii_digit()
        || ('\u{660}'..='\u{669}').contains(&c)
        || ('\u{ff10}'..='\u{ff19}').contains(&c)
}

fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    first.is_some_and(|c| c == '_' || c.is_alphabetic())
        && characters.all(|c| c == '_' || c.is_alphanumeric())
}

fn swapped(c: char) -> String {
    match c.is_uppercase() {
        true => c.to_lowercase().collect(),
        false => c.to_uppercase().collect(),
    }
}

/// The first character in upper case, the others in lower case.
pub(crate) fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    let rest = characters.as_str().to_lowercase();
    first.into_iter().flatten().chain(rest.chars()).collect()
}

fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match inside {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        inside = is_cased(c);
    }
    out
}

fn split<'t>(
    text: &'t str,
    separator: Option<&str>,
    limit: usize,
    from_right: bool,
) -> Result<Vec<&'t str>, Error> {
    let limit = limit.saturating_add(1);
    match (separator, from_right) {
        (Some(""), _) => Err(invalid("a text cannot be split at an empty separator")),
        (Some(separator), false) => Ok(text.splitn(limit, separator).collect()),
        (Some(separator), true) => {
            let mut parts: Vec<&str> = text.rsplitn(limit, separator).collect();
            parts.reverse();
            Ok(parts)
        }
        (None, false) => Ok(words(text, limit)),
        (None, true) => Ok(words_from_right(text, limit)),
    }
}

fn words(text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let end = match parts.len() + 1 == limit {
            true => None,
            false => rest.find(is_space),
        };
        let Some(end) = end else {
            // What is not split any more keeps its white space inside and, unlike the words, at its end.
            parts.push(if parts.len() + 1 == limit {
                rest
            } else {
                rest.trim_end_matches(is_space)
            });
            break;
        };
        parts.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(is_space);
    }
    parts
}

fn words_from_right(text: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end_matches(is_space);
    while !rest.is_empty() {
        let start = match parts.len() + 1 == limit {
            true => None,
            false => rest.char_indices().rev().find(|(_, c)| is_space(*c)),
        };
        let Some((at, c)) = start else {
            parts.push(rest);
            break;
        };
        parts.push(&rest[at + c.len_utf8()..]);
        rest = rest[..at].trim_end_matches(is_space);
    }
    parts.reverse();
    parts
}

/// Python's line ends: more than those of Rust's `lines`.
fn lines(text: &str, keep: bool) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    let ends = |c: char| "\n\r\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}".contains(c);
    while !rest.is_empty() {
        let (line, end) = match rest.char_indices().find(|(_, c)| ends(*c)) {
            Some((at, '\r')) if rest[at + 1..].starts_with('\n') => (at, at + 2),
            Some((at, c)) => (at, at + c.len_utf8()),
            None => (rest.len(), rest.len()),
        };
        lines.push(&rest[..if keep { end } else { line }]);
        rest = &rest[end..];
    }
    lines
}

fn partition(text: &str, separator: &str, from_right: bool) -> Result<Value, Error> {
    if separator.is_empty() {
        return Err(invalid("a text cannot be split at an empty separator"));
    }
    let parts = match from_right {
        false => text.split_once(separator),
        true => text.rsplit_once(separator),
    };
    let three = match parts {
        Some((before, after)) => [before, separator, after],
        None if from_right => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from(Tuple::from(three.map(Value::from))))
}

pub(crate) fn replace(
    state: &State<'_, '_>,
    text: &str,
    old: &str,
    new: &str,
    count: usize,
) -> Result<String, Error> {
    if new.len() > old.len() {
        let most = (text.len() / old.len().max(1)).saturating_add(1).min(count);
        pay(state, most.saturating_mul(new.len() - old.len()))?;
    }
    Ok(text.replacen(old, new, count))
}

/// The characters from `start` to `end`, counted as Python counts, and where they start; `None` if they start beyond
/// the text.
fn clip(text: &str, start: Option<i64>, end: Option<i64>) -> Option<(usize, &str)> {
    if start.is_none() && end.is_none() {
        return Some((0, text));
    }
    let length = text.chars().count();
    let place = |at: i64| match usize::try_from(at) {
        Ok(at) => at,
        Err(_) => length.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let (start, end) = (
        start.map_or(0, place),
        end.map_or(length, place).min(length),
    );
    if start > length || start > end {
        return None;
    }
    let byte = |at: usize| {
        text.char_indices()
            .nth(at)
            .map_or(text.len(), |(byte, _)| byte)
    };
    Some((start, &text[byte(start)..byte(end)]))
}

fn affix(part: Option<&str>, affixes: &Value, at_start: bool) -> Result<bool, Error> {
    let wrong = || invalid("a method wants a string or a tuple of strings");
    let has = |affix: &str| {
        part.is_some_and(|part| match at_start {
            true => part.starts_with(affix),
            false => part.ends_with(affix),
        })
    };
    if let Some(affix) = affixes.as_str() {
        return Ok(has(affix));
    }
    if !affixes.is_tuple() {
        return Err(wrong());
    }
    for affix in affixes.try_iter()? {
        if has(affix.as_str().ok_or_else(wrong)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn position(part: Option<(usize, &str)>, sub: &str, last: bool) -> Option<usize> {
    let (start, part) = part?;
    let at = if last {
        part.rfind(sub)
    } else {
        part.find(sub)
    }?;
    Some(start + part[..at].chars().count())
}

fn join(state: &State<'_, '_>, separator: &str, values: &Value) -> Result<String, Error> {
    let mut text = String::new();
    for (i, value) in values.try_iter()?.enumerate() {
        let part = value.as_str();
        let part = part.ok_or_else(|| invalid("join wants a list of strings"))?;
        pay(state, part.len() + separator.len() + 64)?;
        text.push_str(if i > 0 { separator } else { "" });
        text.push_str(part);
    }
    Ok(text)
}

/// Bytes that the numbers inside a format may ask for: each could be a width.
pub(crate) fn widths(format: &str) -> usize {
    let numbers = format.split(|c: char| !c.is_ascii_digit());
    numbers
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(usize::MAX))
        .fold(0, usize::saturating_add)
}

pub(crate) fn justify(
    state: &State<'_, '_>,
    text: &str,
    arguments: &Arguments,
    name: &str,
) -> Result<String, Error> {
    let fill = arguments.optional_text(1)?.unwrap_or(" ");
    if fill.chars().count() != 1 {
        return Err(invalid("a text is filled up with one character"));
    }
    let width = usize::try_from(arguments.integer(0)?.unwrap_or(0)).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    pay(state, missing.saturating_mul(fill.len()))?;
    let left = match name {
        "ljust" => 0,
        "rjust" => missing,
        _ => center(missing, width),
    };
    Ok([&fill.repeat(left), text, &fill.repeat(missing - left)].concat())
}

/// Of an odd number of missing characters Python puts the odd one left where the width is odd.
fn center(missing: usize, width: usize) -> usize {
    missing / 2 + (missing & width & 1)
}

fn zfill(state: &State<'_, '_>, text: &str, width: Option<i64>) -> Result<String, Error> {
    let width = usize::try_from(width.unwrap_or(0)).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    pay(state, missing)?;
    let sign = usize::from(text.starts_with(['+', '-']));
    Ok([&text[..sign], &"0".repeat(missing), &text[sign..]].concat())
}

fn expandtabs(state: &State<'_, '_>, text: &str, size: Option<i64>) -> Result<String, Error> {
    let size = usize::try_from(size.unwrap_or(8)).unwrap_or(0);
    pay(state, text.matches('\t').count().saturating_mul(size))?;
    let (mut out, mut column) = (String::with_capacity(text.len()), 0);
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                let blanks = size - column % size;
                out.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            '\t' => {}
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') {
                    0
                } else {
                    column + 1
                };
            }
        }
    }
    Ok(out)
}

fn list(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    given: &[Value],
) -> Result<Value, Error> {
    let places = |what: &Value| {
        let mut found = Vec::new();
        for (i, item) in value.try_iter()?.enumerate() {
            pay(state, 64)?;
            if item == *what {
                found.push(i);
            }
        }
        Ok::<_, Error>(found)
    };
    match name {
        "count" => Ok(Value::from(
            places(Arguments::new(given, &["value"])?.value(0)?)?.len(),
        )),
        "index" => {
            let found = places(Arguments::new(given, &["value"])?.value(0)?)?;
            let first = found.first().copied();
            first
                .map(Value::from)
                .ok_or_else(|| invalid("a list does not contain a value"))
        }
        "copy" if !value.is_tuple() => Arguments::new(given, &[]).map(|_| value.clone()),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn dictionary(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    given: &[Value],
) -> Result<Value, Error> {
    let alone = || Arguments::new(given, &[]).map(drop);
    let entries = |entry: &dyn Fn(Value) -> Result<Value, Error>| {
        pay(state, 128 * value.len().unwrap_or(0))?;
        value
            .try_iter()?
            .map(entry)
            .collect::<Result<Vec<_>, _>>()
            .map(Value::from)
    };
    match name {
        "get" => {
            let arguments = Arguments::new(given, &["key", "default"])?;
            let found = value.get_item(arguments.value(0)?)?;
            let default = arguments.0[1].clone().unwrap_or(Value::from(()));
            Ok(if found.is_undefined() { default } else { found })
        }
        "keys" => alone().and_then(|()| entries(&Ok)),
        "values" => alone().and_then(|()| entries(&|key| value.get_item(&key))),
        "items" => alone().and_then(|()| {
            entries(&|key| {
                Ok(Value::from(Tuple::from([
                    key.clone(),
                    value.get_item(&key)?,
                ])))
            })
        }),
        "copy" => alone().map(|()| value.clone()),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}
