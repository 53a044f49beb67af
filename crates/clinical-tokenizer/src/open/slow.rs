//! Tokenizers that follow the slow ones of `transformers`: SentencePiece models and `vocab.txt`.

use std::sync::Arc;

use super::class::{Class, class_of};
use super::{Opened, in_role_order};
use crate::added::AddedToken;
use crate::backend::Backend;
use crate::config::{Config, Named};
use crate::error::{Error, Result};
use crate::options::{LowerCase, OpenOptions};
use crate::resolution::{TokenizerKind, TokenizerRemark};
use crate::sentencepiece::slow::SlowSentencePiece;
use crate::sentencepiece::{Family, SentencePieceKind, SentencePieceModel, SentencePieceOptions};
use crate::wordpiece::{BertRoles, BertSettings, SlowBert, is_cased, read_vocabulary};

/// A SentencePiece model with the configuration beside it.
pub(crate) fn sentencepiece(
    bytes: Vec<u8>,
    config: &Config,
    options: &OpenOptions,
) -> Result<Opened> {
    let model = SentencePieceModel::from_bytes(&bytes)?;
    let mut remarks = Vec::new();
    let (class, unknown) = class_of(config);
    let family = match class {
        Some(Class::T5) => Family::T5,
        Some(Class::Llama) => Family::Llama,
        _ => SentencePieceOptions::for_model(&model).family,
    };
    if let Some(class) = unknown.or_else(|| {
        config
            .class
            .clone()
            .filter(|_| !matches!(class, None | Some(Class::T5 | Class::Llama)))
    }) {
        remarks.push(TokenizerRemark::UnknownClass { class });
    }
    let mut own = match family {
        Family::T5 => SentencePieceOptions::t5(),
        Family::Llama => SentencePieceOptions::llama(),
    };
    own.legacy = options.legacy.or(config.legacy).unwrap_or(true);
    if options.legacy.or(config.legacy).is_none() {
        remarks.push(TokenizerRemark::LegacyAssumed);
    }
    own.add_bos = config.add_bos.unwrap_or(own.add_bos);
    own.add_eos = config.add_eos.unwrap_or(own.add_eos);
    own.add_prefix_space = config.add_prefix_space.unwrap_or(true);
    own.added = config.added();
    own.bos = role(config, &model, "bos", model.bos(), &mut remarks);
    own.eos = role(config, &model, "eos", model.eos(), &mut remarks);
    own.unk = role(config, &model, "unk", Some(model.unk()), &mut remarks);
    own.pad = role(config, &model, "pad", model.pad(), &mut remarks);
    for token in config.additional.iter().flatten() {
        match token {
            Named::Name(name) => own.named_additional.push(name.clone()),
            Named::Token(token) => own.additional.push(token.clone()),
        }
    }
    // Roles that these tokenizers do not use are special all the same.
    for name in ["sep", "cls", "mask"] {
        own.named_additional
            .extend(config.role(name).map(|token| token.content().to_owned()));
    }
    if family == Family::T5 {
        own.extra_ids = extra_ids(config, &mut remarks);
    }
    let what = match model.kind() {
        SentencePieceKind::Unigram => "unigram",
        SentencePieceKind::Bpe => "BPE",
    };
    let rules = match family {
        Family::T5 => "T5Tokenizer",
        Family::Llama => "LlamaTokenizer",
    };
    let why = match (&config.class, &config.model_type, class) {
        (Some(class), _, Some(Class::T5 | Class::Llama)) => {
            format!("tokenizer_config.json names {class}")
        }
        (_, Some(kind), Some(Class::T5 | Class::Llama)) => format!("config.json says {kind}"),
        _ => format!("{what} models usually belong to it"),
    };
    let reason = format!(
        "SentencePiece {what} model, used like the slow {rules} (legacy {}): {why}",
        own.legacy
    );
    let mut opened = from_model(model, &own, reason, remarks, Some(bytes.into()))?;
    opened.clean_up = config.clean_up.unwrap_or(false);
    Ok(opened)
}

