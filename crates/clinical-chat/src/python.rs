//! Values as Python prints them: `str`, `repr` and `json.dumps`.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// Values inside values. `json.dumps` and `repr` end at the limit of Python's recursion; published data nests a few
/// times.
const MAX_DEPTH: usize = 100;

/// Begins the sentences of this crate among those of the engine: they quote nothing, so they may be shown.
pub(crate) const OWN: &str = "\u{2295}";

pub(crate) fn invalid(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{OWN}{what}"))
}

/// Takes bytes that are about to be made off what the rendering may still build.
pub(crate) fn pay(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    // The engine's own rate: 64 bytes for one instruction. What is small costs something, too.
    state.consume_fuel(1 + (bytes / 64) as u64)
}

/// The floating-point number of a value that is one.
pub(crate) fn float(value: &Value) -> Option<f64> {
    (value.kind() == ValueKind::Number && !value.is_integer())
        .then(|| f64::try_from(value.clone()).ok())
        .flatten()
}

/// `repr` of a float: the shortest digits that give it back, with an exponent below 1e-4 and from 1e16.
pub(crate) fn float_repr(value: f64, infinity: &str, nan: &str) -> String {
    if value.is_nan() {
        return nan.to_owned();
    }
    if value.is_infinite() {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{infinity}");
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = format!("{value}");
    match plain.contains('.') {
        true => plain,
        false => plain + ".0",
    }
}

/// `str(value)`, paid for.
pub(crate) fn str(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    match value.as_str() {
        Some(string) => {
            pay(state, string.len())?;
            text.push_str(string);
        }
        None if value.is_undefined() => {}
        None => repr(state, value, &mut text, 0)?,
    }
    Ok(text)
}

fn repr(
    state: &State<'_, '_>,
    value: &Value,
    text: &mut String,
    depth: usize,
) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(invalid("the value nests too deeply"));
    }
    let before = text.len();
    match value.kind() {
        ValueKind::Undefined => text.push_str("Undefined"),
        ValueKind::Number => match float(value) {
            Some(number) => text.push_str(&float_repr(number, "inf", "nan")),
            None => text.push_str(&value.to_string()),
        },
        ValueKind::String => string_repr(value.as_str().unwrap_or_default(), text),
        ValueKind::Seq if value.is_tuple() => {
            let one = value.len() == Some(1);
            items_repr(
                state,
                value,
                text,
                depth,
                ["(", if one { ",)" } else { ")" }],
            )?;
        }
        ValueKind::Seq | ValueKind::Iterable => items_repr(state, value, text, depth, ["[", "]"])?,
        ValueKind::Map => map_repr(state, value, text, depth)?,
        _ => text.push_str(&value.to_string()),
    }
    pay(state, 16 + text.len().saturating_sub(before))
}

fn items_repr(
    state: &State<'_, '_>,
    value: &Value,
    text: &mut String,
    depth: usize,
    [open, close]: [&str; 2],
) -> Result<(), Error> {
    text.push_str(open);
    for (i, item) in value.try_iter()?.enumerate() {
        text.push_str(if i > 0 { ", " } else { "" });
        repr(state, &item, text, depth + 1)?;
    }
    text.push_str(close);
    Ok(())
}

fn map_repr(
    state: &State<'_, '_>,
    value: &Value,
    text: &mut String,
    depth: usize,
) -> Result<(), Error> {
    text.push('{');
    for (i, key) in value.try_iter()?.enumerate() {
        text.push_str(if i > 0 { ", " } else { "" });
        repr(state, &key, text, depth + 1)?;
        text.push_str(": ");
        repr(state, &value.get_item(&key)?, text, depth + 1)?;
    }
    text.push('}');
    Ok(())
}

fn string_repr(string: &str, text: &mut String) {
    let quote = match string.contains('\'') && !string.contains('"') {
        true => '"',
        false => '\'',
    };
    text.push(quote);
    for c in string.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c == quote => text.extend(['\\', c]),
            ' '..='~' => text.push(c),
            c if is_printable(c) => text.push(c),
            c if (c as u32) < 0x100 => text.push_str(&format!("\\x{:02x}", c as u32)),
            c if (c as u32) < 0x1_0000 => text.push_str(&format!("\\u{:04x}", c as u32)),
            c => text.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    text.push(quote);
}

