//! Puts the `tokenizer.json` together that `transformers` makes from `vocab.json` and `merges.txt` (GPT-2, RoBERTa).

use serde_json::{Map, Value, json};

use crate::added::AddedToken;
use crate::error::{Error, Result};

/// What the two files do not say.
#[derive(Debug, Clone)]
pub(crate) struct ByteLevelSettings {
    /// A blank before the text.
    pub(crate) add_prefix_space: bool,
    /// The tokens `<s>` and `</s>` around a text, as RoBERTa has them.
    pub(crate) around: Option<(String, String)>,
    /// Only a BOS token, as GPT-2 has it on request.
    pub(crate) bos: Option<String>,
    pub(crate) added: Vec<AddedToken>,
}

/// The content of a `tokenizer.json`.
pub(crate) fn assemble(
    vocabulary: &[u8],
    merges: &str,
    settings: &ByteLevelSettings,
) -> Result<Vec<u8>> {
    let vocabulary: Map<String, Value> =
        serde_json::from_slice(vocabulary).map_err(|error| Error::json("vocab.json", &error))?;
    // `transformers` drops the first line (`#version: 0.2`) and what follows the last line end.
    let lines: Vec<&str> = merges.split('\n').collect();
    let mut pairs = Vec::with_capacity(lines.len());
    for (i, line) in lines
        .iter()
        .enumerate()
        .take(lines.len().saturating_sub(1))
        .skip(1)
    {
        match line.strip_suffix('\r').unwrap_or(line).split_once(' ') {
            Some((left, right))
                if !left.is_empty() && !right.is_empty() && !right.contains(' ') =>
            {
                pairs.push(json!([left, right]))
            }
            _ => return Err(Error::MergeLine { line: i + 1 }),
        }
    }
    let id = |name: &str| vocabulary.get(name).and_then(Value::as_u64);
    let around = settings.around.as_ref().map(|(cls, sep)| {
        let missing = |token: &str| Error::MissingToken {
            token: token.to_owned(),
            kind: "RoBERTa",
        };
        Ok::<_, Error>(json!({
            "type": "RobertaProcessing",
            "sep": [sep, id(sep).ok_or_else(|| missing(sep))?],
            "cls": [cls, id(cls).ok_or_else(|| missing(cls))?],
            "trim_offsets": true,
            "add_prefix_space": settings.add_prefix_space,
        }))
    });
    let post_processor = match around {
        Some(processor) => processor?,
        None => {
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true})
        }
    };
    // Added tokens that the vocabulary already holds keep their ids; the engine numbers the others after it.
    let mut next = vocabulary.len() as u64;
    let added: Vec<Value> = settings
        .added
        .iter()
        .map(|token| {
            let id = id(&token.content).unwrap_or_else(|| {
                next += 1;
                next - 1
            });
            json!({"id": id, "content": token.content, "single_word": token.single_word, "lstrip": token.lstrip,
                   "rstrip": token.rstrip, "normalized": token.normalized, "special": token.special})
        })
        .collect();
    let post_processor = match &settings.bos {
        None => post_processor,
        Some(bos) => {
            let id = id(bos).ok_or_else(|| Error::MissingToken {
                token: bos.clone(),
                kind: "GPT-2",
            })?;
            let (bos_piece, first) = (
                json!({"SpecialToken": {"id": bos, "type_id": 0}}),
                json!({"Sequence": {"id": "A", "type_id": 0}}),
            );
            json!({
                "type": "TemplateProcessing",
                "single": [bos_piece, first],
                "pair": [bos_piece, first, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {bos: {"id": bos, "ids": [id], "tokens": [bos]}},
            })
        }
    };
    let file = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": settings.add_prefix_space, "trim_offsets": true, "use_regex": true},
        "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": pairs,
        },
    });
    serde_json::to_vec(&file).map_err(|error| Error::json("vocab.json", &error))
}
