//! `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` and `config.json` in all shapes they come
//! in.

mod reader;

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::added::AddedToken;
use crate::error::{Error, Result};
use crate::limits::{MAX_ADDED_TOKENS, MAX_EXTRA_IDS, MAX_TOKEN_ID};
use reader::{Reader, chat_templates};

/// The roles of special tokens, in the order of `transformers`.
pub(crate) const ROLES: [&str; 7] = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"];

/// A special token as a file gives it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Named {
    /// A string.
    Name(String),
    /// An object with flags.
    Token(AddedToken),
}

impl Named {
    pub(crate) fn content(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Token(token) => &token.content,
        }
    }
}

/// What the configuration files of a directory say about its tokenizer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// `tokenizer_class`, without the ending `Fast`.
    pub(crate) class: Option<String>,
    /// `model_type` of `config.json`.
    pub(crate) model_type: Option<String>,
    /// Special tokens by role; `None` where no file names one (or names `null`).
    pub(crate) roles: [Option<Named>; 7],
    pub(crate) additional: Option<Vec<Named>>,
    /// `added_tokens_decoder`, in order of the ids.
    pub(crate) decoder: Option<Vec<(u32, AddedToken)>>,
    /// `added_tokens.json`, in order of the ids.
    pub(crate) added_file: Vec<(u32, String)>,
    pub(crate) add_bos: Option<bool>,
    pub(crate) add_eos: Option<bool>,
    pub(crate) legacy: Option<bool>,
    pub(crate) add_prefix_space: Option<bool>,
    pub(crate) lower_case: Option<bool>,
    pub(crate) strip_accents: Option<bool>,
    pub(crate) split_ideographs: Option<bool>,
    pub(crate) basic: Option<bool>,
    pub(crate) never_split: Vec<String>,
    pub(crate) extra_ids: Option<usize>,
    pub(crate) clean_up: Option<bool>,
    pub(crate) model_max_length: Option<usize>,
    /// Chat templates by name.
    pub(crate) chat_templates: Vec<(String, String)>,
    /// The value of `chat_template` is none.
    pub(crate) odd_template: bool,
    pub(crate) split_special: Option<bool>,
    /// The content of `tokenizer_config.json`, kept for saving.
    pub(crate) raw: Map<String, Value>,
    /// Roles that a file gives as an empty string.
    pub(crate) empty: Vec<&'static str>,
    /// Ids of special tokens that `config.json` claims. They are only compared, never used.
    pub(crate) model_ids: Vec<(&'static str, i64)>,
}

/// The content of the files that are there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sources<'a> {
    pub(crate) tokenizer_config: Option<&'a [u8]>,
    pub(crate) special_tokens_map: Option<&'a [u8]>,
    pub(crate) added_tokens: Option<&'a [u8]>,
    pub(crate) model_config: Option<&'a [u8]>,
}

const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
const ADDED_TOKENS: &str = "added_tokens.json";

impl Config {
    /// Reads the files. Keys that matter and have the wrong shape are errors; all others are left alone.
    pub(crate) fn read(sources: Sources<'_>) -> Result<Self> {
        let mut config = Self {
            raw: object(sources.tokenizer_config, TOKENIZER_CONFIG)?,
            ..Self::default()
        };
        let reader = Reader {
            file: TOKENIZER_CONFIG,
            map: &config.raw.clone(),
        };
        config.read_switches(&reader)?;
        for (slot, role) in config.roles.iter_mut().zip(ROLES) {
            *slot = reader.named(&format!("{role}_token"))?;
        }
        config.additional = reader.named_list("additional_special_tokens")?;
        config.decoder = reader.added_tokens_decoder()?;

        let map = object(sources.special_tokens_map, SPECIAL_TOKENS_MAP)?;
        config.merge_map(&Reader {
            file: SPECIAL_TOKENS_MAP,
            map: &map,
        })?;
        config.added_file = added_tokens(&object(sources.added_tokens, ADDED_TOKENS)?)?;

        let model = object(sources.model_config, "config.json")?;
        let text = |key: &str| model.get(key).and_then(Value::as_str).map(str::to_owned);
        config.model_type = text("model_type");
        config.class = config
            .class
            .or_else(|| text("tokenizer_class").map(without_fast));
        let claim =
            |role: &&'static str| Some((*role, model.get(&format!("{role}_token_id"))?.as_i64()?));
        config.model_ids = ROLES.iter().filter_map(claim).collect();

        for (slot, role) in config.roles.iter_mut().zip(ROLES) {
            if slot
                .as_ref()
                .is_some_and(|token| token.content().is_empty())
            {
                *slot = None;
                config.empty.push(role);
            }
        }
        if let Some(list) = &mut config.additional {
            list.retain(|token| !token.content().is_empty());
        }
        Ok(config)
    }

