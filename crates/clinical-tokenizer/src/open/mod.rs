//! Opening: which file of a directory is used, and what the files beside it say.

mod class;
mod engine;
mod slow;
mod vocabulary;

use std::path::Path;
use std::sync::Arc;

use crate::backend::Backend;
use crate::config::{Config, ROLES, Sources};
use crate::error::{Error, Result};
use crate::files::{read_config, read_model};
use crate::inner::{Inner, SpecialIds};
use crate::options::{OpenOptions, Prefer};
use crate::resolution::{Resolution, TokenizerKind, TokenizerRemark};
use crate::sentencepiece::{Family, SentencePieceModel, SentencePieceOptions};
use crate::vocabulary::Vocabulary;

/// The tokenizer files that are known, and the order in which `transformers` takes them.
const FAST: [&str; 5] = [
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.txt",
    "vocab.json",
];
/// The same with the slow tokenizers first.
const SLOW: [&str; 5] = [
    "tokenizer.model",
    "spiece.model",
    "vocab.txt",
    "tokenizer.json",
    "vocab.json",
];

/// The chat template of a directory that keeps it in a file of its own.
pub(crate) const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// The folder of further chat templates, each in a file `NAME.jinja`.
pub(crate) const CHAT_TEMPLATES: &str = "additional_chat_templates";

/// Most further chat templates that are read. Published models have up to three.
const MAX_TEMPLATES: usize = 64;

/// The names under which a directory's files are read. [`files_of`] adds those of further chat templates.
pub const FILES: [&str; 11] = [
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "config.json",
    "chat_template.jinja",
];

/// The names of a directory's files that are read when its tokenizer is opened, as far as they are there: for callers
/// who look at untrusted files (links that leave the directory) before they are opened.
pub fn files_of(directory: impl AsRef<Path>) -> Vec<String> {
    let directory = directory.as_ref();
    let known = FILES.into_iter().map(str::to_owned);
    let further = further_templates(directory)
        .into_iter()
        .map(|name| format!("{CHAT_TEMPLATES}/{name}.jinja"));
    known
        .chain(further)
        .filter(|name| directory.join(name).symlink_metadata().is_ok())
        .collect()
}

/// The names of further chat templates, in order.
fn further_templates(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory.join(CHAT_TEMPLATES)) else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_suffix(".jinja")?.to_owned())
    });
    let mut names: Vec<String> = names.take(MAX_TEMPLATES).collect();
    names.sort();
    names
}

