//! A study in its folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clinical_bert::LoadOptions;
use clinical_facade::{Facade, ModelDir};
use clinical_files::{read_file, write_file};
use clinical_tasks::{Portion, low_data};
use clinical_train::{EvaluationReport, StepReport};
use serde::{Deserialize, Serialize};

use crate::approach::{BertApproach, Gpt2Approach, LlamaApproach, T5Approach};
use crate::baseline::{Baseline, baselines};
use crate::cell::{self, CellAt, CellResult, Plan};
use crate::data::TaskData;
use crate::error::about;
use crate::report::Report;
use crate::{Error, Result, SpecError, StudySpec, prediction, texts};

const SPEC: &str = "study.toml";
const FACTS: &str = "facts.json";
/// Most bytes of the facts.
const MOST: u64 = 1 << 24;
/// The development examples are drawn from this, in each cell the same ones.
const DEVELOPMENT_SEED: u64 = 1;

/// Hears what a study does. Every function does nothing unless it is written.
pub trait StudyProgress {
    /// A cell begins, or goes on; `done` of `cells` are finished.
    fn cell(&mut self, at: CellAt, done: usize, cells: usize) {
        let _ = (at, done, cells);
    }

    /// A remark about a run.
    fn remark(&mut self, remark: &str) {
        let _ = remark;
    }

    /// A training step was made. `Break` writes a checkpoint and ends the study with [`Error::Stopped`].
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// The development part was looked at.
    fn evaluation(&mut self, report: &EvaluationReport) {
        let _ = report;
    }

    /// A cell is finished.
    fn finished(&mut self, result: &CellResult) {
        let _ = result;
    }
}

/// Nobody listens.
impl StudyProgress for () {}

/// What a study is about, so that its report needs neither model nor data: `facts.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) model: String,
    pub(crate) model_kind: String,
    pub(crate) model_checksum: String,
    pub(crate) data_checksum: String,
    pub(crate) training: usize,
    pub(crate) development: usize,
    pub(crate) test: usize,
    pub(crate) labels: Vec<String>,
    pub(crate) baselines: Vec<Baseline>,
}

/// A study that is about to run, in its folder:
///
/// | file | what it is |
/// |---|---|
/// | `study.toml` | the specification with all settings |
/// | `facts.json` | sizes, baselines, checksums of the model's and the task's files |
/// | `cells/*/run` | the training of a cell, as `clinical-train` keeps it; checkpoints go when the cell is finished |
/// | `cells/*/result.json` | the figures of a finished cell |
/// | `cells/*/predictions.jsonl` | its test predictions with byte offsets, without text |
/// | `cells/*/predictions-text.jsonl` | the same with texts, only where it was asked for |
/// | `report.md`, `.html`, `.json`, `curve.svg`, `.png` | the [`Report`] |
#[derive(Debug)]
pub struct Study {
    spec: StudySpec,
    dir: PathBuf,
    options: LoadOptions,
    kind: Facade,
    data: TaskData,
    with_text: bool,
    _lock: File,
}

impl std::fmt::Debug for TaskData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskData")
            .field("training", &self.len(Portion::Train))
            .finish_non_exhaustive()
    }
}

impl Study {
    /// Begins a study in a folder, which is made, or takes up the one that is in it. Reads the task's files.
    ///
    /// # Errors
    ///
    /// [`Error::Spec`]; [`Error::OtherStudy`] and [`Error::OtherFiles`] for a folder with another study, or the same on
    /// other files; [`Error::InUse`]; [`Error::Task`] for a file of the task; [`Error::Model`] for a directory that is no
    /// model; [`Error::File`].
    pub fn resume_or_start(
        spec: StudySpec,
        dir: impl AsRef<Path>,
        options: &LoadOptions,
    ) -> Result<Self> {
        let dir = dir.as_ref();
        let text = spec.to_toml()?;
        let kind = kind_of(&spec, options)?;
        let data = TaskData::read(&spec.task)?;
        fs::create_dir_all(dir).map_err(Error::written(dir))?;
        let lock = locked(dir)?;
        let path = dir.join(SPEC);
        if path.exists() {
            let there = StudySpec::open(&path)?;
            if let Some((key, wanted, found)) = spec.difference(&there) {
                return Err(Error::OtherStudy {
                    path: dir.to_owned(),
                    key,
                    found,
                    wanted,
                });
            }
        }
        let study = Self {
            spec,
            dir: dir.to_owned(),
            options: options.clone(),
            kind,
            data,
            with_text: false,
            _lock: lock,
        };
        study.check_approach()?;
        let facts = study.facts()?;
        if let Some(there) = facts_of(dir)? {
            let other = |what| {
                Err(Error::OtherFiles {
                    path: dir.to_owned(),
                    what,
                })
            };
            if there.data_checksum != facts.data_checksum {
                return other("data set");
            }
            if there.model_checksum != facts.model_checksum {
                return other("model");
            }
        } else {
            let path = dir.join(FACTS);
            let text = serde_json::to_vec_pretty(&facts).map_err(std::io::Error::from);
            write_file(&path, &text.map_err(Error::written(&path))?)?;
        }
        if !path.exists() {
            write_file(&path, text.as_bytes())?;
        }
        Ok(study)
    }

