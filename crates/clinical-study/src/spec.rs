//! What a study is, as a file.

use std::fmt;
use std::path::{Path, PathBuf};

use clinical_tasks::LOW_DATA_PERCENT;
use clinical_train::Recipe;
use serde::{Deserialize, Serialize};

use crate::{Error, Metric, Result, SpecError};

/// Most bytes of a specification.
const MOST: u64 = 1 << 20;

/// A study: a model, a task, how it is trained and over which seeds and parts of the data.
///
/// ```
/// use clinical_study::{Study, StudySpec};
///
/// let spec = StudySpec::from_toml(r#"
///     model = "models/Bio_ClinicalBERT"
///     recipe = "bert-classes"
///     seeds = [1, 2, 3]
///     task = { kind = "mednli", data = "mednli" }
/// "#)?;
/// assert_eq!(spec.fractions, [1, 5, 10, 25, 100]);
/// # Ok::<(), clinical_study::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StudySpec {
    /// The directory of the model.
    pub model: PathBuf,
    /// Parts of the training data in percent. Default: 1, 5, 10, 25, 100; none without a recipe.
    pub fractions: Vec<u32>,
    /// Seeds: which examples a part has, their order, new heads, dropout. Default: 1, 2, 3; none without a recipe.
    pub seeds: Vec<u64>,
    /// How the model predicts. Default: a head for BERT, generation for T5, scoring for LLaMA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// What chooses the best weights on the development part and is drawn. Default: accuracy (MedNLI), F1 (RadQA,
    /// entities), macro F1 (CLIP).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// The number of a published zero-shot prompt (LLaMA on MedNLI without training). Default: the prompt of Asclepius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<u8>,
    /// Most development examples that are looked at, drawn once. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub development: Option<usize>,
    /// Whether the checkpoints of finished parts are kept. Default: no, they are as large as the model.
    pub keep_checkpoints: bool,
    /// The task.
    pub task: TaskSpec,
    /// How the model is trained. Without it, it is asked as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
}

/// A task and its files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TaskSpec {
    /// Which task.
    pub kind: TaskKind,
    /// The folder of its files, as published.
    pub data: PathBuf,
    /// Whether tags of MIMIC-III are converted, as Clinical-T5 was trained. Default: no.
    #[serde(default)]
    pub deid: bool,
    /// CLIP: tokens of an input, the sentence and what is around it. Default: 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Entities: the names of three files of words and labels, for training, development and test. Default:
    /// `train.conll`, `dev.conll`, `test.conll`, or else the folders `train`, `development`, `test` with `txt/*.txt` and
    /// `concept/*.con`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<[String; 3]>,
}

/// The tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TaskKind {
    /// One of three classes for a pair of sentences.
    Mednli,
    /// An answer in a report, or none.
    Radqa,
    /// Any of seven labels for a sentence.
    Clip,
    /// Entities of a line: i2b2 or any file of words and labels.
    Entities,
}

impl TaskKind {
    /// Its name as people write it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Mednli => "MedNLI",
            Self::Radqa => "RadQA",
            Self::Clip => "CLIP",
            Self::Entities => "entities",
        }
    }

    /// What its examples are.
    #[must_use]
    pub const fn examples(self) -> &'static str {
        match self {
            Self::Mednli => "pairs of sentences",
            Self::Radqa => "questions",
            Self::Clip => "sentences",
            Self::Entities => "lines",
        }
    }
}

/// How a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Method {
    /// By a head on an encoder.
    Head,
    /// By writing the answer, greedily.
    Generation,
    /// By how likely each label's word is; for RadQA by how likely "no answer" is beside the answer that is written.
    Scoring,
}

impl Method {
    /// Its name in a specification.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Generation => "generation",
            Self::Scoring => "scoring",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The file as people write it: what is left out is filled in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    model: PathBuf,
    fractions: Option<Vec<u32>>,
    seeds: Option<Vec<u64>>,
    method: Option<Method>,
    metric: Option<Metric>,
    prompt: Option<u8>,
    development: Option<usize>,
    #[serde(default)]
    keep_checkpoints: bool,
    task: TaskSpec,
    recipe: Option<toml::Value>,
}

impl StudySpec {
    /// A study of a model that is trained by this recipe, with every other setting at its default.
    #[must_use]
    pub fn new(model: impl Into<PathBuf>, task: TaskSpec, recipe: Recipe) -> Self {
        Self {
            model: model.into(),
            fractions: LOW_DATA_PERCENT.to_vec(),
            seeds: vec![1, 2, 3],
            method: None,
            metric: None,
            prompt: None,
            development: None,
            keep_checkpoints: false,
            task,
            recipe: Some(recipe),
        }
    }

