//! How a model is trained, as a file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::recipe_error::{average, positive};
use crate::{
    BatchSettings, Batching, OptimizerConfig, RecipeError, Result, Schedule, Task, toml_file,
};

/// How a model is trained: everything that decides the weights beside the model and the examples.
///
/// As TOML every setting but `rate`, `optimizer` and one of `epochs` and `steps` may be left out:
///
/// ```
/// use clinical_train::Recipe;
///
/// let recipe = Recipe::from_toml(r#"
///     epochs = 3
///     rate = 2e-5
///     batch = { rows = 16 }
///     optimizer = { name = "adamw" }
///     schedule = { name = "linear", warmup = 0.1 }
///     lora = { rank = 8, alpha = 16.0, targets = ["q_proj", "v_proj"] }
/// "#)?;
/// assert_eq!(recipe.seed, 42);
/// # Ok::<(), clinical_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Recipe {
    /// What is trained for. Programs that make their own [`TrainingSet`](crate::TrainingSet) may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// What all random numbers follow from. Default: 42.
    #[serde(default = "default::seed")]
    pub seed: u64,
    /// How often every example is used. Either this or [`steps`](Self::steps).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// How many optimizer steps are made, over as many epochs as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// The highest learning rate. With the schedule `inverse-sqrt` what that is multiplied by.
    pub rate: f64,
    /// Examples that go through the model at once. Default: 8 rows.
    #[serde(default = "default::batch")]
    pub batch: Batching,
    /// With a budget of tokens: how many examples are sorted by length at a time. More pad less and mix less. Default:
    /// 1024.
    #[serde(default = "default::window")]
    pub window: usize,
    /// Batches for one optimizer step; the gradient is the mean over the targets of all of them. Default: 1.
    #[serde(default = "default::accumulate")]
    pub accumulate: usize,
    /// The largest norm of the whole gradient; a longer one is shortened. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// The rate of dropout. Default: that of the model's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Whether each layer keeps its input alone between the forward and the backward pass, which computes it again:
    /// less memory for more time, with the same gradients (T5's encoder: but for rounding). On the CPU; elsewhere it
    /// changes nothing. Default: no.
    #[serde(default)]
    pub recompute: bool,
    /// When the development examples are looked at, and a checkpoint is written. Default: after each epoch.
    #[serde(default)]
    pub evaluate: Every,
    /// After how many evaluations without a better one the run ends. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// How many checkpoints are kept, beside the best. Default: 2.
    #[serde(default = "default::keep")]
    pub keep: usize,
    /// Which weights the run ends with. Default: the best ones, where there are development examples.
    #[serde(default)]
    pub weights: Weights,
    /// What makes steps of gradients.
    pub optimizer: OptimizerConfig,
    /// The learning rate over time. Default: constant.
    #[serde(default = "default::schedule")]
    pub schedule: Schedule,
    /// Trains an adapter and leaves the weights as they are. Default: none, all weights are trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<Lora>,
}

/// The recipes of this crate with their names.
const PUBLISHED: [(&str, &str); 9] = [
    ("t5-spans", include_str!("../recipes/t5-spans.toml")),
    (
        "t5-spans-nanot5",
        include_str!("../recipes/t5-spans-nanot5.toml"),
    ),
    ("t5-pairs", include_str!("../recipes/t5-pairs.toml")),
    ("llama-notes", include_str!("../recipes/llama-notes.toml")),
    (
        "llama-instructions",
        include_str!("../recipes/llama-instructions.toml"),
    ),
    ("bert-masked", include_str!("../recipes/bert-masked.toml")),
    ("bert-classes", include_str!("../recipes/bert-classes.toml")),
    ("bert-tags", include_str!("../recipes/bert-tags.toml")),
    ("bert-answers", include_str!("../recipes/bert-answers.toml")),
];

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Every {
    /// After each epoch, and at the end.
    #[default]
    Epoch,
    /// After so many steps, and at the end.
    Steps(u64),
}

/// Which weights a run ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Weights {
    /// Those of the best evaluation; the last ones where nothing is evaluated.
    #[default]
    Best,
    /// Those after the last step.
    Last,
}

/// A low-rank adapter (Hu et al. 2021): `y = x W + scale (dropout(x) A) B`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Lora {
    /// Columns of `A` and rows of `B`. Default: 8.
    #[serde(default = "default::rank")]
    pub rank: usize,
    /// The scale is `alpha / rank`. Default: 16.
    #[serde(default = "default::alpha")]
    pub alpha: f64,
    /// The share of inputs that is dropped in front of `A`. Default: 0.
    #[serde(default)]
    pub dropout: f64,
    /// The layers that get an adapter, by the last part of their names (`q_proj`). Default: every dense layer but the
    /// output layer.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Whether the scale is `alpha / sqrt(rank)` (Kalajdzievski 2023). Default: no.
    #[serde(default)]
    pub rslora: bool,
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            rank: default::rank(),
            alpha: default::alpha(),
            dropout: 0.0,
            targets: Vec::new(),
            rslora: false,
        }
    }
}