    /// Whether a file of predictions with texts of notes is written beside each one without. Default: no.
    #[must_use]
    pub fn with_text(mut self, with_text: bool) -> Self {
        self.with_text = with_text;
        self
    }

    /// The specification.
    #[must_use]
    pub fn spec(&self) -> &StudySpec {
        &self.spec
    }

    /// The cells, in the order in which they run.
    #[must_use]
    pub fn cells(&self) -> Vec<CellAt> {
        cells(&self.spec)
    }

    /// Runs every cell that is not finished, and writes the report.
    ///
    /// # Errors
    ///
    /// [`Error`]; what is finished stays.
    pub fn run(&self, progress: &mut dyn StudyProgress) -> Result<Report> {
        let cells = self.cells();
        for (done, at) in cells.iter().enumerate() {
            let folder = folder(&self.dir, *at);
            let result = match cell::finished(&folder)? {
                Some(result) => result,
                None => {
                    progress.cell(*at, done, cells.len());
                    self.run_cell(*at, &folder, progress)?
                }
            };
            let path = cell::texts(&folder);
            if self.with_text && !path.exists() {
                let predictions = prediction::read(&cell::predictions(&folder))?;
                texts::write(&self.data, &predictions, &[], &path)?;
            }
            progress.finished(&result);
        }
        let report = Report::of(&self.dir)?;
        report.write(&self.dir)?;
        Ok(report)
    }

    fn run_cell(
        &self,
        at: CellAt,
        folder: &Path,
        progress: &mut dyn StudyProgress,
    ) -> Result<CellResult> {
        let plan = Plan {
            data: &self.data,
            recipe: self.spec.recipe.as_ref(),
            metric: self.spec.metric(),
            development: development(self.data.len(Portion::Development), self.spec.development)?,
            keep_checkpoints: self.spec.keep_checkpoints,
            with_text: self.with_text,
        };
        let (spec, data, options) = (&self.spec, &self.data, &self.options);
        let recipe = spec.recipe.as_ref();
        match (self.kind, recipe) {
            (Facade::ClinicalBert, Some(recipe)) => {
                let approach = BertApproach::new(spec, recipe, data, options)?;
                cell::run(&approach, &plan, at, folder, progress)
            }
            (Facade::ClinicalT5, recipe) => {
                let approach = T5Approach::new(spec, recipe, data, options)?;
                cell::run(&approach, &plan, at, folder, progress)
            }
            (Facade::Asclepius, recipe) => {
                let approach = LlamaApproach::new(spec, recipe, data, options)?;
                cell::run(&approach, &plan, at, folder, progress)
            }
            (Facade::ClinicalGpt2, recipe) => {
                let approach = Gpt2Approach::new(spec, recipe, data, options)?;
                cell::run(&approach, &plan, at, folder, progress)
            }
            _ => Err(SpecError::Untrained.into()),
        }
    }

