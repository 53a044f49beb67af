//! Tokenizers from the parts that another container holds.

use clinical_files::shown;
use serde_json::{Map, Value, json};

use super::{Opened, engine, named, slow};
use crate::added::AddedToken;
use crate::config::{Config, Named, ROLES};
use crate::engine::cuts::{LLAMA3, QWEN2, TEKKEN};
use crate::error::{Error, Result};
use crate::options::OpenOptions;
use crate::resolution::TokenizerRemark;
use crate::sentencepiece::{
    Family, Piece, PieceKind, SentencePieceKind, SentencePieceModel, SentencePieceOptions,
};
use crate::vocabulary::Vocabulary;

/// What the kinds are called in the containers.
const UNKNOWN: u32 = 2;
const CONTROL: u32 = 3;
const USER_DEFINED: u32 = 4;
const UNUSED: u32 = 5;
const BYTE: u32 = 6;

/// The first letter of a piece that begins a word.
const BEGINS_WORD: char = '\u{2581}';

/// A tokenizer, and the configuration that goes with it.
pub(crate) fn open(vocabulary: &Vocabulary, options: &OpenOptions) -> Result<(Opened, Config)> {
    let count = vocabulary.tokens.len();
    for (what, length) in [
        ("scores", vocabulary.scores.len()),
        ("kinds", vocabulary.kinds.len()),
    ] {
        if length != 0 && length != count {
            return Err(Error::VocabularyPart {
                what: format!("{length} {what} for {count} tokens"),
            });
        }
    }
    if let Some((role, id)) = vocabulary
        .roles
        .iter()
        .find(|(_, id)| *id as usize >= count)
    {
        return Err(Error::VocabularyPart {
            what: format!("a {role} token {id} beyond its {count} tokens"),
        });
    }
    if !vocabulary.kinds.is_empty() {
        return of_its_kind(vocabulary, options);
    }
    let (whole, special) = with_kinds(vocabulary);
    let (mut opened, config) = of_its_kind(&whole, options)?;
    let remark = TokenizerRemark::KindsFromTexts { special };
    opened.remarks.push(remark);
    Ok((opened, config))
}

fn of_its_kind(vocabulary: &Vocabulary, options: &OpenOptions) -> Result<(Opened, Config)> {
    match vocabulary.model.as_str() {
        "llama" => sentencepiece(vocabulary),
        "gpt2" => byte_level(vocabulary, options),
        "bert" => words(vocabulary, options),
        other => Err(Error::VocabularyModel {
            found: shown(other),
        }),
    }
}

/// A vocabulary that does not say what its tokens are for, with what their texts and roles say, and how many of them
/// are special. Without it no special token would be found in a prompt.
fn with_kinds(vocabulary: &Vocabulary) -> (Vocabulary, usize) {
    let role = |id: usize| {
        let mut roles = vocabulary.roles.iter();
        roles
            .find(|(_, of)| *of as usize == id)
            .map(|(role, _)| *role)
    };
    let unknown = match vocabulary.role("unk") {
        None if vocabulary.model == "llama" => Some("<unk>"),
        _ => None,
    };
    let kind = |(id, text): (usize, &String)| {
        let pipes = text.len() > 4 && text.starts_with("<|") && text.ends_with("|>");
        match role(id) {
            Some("unk") => UNKNOWN,
            Some(_) => CONTROL,
            None if unknown == Some(text.as_str()) => UNKNOWN,
            None if pipes => CONTROL,
            None if is_byte(text) && vocabulary.model == "llama" => BYTE,
            None => 1,
        }
    };
    let kinds: Vec<u32> = vocabulary.tokens.iter().enumerate().map(kind).collect();
    let special = kinds.iter().filter(|kind| **kind == CONTROL).count();
    let vocabulary = Vocabulary {
        kinds,
        ..vocabulary.clone()
    };
    (vocabulary, special)
}