    fn read_switches(&mut self, reader: &Reader<'_>) -> Result<()> {
        self.class = reader.text("tokenizer_class")?.map(without_fast);
        self.add_bos = reader.flag("add_bos_token")?;
        self.add_eos = reader.flag("add_eos_token")?;
        self.legacy = reader.flag("legacy")?;
        self.add_prefix_space = reader.flag("add_prefix_space")?;
        self.lower_case = reader.flag("do_lower_case")?;
        self.strip_accents = reader.flag("strip_accents")?;
        self.split_ideographs = reader.flag("tokenize_chinese_chars")?;
        self.basic = reader.flag("do_basic_tokenize")?;
        self.clean_up = reader.flag("clean_up_tokenization_spaces")?;
        self.never_split = match reader.get("never_split") {
            None => Vec::new(),
            Some(Value::Array(list)) => list
                .iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect(),
            Some(_) => return Err(reader.wrong("never_split", "a list of strings")),
        };
        self.extra_ids = match reader.get("extra_ids") {
            None => None,
            Some(value) => {
                let count = value
                    .as_u64()
                    .and_then(|n| usize::try_from(n).ok())
                    .filter(|&n| n <= MAX_EXTRA_IDS);
                Some(count.ok_or_else(|| reader.wrong("extra_ids", "a number up to 10,000"))?)
            }
        };
        // Files without a limit hold the float 1e30.
        let length = reader.get("model_max_length").and_then(Value::as_f64);
        self.model_max_length = length
            .filter(|&n| (1.0..1e9).contains(&n))
            .map(|n| n as usize);
        self.split_special = reader.flag("split_special_tokens")?;
        match chat_templates(reader.get("chat_template")) {
            Some(templates) => self.chat_templates = templates,
            None => self.odd_template = true,
        }
        Ok(())
    }

    /// `special_tokens_map.json` decides in the old layout; beside `added_tokens_decoder` it only fills gaps.
    fn merge_map(&mut self, map: &Reader<'_>) -> Result<()> {
        let old = self.decoder.is_none();
        for (slot, role) in self.roles.iter_mut().zip(ROLES) {
            let key = format!("{role}_token");
            let new = map.named(&key)?;
            let gap = slot.as_ref().is_none_or(|token| token.content().is_empty());
            if (old && map.map.contains_key(&key)) || (gap && new.is_some()) {
                *slot = new;
            }
        }
        if let Some(list) = map.named_list("additional_special_tokens")?
            && (old || self.additional.is_none())
        {
            let own = self.additional.get_or_insert_default();
            let mut known: HashSet<Named> = own.iter().cloned().collect();
            own.extend(list.into_iter().filter(|token| known.insert(token.clone())));
        }
        Ok(())
    }

    /// The token of a role.
    pub(crate) fn role(&self, name: &str) -> Option<&Named> {
        ROLES
            .iter()
            .position(|role| *role == name)
            .and_then(|i| self.roles[i].as_ref())
    }

    /// The added tokens of a slow tokenizer with their ids: `added_tokens_decoder`, else `added_tokens.json`.
    pub(crate) fn added(&self) -> Vec<(u32, AddedToken)> {
        if let Some(decoder) = &self.decoder {
            return decoder.clone();
        }
        let roles = self.roles.iter().flatten();
        let special: HashSet<&str> = roles
            .chain(self.additional.iter().flatten())
            .map(Named::content)
            .collect();
        let token = |name: &String| match special.contains(name.as_str()) {
            true => AddedToken::special(name.as_str()),
            false => AddedToken::new(name.as_str()),
        };
        self.added_file
            .iter()
            .map(|(id, name)| (*id, token(name)))
            .collect()
    }
}

fn without_fast(class: String) -> String {
    class
        .strip_suffix("Fast")
        .map(str::to_owned)
        .unwrap_or(class)
}

/// Reads a file that must hold a JSON object; a missing one is empty.
fn object(bytes: Option<&[u8]>, file: &'static str) -> Result<Map<String, Value>> {
    match bytes {
        None => Ok(Map::new()),
        Some(bytes) => serde_json::from_slice(bytes).map_err(|error| Error::json(file, &error)),
    }
}

