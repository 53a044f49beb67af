//! JSON as Python writes it: `json.dumps` puts `NaN`, `Infinity` and `-Infinity` where JSON has no number.

use serde_json::Value;

use clinical_files::shown;

const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// The value with those words as `null`, and the keys that they belong to; `None` if it is no JSON even so.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Value, Vec<String>)> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut text = std::str::from_utf8(bytes).ok()?;
    let (mut plain, mut keys) = (String::with_capacity(text.len()), Vec::new());
    // The last text before a word is the key that it belongs to, or that of its list.
    let mut last = "";
    while let Some(first) = text.chars().next() {
        let length = match (first, WORDS.iter().find(|word| text.starts_with(**word))) {
            ('"', _) => {
                let length = quoted(text);
                last = text.get(1..length.saturating_sub(1)).unwrap_or_default();
                plain.push_str(&text[..length]);
                length
            }
            (_, Some(word)) => {
                plain.push_str("null");
                keys.push(shown(last));
                word.len()
            }
            _ => {
                plain.push(first);
                first.len_utf8()
            }
        };
        text = &text[length..];
    }
    keys.dedup();
    Some((serde_json::from_str(&plain).ok()?, keys))
}

/// The bytes of the quoted text at the start.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A sentence about the keys.
pub(crate) fn remark(file: &str, keys: &[String]) -> String {
    format!(
        "{file} has NaN or Infinity, which JSON does not have, in {}: read as missing",
        keys.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn words_of_python_are_null_and_their_keys_are_named() {
        let text = br#"{"a": NaN, "b": [0.0, Infinity, -Infinity], "NaN": "NaN \" Infinity", "c": {"d": NaN}}"#;
        let (value, keys) = parse(text).unwrap();
        assert_eq!(
            value,
            json!({"a": null, "b": [0.0, null, null], "NaN": "NaN \" Infinity", "c": {"d": null}})
        );
        assert_eq!(keys, ["a", "b", "d"]);
    }

    #[test]
    fn what_is_no_json_otherwise_stays_refused() {
        for text in [
            &b"{\"a\": nan}"[..],
            b"NaN NaN",
            b"{\"a",
            b"\"\\",
            b"\xff",
            b"",
            b"{NaN: 1}",
        ] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }
}