/// `<0x0A>`.
fn is_byte(text: &str) -> bool {
    let digits = text
        .strip_prefix("<0x")
        .and_then(|text| text.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

impl Vocabulary {
    fn kind(&self, id: usize) -> u32 {
        self.kinds.get(id).copied().unwrap_or(1)
    }

    fn role(&self, name: &str) -> Option<&str> {
        let id = self.roles.iter().find(|(role, _)| *role == name)?.1;
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// The tokens that are found in text as a whole, with their ids.
    fn added(&self) -> Vec<(u32, AddedToken)> {
        let token = |(id, text): (usize, &String)| match self.kind(id) {
            CONTROL => Some((id as u32, AddedToken::special(text.as_str()))),
            USER_DEFINED => {
                let mut token = AddedToken::new(text.as_str());
                token.normalized = false;
                Some((id as u32, token))
            }
            _ => None,
        };
        self.tokens.iter().enumerate().filter_map(token).collect()
    }

    /// The configuration files that would stand beside the vocabulary.
    fn config(&self, class: &str, names: impl Fn(&str) -> Option<String>) -> Config {
        Config {
            class: Some(class.to_owned()),
            roles: ROLES.map(|role| names(role).map(Named::Name)),
            add_bos: self.add_bos,
            add_eos: self.add_eos,
            add_prefix_space: self.add_space_prefix,
            clean_up: Some(false),
            chat_templates: named(self.chat_template.as_ref()),
            ..Config::default()
        }
    }
}

fn sentencepiece(vocabulary: &Vocabulary) -> Result<(Opened, Config)> {
    if vocabulary.scores.is_empty() {
        return Err(Error::VocabularyPart {
            what: "no scores, which SentencePiece needs".to_owned(),
        });
    }
    let mut pieces = Vec::with_capacity(vocabulary.tokens.len());
    for (id, (text, score)) in vocabulary.tokens.iter().zip(&vocabulary.scores).enumerate() {
        let kind = match vocabulary.kind(id) {
            1 => PieceKind::Normal,
            UNKNOWN => PieceKind::Unknown,
            CONTROL => PieceKind::Control,
            // The published tokenizers have them beside the model, not in it: see `added` below.
            USER_DEFINED | UNUSED => PieceKind::Unused,
            BYTE => PieceKind::Byte,
            other => {
                return Err(Error::PieceType {
                    index: id,
                    kind: other.into(),
                });
            }
        };
        pieces.push(Piece {
            text: text.clone(),
            score: *score,
            kind,
        });
    }
    let byte_fallback = pieces.iter().any(|piece| piece.kind == PieceKind::Byte);
    let model = SentencePieceModel::from_pieces(SentencePieceKind::Bpe, pieces, byte_fallback)?;
    let special = |role| vocabulary.role(role).map(AddedToken::special);
    let options = SentencePieceOptions {
        family: Family::Llama,
        add_bos: vocabulary.add_bos.unwrap_or(true),
        add_eos: vocabulary.add_eos.unwrap_or(false),
        add_prefix_space: vocabulary.add_space_prefix.unwrap_or(true),
        bos: special("bos"),
        eos: special("eos"),
        unk: special("unk"),
        pad: special("pad"),
        added: vocabulary.added(),
        ..SentencePieceOptions::llama()
    };
    let reason = "SentencePiece BPE pieces with scores, used like the slow LlamaTokenizer";
    let opened = slow::from_model(model, &options, reason.to_owned(), Vec::new(), None)?;
    let config = vocabulary.config("LlamaTokenizer", |role| {
        vocabulary.role(role).map(str::to_owned)
    });
    Ok((opened, config))
}

/// What comes before the merges of byte-level BPE.
struct Before {
    /// The rules that come before bytes are mapped to letters.
    splits: Vec<Value>,
    /// Whether GPT-2's own rule splits what is left.
    own_rule: bool,
    /// Whether a word that is a token is taken whole.
    ignore_merges: bool,
    add_bos: bool,
}

/// The pre-tokenizers by llama.cpp's names, as the published `tokenizer.json` of each kind has them.
fn before(name: &str) -> Option<Before> {
    let by_rule = |rule: &str, ignore_merges| Before {
        splits: vec![
            json!({"type": "Split", "pattern": {"Regex": rule}, "behavior": "Isolated", "invert": false}),
        ],
        own_rule: false,
        ignore_merges,
        add_bos: ignore_merges,
    };
    let own = |splits| Before {
        splits,
        own_rule: true,
        ignore_merges: false,
        add_bos: false,
    };
    Some(match name {
        "gpt-2" | "olmo" | "jais" => own(Vec::new()),
        "smollm" => own(vec![json!({"type": "Digits", "individual_digits": true})]),
        "llama-bpe" | "llama3" | "llama-v3" => by_rule(LLAMA3, true),
        "smaug-bpe" | "dbrx" => by_rule(LLAMA3, false),
        "qwen2" | "deepseek-r1-qwen" => by_rule(QWEN2, false),
        "tekken" => by_rule(TEKKEN, true),
        _ => return None,
    })
}

fn byte_level(vocabulary: &Vocabulary, options: &OpenOptions) -> Result<(Opened, Config)> {
    let pre = vocabulary.pre.as_deref().unwrap_or("unnamed");
    let Some(before) = before(pre) else {
        return Err(Error::PreTokenizer { found: shown(pre) });
    };
    if vocabulary.merges.is_empty() {
        return Err(Error::NoVocabularyMerges);
    }
    let ids: Map<String, Value> = vocabulary
        .tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), json!(id)))
        .collect();
    if ids.len() != vocabulary.tokens.len() {
        return Err(Error::VocabularyPart {
            what: "a token that is there twice".to_owned(),
        });
    }
    let merges = vocabulary
        .merges
        .iter()
        .enumerate()
        .map(|(line, merge)| {
            // A side may begin with a blank in no byte-level vocabulary, so the first blank separates.
            let (left, right) = merge
                .split_once(' ')
                .ok_or(Error::MergeLine { line: line + 1 })?;
            Ok(json!([left, right]))
        })
        .collect::<Result<Vec<Value>>>()?;
    let added: Vec<Value> = vocabulary
        .added()
        .into_iter()
        .map(|(id, token)| {
            json!({"id": id, "content": token.content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": token.special})
        })
        .collect();
    let level = json!({
        "type": "ByteLevel", "add_prefix_space": vocabulary.add_space_prefix.unwrap_or(false),
        "trim_offsets": true, "use_regex": before.own_rule,
    });
    let pre_tokenizer = match before.splits.is_empty() {
        true => level,
        false => {
            let mut all = before.splits;
            all.push(level);
            json!({"type": "Sequence", "pretokenizers": all})
        }
    };
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": around(vocabulary, before.add_bos),
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": before.ignore_merges, "vocab": ids, "merges": merges,
        },
    });
    let bytes = serde_json::to_vec(&file).map_err(|error| Error::json("vocabulary", &error))?;
    let config = vocabulary.config("PreTrainedTokenizer", |role| {
        vocabulary.role(role).map(str::to_owned)
    });
    let mut opened = engine::json(&bytes, "vocabulary", &config, options, true)?;
    opened.reason = format!("byte-level BPE with merges, text split as `{pre}` does");
    Ok((opened, config))
}

