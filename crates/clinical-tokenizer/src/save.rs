//! Writing a tokenizer so that this crate and `transformers` open it again with the same ids.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::added::AddedToken;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::files::write;
use crate::inner::Inner;
use crate::open::{CHAT_TEMPLATE, CHAT_TEMPLATES};
use crate::sentencepiece::Family;

pub(crate) fn save(inner: &Inner, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).map_err(|source| Error::Write {
        path: directory.to_owned(),
        source,
    })?;
    match &inner.backend {
        Backend::SentencePiece(slow) => {
            let name = match slow.family {
                Family::T5 => "spiece.model",
                Family::Llama => "tokenizer.model",
            };
            match &inner.model_file {
                Some(bytes) => write(directory, name, bytes)?,
                None => write(directory, name, &slow.processor.model.to_bytes())?,
            }
        }
        Backend::Bert(slow) => {
            let mut text = slow.lines.join("\n");
            text.push('\n');
            write(directory, "vocab.txt", text.as_bytes())?;
        }
        Backend::Engine(engine) => {
            write(directory, "tokenizer.json", engine.to_json()?.as_bytes())?
        }
    }
    write_json(directory, "tokenizer_config.json", &tokenizer_config(inner))?;
    write_json(
        directory,
        "special_tokens_map.json",
        &Value::Object(special_tokens_map(inner)),
    )?;
    let base = inner.backend.base_size();
    let beyond: Map<String, Value> = inner
        .backend
        .added()
        .into_iter()
        .filter(|(id, _)| *id >= base)
        .map(|(id, token)| (token.content, json!(id)))
        .collect();
    if !beyond.is_empty() || directory.join("added_tokens.json").exists() {
        write_json(directory, "added_tokens.json", &Value::Object(beyond))?;
    }
    save_templates(inner, directory)
}

/// Templates that `tokenizer_config.json` does not hold go into files of their own, as `transformers` writes them.
fn save_templates(inner: &Inner, directory: &Path) -> Result<()> {
    if inner.chat_templates == inner.config.chat_templates
        && inner.config.raw.contains_key("chat_template")
    {
        return Ok(());
    }
    for (name, template) in &inner.chat_templates {
        if name == "default" {
            write(directory, CHAT_TEMPLATE, template.as_bytes())?;
            continue;
        }
        let folder = directory.join(CHAT_TEMPLATES);
        std::fs::create_dir_all(&folder).map_err(|source| Error::Write {
            path: folder.clone(),
            source,
        })?;
        write(&folder, &format!("{name}.jinja"), template.as_bytes())?;
    }
    Ok(())
}

fn write_json(directory: &Path, name: &str, value: &Value) -> Result<()> {
    let mut text =
        serde_json::to_string_pretty(value).map_err(|error| Error::json(name, &error))?;
    text.push('\n');
    write(directory, name, text.as_bytes())
}

/// What was read, with what is in force written over it.
fn tokenizer_config(inner: &Inner) -> Value {
    let mut config = inner.config.raw.clone();
    let mut set = |key: &str, value: Value| {
        config.insert(key.to_owned(), value);
    };
    match &inner.backend {
        Backend::SentencePiece(slow) => {
            set("legacy", json!(slow.legacy));
            set("add_prefix_space", json!(slow.add_prefix_space));
            match slow.family {
                Family::Llama => {
                    set("tokenizer_class", json!("LlamaTokenizer"));
                    set("add_bos_token", json!(slow.add_bos));
                    set("add_eos_token", json!(slow.add_eos));
                }
                Family::T5 => {
                    set("tokenizer_class", json!("T5Tokenizer"));
                    set("extra_ids", json!(slow.sentinels));
                }
            }
        }
        Backend::Bert(slow) => {
            set("tokenizer_class", json!("BertTokenizer"));
            set("do_lower_case", json!(slow.settings.lower_case));
            set("do_basic_tokenize", json!(slow.settings.basic));
            set(
                "tokenize_chinese_chars",
                json!(slow.settings.split_ideographs),
            );
            set("strip_accents", json!(slow.settings.strip_accents));
        }
        Backend::Engine(_) => {
            let class = inner
                .config
                .class
                .as_deref()
                .unwrap_or("PreTrainedTokenizer");
            set("tokenizer_class", json!(format!("{class}Fast")));
        }
    }
    set("clean_up_tokenization_spaces", json!(inner.clean_up));
    for role in &inner.role_names {
        set(&format!("{}_token", role.0), json!(role.1));
    }
    set("additional_special_tokens", json!(additional(inner)));
    let added: Map<String, Value> = inner
        .backend
        .added()
        .into_iter()
        .map(|(id, token)| (id.to_string(), object(&token)))
        .collect();
    set("added_tokens_decoder", Value::Object(added));
    Value::Object(config)
}

pub(crate) fn special_tokens_map(inner: &Inner) -> Map<String, Value> {
    let mut map: Map<String, Value> = inner
        .role_names
        .iter()
        .map(|(role, token)| (format!("{role}_token"), json!(token)))
        .collect();
    let additional = additional(inner);
    if !additional.is_empty() {
        map.insert("additional_special_tokens".to_owned(), json!(additional));
    }
    map
}

/// Names of the special tokens that have no role.
fn additional(inner: &Inner) -> Vec<String> {
    inner
        .special
        .additional
        .iter()
        .filter_map(|&id| inner.backend.id_to_token(id))
        .collect()
}

fn object(token: &AddedToken) -> Value {
    json!({
        "content": token.content,
        "lstrip": token.lstrip,
        "normalized": token.normalized,
        "rstrip": token.rstrip,
        "single_word": token.single_word,
        "special": token.special,
    })
}