impl Lora {
    /// What the product of the factors is multiplied by.
    #[must_use]
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }
}

mod default {
    use crate::{Batching, Schedule, Warmup};

    pub(super) fn seed() -> u64 {
        42
    }

    pub(super) fn batch() -> Batching {
        Batching::Rows(8)
    }

    pub(super) fn window() -> usize {
        1024
    }

    pub(super) fn accumulate() -> usize {
        1
    }

    pub(super) fn schedule() -> Schedule {
        Schedule::Constant {
            warmup: Warmup::default(),
        }
    }

    pub(super) fn keep() -> usize {
        2
    }

    pub(super) fn rank() -> usize {
        8
    }

    pub(super) fn alpha() -> f64 {
        16.0
    }
}

impl Recipe {
    /// A recipe for `epochs` epochs with every other setting at its default.
    #[must_use]
    pub fn new(epochs: u64, rate: f64, optimizer: OptimizerConfig) -> Self {
        Self {
            task: None,
            seed: default::seed(),
            epochs: Some(epochs),
            steps: None,
            rate,
            batch: default::batch(),
            window: default::window(),
            accumulate: default::accumulate(),
            clip: None,
            dropout: None,
            recompute: false,
            evaluate: Every::default(),
            patience: None,
            keep: default::keep(),
            weights: Weights::default(),
            optimizer,
            schedule: default::schedule(),
            lora: None,
        }
    }

    /// A recipe that comes with this crate, by the name of its file in `recipes/`: `t5-spans`, `t5-spans-nanot5`,
    /// `t5-pairs`, `llama-notes`, `llama-instructions`, `bert-masked`, `bert-classes`, `bert-tags`, `bert-answers`.
    /// `None` for another name.
    #[must_use]
    pub fn published(name: &str) -> Option<&'static str> {
        let found = PUBLISHED.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| *text)
    }

    /// Reads a recipe.
    ///
    /// # Errors
    ///
    /// [`Error::RecipeFile`](crate::Error::RecipeFile) with the line for what is not TOML or no setting of a recipe;
    /// [`Error::Recipe`](crate::Error::Recipe) for a setting without meaning.
    pub fn from_toml(text: &str) -> Result<Self> {
        Self::checked(toml_file::parse(Path::new(toml_file::UNNAMED), text)?)
    }

    /// Reads the file of a recipe.
    ///
    /// # Errors
    ///
    /// Those of [`from_toml`](Self::from_toml), and [`Error::File`](crate::Error::File).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::checked(toml_file::open(path.as_ref())?)
    }

    fn checked(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    /// The recipe as TOML, with every setting that is not left out by default.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`](crate::Error::Recipe) for a setting that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        self.validate()?;
        toml_file::write(self)
    }

    /// Whether every setting has a meaning.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`](crate::Error::Recipe), one variant for each rule.
    pub fn validate(&self) -> Result<()> {
        if self.epochs.is_some() == self.steps.is_some() {
            return Err(RecipeError::Length.into());
        }
        for (field, value) in [
            ("epochs", self.epochs.unwrap_or(1)),
            ("steps", self.steps.unwrap_or(1)),
            ("accumulate", self.accumulate as u64),
            ("keep", self.keep as u64),
            ("patience", self.patience.unwrap_or(1)),
            (
                "evaluate",
                match self.evaluate {
                    Every::Steps(steps) => steps,
                    Every::Epoch => 1,
                },
            ),
        ] {
            if value == 0 {
                return Err(RecipeError::Zero { field }.into());
            }
        }
        positive("rate", self.rate)?;
        if let Some(clip) = self.clip {
            positive("clip", clip)?;
        }
        let lora = self.lora.as_ref();
        for (field, value) in [
            ("dropout", self.dropout),
            ("lora.dropout", lora.map(|lora| lora.dropout)),
        ] {
            average(field, value.unwrap_or(0.0))?;
        }
        if let Some(lora) = lora {
            let field = "lora.rank";
            if lora.rank == 0 {
                return Err(RecipeError::Zero { field }.into());
            }
            positive("lora.alpha", lora.alpha)?;
        }
        self.batches().validate()?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        Ok(())
    }

    /// How examples become batches.
    pub(crate) fn batches(&self) -> BatchSettings {
        BatchSettings::default()
            .with_batching(self.batch)
            .with_window(self.window)
    }

    /// The first setting that differs from another recipe's, with both values.
    pub(crate) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let tables = [self, other].map(|recipe| toml::Table::try_from(recipe).unwrap_or_default());
        let [here, there] = tables;
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