/// A SentencePiece model with options.
pub(crate) fn from_model(
    model: SentencePieceModel,
    options: &SentencePieceOptions,
    reason: String,
    remarks: Vec<TokenizerRemark>,
    file: Option<Arc<[u8]>>,
) -> Result<Opened> {
    let slow = SlowSentencePiece::new(model, options)?;
    let ids = [
        ("bos", slow.roles.bos),
        ("eos", slow.roles.eos),
        ("unk", slow.roles.unk),
        ("pad", slow.roles.pad),
    ];
    let named =
        |(role, id): (&'static str, Option<u32>)| Some((role, slow.id_to_token(id?)?.to_owned()));
    let roles = ids.into_iter().filter_map(named).collect();
    let kind = match options.family {
        Family::T5 => TokenizerKind::T5SentencePiece,
        Family::Llama => TokenizerKind::LlamaSentencePiece,
    };
    Ok(Opened {
        backend: Backend::SentencePiece(Box::new(slow)),
        kind,
        reason,
        remarks,
        roles: in_role_order(roles),
        clean_up: false,
        model_file: file,
    })
}

/// The token of a role: as the files say; the model's own piece where they say an empty string.
fn role(
    config: &Config,
    model: &SentencePieceModel,
    name: &'static str,
    own: Option<u32>,
    remarks: &mut Vec<TokenizerRemark>,
) -> Option<AddedToken> {
    if let Some(token) = config.role(name) {
        let listed = config
            .decoder
            .iter()
            .flatten()
            .find(|(_, listed)| listed.content == token.content());
        return Some(match (listed, token) {
            (Some((_, listed)), _) => listed.clone(),
            (None, Named::Token(token)) => token.clone(),
            (None, Named::Name(name)) => AddedToken::special(name.as_str()),
        });
    }
    if !config.empty.contains(&name) {
        return None;
    }
    let used = own.map(|id| (model.pieces()[id as usize].text.clone(), id));
    remarks.push(TokenizerRemark::EmptySpecialToken {
        role: name,
        used: used.clone(),
    });
    used.map(|(text, _)| AddedToken::special(text))
}

/// The number of sentinels; a list of them must fit.
fn extra_ids(config: &Config, remarks: &mut Vec<TokenizerRemark>) -> usize {
    let mt5 = config.class.as_deref() == Some("MT5Tokenizer");
    let wanted = config.extra_ids.unwrap_or(if mt5 { 0 } else { 100 });
    let listed = config
        .additional
        .iter()
        .flatten()
        .filter(|token| token.content().contains("<extra_id_"))
        .count();
    if listed == 0 || wanted == 0 || listed == wanted {
        return wanted;
    }
    // `transformers` refuses such a directory.
    remarks.push(TokenizerRemark::SentinelCount { used: listed });
    listed
}

/// A `vocab.txt` with the configuration beside it.
pub(crate) fn words(bytes: Vec<u8>, config: &Config, options: &OpenOptions) -> Result<Opened> {
    let text = String::from_utf8(bytes).map_err(|_| Error::NotText { file: "vocab.txt" })?;
    let lines = read_vocabulary(&text)?;
    let mut remarks = Vec::new();
    let (class, unknown) = class_of(config);
    if let Some(class) = unknown.or_else(|| {
        config
            .class
            .clone()
            .filter(|_| !matches!(class, None | Some(Class::Bert)))
    }) {
        remarks.push(TokenizerRemark::UnknownClass { class });
    }
    let lower_case = match (options.lower_case, config.lower_case) {
        (LowerCase::Always, _) => chosen(true, &mut remarks),
        (LowerCase::Never, _) => chosen(false, &mut remarks),
        (_, Some(lower_case)) => lower_case,
        (LowerCase::Transformers, None) => chosen(true, &mut remarks),
        (LowerCase::Auto, None) => {
            let lower_case = !is_cased(&lines);
            remarks.push(TokenizerRemark::CaseFromVocabulary { lower_case });
            lower_case
        }
    };
    let name = |role: &str, usual: &str| {
        config
            .role(role)
            .map_or_else(|| usual.to_owned(), |token| token.content().to_owned())
    };
    let roles = BertRoles {
        unk: name("unk", "[UNK]"),
        sep: name("sep", "[SEP]"),
        pad: name("pad", "[PAD]"),
        cls: name("cls", "[CLS]"),
        mask: name("mask", "[MASK]"),
    };
    let settings = BertSettings {
        lower_case,
        strip_accents: config.strip_accents,
        split_ideographs: config.split_ideographs.unwrap_or(true),
        basic: config.basic.unwrap_or(true),
        never_split: config.never_split.clone(),
    };
    let mut slow = SlowBert::new(lines, settings, roles.clone())?;
    for (id, token) in config.added() {
        slow.place(id, token)?;
    }
    let own = [
        ("unk", roles.unk),
        ("sep", roles.sep),
        ("pad", roles.pad),
        ("cls", roles.cls),
        ("mask", roles.mask),
    ];
    for (role, name) in &own {
        let listed = config
            .decoder
            .iter()
            .flatten()
            .any(|(_, listed)| listed.content == *name);
        match config.role(role) {
            Some(Named::Token(token)) if !listed => slow.add_special(token.clone(), true)?,
            _ => slow.add_special(AddedToken::special(name.as_str()), false)?,
        }
    }
    for name in ["bos", "eos"] {
        if let Some(token) = config.role(name) {
            slow.add_special(AddedToken::special(token.content()), false)?;
        }
    }
    for token in config.additional.iter().flatten() {
        match token {
            Named::Name(name) => slow.add_special(AddedToken::special(name.as_str()), false)?,
            Named::Token(token) => slow.add_special(token.clone(), true)?,
        }
    }
    slow.refresh();
    let mut names: Vec<(&'static str, String)> = own.into_iter().collect();
    for role in ["bos", "eos"] {
        names.extend(
            config
                .role(role)
                .map(|token| (role, token.content().to_owned())),
        );
    }
    let case = if lower_case {
        "lower-casing"
    } else {
        "keeping case"
    };
    Ok(Opened {
        backend: Backend::Bert(Box::new(slow)),
        kind: TokenizerKind::WordPiece,
        reason: format!("word pieces, used like the slow BertTokenizer, {case}"),
        remarks,
        roles: in_role_order(names),
        clean_up: config.clean_up.unwrap_or(true),
        model_file: None,
    })
}

fn chosen(lower_case: bool, remarks: &mut Vec<TokenizerRemark>) -> bool {
    remarks.push(TokenizerRemark::CaseChosen { lower_case });
    lower_case
}