    /// What the model cannot do is said before anything runs.
    fn check_approach(&self) -> Result<()> {
        let (spec, data, options) = (&self.spec, &self.data, &self.options);
        let recipe = spec.recipe.as_ref();
        let asks = matches!(self.kind, Facade::Asclepius | Facade::ClinicalGpt2);
        if spec.prompt.is_some() && !asks {
            let (field, why) = (
                "prompt",
                "is for decoders: the others read the published rows",
            );
            return Err(SpecError::Setting { field, why }.into());
        }
        match (self.kind, recipe) {
            (Facade::ClinicalBert, Some(recipe)) => {
                BertApproach::new(spec, recipe, data, options).map(drop)
            }
            (Facade::ClinicalT5, recipe) => T5Approach::new(spec, recipe, data, options).map(drop),
            (Facade::Asclepius, recipe) => {
                LlamaApproach::new(spec, recipe, data, options).map(drop)
            }
            (Facade::ClinicalGpt2, recipe) => {
                Gpt2Approach::new(spec, recipe, data, options).map(drop)
            }
            _ => Err(SpecError::Untrained.into()),
        }
    }

    fn facts(&self) -> Result<Facts> {
        let model = &self.spec.model;
        let name = fs::canonicalize(model).unwrap_or_else(|_| model.clone());
        let name = name.file_name().unwrap_or_default().to_string_lossy();
        let development = self.data.len(Portion::Development);
        Ok(Facts {
            model: name.into_owned(),
            model_kind: match self.kind {
                Facade::ClinicalBert => "an encoder with a head",
                Facade::ClinicalT5 => "an encoder with a decoder",
                _ => "a decoder",
            }
            .to_owned(),
            model_checksum: clinical_facade::model_checksum(model)?,
            data_checksum: self.data.checksum(),
            training: self.data.len(Portion::Train),
            development: self
                .spec
                .development
                .map_or(development, |most| most.min(development)),
            test: self.data.len(Portion::Test),
            labels: self.data.labels(),
            baselines: baselines(&self.data)?,
        })
    }
}

/// The cells of a specification, small parts first.
pub(crate) fn cells(spec: &StudySpec) -> Vec<CellAt> {
    if spec.recipe.is_none() {
        return vec![CellAt {
            percent: 0,
            seed: 0,
        }];
    }
    let mut fractions = spec.fractions.clone();
    fractions.sort_unstable();
    let cells = fractions.into_iter().flat_map(|percent| {
        let seeds = spec.seeds.iter();
        seeds.map(move |&seed| CellAt { percent, seed })
    });
    cells.collect()
}

/// The folder of a cell.
pub(crate) fn folder(dir: &Path, at: CellAt) -> PathBuf {
    dir.join("cells").join(at.name())
}

/// The specification in a folder.
pub(crate) fn spec_of(dir: &Path) -> Result<StudySpec> {
    let path = dir.join(SPEC);
    match path.exists() {
        true => StudySpec::open(path),
        false => Err(Error::Nothing {
            path: dir.to_owned(),
        }),
    }
}

pub(crate) fn facts_of(dir: &Path) -> Result<Option<Facts>> {
    let path = dir.join(FACTS);
    if !path.exists() {
        return Ok(None);
    }
    match serde_json::from_slice(&read_file(&path, MOST)?) {
        Ok(facts) => Ok(Some(facts)),
        Err(error) => Err(Error::Damaged {
            path,
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// The numbers of the development examples that are looked at.
fn development(all: usize, most: Option<usize>) -> Result<Vec<usize>> {
    let Some(most) = most.filter(|&most| most < all) else {
        return Ok((0..all).collect());
    };
    let mut chosen = clinical_tasks::shots(all, most, DEVELOPMENT_SEED)?;
    chosen.sort_unstable();
    Ok(chosen)
}

/// Which facade opens the model.
fn kind_of(spec: &StudySpec, options: &LoadOptions) -> Result<Facade> {
    let name = || spec.model.display().to_string();
    let dir = about(ModelDir::open(&spec.model, options), name)?;
    let kind = dir.architecture().map(|one| one.facade);
    kind.ok_or_else(|| Error::model(name())("it is no kind of model that this library has".into()))
}

/// The lock goes with the process, however it ends.
fn locked(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(Error::written(&path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            path: dir.to_owned(),
        }),
        // Some network file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// How many training examples a part has.
pub(crate) fn examples(training: usize, percent: u32) -> usize {
    low_data(training, percent.clamp(1, 100), 0).map_or(0, |chosen| chosen.len())
}
