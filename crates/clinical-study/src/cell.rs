//! One part of a study: a seed, a part of the data, one training, one test.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clinical_files::{read_file, write_file};
use clinical_tasks::metrics::best_threshold;
use clinical_tasks::{Portion, low_data};
use clinical_train::{
    Better, Development, EvaluationReport, FineTune, Progress, Recipe, StepReport,
};
use serde::{Deserialize, Serialize};

use crate::approach::{Approach, Predicted};
use crate::cost::Cost;
use crate::data::TaskData;
use crate::figures::{LabelFigures, figures};
use crate::prediction;
use crate::{Error, Metric, Result, StudyProgress};

/// Most bytes of a result.
const MOST: u64 = 1 << 24;

/// A cell of a study: a part of the training data and a seed, or a model as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CellAt {
    /// The part of the training data in percent; 0 for a model that is not trained.
    pub percent: u32,
    /// The seed.
    pub seed: u64,
}

impl CellAt {
    /// The name of its folder.
    #[must_use]
    pub fn name(self) -> String {
        match self.percent {
            0 => "untrained".to_owned(),
            percent => format!("percent-{percent:03}-seed-{}", self.seed),
        }
    }
}

/// What a cell found: `result.json` in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CellResult {
    /// Which cell.
    #[serde(flatten)]
    pub at: CellAt,
    /// Training examples.
    pub examples: usize,
    /// The figures on the development part, of the weights that were chosen by it.
    pub development: BTreeMap<String, f64>,
    /// The figures on the test part.
    pub test: BTreeMap<String, f64>,
    /// The figures of each label on the test part.
    pub labels: Vec<LabelFigures>,
    /// RadQA: answers with more for "no answer" than this count as none. Found on the development part.
    pub threshold: Option<f64>,
    /// What it cost.
    pub cost: Cost,
}

/// What all cells of a study share.
pub(crate) struct Plan<'a> {
    pub(crate) data: &'a TaskData,
    pub(crate) recipe: Option<&'a Recipe>,
    pub(crate) metric: Metric,
    /// Development examples that are looked at.
    pub(crate) development: Vec<usize>,
    pub(crate) keep_checkpoints: bool,
    pub(crate) with_text: bool,
}

/// The result of a cell that is finished.
pub(crate) fn finished(folder: &Path) -> Result<Option<CellResult>> {
    let path = folder.join("result.json");
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_file(&path, MOST)?;
    match serde_json::from_slice(&bytes) {
        Ok(result) => Ok(Some(result)),
        Err(error) => Err(Error::Damaged {
            path,
            line: error.line(),
            column: error.column(),
        }),
    }
}

pub(crate) fn predictions(folder: &Path) -> PathBuf {
    folder.join("predictions.jsonl")
}

pub(crate) fn texts(folder: &Path) -> PathBuf {
    folder.join("predictions-text.jsonl")
}

/// Trains and tests, from where a run before came to.
pub(crate) fn run<A: Approach>(
    approach: &A,
    plan: &Plan<'_>,
    at: CellAt,
    folder: &Path,
    progress: &mut dyn StudyProgress,
) -> Result<CellResult> {
    fs::create_dir_all(folder).map_err(Error::written(folder))?;
    let mut cost = Cost::default();
    let mut facade = approach.load(at.seed)?;
    cost.parameters = approach.parameters(&facade);
    let mut examples = 0;
    let run = folder.join("run");
    if let Some(recipe) = plan.recipe {
        let chosen = low_data(plan.data.len(Portion::Train), at.percent, at.seed)?;
        examples = chosen.len();
        let training = approach.training(&facade, &chosen)?;
        let mut recipe = recipe.clone();
        recipe.seed = at.seed;
        let measure = |facade: &A::Facade| {
            let found = approach.predict(facade, Portion::Development, &plan.development)?;
            Ok(measured(plan, &found)?)
        };
        let name = plan.metric.name();
        let development = Development::none().with_metric(name, Better::Higher, measure);
        let mut heard = Heard {
            progress,
            stopped: false,
        };
        let run = FineTune::new(recipe).resume_or_start(&run)?;
        facade = run.train(facade, training.as_ref(), &development, &mut heard)?;
        if heard.stopped {
            return Err(Error::Stopped);
        }
        cost.read_run(run.dir())?;
    }
    let development = approach.predict(&facade, Portion::Development, &plan.development)?;
    cost.development_tokens = development.tokens;
    cost.evaluations += 1;
    let threshold = threshold(plan.metric, &development)?;
    let development = tested(development, threshold);
    let all: Vec<usize> = (0..plan.data.len(Portion::Test)).collect();
    let began = Instant::now();
    let test = approach.predict(&facade, Portion::Test, &all)?;
    cost.test_seconds = began.elapsed().as_secs_f64();
    cost.test_tokens = test.tokens;
    let test = tested(test, threshold);
    let labels = plan.data.labels();
    let found = figures(&test.predictions, &labels)?;
    let adapter = plan.recipe.is_some_and(|recipe| recipe.lora.is_some());
    let result = CellResult {
        at,
        examples,
        development: figures(&development.predictions, &labels)?.scores,
        test: found.scores,
        labels: found.labels,
        threshold,
        cost: cost.estimated(adapter),
    };
    let path = predictions(folder);
    write_file(&path, &prediction::lines(&test.predictions, &path)?)?;
    if plan.with_text {
        crate::texts::write(plan.data, &test.predictions, &test.written, &texts(folder))?;
    }
    // The cell is finished once this is there.
    let path = folder.join("result.json");
    let text = serde_json::to_vec_pretty(&result).map_err(std::io::Error::from);
    write_file(&path, &text.map_err(Error::written(&path))?)?;
    if !plan.keep_checkpoints {
        let checkpoints = run.join("checkpoints");
        if checkpoints.exists() {
            fs::remove_dir_all(&checkpoints).map_err(Error::written(&checkpoints))?;
        }
    }
    Ok(result)
}

/// What chooses the best weights; for answers with the best threshold.
fn measured(plan: &Plan<'_>, found: &Predicted) -> Result<f64> {
    if !found.answers.is_empty() {
        let best = match plan.metric {
            Metric::Exact => best_threshold(&found.answers, |item| item.exact)?,
            _ => best_threshold(&found.answers, |item| item.f1)?,
        };
        return Ok(best.score);
    }
    let figures = figures(&found.predictions, &plan.data.labels())?;
    Ok(figures
        .scores
        .get(plan.metric.name())
        .copied()
        .unwrap_or(0.0))
}

fn threshold(metric: Metric, development: &Predicted) -> Result<Option<f64>> {
    if development.answers.is_empty() {
        return Ok(None);
    }
    let best = match metric {
        Metric::Exact => best_threshold(&development.answers, |item| item.exact)?,
        _ => best_threshold(&development.answers, |item| item.f1)?,
    };
    Ok(Some(best.threshold))
}

/// The predictions with a threshold.
fn tested(mut found: Predicted, threshold: Option<f64>) -> Predicted {
    if let Some(threshold) = threshold {
        for prediction in &mut found.predictions {
            prediction.found.above(threshold);
        }
    }
    found
}

/// Passes on what a run tells.
struct Heard<'a> {
    progress: &'a mut dyn StudyProgress,
    stopped: bool,
}

impl Progress for Heard<'_> {
    fn remark(&mut self, remark: &str) {
        self.progress.remark(remark);
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let flow = self.progress.step(report);
        self.stopped |= flow.is_break();
        flow
    }

    fn evaluation(&mut self, report: &EvaluationReport) {
        self.progress.evaluation(report);
    }
}