/// The tokens around a text.
fn around(vocabulary: &Vocabulary, usually_bos: bool) -> Value {
    let token = |role: &str, wanted: bool| {
        let (_, id) = vocabulary.roles.iter().find(|(name, _)| *name == role)?;
        wanted.then(|| (vocabulary.role(role).unwrap_or_default().to_owned(), *id))
    };
    let bos = token("bos", vocabulary.add_bos.unwrap_or(usually_bos));
    let eos = token("eos", vocabulary.add_eos.unwrap_or(false));
    if bos.is_none() && eos.is_none() {
        return Value::Null;
    }
    let mut tokens = Map::new();
    let (mut single, mut pair) = (Vec::new(), Vec::new());
    for (sequence, type_id) in [("A", 0), ("B", 1)] {
        let special =
            |(name, _): &(String, u32)| json!({"SpecialToken": {"id": name, "type_id": type_id}});
        pair.extend(bos.as_ref().map(special));
        pair.push(json!({"Sequence": {"id": sequence, "type_id": type_id}}));
        pair.extend(eos.as_ref().map(special));
        if sequence == "A" {
            single.clone_from(&pair);
        }
    }
    for (name, id) in bos.iter().chain(&eos) {
        tokens.insert(
            name.clone(),
            json!({"id": name, "ids": [id], "tokens": [name]}),
        );
    }
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens})
}

fn words(vocabulary: &Vocabulary, options: &OpenOptions) -> Result<(Opened, Config)> {
    if vocabulary.add_bos == Some(false) || vocabulary.add_eos == Some(false) {
        return Err(Error::VocabularyPart {
            what: "a switch that leaves out [CLS] or [SEP], which no BERT can do without"
                .to_owned(),
        });
    }
    let mut text = String::new();
    for id in 0..vocabulary.tokens.len() {
        let line = word_piece(vocabulary, id);
        // It would be two lines of a vocab.txt.
        if line.contains(['\n', '\r']) {
            return Err(Error::VocabularyPart {
                what: format!("a line end in token {id}"),
            });
        }
        text.push_str(&line);
        text.push('\n');
    }
    let mut config = vocabulary.config("BertTokenizer", |role| {
        let (_, id) = vocabulary.roles.iter().find(|(name, _)| *name == role)?;
        Some(word_piece(vocabulary, *id as usize))
    });
    // What BERT's tokenizer names is what it uses; these two are llama.cpp's names for `[CLS]` and `[SEP]`.
    for role in ["bos", "eos"] {
        if let Some(at) = ROLES.iter().position(|name| *name == role) {
            config.roles[at] = None;
        }
    }
    config.clean_up = Some(true);
    let opened = slow::words(text.into_bytes(), &config, options)?;
    Ok((opened, config))
}

/// A piece as `vocab.txt` has it: `##` before those that continue a word, nothing before those that begin one.
fn word_piece(vocabulary: &Vocabulary, id: usize) -> String {
    let text = &vocabulary.tokens[id];
    if let Some(begins) = text.strip_prefix(BEGINS_WORD) {
        return begins.to_owned();
    }
    let bracketed = text.len() > 2 && text.starts_with('[') && text.ends_with(']');
    let whole = matches!(vocabulary.kind(id), UNKNOWN | CONTROL | UNUSED) || bracketed;
    match whole {
        true => text.clone(),
        false => format!("##{text}"),
    }
}
