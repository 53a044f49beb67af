//! The tokenizer inside a GGUF file.

use clinical_tokenizer::Vocabulary;

use super::Gguf;
use super::reader::Value;
use crate::Error;
use crate::limits::MAX_VOCABULARY;
use clinical_files::shown;

const ROLES: [(&str, &str); 8] = [
    ("bos", "bos_token_id"),
    ("eos", "eos_token_id"),
    ("unk", "unknown_token_id"),
    // Misspelled in the format itself, and later put right.
    ("sep", "seperator_token_id"),
    ("sep", "separator_token_id"),
    ("pad", "padding_token_id"),
    ("cls", "cls_token_id"),
    ("mask", "mask_token_id"),
];

/// What ends a generation in llama.cpp, beside the names of tokens.
const ENDS: [&str; 6] = [
    "eos_token_id",
    "eot_token_id",
    "eom_token_id",
    "fim_pad_token_id",
    "fim_rep_token_id",
    "fim_sep_token_id",
];

/// The ids under those keys.
pub(super) fn ends(file: &Gguf) -> Vec<u32> {
    let mut found = Vec::new();
    for key in ENDS {
        let id = file.number(&format!("tokenizer.ggml.{key}"));
        if let Some(id) = id.and_then(|id| u32::try_from(id).ok())
            && !found.contains(&id)
        {
            found.push(id);
        }
    }
    found
}

/// The parts of a tokenizer, which a GGUF file has under `tokenizer.ggml.*`.
pub(super) fn read(file: &Gguf) -> Result<Vocabulary, Error> {
    let model = file.need("tokenizer.ggml.model", "a text", Gguf::text)?;
    let tokens = texts(file, "tokens")?.ok_or_else(|| Error::GgufMetadata {
        key: "tokenizer.ggml.tokens".to_owned(),
        problem: "is missing".to_owned(),
    })?;
    let scores = numbers(file, "scores", tokens.len())?;
    let kinds = numbers(file, "token_type", tokens.len())?;
    let mut roles: Vec<(&'static str, u32)> = Vec::new();
    for (role, key) in ROLES {
        let key = format!("tokenizer.ggml.{key}");
        let Some(id) = file.number(&key) else {
            continue;
        };
        let id = u32::try_from(id)
            .ok()
            .filter(|id| (*id as usize) < tokens.len())
            .ok_or_else(|| Error::GgufMetadata {
                problem: format!("is {id}, beyond the {} tokens", tokens.len()),
                key,
            })?;
        if !roles.iter().any(|(known, _)| *known == role) {
            roles.push((role, id));
        }
    }
    let flag = |key: &str| file.flag(&format!("tokenizer.ggml.{key}"));
    Ok(Vocabulary {
        model: model.to_owned(),
        pre: file.text("tokenizer.ggml.pre").map(str::to_owned),
        scores: scores.into_iter().map(|score| score as f32).collect(),
        // A number that is none of the kinds is refused by the tokenizer.
        kinds: kinds.into_iter().map(|kind| kind as u32).collect(),
        merges: texts(file, "merges")?.unwrap_or_default(),
        roles,
        add_bos: flag("add_bos_token"),
        add_eos: flag("add_eos_token"),
        add_space_prefix: flag("add_space_prefix"),
        chat_template: file.text("tokenizer.chat_template").map(str::to_owned),
        tokens,
    })
}

fn texts(file: &Gguf, key: &str) -> Result<Option<Vec<String>>, Error> {
    let key = format!("tokenizer.ggml.{key}");
    let array = match file.values.get(&key) {
        None => return Ok(None),
        Some(Value::Array(array)) => array,
        Some(_) => return Err(wrong(&key, "is not an array of texts")),
    };
    // Merges are a few times as many as tokens.
    if array.count() > 4 * MAX_VOCABULARY as u64 {
        return Err(Error::TooMany {
            path: file.path.clone(),
            what: "tokens or merges",
            limit: 4 * MAX_VOCABULARY,
        });
    }
    let texts = array
        .texts(&file.path, &file.bytes)
        .ok_or_else(|| wrong(&key, "is not an array of texts"))?;
    texts
        .map(|text| text.map(str::to_owned))
        .collect::<Result<_, _>>()
        .map(Some)
}

/// An array with one number for each token, empty if it is not there.
fn numbers(file: &Gguf, key: &str, tokens: usize) -> Result<Vec<f64>, Error> {
    let key = format!("tokenizer.ggml.{key}");
    let array = match file.values.get(&key) {
        None => return Ok(Vec::new()),
        Some(Value::Array(array)) => array,
        Some(_) => return Err(wrong(&key, "is not an array of numbers")),
    };
    if array.count() != tokens as u64 {
        return Err(wrong(
            &key,
            &format!("has {} entries for {tokens} tokens", array.count()),
        ));
    }
    array
        .numbers(&file.bytes)
        .ok_or_else(|| wrong(&key, "is not an array of numbers"))
}

fn wrong(key: &str, problem: &str) -> Error {
    Error::GgufMetadata {
        key: shown(key),
        problem: problem.to_owned(),
    }
}
