//! Lists and dictionaries as Python's `repr` writes them into a CSV field.

use serde_json::{Map, Value};

/// Deepest nesting that is read; the published files have two levels.
const MAX_DEPTH: usize = 8;

/// Why a text is no literal: what should stand at which byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) expected: &'static str,
    pub(crate) offset: usize,
}

/// Reads a literal: lists, tuples, dictionaries with texts as keys, texts in either quotes, whole numbers, `True`,
/// `False`, `None`.
pub(crate) fn parse(text: &str) -> Result<Value, Problem> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.blanks();
    match parser.at == text.len() {
        true => Ok(value),
        false => Err(parser.problem("the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn problem(&self, expected: &'static str) -> Problem {
        Problem {
            expected,
            offset: self.at,
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn value(&mut self, depth: usize) -> Result<Value, Problem> {
        if depth > MAX_DEPTH {
            return Err(self.problem("a value that is less nested"));
        }
        self.blanks();
        match self.peek() {
            Some('[') => self.items(']', depth).map(Value::Array),
            Some('(') => self.items(')', depth).map(Value::Array),
            Some('{') => self.fields(depth),
            Some(quote @ ('\'' | '"')) => self.string(quote).map(Value::String),
            _ => self.word(),
        }
    }

    fn items(&mut self, end: char, depth: usize) -> Result<Vec<Value>, Problem> {
        self.take();
        let mut items = Vec::new();
        loop {
            self.blanks();
            if self.peek() == Some(end) {
                self.take();
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            self.comma_or(end)?;
        }
    }

    fn fields(&mut self, depth: usize) -> Result<Value, Problem> {
        self.take();
        let mut fields = Map::new();
        loop {
            self.blanks();
            match self.peek() {
                Some('}') => {
                    self.take();
                    return Ok(Value::Object(fields));
                }
                Some(quote @ ('\'' | '"')) => {
                    let key = self.string(quote)?;
                    self.blanks();
                    if self.take() != Some(':') {
                        return Err(self.problem("a colon"));
                    }
                    let value = self.value(depth + 1)?;
                    fields.insert(key, value);
                    self.comma_or('}')?;
                }
                _ => return Err(self.problem("a text in quotes")),
            }
        }
    }

    /// After an item: a comma, or the end, which is left there.
    fn comma_or(&mut self, end: char) -> Result<(), Problem> {
        self.blanks();
        match self.peek() {
            Some(',') => {
                self.take();
                Ok(())
            }
            Some(other) if other == end => Ok(()),
            _ => Err(self.problem("a comma or the closing bracket")),
        }
    }

    fn string(&mut self, quote: char) -> Result<String, Problem> {
        self.take();
        let mut out = String::new();
        loop {
            match self.take() {
                None | Some('\n') => return Err(self.problem("the closing quote of a text")),
                Some('\\') => self.escape(&mut out)?,
                Some(c) if c == quote => return Ok(out),
                Some(c) => out.push(c),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), Problem> {
        let plain = match self.take() {
            Some(c @ ('\\' | '\'' | '"')) => c,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('a') => '\x07',
            Some('b') => '\x08',
            Some('f') => '\x0c',
            Some('v') => '\x0b',
            Some('x') => self.code(2)?,
            Some('u') => self.code(4)?,
            Some('U') => self.code(8)?,
            // Python keeps the backslash of an escape that it does not know.
            Some(c) => {
                out.push('\\');
                c
            }
            None => return Err(self.problem("the rest of an escape")),
        };
        out.push(plain);
        Ok(())
    }

    /// The character with so many hexadecimal digits.
    fn code(&mut self, digits: usize) -> Result<char, Problem> {
        let code = self.rest().get(..digits);
        let hex = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let number = hex.and_then(|code| u32::from_str_radix(code, 16).ok());
        let c = number
            .and_then(char::from_u32)
            .ok_or_else(|| self.problem("the code of a character"))?;
        self.at += digits;
        Ok(c)
    }

    fn word(&mut self) -> Result<Value, Problem> {
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '_');
        let word = self.rest();
        let word = &word[..word.find(|c| !inside(c)).unwrap_or(word.len())];
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::Null,
            number => match number.parse::<i64>() {
                Ok(number) => Value::from(number),
                Err(_) => return Err(self.problem("a list, a text or a number")),
            },
        };
        self.at += word.len();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        for (text, value) in [
            ("[]", json!([])),
            (
                "['a', \"don't\", 'say \"no\"']",
                json!(["a", "don't", "say \"no\""]),
            ),
            (
                "['it\\'s \"x\"', '\\\\n', '\\n\\t\\xe9\\u20ac\\U0001f600']",
                json!(["it's \"x\"", "\\n", "\n\té€😀"]),
            ),
            ("('é',)", json!(["é"])),
            (
                "{'text': ['a'], 'answer_start': [12, -3]}",
                json!({"text": ["a"], "answer_start": [12, -3]}),
            ),
            (" [ True , False,None ,] ", json!([true, false, null])),
            ("['\\d']", json!(["\\d"])),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_python_would_not_read_is_refused() {
        for (text, offset) in [
            ("", 0),
            ("['a'", 4),
            ("['a", 3),
            ("['a']x", 5),
            ("['a' 'b']", 5),
            ("[a]", 1),
            ("['\\xg0']", 4),
            ("['\\ud800']", 4),
            ("{1: 2}", 1),
            ("{'a' 2}", 6),
            ("[[[[[[[[[[]]]]]]]]]]", 9),
            ("__import__('os')", 0),
        ] {
            assert_eq!(
                parse(text).map_err(|problem| problem.offset),
                Err(offset),
                "{text}"
            );
        }
    }
}
