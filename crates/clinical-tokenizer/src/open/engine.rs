//! Tokenizers that run on the `tokenizers` crate, with what the fast classes of `transformers` change in them.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::class::{Class, class_of};
use super::{Opened, in_role_order};
use crate::added::AddedToken;
use crate::backend::Backend;
use crate::config::{Config, Named, ROLES};
use crate::engine::Engine;
use crate::engine::byte_level::{ByteLevelSettings, assemble};
use crate::engine::check::{Checked, check};
use crate::error::{Error, Result};
use crate::options::{LowerCase, OpenOptions};
use crate::resolution::{TokenizerKind, TokenizerRemark};

/// Names that special tokens usually have, for files that do not say.
const USUAL: [(&str, &[&str]); 7] = [
    ("bos", &["<s>", "<|begin_of_text|>"]),
    (
        "eos",
        &["</s>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"],
    ),
    ("unk", &["<unk>", "[UNK]"]),
    ("sep", &["[SEP]"]),
    ("pad", &["<pad>", "[PAD]"]),
    ("cls", &["[CLS]"]),
    ("mask", &["[MASK]", "<mask>"]),
];

/// A `tokenizer.json`. `named` says whether a `tokenizer_config.json` is there.
pub(crate) fn json(
    bytes: &[u8],
    name: &str,
    config: &Config,
    options: &OpenOptions,
    named: bool,
) -> Result<Opened> {
    let checked = check(bytes, name)?;
    let (class, unknown) = class_of(config);
    let mut remarks: Vec<TokenizerRemark> = unknown
        .into_iter()
        .map(|class| TokenizerRemark::UnknownClass { class })
        .collect();
    if checked.truncates {
        remarks.push(TokenizerRemark::TruncationIgnored);
    }
    if checked.pads {
        remarks.push(TokenizerRemark::PaddingIgnored);
    }
    let mut engine = Engine::new(bytes, &checked)?;
    change_normalizer(&mut engine, &checked, class, config, options, &mut remarks)?;
    change_prefix_space(&mut engine, &checked, class, config, named)?;
    let roles = add_tokens(&mut engine, class, config, &mut remarks)?;
    if class == Some(Class::Llama) {
        llama_template(&mut engine, config, &roles)?;
    }
    let kind = if checked.model_kind.is_empty() {
        "unnamed"
    } else {
        checked.model_kind.as_str()
    };
    let reason =
        format!("{kind} model of a fast tokenizer, run by the tokenizers crate as the file says");
    Ok(opened(
        engine,
        TokenizerKind::TokenizerJson,
        reason,
        roles,
        config,
        remarks,
    ))
}

/// A `vocab.json` with `merges.txt`.
pub(crate) fn pairs(
    vocabulary: &[u8],
    merges: &[u8],
    config: &Config,
    options: &OpenOptions,
) -> Result<Opened> {
    let merges = std::str::from_utf8(merges).map_err(|_| Error::NotText { file: "merges.txt" })?;
    let (class, unknown) = class_of(config);
    let mut remarks: Vec<TokenizerRemark> = unknown
        .into_iter()
        .map(|class| TokenizerRemark::UnknownClass { class })
        .collect();
    let class = class
        .filter(|class| matches!(class, Class::Roberta | Class::Gpt2))
        .unwrap_or_else(|| {
            let roberta = ["\"<s>\"", "\"</s>\"", "\"<mask>\""];
            let text = String::from_utf8_lossy(vocabulary);
            if roberta.iter().all(|token| text.contains(token)) {
                Class::Roberta
            } else {
                Class::Gpt2
            }
        });
    let usual = |role: &str| {
        class
            .default_roles()
            .iter()
            .find(|(name, _)| *name == role)
            .map(|(_, token)| (*token).to_owned())
    };
    let token = |role: &str| {
        config
            .role(role)
            .map(|token| token.content().to_owned())
            .or_else(|| usual(role))
    };
    let around = match class {
        Class::Roberta => token("cls").zip(token("sep")),
        _ => None,
    };
    let settings = ByteLevelSettings {
        add_prefix_space: config.add_prefix_space.unwrap_or(false),
        around,
        bos: token("bos").filter(|_| class == Class::Gpt2 && config.add_bos == Some(true)),
        added: Vec::new(),
    };
    let file = assemble(vocabulary, merges, &settings)?;
    let checked = check(&file, "vocab.json")?;
    let mut engine = Engine::new(&file, &checked)?;
    let config = &Config {
        class: config.class.clone(),
        ..config.clone()
    };
    let roles = add_tokens(&mut engine, Some(class), config, &mut remarks)?;
    let like = if class == Class::Roberta {
        "RobertaTokenizer"
    } else {
        "GPT2Tokenizer"
    };
    let reason = format!("byte-level BPE from vocab.json and merges.txt, used like {like}");
    let _ = options;
    Ok(opened(
        engine,
        TokenizerKind::ByteLevelBpe,
        reason,
        roles,
        config,
        remarks,
    ))
}