/// `added_tokens.json`: names to ids.
fn added_tokens(map: &Map<String, Value>) -> Result<Vec<(u32, String)>> {
    if map.len() > MAX_ADDED_TOKENS {
        return Err(Error::AddedTokens {
            what: "there are too many added tokens",
            limit: MAX_ADDED_TOKENS,
        });
    }
    let mut list = Vec::with_capacity(map.len());
    for (name, id) in map.iter().filter(|(name, _)| !name.is_empty()) {
        let wrong = || Error::ConfigValue {
            file: ADDED_TOKENS.into(),
            key: name.clone(),
            expected: "a token id",
        };
        list.push((token_id(id.as_u64().ok_or_else(wrong)?)?, name.clone()));
    }
    list.sort();
    Ok(list)
}

fn token_id(id: u64) -> Result<u32> {
    u32::try_from(id)
        .ok()
        .filter(|&id| id < MAX_TOKEN_ID)
        .ok_or(Error::TokenId {
            id,
            limit: MAX_TOKEN_ID,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str, map: &str) -> Result<Config> {
        Config::read(Sources {
            tokenizer_config: Some(config.as_bytes()),
            special_tokens_map: Some(map.as_bytes()),
            ..Sources::default()
        })
    }

    #[test]
    fn a_token_may_be_a_string_or_an_object_or_null() {
        let config = read(
            r#"{"bos_token":"<s>","eos_token":{"__type":"AddedToken","content":"</s>","lstrip":true},"pad_token":null,"unk_token":{"content":""}}"#,
            "{}",
        )
        .unwrap();
        assert_eq!(config.role("bos"), Some(&Named::Name("<s>".into())));
        assert!(
            matches!(config.role("eos"), Some(Named::Token(t)) if t.lstrip && t.special && t.content == "</s>")
        );
        assert_eq!((config.role("pad"), config.role("unk")), (None, None));
        assert_eq!(config.empty, ["unk"]);
    }

    #[test]
    fn the_special_tokens_map_decides_only_in_the_old_layout() {
        let old = read(
            r#"{"bos_token":"<a>"}"#,
            r#"{"bos_token":"<b>","pad_token":"<p>"}"#,
        )
        .unwrap();
        assert_eq!(old.role("bos").unwrap().content(), "<b>");
        let new = read(
            r#"{"bos_token":"<a>","added_tokens_decoder":{}}"#,
            r#"{"bos_token":"<b>","pad_token":"<p>"}"#,
        )
        .unwrap();
        assert_eq!(new.role("bos").unwrap().content(), "<a>");
        assert_eq!(new.role("pad").unwrap().content(), "<p>");
    }

    #[test]
    fn a_value_of_the_wrong_shape_is_named() {
        for (config, key) in [
            (r#"{"legacy":"no"}"#, "legacy"),
            (r#"{"bos_token":5}"#, "bos_token"),
            (r#"{"eos_token":{"text":"</s>"}}"#, "eos_token"),
            (
                r#"{"additional_special_tokens":"x"}"#,
                "additional_special_tokens",
            ),
            (
                r#"{"added_tokens_decoder":{"x":{"content":"a"}}}"#,
                "added_tokens_decoder",
            ),
            (r#"{"extra_ids":100000000}"#, "extra_ids"),
        ] {
            assert!(
                matches!(read(config, "{}"), Err(Error::ConfigValue { key: found, .. }) if found == key),
                "{config}"
            );
        }
        assert!(matches!(
            read(
                r#"{"added_tokens_decoder":{"4000000":{"content":"a"}}}"#,
                "{}"
            ),
            Err(Error::TokenId { .. })
        ));
        assert!(matches!(read("[]", "{}"), Err(Error::Json { .. })));
    }

    #[test]
    fn templates_come_as_text_list_or_map() {
        let templates = |json: &str| {
            let config = read(json, "{}").unwrap();
            let texts = config.chat_templates.iter();
            let all: Vec<String> = texts.map(|(name, text)| format!("{name}={text}")).collect();
            (all.join(" "), config.odd_template)
        };
        for (json, expected) in [
            (r#"{"chat_template":"t"}"#, "default=t"),
            (
                r#"{"chat_template":[{"name":"rag","template":"r"},{"name":"default","template":"d"}]}"#,
                "rag=r default=d",
            ),
            (r#"{"chat_template":{"tool":"x"}}"#, "tool=x"),
            (r#"{"chat_template":null}"#, ""),
        ] {
            assert_eq!(templates(json), (expected.to_owned(), false), "{json}");
        }
        for odd in [
            r#"{"chat_template":[{"name":"default"}]}"#,
            r#"{"chat_template":5}"#,
            r#"{"chat_template":["t"]}"#,
        ] {
            assert_eq!(templates(odd), (String::new(), true), "{odd}");
        }
    }
}