/// Whether Python's `repr` shows the character itself. Rust escapes combining marks at the start of a text alone.
pub(crate) fn is_printable(c: char) -> bool {
    let mut buffer = [b'a'; 5];
    let length = c.encode_utf8(&mut buffer[1..]).len();
    let shown = std::str::from_utf8(&buffer[..=length]).unwrap_or("a");
    shown.escape_debug().count() == 2
}

/// The arguments of `tojson`, as `transformers` hands them to `json.dumps`.
pub(crate) struct Json {
    pub ensure_ascii: bool,
    /// What each level is moved in by, if every item has a line.
    pub indent: Option<String>,
    pub separators: [String; 2],
    pub sort_keys: bool,
}

impl Json {
    /// `json.dumps(value)`, paid for.
    pub fn dumps(&self, state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
        let mut text = String::new();
        self.write(state, value, &mut text, 0)?;
        Ok(text)
    }

    fn write(
        &self,
        state: &State<'_, '_>,
        value: &Value,
        text: &mut String,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid("the value nests too deeply"));
        }
        pay(state, 64)?;
        match value.kind() {
            ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => text.push_str(&number(value)),
            ValueKind::String => self.string(state, value.as_str().unwrap_or_default(), text)?,
            ValueKind::Seq | ValueKind::Iterable => self.list(state, value, text, depth)?,
            ValueKind::Map if is_dict(value) => self.map(state, value, text, depth)?,
            kind => return Err(not_json(kind)),
        }
        Ok(())
    }

    fn list(
        &self,
        state: &State<'_, '_>,
        value: &Value,
        text: &mut String,
        depth: usize,
    ) -> Result<(), Error> {
        let mut any = false;
        text.push('[');
        for item in value.try_iter()? {
            self.before_item(state, text, any, depth + 1)?;
            any = true;
            self.write(state, &item, text, depth + 1)?;
        }
        self.close(state, text, any, depth, ']')
    }

    fn map(
        &self,
        state: &State<'_, '_>,
        value: &Value,
        text: &mut String,
        depth: usize,
    ) -> Result<(), Error> {
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        text.push('{');
        for (i, key) in keys.iter().enumerate() {
            self.before_item(state, text, i > 0, depth + 1)?;
            self.string(state, &key_text(key)?, text)?;
            text.push_str(&self.separators[1]);
            self.write(state, &value.get_item(key)?, text, depth + 1)?;
        }
        self.close(state, text, !keys.is_empty(), depth, '}')
    }

    fn before_item(
        &self,
        state: &State<'_, '_>,
        text: &mut String,
        others: bool,
        depth: usize,
    ) -> Result<(), Error> {
        if others {
            pay(state, self.separators[0].len())?;
            text.push_str(&self.separators[0]);
        }
        self.line(state, text, depth)
    }

    fn close(
        &self,
        state: &State<'_, '_>,
        text: &mut String,
        any: bool,
        depth: usize,
        bracket: char,
    ) -> Result<(), Error> {
        if any {
            self.line(state, text, depth)?;
        }
        text.push(bracket);
        Ok(())
    }

    fn line(&self, state: &State<'_, '_>, text: &mut String, depth: usize) -> Result<(), Error> {
        if let Some(indent) = &self.indent {
            pay(state, 1 + indent.len().saturating_mul(depth))?;
            text.push('\n');
            (0..depth).for_each(|_| text.push_str(indent));
        }
        Ok(())
    }

    fn string(&self, state: &State<'_, '_>, string: &str, text: &mut String) -> Result<(), Error> {
        pay(state, string.len())?;
        text.push('"');
        for c in string.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                ' '..='~' => text.push(c),
                c if c < ' ' || self.ensure_ascii => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => text.push(c),
            }
        }
        text.push('"');
        Ok(())
    }
}

/// Whether a map is a dictionary: the engine calls namespaces and loops maps, too.
fn is_dict(value: &Value) -> bool {
    let name = value.as_object().map_or("", |object| object.type_name());
    !["Namespace", "Loop", "Macro"]
        .iter()
        .any(|other| name.ends_with(other))
}

fn not_json(kind: ValueKind) -> Error {
    invalid(format!("a value of the kind {kind} is not JSON"))
}

fn number(value: &Value) -> String {
    match float(value) {
        Some(number) => float_repr(number, "Infinity", "NaN"),
        None => value.to_string(),
    }
}

fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_owned()),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(number(key)),
        kind => Err(not_json(kind)),
    }
}
