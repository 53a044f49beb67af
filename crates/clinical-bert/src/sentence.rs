//! What the files of sentence-transformers beside a model say about its vectors.

use std::fs;
use std::path::Path;

use clinical_facade::{Pooling, Remark};
use clinical_weights::CheckpointDir;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Result;
use crate::config::shown;

/// The list of steps from a text to its vector.
const MODULES: &str = "modules.json";
/// Settings of the first step, by the kind of encoder.
const SETTINGS: [&str; 2] = ["sentence_bert_config.json", "sentence_roberta_config.json"];
/// Prompts that are put in front of texts.
const PROMPTS: &str = "config_sentence_transformers.json";

/// How a directory of sentence-transformers makes vectors: the defaults of
/// [`embed`](crate::ClinicalBert::embed). They are kept by [`save`](crate::ClinicalBert::save).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentenceConfig {
    /// How states become a vector.
    pub pooling: Pooling,
    /// Whether vectors are divided by their length.
    pub normalize: bool,
    /// Tokens of a text at once, special ones included, where that is less than the model reads.
    pub max_tokens: Option<usize>,
    /// Whether texts are lower-cased before they are split.
    pub lower_case: bool,
    /// A step of the directory that is not computed here.
    pub unknown_module: Option<String>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Module {
    /// `Pooling` of `sentence_transformers.models.Pooling`.
    fn name(&self) -> &str {
        match self.kind.rsplit('.').next().unwrap_or_default() {
            // As the first versions called it, by the kind of encoder.
            "BERT" | "RoBERTa" => "Transformer",
            name => name,
        }
    }
}

/// What was found in a directory.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) config: Option<SentenceConfig>,
    pub(crate) remarks: Vec<Remark>,
}

/// Reads the files of sentence-transformers in a directory, if there are some.
pub(crate) fn read(dir: &CheckpointDir) -> Result<Found> {
    if !dir.has(MODULES) {
        return Ok(Found::default());
    }
    let modules: Vec<Module> = dir.read_json(MODULES)?;
    let mut config = SentenceConfig::default();
    let mut found = Found::default();
    for module in &modules {
        match module.name() {
            "Transformer" if module.path.is_empty() => config.read_settings(dir)?,
            "Transformer" => {
                config.read_settings(&dir.folder(&module.path)?)?;
            }
            "Pooling" => {
                let settings = dir.folder(&module.path)?.read_json("config.json")?;
                config.read_pooling(&settings);
            }
            "Normalize" => config.normalize = true,
            // Nothing happens in it when nothing is trained.
            "Dropout" => {}
            other => config.unknown_module = Some(shown(other)),
        }
    }
    found.remarks.push(config.remark());
    found.remarks.extend(prompt(dir)?);
    found.config = Some(config);
    Ok(found)
}

/// What a GGUF file says about vectors: the number `bert.pooling_type` of llama.cpp.
pub(crate) fn of_gguf(pooling_type: u64) -> Found {
    let mut config = SentenceConfig::default();
    match pooling_type {
        1 => config.pooling = Pooling::Mean,
        2 => config.pooling = Pooling::Cls,
        3 => config.unknown_module = Some("the state of the last token".to_owned()),
        4 => config.unknown_module = Some("a ranking head".to_owned()),
        // No pooling, or none that is known.
        _ => return Found::default(),
    }
    Found {
        remarks: vec![config.remark()],
        config: Some(config),
    }
}

/// A prompt that is put in front of every text there and not here.
fn prompt(dir: &CheckpointDir) -> Result<Option<Remark>> {
    if !dir.has(PROMPTS) {
        return Ok(None);
    }
    let config: Value = dir.read_json(PROMPTS)?;
    let name = config["default_prompt_name"].as_str();
    let prompt = name.and_then(|name| config["prompts"][name].as_str());
    Ok(prompt.filter(|prompt| !prompt.is_empty()).map(|prompt| {
        Remark::Model(format!(
            "{PROMPTS} puts `{}` in front of every text; write it there yourself where it is wanted",
            shown(prompt)
        ))
    }))
}

