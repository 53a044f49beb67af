//! `adapter_config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Error;
use clinical_files::shown;

pub(crate) const CONFIG: &str = "adapter_config.json";

/// The largest rank: as wide as the widest layer.
const MAX_RANK: u64 = crate::limits::MAX_WIDTH as u64;

/// Settings that change what an adapter computes and are not read; `null`, `false` and what is empty leave them out.
const REFUSED: [(&str, &str); 8] = [
    ("use_dora", "DoRA"),
    ("lora_bias", "a bias of the second factor"),
    ("layer_replication", "layers that are used several times"),
    ("megatron_config", "layers of Megatron"),
    ("trainable_token_indices", "single trained tokens"),
    ("alora_invocation_tokens", "adapters that begin at a token"),
    (
        "target_parameters",
        "factors of parameters that are no layers",
    ),
    ("arrow_config", "a selection among adapters"),
];

/// Ways to begin that change the base model's weights as well.
const CHANGES_THE_BASE: [&str; 4] = ["pissa", "olora", "corda", "loftq"];

/// What the factors mean.
#[derive(Debug)]
pub(super) struct Settings {
    pub base: Option<String>,
    rank: usize,
    alpha: f64,
    stabilised: bool,
    pub dropout: f64,
    ranks: BTreeMap<String, usize>,
    alphas: BTreeMap<String, f64>,
}

impl Settings {
    pub(super) fn read(path: &Path, config: &Value) -> Result<Self, Error> {
        let reader = Reader { path, config };
        reader.refuse()?;
        let text = config
            .get("base_model_name_or_path")
            .and_then(Value::as_str);
        Ok(Self {
            base: text.filter(|text| !text.is_empty()).map(str::to_owned),
            rank: reader.rank("r", config.get("r").unwrap_or(&json!(8)))?,
            alpha: reader.number("lora_alpha", config.get("lora_alpha").unwrap_or(&json!(8)))?,
            stabilised: config.get("use_rslora") == Some(&Value::Bool(true)),
            dropout: match config.get("lora_dropout") {
                None | Some(Value::Null) => 0.0,
                Some(share) => reader.share("lora_dropout", share)?,
            },
            ranks: reader.pattern("rank_pattern", Reader::rank)?,
            alphas: reader.pattern("alpha_pattern", Reader::number)?,
        })
    }

    /// Rank and scale of a layer. A pattern is the end of a layer's name.
    pub(super) fn of(&self, layer: &str) -> (usize, f64) {
        let rank = *find(&self.ranks, layer).unwrap_or(&self.rank);
        let alpha = *find(&self.alphas, layer).unwrap_or(&self.alpha);
        let rows = rank as f64;
        let scale = alpha / if self.stabilised { rows.sqrt() } else { rows };
        (rank, scale)
    }
}

fn find<'a, T>(patterns: &'a BTreeMap<String, T>, layer: &str) -> Option<&'a T> {
    let fits = |end: &str| {
        layer
            .strip_suffix(end)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    // The longest says most.
    let found = patterns.iter().filter(|(end, _)| fits(end));
    found
        .max_by_key(|(end, _)| end.len())
        .map(|(_, value)| value)
}