    /// Reads a specification. Relative paths stay as they are.
    ///
    /// # Errors
    ///
    /// [`Error::SpecFile`], [`Error::Spec`], [`Error::Train`] for the recipe.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::parse(text, Path::new("study"), Path::new(""))
    }

    /// Reads the file of a specification. Relative paths in it begin at its folder.
    ///
    /// # Errors
    ///
    /// Those of [`from_toml`](Self::from_toml), and [`Error::Files`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = clinical_files::read_file(path, MOST)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error());
            Error::read(path)(source)
        })?;
        Self::parse(&text, path, path.parent().unwrap_or(Path::new("")))
    }

    fn parse(text: &str, path: &Path, base: &Path) -> Result<Self> {
        let written: Written = toml::from_str(text).map_err(|cause| Error::SpecFile {
            path: path.to_owned(),
            cause: Box::new(cause),
        })?;
        let recipe = written
            .recipe
            .map(|value| recipe(value, base))
            .transpose()?;
        let trained = recipe.is_some();
        let mut task = written.task;
        task.data = base.join(task.data);
        let spec = Self {
            model: base.join(written.model),
            fractions: written.fractions.unwrap_or_else(|| match trained {
                true => LOW_DATA_PERCENT.to_vec(),
                false => Vec::new(),
            }),
            seeds: written.seeds.unwrap_or_else(|| match trained {
                true => vec![1, 2, 3],
                false => Vec::new(),
            }),
            method: written.method,
            metric: written.metric,
            prompt: written.prompt,
            development: written.development,
            keep_checkpoints: written.keep_checkpoints,
            task,
            recipe,
        };
        spec.validate()?;
        Ok(spec)
    }

    /// The specification as TOML, with every setting.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`].
    pub fn to_toml(&self) -> Result<String> {
        self.validate()?;
        toml::to_string_pretty(self).map_err(|cause| {
            let detail = cause.to_string();
            SpecError::NotToml { detail }.into()
        })
    }

    /// Whether every setting has a meaning. What the model can do is known when it is opened.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`], one variant for each rule.
    pub fn validate(&self) -> Result<()> {
        let once = |count: usize, mut sorted: Vec<u64>| {
            sorted.sort_unstable();
            sorted.dedup();
            sorted.len() == count
        };
        let percents = self.fractions.iter().map(|&part| u64::from(part)).collect();
        let trained = self.recipe.is_some();
        let in_range = self.fractions.iter().all(|part| (1..=100).contains(part));
        let list = |field, rule| Err(SpecError::List { field, rule }.into());
        if !in_range || !once(self.fractions.len(), percents) {
            return list("fractions", "percents from 1 to 100, each once");
        }
        if !once(self.seeds.len(), self.seeds.clone()) {
            return list("seeds", "each seed once");
        }
        match (trained, self.fractions.is_empty(), self.seeds.is_empty()) {
            (true, true, _) => return list("fractions", "at least one percent"),
            (true, _, true) => return list("seeds", "at least one seed"),
            (false, false, _) => return list("fractions", "nothing where there is no `recipe`"),
            (false, _, false) => return list("seeds", "nothing where there is no `recipe`"),
            _ => {}
        }
        for (field, value) in [
            ("development", self.development),
            ("task.max_tokens", self.task.max_tokens),
        ] {
            if value == Some(0) {
                return Err(SpecError::Zero { field }.into());
            }
        }
        let kind = self.task.kind;
        let setting = |field, why| Err(SpecError::Setting { field, why }.into());
        if self.task.files.is_some() && kind != TaskKind::Entities {
            return setting(
                "task.files",
                "is for entities only: the other tasks have published names",
            );
        }
        if self.task.max_tokens.is_some() && kind != TaskKind::Clip {
            return setting(
                "task.max_tokens",
                "is for CLIP only: set the limits of the recipe's task instead",
            );
        }
        if self.task.deid && kind == TaskKind::Entities {
            return setting(
                "task.deid",
                "cannot be had for entities: their words would move",
            );
        }
        let metric = self.metric();
        if !Metric::of(kind).contains(&metric) {
            let known = Metric::of(kind).iter().map(|metric| metric.name());
            let known = known.collect::<Vec<_>>().join(", ");
            let metric = metric.name();
            return Err(SpecError::NoMetric { metric, known }.into());
        }
        if let Some(recipe) = &self.recipe {
            recipe.validate()?;
        }
        Ok(())
    }

    /// What chooses the best weights and is drawn.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.metric.unwrap_or_else(|| Metric::of(self.task.kind)[0])
    }

    /// The first setting that differs from another specification's, with both values. Where the files lie does not
    /// count: their contents do.
    pub(crate) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let table = |spec: &Self| {
            let mut table = toml::Table::try_from(spec).unwrap_or_default();
            table.remove("model");
            if let Some(task) = table.get_mut("task").and_then(toml::Value::as_table_mut) {
                task.remove("data");
            }
            table
        };
        let (here, there) = (table(self), table(other));
        let shown = |value: Option<&toml::Value>| {
            value.map_or_else(|| "not set".to_owned(), ToString::to_string)
        };
        let key = here
            .keys()
            .chain(there.keys())
            .find(|key| here.get(*key) != there.get(*key))?;
        Some((key.clone(), shown(here.get(key)), shown(there.get(key))))
    }
}

/// A recipe by name, by file, or as it stands.
fn recipe(value: toml::Value, base: &Path) -> Result<Recipe> {
    let toml::Value::String(name) = value else {
        let text = toml::to_string(&value).map_err(|cause| {
            let detail = cause.to_string();
            SpecError::NotToml { detail }
        })?;
        return Ok(Recipe::from_toml(&text)?);
    };
    match Recipe::published(&name) {
        Some(text) => Ok(Recipe::from_toml(text)?),
        None if base.join(&name).is_file() => Ok(Recipe::open(base.join(&name))?),
        None => {
            let name = clinical_files::shown(&name);
            Err(SpecError::NoRecipe { name }.into())
        }
    }
}