impl SentenceConfig {
    fn read_settings(&mut self, dir: &CheckpointDir) -> Result<()> {
        let Some(name) = SETTINGS.into_iter().find(|name| dir.has(name)) else {
            return Ok(());
        };
        let settings: Value = dir.read_json(name)?;
        self.max_tokens = settings["max_seq_length"]
            .as_u64()
            .and_then(|tokens| usize::try_from(tokens).ok());
        self.lower_case = settings["do_lower_case"].as_bool() == Some(true);
        Ok(())
    }

    /// One mode of those that sentence-transformers knows, as a switch each or, lately, by name.
    fn read_pooling(&mut self, config: &Value) {
        let mut modes: Vec<&str> = config
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, on)| on.as_bool() == Some(true))
            .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
            .collect();
        match &config["pooling_mode"] {
            Value::String(mode) => modes.push(mode),
            Value::Array(list) => modes.extend(list.iter().filter_map(Value::as_str)),
            _ => {}
        }
        match modes.as_slice() {
            ["cls_token" | "cls"] => self.pooling = Pooling::Cls,
            ["mean_tokens" | "mean"] => self.pooling = Pooling::Mean,
            ["max_tokens" | "max"] => self.pooling = Pooling::Max,
            ["mean_sqrt_len_tokens" | "mean_sqrt_len"] => self.pooling = Pooling::MeanSqrt,
            [] => self.unknown_module = Some("a pooling without a mode".to_owned()),
            modes => {
                let modes = shown(&modes.join(" and "));
                self.unknown_module = Some(format!("the pooling {modes}"));
            }
        }
    }

    fn remark(&self) -> Remark {
        if let Some(module) = &self.unknown_module {
            return Remark::Model(format!(
                "the vectors of this model go through {module}, which is not computed: `embed` asks for a pooling"
            ));
        }
        let length = if self.normalize {
            ", divided by its length"
        } else {
            ""
        };
        let tokens = self.max_tokens.map_or_else(String::new, |tokens| {
            format!("; it reads {tokens} tokens at once")
        });
        let case = if self.lower_case {
            "; texts are lower-cased"
        } else {
            ""
        };
        let pooling = self.pooling;
        Remark::Model(format!(
            "the directory was trained for vectors by {pooling} pooling{length}{tokens}{case}: these are the defaults \
             of `embed`"
        ))
    }

    /// Writes the files from which this is read again. A step that is not known cannot be written.
    pub(crate) fn write(&self, dir: &Path, width: usize, model_tokens: usize) -> Result<()> {
        if self.unknown_module.is_some() {
            return Ok(());
        }
        let module = |index: usize, path: &str, kind: &str| {
            json!({
                "idx": index, "name": index.to_string(), "path": path,
                "type": format!("sentence_transformers.models.{kind}"),
            })
        };
        let mut modules = vec![
            module(0, "", "Transformer"),
            module(1, "1_Pooling", "Pooling"),
        ];
        if self.normalize {
            modules.push(module(2, "2_Normalize", "Normalize"));
        }
        let mut pooling = Map::new();
        pooling.insert("word_embedding_dimension".to_owned(), width.into());
        for (mode, key) in [
            (Pooling::Cls, "pooling_mode_cls_token"),
            (Pooling::Mean, "pooling_mode_mean_tokens"),
            (Pooling::Max, "pooling_mode_max_tokens"),
            (Pooling::MeanSqrt, "pooling_mode_mean_sqrt_len_tokens"),
        ] {
            pooling.insert(key.to_owned(), (mode == self.pooling).into());
        }
        let settings = json!({
            "max_seq_length": self.max_tokens.unwrap_or(model_tokens),
            "do_lower_case": self.lower_case,
        });
        let failed = |path: &Path, error: &std::io::Error| clinical_weights::Error::Write {
            path: path.to_owned(),
            detail: error.to_string(),
        };
        let folder = dir.join("1_Pooling");
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        for (path, value) in [
            (dir.join(MODULES), Value::Array(modules)),
            (folder.join("config.json"), Value::Object(pooling)),
            (dir.join(SETTINGS[0]), settings),
        ] {
            fs::write(&path, format!("{value:#}\n")).map_err(|error| failed(&path, &error))?;
        }
        Ok(())
    }
}