struct Reader<'a> {
    path: &'a Path,
    config: &'a Value,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, problem: &str) -> Error {
        Error::AdapterConfig {
            path: self.path.to_owned(),
            key: shown(key),
            problem: problem.to_owned(),
        }
    }

    fn kind(&self, kind: &str) -> Error {
        Error::AdapterKind {
            path: self.path.to_owned(),
            kind: kind.to_owned(),
        }
    }

    fn refuse(&self) -> Result<(), Error> {
        let Some(config) = self.config.as_object() else {
            return Err(self.wrong("the file", "must hold an object"));
        };
        match config.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            Some(other) => return Err(self.kind(&shown(other))),
            None => return Err(self.wrong("peft_type", "must be there, and be LORA")),
        }
        let is_set = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(values) => !values.is_empty(),
            Value::Object(values) => !values.is_empty(),
            _ => true,
        };
        for (key, kind) in REFUSED {
            if config.get(key).is_some_and(is_set) {
                return Err(self.kind(kind));
            }
        }
        // Variants that are younger than this list call themselves so.
        let mut uses = config.iter();
        let unknown = uses.find(|(key, value)| {
            key.starts_with("use_") && *key != "use_rslora" && **value == Value::Bool(true)
        });
        if let Some((key, _)) = unknown {
            return Err(self.kind(&shown(key)));
        }
        let begin = config.get("init_lora_weights").and_then(Value::as_str);
        match begin.map(str::to_ascii_lowercase) {
            Some(begin) if CHANGES_THE_BASE.iter().any(|kind| begin.starts_with(kind)) => {
                Err(self.kind(&format!("{} (it changes the base weights)", shown(&begin))))
            }
            _ => Ok(()),
        }
    }

    fn rank(&self, key: &str, value: &Value) -> Result<usize, Error> {
        let rank = value.as_u64().filter(|rank| (1..=MAX_RANK).contains(rank));
        rank.and_then(|rank| usize::try_from(rank).ok())
            .ok_or_else(|| self.wrong(key, "must be a whole number from 1 to 131072"))
    }

    fn number(&self, key: &str, value: &Value) -> Result<f64, Error> {
        let number = value.as_f64().filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong(key, "must be a finite number"))
    }

    fn share(&self, key: &str, value: &Value) -> Result<f64, Error> {
        let share = value.as_f64().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| self.wrong(key, "must be a number from 0 to 1"))
    }

    fn pattern<T>(
        &self,
        key: &str,
        read: impl Fn(&Self, &str, &Value) -> Result<T, Error>,
    ) -> Result<BTreeMap<String, T>, Error> {
        let empty = Map::new();
        let patterns = match self.config.get(key) {
            None | Some(Value::Null) => &empty,
            Some(Value::Object(patterns)) => patterns,
            Some(_) => return Err(self.wrong(key, "must be an object")),
        };
        let entry = |(name, value): (&String, &Value)| {
            // Names and their ends. What else a regular expression can say is not read.
            let name = name.strip_prefix('^').unwrap_or(name);
            let name = name.strip_suffix('$').unwrap_or(name).replace("\\.", ".");
            let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
            if name.is_empty() || !name.chars().all(plain) {
                return Err(self.wrong(key, "must have names of layers, not regular expressions"));
            }
            Ok((name, read(self, key, value)?))
        };
        patterns.iter().map(entry).collect()
    }
}

/// A layer that is written.
pub(super) struct Saved<'a> {
    pub name: &'a str,
    pub rank: usize,
    pub alpha: f64,
    pub dropout: f64,
}

/// The configuration of these layers. Ranks and alphas that differ from those of the first stand in the patterns.
pub(super) fn write(base: Option<&str>, layers: &[Saved<'_>]) -> Value {
    let first = layers.first();
    let (rank, alpha) = first.map_or((8, 8.0), |first| (first.rank, first.alpha));
    let (mut ranks, mut alphas) = (Map::new(), Map::new());
    for layer in layers {
        if layer.rank != rank {
            ranks.insert(layer.name.to_owned(), json!(layer.rank));
        }
        if layer.alpha != alpha {
            alphas.insert(layer.name.to_owned(), number(layer.alpha));
        }
    }
    json!({
        "alpha_pattern": alphas,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": number(alpha),
        "lora_dropout": first.map_or(0.0, |first| first.dropout),
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": ranks,
        "target_modules": layers.iter().map(|layer| layer.name).collect::<Vec<_>>(),
        "task_type": null,
        "use_dora": false,
        "use_rslora": false,
    })
}

/// Whole numbers as `peft` writes them.
fn number(value: f64) -> Value {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => json!(value as i64),
        false => json!(value),
    }
}