/// A backend with what was found out on the way.
pub(crate) struct Opened {
    backend: Backend,
    kind: TokenizerKind,
    reason: String,
    remarks: Vec<TokenizerRemark>,
    /// Names of the special tokens by role.
    roles: Vec<(&'static str, String)>,
    clean_up: bool,
    model_file: Option<Arc<[u8]>>,
}

/// Opens a directory.
pub(crate) fn directory(directory: &Path, options: &OpenOptions) -> Result<Inner> {
    if !directory.is_dir() {
        return Err(Error::NotADirectory {
            path: directory.to_owned(),
        });
    }
    let order = match options.prefer {
        Prefer::Fast => FAST,
        Prefer::Slow => SLOW,
    };
    let present: Vec<&str> = order
        .into_iter()
        .filter(|name| directory.join(name).is_file())
        .collect();
    let Some((&name, others)) = present.split_first() else {
        let mut named = order.iter().map(|name| directory.join(name));
        return Err(match named.find(|path| path.symlink_metadata().is_ok()) {
            // A link to nothing, for example, which a half-finished download leaves.
            Some(path) => Error::NotAFile { path },
            None => Error::NoTokenizer {
                path: directory.to_owned(),
            },
        });
    };
    let mut inner = open(directory, name, options)?;
    let others = others.iter().map(|file| TokenizerRemark::AlsoPresent {
        file: (*file).to_owned(),
    });
    inner.resolution.remarks.extend(others);
    Ok(inner)
}

/// Opens one file.
pub(crate) fn file(file: &Path, options: &OpenOptions) -> Result<Inner> {
    let name = file.file_name().and_then(|name| name.to_str());
    match name {
        Some(name) if kind_of(name).is_some() => {
            open(file.parent().unwrap_or(Path::new("")), name, options)
        }
        _ => Err(Error::UnknownFileKind {
            path: file.to_owned(),
        }),
    }
}

#[derive(Clone, Copy)]
enum FileKind {
    Json,
    SentencePiece,
    Words,
    Pairs,
}

fn kind_of(name: &str) -> Option<FileKind> {
    match name {
        "vocab.json" => Some(FileKind::Pairs),
        _ if name.ends_with(".json") => Some(FileKind::Json),
        // Mistral names its files `tokenizer.model.v1` and so on.
        _ if name.ends_with(".model") || name.contains(".model.v") => Some(FileKind::SentencePiece),
        _ if name.ends_with(".txt") => Some(FileKind::Words),
        _ => None,
    }
}

fn open(directory: &Path, name: &str, options: &OpenOptions) -> Result<Inner> {
    let bytes = read_model(&directory.join(name))?;
    let tokenizer_config = read_config(directory.join("tokenizer_config.json"))?;
    let special_tokens_map = read_config(directory.join("special_tokens_map.json"))?;
    let added_tokens = read_config(directory.join("added_tokens.json"))?;
    let model_config = read_config(directory.join("config.json"))?;
    let config = Config::read(Sources {
        tokenizer_config: tokenizer_config.as_deref(),
        special_tokens_map: special_tokens_map.as_deref(),
        added_tokens: added_tokens.as_deref(),
        model_config: model_config.as_deref(),
    })?;
    let opened = match kind_of(name) {
        Some(FileKind::SentencePiece) => slow::sentencepiece(bytes, &config, options)?,
        Some(FileKind::Words) => slow::words(bytes, &config, options)?,
        Some(FileKind::Pairs) => {
            let merges = directory.join("merges.txt");
            let merges = match merges.is_file() {
                true => read_model(&merges)?,
                false => Vec::new(),
            };
            if !has_merges(&merges) {
                return Err(Error::NoMerges {
                    path: directory.to_owned(),
                });
            }
            engine::pairs(&bytes, &merges, &config, options)?
        }
        Some(FileKind::Json) | None => {
            engine::json(&bytes, name, &config, options, tokenizer_config.is_some())?
        }
    };
    let (templates, odd) = template_files(directory)?;
    let mut inner = finish(opened, name, config, options);
    if !templates.is_empty() {
        inner.chat_templates = templates;
    }
    let unreadable = |file| TokenizerRemark::ChatTemplateUnreadable { file };
    inner
        .resolution
        .remarks
        .extend(odd.into_iter().map(unreadable));
    inner
        .resolution
        .remarks
        .extend(no_default(&inner.chat_templates));
    Ok(inner)
}

/// Whether a line of `merges.txt` is more than its heading: without merges each byte would be a token.
fn has_merges(file: &[u8]) -> bool {
    let mut lines = file.split(|byte| *byte == b'\n');
    lines.any(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#version"))
}

/// The chat templates that have files of their own, by name, and those files that are no text.
#[allow(clippy::type_complexity)] // two lists
fn template_files(directory: &Path) -> Result<(Vec<(String, String)>, Vec<String>)> {
    let (mut templates, mut odd) = (Vec::new(), Vec::new());
    let further = further_templates(directory).into_iter().map(|name| {
        let file = format!("{CHAT_TEMPLATES}/{name}.jinja");
        (name, file)
    });
    let first = ("default".to_owned(), CHAT_TEMPLATE.to_owned());
    for (name, file) in std::iter::once(first).chain(further) {
        let Some(bytes) = read_config(directory.join(&file))? else {
            continue;
        };
        match String::from_utf8(bytes) {
            Ok(text) => templates.push((name, text)),
            Err(_) => odd.push(file),
        }
    }
    Ok((templates, odd))
}

/// Templates without one that is used unless another is asked for.
fn no_default(templates: &[(String, String)]) -> Option<TokenizerRemark> {
    let names: Vec<String> = templates.iter().map(|(name, _)| name.clone()).collect();
    let missing = !names.is_empty() && !names.iter().any(|name| name == "default");
    missing.then_some(TokenizerRemark::NoDefaultChatTemplate { names })
}

/// Makes a tokenizer from bytes.
pub(crate) fn bytes(json: &[u8], config: Option<&[u8]>, options: &OpenOptions) -> Result<Inner> {
    let config = Config::read(Sources {
        tokenizer_config: config,
        ..Sources::default()
    })?;
    let named = !config.raw.is_empty();
    let opened = engine::json(json, "tokenizer.json", &config, options, named)?;
    let mut inner = finish(opened, "tokenizer.json", config, options);
    inner
        .resolution
        .remarks
        .extend(no_default(&inner.chat_templates));
    Ok(inner)
}

/// Makes a BERT tokenizer from the bytes of a `vocab.txt`; `name` says where they are from.
pub(crate) fn words(lines: Vec<u8>, config: Option<&[u8]>, name: &'static str) -> Result<Inner> {
    let config = Config::read(Sources {
        tokenizer_config: config,
        ..Sources::default()
    })?;
    let options = OpenOptions::default();
    let opened = slow::words(lines, &config, &options)?;
    Ok(finish(opened, name, config, &options))
}

/// Makes a tokenizer from a SentencePiece model.
pub(crate) fn model(model: SentencePieceModel, options: &SentencePieceOptions) -> Result<Inner> {
    let opened = slow::from_model(
        model,
        options,
        "the caller chose the rules".to_owned(),
        Vec::new(),
        None,
    )?;
    let config = Config {
        class: Some(match options.family {
            Family::Llama => "LlamaTokenizer".into(),
            Family::T5 => "T5Tokenizer".into(),
        }),
        ..Config::default()
    };
    Ok(finish(opened, "(model)", config, &OpenOptions::default()))
}

/// Makes a tokenizer from the parts that another container holds.
pub(crate) fn vocabulary(vocabulary: &Vocabulary, options: &OpenOptions) -> Result<Inner> {
    let (opened, config) = vocabulary::open(vocabulary, options)?;
    Ok(finish(opened, "(vocabulary)", config, options))
}

/// The same, with the `tokenizer.json` of a directory for what the vocabulary does not say.
pub(crate) fn vocabulary_in(
    vocabulary: &Vocabulary,
    directory: &Path,
    options: &OpenOptions,
) -> Result<Inner> {
    /// The file that says it all.
    const FILE: &str = "tokenizer.json";
    let missing = match self::vocabulary(vocabulary, options) {
        Err(error @ (Error::PreTokenizer { .. } | Error::NoVocabularyMerges)) => error,
        other => return other,
    };
    if !directory.join(FILE).is_file() {
        return Err(missing);
    }
    let mut inner = open(directory, FILE, options)?;
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        // Converters fill up ids that have no token, as `[PAD151643]`.
        let found = inner.backend.id_to_token(id as u32);
        if found.is_some_and(|found| found != *token) {
            return Err(Error::OtherTokens { id });
        }
    }
    if inner.chat_templates.is_empty() {
        inner.chat_templates = named(vocabulary.chat_template.as_ref());
    }
    let remark = TokenizerRemark::FileBesideVocabulary;
    inner.resolution.remarks.push(remark);
    Ok(inner)
}

/// A chat template without a name.
pub(crate) fn named(template: Option<&String>) -> Vec<(String, String)> {
    let named = |template: &String| ("default".to_owned(), template.clone());
    template.map(named).into_iter().collect()
}

/// Puts the tokenizer together.
fn finish(opened: Opened, file: &str, config: Config, options: &OpenOptions) -> Inner {
    let Opened {
        mut backend,
        kind,
        reason,
        mut remarks,
        roles,
        clean_up,
        model_file,
    } = opened;
    let special = special_ids(&backend, &roles);
    remarks.extend(beyond_model(&backend));
    remarks.extend(wrong_ids(&config, &special));
    if config.split_special == Some(true) {
        backend.split_special();
        remarks.push(TokenizerRemark::SpecialTokensSplit);
    }
    if config.odd_template {
        remarks.push(TokenizerRemark::ChatTemplateUnreadable {
            file: "tokenizer_config.json".to_owned(),
        });
    }
    let resolution = Resolution {
        kind,
        file: file.to_owned(),
        reason,
        class: config.class.clone(),
        remarks,
    };
    Inner {
        special,
        role_names: roles,
        clean_up: options.clean_up.unwrap_or(clean_up),
        max_text_bytes: options.max_text_bytes,
        chat_templates: config.chat_templates.clone(),
        resolution,
        config,
        model_file,
        backend,
    }
}

fn special_ids(backend: &Backend, roles: &[(&'static str, String)]) -> SpecialIds {
    let id = |role: &str| {
        roles
            .iter()
            .find(|(name, _)| *name == role)
            .and_then(|(_, token)| backend.token_to_id(token))
    };
    let mut special = SpecialIds {
        bos: id("bos"),
        eos: id("eos").into_iter().collect(),
        pad: id("pad"),
        unk: id("unk"),
        mask: id("mask"),
        cls: id("cls"),
        sep: id("sep"),
        additional: Vec::new(),
    };
    let others = backend.added().into_iter().filter(|(id, token)| {
        let known = special.all().any(|own| own == *id);
        !known
            && (token.special || backend.is_special_name(&token.content))
            && backend.is_special(*id)
    });
    special.additional = others.map(|(id, _)| id).collect();
    special
}

/// Tokens beyond the model file, which an embedding may have no rows for.
fn beyond_model(backend: &Backend) -> Option<TokenizerRemark> {
    let base = backend.base_size();
    let ids: Vec<u32> = backend
        .added()
        .into_iter()
        .map(|(id, _)| id)
        .filter(|&id| id >= base)
        .collect();
    Some(TokenizerRemark::BeyondModel {
        count: ids.len(),
        first: *ids.first()?,
        last: *ids.last()?,
    })
}

/// Ids in `config.json` that contradict the tokenizer.
fn wrong_ids(config: &Config, special: &SpecialIds) -> Vec<TokenizerRemark> {
    let own = [
        ("bos", special.bos),
        ("eos", special.eos.first().copied()),
        ("pad", special.pad),
    ];
    let note = |(role, own): (&'static str, Option<u32>)| {
        let tokenizer = own?;
        let config = *config
            .model_ids
            .iter()
            .find(|(name, _)| *name == role)
            .map(|(_, id)| id)?;
        (config != i64::from(tokenizer)).then_some(TokenizerRemark::WrongIdInConfig {
            role,
            config,
            tokenizer,
        })
    };
    own.into_iter().filter_map(note).collect()
}

/// Keeps the roles in the order of `transformers`.
pub(crate) fn in_role_order(mut roles: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    roles.sort_by_key(|(role, _)| ROLES.iter().position(|name| name == role));
    roles
}
