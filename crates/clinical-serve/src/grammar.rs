//! Answers that follow a JSON schema.

use std::sync::Arc;

use clinical_generate::Constraint;
use serde_json::Value;

use crate::app::Loaded;
use crate::reply::ApiError;

/// The most bytes of a schema.
#[cfg(feature = "grammar")]
const LONGEST: usize = 64 << 10;

/// What `response_format` asks for; `None` for plain text.
pub(crate) fn of_format(
    loaded: &Loaded,
    mut format: Value,
) -> Result<Option<Arc<dyn Constraint>>, ApiError> {
    let kind = format
        .get("type")
        .and_then(Value::as_str)
        .map(str::to_owned);
    match kind.as_deref() {
        Some("text") => Ok(None),
        Some("json_object") => {
            let object = serde_json::json!({"type": "object"});
            of_schema(loaded, &object, "response_format").map(Some)
        }
        Some("json_schema") => {
            let schema = format
                .get_mut("json_schema")
                .and_then(|named| named.get_mut("schema"));
            match schema.map(Value::take) {
                Some(schema) => of_schema(loaded, &schema, "response_format").map(Some),
                None => Err(ApiError::param(
                    "response_format",
                    "`response_format.json_schema.schema` is missing",
                )),
            }
        }
        _ => Err(ApiError::param(
            "response_format",
            "`response_format.type` must be `text`, `json_object` or `json_schema`",
        )),
    }
}

/// What a schema asks for.
#[cfg(feature = "grammar")]
pub(crate) fn of_schema(
    loaded: &Loaded,
    schema: &Value,
    param: &'static str,
) -> Result<Arc<dyn Constraint>, ApiError> {
    use clinical_generate::{Grammar, TokenBytes};

    // Without blanks between its signs: a model that prefers blanks would write nothing else.
    let mut schema = schema.clone();
    if let Some(fields) = schema.as_object_mut() {
        let compact = serde_json::json!({"whitespace_flexible": false});
        fields.entry("x-guidance").or_insert(compact);
    }
    let text = schema.to_string();
    if text.len() > LONGEST {
        let message = format!("the schema has more than {LONGEST} bytes");
        return Err(ApiError::param(param, message));
    }
    let tokens = loaded.tokens.get_or_init(|| {
        let bytes = pieces(loaded.model().tokenizer());
        TokenBytes::new(&bytes).map_err(|error| error.to_string())
    });
    let tokens = tokens
        .as_ref()
        .map_err(|why| ApiError::internal(why.as_str()))?;
    match Grammar::json_schema(tokens, &text) {
        Ok(grammar) => Ok(Arc::new(grammar)),
        Err(error) => Err(ApiError::param(param, error.to_string())),
    }
}

/// Schemas need another build.
#[cfg(not(feature = "grammar"))]
pub(crate) fn of_schema(
    _: &Loaded,
    _: &Value,
    param: &'static str,
) -> Result<Arc<dyn Constraint>, ApiError> {
    let message = "this server was built without JSON schemas: build it with the feature `grammar`";
    Err(ApiError::param(param, message))
}

/// What each token adds to a text, in bytes.
#[cfg(feature = "grammar")]
fn pieces(tokenizer: &asclepius::Tokenizer) -> Vec<Vec<u8>> {
    let count = u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
    let all: Vec<Option<String>> = (0..count)
        .map(|id| {
            let text = tokenizer.id_to_token(id);
            text.filter(|_| !tokenizer.is_special(id))
        })
        .collect();
    // Byte-level vocabularies write a blank as Ġ, SentencePiece as ▁.
    let with = |mark: char| {
        all.iter()
            .flatten()
            .filter(|text| text.starts_with(mark))
            .count()
    };
    let is_byte_level = with('Ġ') > with('▁');
    let added: Vec<u32> = tokenizer.added_tokens().iter().map(|(id, _)| *id).collect();
    let piece = |(id, text): (usize, Option<String>)| {
        let Some(text) = text else {
            return Vec::new();
        };
        if u32::try_from(id).is_ok_and(|id| added.contains(&id)) {
            return text.into_bytes();
        }
        if is_byte_level {
            return text.chars().filter_map(byte_of).collect();
        }
        let byte = text
            .strip_prefix("<0x")
            .and_then(|text| text.strip_suffix('>'))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => vec![byte],
            None => text.replace('▁', " ").into_bytes(),
        }
    };
    all.into_iter().enumerate().map(piece).collect()
}

/// The byte that a character stands for in a byte-level vocabulary: printable ones for themselves, the others from
/// U+0100 on, in order (GPT-2's `bytes_to_unicode`).
#[cfg(feature = "grammar")]
fn byte_of(c: char) -> Option<u8> {
    let is_itself = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(c);
    match u8::try_from(code) {
        Ok(byte) => is_itself(byte).then_some(byte),
        Err(_) => {
            let mut others = (0..=u8::MAX).filter(|byte| !is_itself(*byte));
            let nth = usize::try_from(code.checked_sub(0x100)?).ok()?;
            others.nth(nth)
        }
    }
}

#[cfg(all(test, feature = "grammar"))]
mod tests {
    #[test]
    fn bytes_of_characters() {
        assert_eq!(super::byte_of('Ġ'), Some(b' '));
        assert_eq!(super::byte_of('Ċ'), Some(b'\n'));
        assert_eq!(super::byte_of('a'), Some(b'a'));
        assert_eq!(super::byte_of(' '), None);
        assert_eq!(super::byte_of('世'), None);
    }
}