fn opened(
    engine: Engine,
    kind: TokenizerKind,
    reason: String,
    roles: Vec<(&'static str, String)>,
    config: &Config,
    mut remarks: Vec<TokenizerRemark>,
) -> Opened {
    let mut roles = roles;
    for (role, usual) in USUAL {
        if roles.iter().any(|(name, _)| *name == role) {
            continue;
        }
        // Only special tokens: a byte-level vocabulary may hold `<s>` as three letters that were merged.
        let found = usual.iter().find_map(|name| {
            Some((
                *name,
                engine
                    .token_to_id(name)
                    .filter(|&id| engine.is_special_id(id))?,
            ))
        });
        if let Some((token, id)) = found.filter(|_| config.raw.is_empty() && config.class.is_none())
        {
            remarks.push(TokenizerRemark::InferredSpecialToken {
                role,
                token: token.to_owned(),
                id,
            });
            roles.push((role, token.to_owned()));
        }
    }
    if engine.steps().is_none() {
        remarks.push(TokenizerRemark::DecoderNeedsAllTokens);
    }
    Opened {
        backend: Backend::Engine(Box::new(engine)),
        kind,
        reason,
        remarks,
        roles: in_role_order(roles),
        clean_up: config.clean_up.unwrap_or(false),
        model_file: None,
    }
}

/// Registers the added and special tokens of the configuration files (`PreTrainedTokenizerFast.__init__`).
fn add_tokens(
    engine: &mut Engine,
    class: Option<Class>,
    config: &Config,
    remarks: &mut Vec<TokenizerRemark>,
) -> Result<Vec<(&'static str, String)>> {
    let present: HashSet<String> = engine
        .added()
        .into_iter()
        .map(|(_, token)| token.content)
        .collect();
    let mut list: Vec<AddedToken> = match &config.decoder {
        Some(decoder) => decoder.iter().map(|(_, token)| token.clone()).collect(),
        None => config
            .added()
            .into_iter()
            .map(|(_, token)| token)
            .filter(|token| !present.contains(&token.content))
            .collect(),
    };
    let mut listed: HashSet<String> = list.iter().map(|token| token.content.clone()).collect();
    let mut roles: Vec<(&'static str, String)> = Vec::new();
    for role in ROLES {
        let usual =
            class.and_then(|class| class.default_roles().iter().find(|(name, _)| *name == role));
        // A usual name that the vocabulary does not hold is not added: that would give it an id without a row.
        let usual = usual
            .map(|(_, token)| *token)
            .filter(|token| engine.token_to_id(token).is_some());
        let Some(name) = config
            .role(role)
            .map(|token| token.content().to_owned())
            .or_else(|| usual.map(str::to_owned))
        else {
            continue;
        };
        if !listed.contains(&name) && !present.contains(&name) {
            let mut token = match config.role(role) {
                Some(Named::Token(token)) => token.clone(),
                _ => AddedToken::special(name.as_str()),
            };
            if class == Some(Class::Roberta)
                && role == "mask"
                && matches!(config.role(role), None | Some(Named::Name(_)))
            {
                token.lstrip = true;
            }
            listed.insert(name.clone());
            list.push(token);
        }
        roles.push((role, name));
    }
    for token in config.additional.iter().flatten() {
        let new = listed.insert(token.content().to_owned());
        match token {
            Named::Token(token) => list.push(token.clone()),
            Named::Name(name) if new && !present.contains(name) => {
                list.push(AddedToken::special(name.as_str()));
            }
            Named::Name(_) => {}
        }
    }
    if class == Some(Class::T5) {
        list.extend(sentinels(engine, config, &listed));
    }
    // What a role names is special, whatever its flags say.
    let special: HashSet<&str> = roles
        .iter()
        .map(|(_, name)| name.as_str())
        .chain(config.additional.iter().flatten().map(Named::content))
        .collect();
    for token in &mut list {
        token.special |= special.contains(token.content.as_str());
    }
    engine.add_tokens(&list)?;
    let declared = config
        .decoder
        .iter()
        .flatten()
        .map(|(id, token)| (*id, token.content.as_str()));
    for (id, name) in declared.chain(
        config
            .added_file
            .iter()
            .map(|(id, name)| (*id, name.as_str())),
    ) {
        if let Some(given) = engine.token_to_id(name).filter(|&given| given != id) {
            remarks.push(TokenizerRemark::AddedTokenMoved {
                token: name.to_owned(),
                declared: id,
                given,
            });
        }
    }
    Ok(roles)
}

/// The sentinels that a T5 tokenizer gets when the file has none: in increasing order, after all other tokens.
fn sentinels(engine: &Engine, config: &Config, listed: &HashSet<String>) -> Vec<AddedToken> {
    let mt5 = config.class.as_deref() == Some("MT5Tokenizer");
    let count = config.extra_ids.unwrap_or(if mt5 { 0 } else { 100 });
    if config
        .additional
        .iter()
        .flatten()
        .any(|token| token.content().contains("<extra_id_"))
    {
        return Vec::new();
    }
    let missing = |name: &String| engine.token_to_id(name).is_none() && !listed.contains(name);
    (0..count)
        .map(|i| format!("<extra_id_{i}>"))
        .filter(missing)
        .map(AddedToken::special)
        .collect()
}

/// BERT: `do_lower_case` and its companions in `tokenizer_config.json` stand above the normalizer of the file.
fn change_normalizer(
    engine: &mut Engine,
    checked: &Checked,
    class: Option<Class>,
    config: &Config,
    options: &OpenOptions,
    remarks: &mut Vec<TokenizerRemark>,
) -> Result<()> {
    let Some(Value::Object(old)) = &checked.normalizer else {
        return Ok(());
    };
    if old.get("type").and_then(Value::as_str) != Some("BertNormalizer") {
        return Ok(());
    }
    let mut new = old.clone();
    match (options.lower_case, config.lower_case) {
        (LowerCase::Always | LowerCase::Never, _) => {
            let lower_case = options.lower_case == LowerCase::Always;
            new.insert("lowercase".into(), json!(lower_case));
            remarks.push(TokenizerRemark::CaseChosen { lower_case });
        }
        (_, Some(lower_case)) if class == Some(Class::Bert) => {
            new.insert("lowercase".into(), json!(lower_case));
            new.insert("strip_accents".into(), json!(config.strip_accents));
            new.insert(
                "handle_chinese_chars".into(),
                json!(config.split_ideographs.unwrap_or(true)),
            );
            if new != *old {
                remarks.push(TokenizerRemark::NormalizerChanged);
            }
        }
        _ => {}
    }
    if new != *old {
        engine.set_normalizer(Value::Object(new))?;
    }
    Ok(())
}

/// Byte-level tokenizers put a blank before the text only if `tokenizer_config.json` says so.
fn change_prefix_space(
    engine: &mut Engine,
    checked: &Checked,
    class: Option<Class>,
    config: &Config,
    named: bool,
) -> Result<()> {
    let Some(Value::Object(old)) = &checked.pre_tokenizer else {
        return Ok(());
    };
    let applies = (named || class.is_some()) && !matches!(class, Some(Class::Llama | Class::T5));
    let wanted = config.add_prefix_space.unwrap_or(false);
    let byte_level = old.get("type").and_then(Value::as_str) == Some("ByteLevel");
    if applies
        && byte_level
        && old
            .get("add_prefix_space")
            .and_then(Value::as_bool)
            .is_some_and(|now| now != wanted)
    {
        let mut new = old.clone();
        new.insert("add_prefix_space".into(), json!(wanted));
        engine.set_pre_tokenizer(Value::Object(new))?;
    }
    Ok(())
}

/// `LlamaTokenizerFast` puts `<s>` and `</s>` around a text by its own switches, whatever the file says.
fn llama_template(
    engine: &mut Engine,
    config: &Config,
    roles: &[(&'static str, String)],
) -> Result<()> {
    let token = |role: &str| {
        roles
            .iter()
            .find(|(name, _)| *name == role)
            .map(|(_, token)| token.clone())
    };
    let bos = token("bos").filter(|_| config.add_bos.unwrap_or(true));
    let eos = token("eos").filter(|_| config.add_eos.unwrap_or(false));
    let mut tokens = serde_json::Map::new();
    let (mut single, mut pair) = (Vec::new(), Vec::new());
    for (sequence, type_id) in [("A", 0), ("B", 1)] {
        let mut pieces = Vec::new();
        let special = |name: &String| json!({"SpecialToken": {"id": name, "type_id": type_id}});
        pieces.extend(bos.as_ref().map(special));
        pieces.push(json!({"Sequence": {"id": sequence, "type_id": type_id}}));
        pieces.extend(eos.as_ref().map(special));
        if sequence == "A" {
            single.clone_from(&pieces);
        }
        pair.extend(pieces);
    }
    for name in bos.iter().chain(&eos) {
        let Some(id) = engine.token_to_id(name) else {
            return Ok(());
        };
        tokens.insert(
            name.clone(),
            json!({"id": name, "ids": [id], "tokens": [name]}),
        );
    }
    engine.set_post_processor(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}))
}
