//! The report of a study.

mod html;
mod markdown;
mod page;
mod picture;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clinical_files::write_file;
use clinical_tasks::metrics::Interval;
use serde::Serialize;

use crate::baseline::Baseline;
use crate::cell::{self, CellResult};
use crate::cost::Cost;
use crate::counted::{Counted, interval, labels_of};
use crate::figures::LabelFigures;
use crate::study::{cells, examples, facts_of, folder, spec_of};
use crate::{Error, Metric, Result, TaskKind, prediction};

pub(crate) use html::html;
pub(crate) use markdown::markdown;
pub(crate) use page::{Block, Page};
pub(crate) use picture::{Curve, Curves, Point};

/// What a study found, over its seeds. It has figures and names of labels, and no text of a note.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The last part of the model's path.
    pub model: String,
    /// What kind of model it is.
    pub model_kind: String,
    /// The task.
    pub task: TaskKind,
    /// How it predicts: `head`, `generation`, `scoring`.
    pub method: String,
    /// What chose the best weights, and is drawn.
    pub metric: Metric,
    /// Training examples of all of the data.
    pub training: usize,
    /// Development examples that were looked at.
    pub development: usize,
    /// Test examples.
    pub test: usize,
    /// Parts of a study that are not finished.
    pub unfinished: usize,
    /// What needs no model.
    pub baselines: Vec<Baseline>,
    /// A row for each part of the data.
    pub rows: Vec<ReportRow>,
    /// All finished cells.
    pub cells: Vec<CellResult>,
    /// What they cost together.
    pub cost: Cost,
}

/// The figures of one part of the data over its seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReportRow {
    /// Percent of the training data; 0 for a model that was not trained.
    pub percent: u32,
    /// Training examples.
    pub examples: usize,
    /// The seeds that are finished.
    pub seeds: Vec<u64>,
    /// The mean of each figure on the test part.
    pub mean: BTreeMap<String, f64>,
    /// The standard deviation of each figure over the seeds (n - 1); empty for one seed.
    pub deviation: BTreeMap<String, f64>,
    /// The 95 % interval of the mean of the study's metric, by resampling the test examples.
    pub interval: Interval,
    /// The mean figures of each label.
    pub labels: Vec<LabelFigures>,
    /// What these cells cost together.
    pub cost: Cost,
}

impl Report {
    /// The report of the finished cells in the folder of a study. It needs neither the model nor the data.
    ///
    /// # Errors
    ///
    /// [`Error::Nothing`] for a folder without a finished cell; [`Error::Damaged`], [`Error::File`].
    pub fn of(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let nothing = || Error::Nothing {
            path: dir.to_owned(),
        };
        let spec = spec_of(dir)?;
        let facts = facts_of(dir)?.ok_or_else(nothing)?;
        let metric = spec.metric();
        let mut by_percent: BTreeMap<u32, Vec<(CellResult, Counted)>> = BTreeMap::new();
        let (mut unfinished, mut all) = (0, Vec::new());
        for at in cells(&spec) {
            let folder = folder(dir, at);
            let Some(result) = cell::finished(&folder)? else {
                unfinished += 1;
                continue;
            };
            let predictions = prediction::read(&cell::predictions(&folder))?;
            let labels = labels_of(&facts.labels, predictions.iter());
            let counted = Counted::new(metric, &predictions, &labels);
            all.push(result.clone());
            by_percent
                .entry(at.percent)
                .or_default()
                .push((result, counted));
        }
        if all.is_empty() {
            return Err(nothing());
        }
        let rows = by_percent.into_iter().map(|(percent, cells)| {
            let (results, counted): (Vec<CellResult>, Vec<Counted>) = cells.into_iter().unzip();
            let count = match percent {
                0 => 0,
                percent => examples(facts.training, percent),
            };
            row(percent, count, &results, &counted)
        });
        let rows = rows.collect::<Result<Vec<ReportRow>>>()?;
        Ok(Self {
            method: method(&spec, &facts.model_kind),
            model: facts.model,
            model_kind: facts.model_kind,
            task: spec.task.kind,
            metric,
            training: facts.training,
            development: facts.development,
            test: facts.test,
            unfinished,
            baselines: facts.baselines,
            rows,
            cost: total(&all),
            cells: all,
        })
    }

    /// The report without what was measured with a clock: two runs of one study have the same.
    #[must_use]
    pub fn without_seconds(mut self) -> Self {
        let rows = self.rows.iter_mut().map(|row| &mut row.cost);
        let cells = self.cells.iter_mut().map(|cell| &mut cell.cost);
        for cost in rows.chain(cells).chain([&mut self.cost]) {
            (cost.training_seconds, cost.test_seconds) = (0.0, 0.0);
        }
        self
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown(&page::of(self))
    }

    /// As one HTML page, with its picture in it.
    ///
    /// # Errors
    ///
    /// [`Error::File`] for a picture that cannot be drawn.
    pub fn html(&self) -> Result<String> {
        Ok(html(&page::of(self), &self.svg()?))
    }

    /// The metric over the parts of the data, as SVG.
    ///
    /// # Errors
    ///
    /// [`Error::File`] for a picture that cannot be drawn.
    pub fn svg(&self) -> Result<Vec<u8>> {
        picture::svg(&self.curves())
    }

    /// The same picture as PNG.
    ///
    /// # Errors
    ///
    /// [`Error::File`] for a picture that cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>> {
        picture::png(&self.curves())
    }

    pub(crate) fn curve(&self, name: String) -> Curve {
        let points = self.rows.iter().map(|row| Point {
            percent: row.percent,
            value: row.mean.get(self.metric.name()).copied().unwrap_or(0.0),
            low: row.interval.low,
            high: row.interval.high,
        });
        Curve {
            name,
            points: points.collect(),
        }
    }

    fn curves(&self) -> Curves {
        Curves {
            metric: self.metric.name(),
            curves: vec![self.curve(self.model.clone())],
            baseline: self.baseline(),
        }
    }

    /// The best value of the metric without a model.
    #[must_use]
    pub fn baseline(&self) -> Option<f64> {
        let values = self.baselines.iter();
        let values = values.filter_map(|one| one.test.get(self.metric.name()).copied());
        values.max_by(f64::total_cmp)
    }

    /// Writes `report.md`, `report.html`, `report.json`, `curve.svg` and `curve.png`.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let json = dir.join("report.json");
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(std::io::Error::from)
            .map_err(Error::written(&json))?;
        text.push(b'\n');
        for (name, bytes) in [
            ("report.md", self.markdown().into_bytes()),
            ("report.html", self.html()?.into_bytes()),
            ("report.json", text),
            ("curve.svg", self.svg()?),
            ("curve.png", self.png()?),
        ] {
            write_file(dir.join(name), &bytes)?;
        }
        Ok(())
    }
}

fn method(spec: &crate::StudySpec, kind: &str) -> String {
    let default = match kind {
        "an encoder with a head" => "head",
        "an encoder with a decoder" => "generation",
        _ => "scoring",
    };
    spec.method
        .map_or(default, |method| method.name())
        .to_owned()
}

fn total(cells: &[CellResult]) -> Cost {
    let mut cost = Cost::default();
    cells.iter().for_each(|cell| cost.add(&cell.cost));
    cost
}

fn row(
    percent: u32,
    examples: usize,
    results: &[CellResult],
    counted: &[Counted],
) -> Result<ReportRow> {
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for result in results {
        for (name, value) in &result.test {
            values.entry(name).or_default().push(*value);
        }
    }
    let mean_of = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let mean = values
        .iter()
        .map(|(name, values)| ((*name).to_owned(), mean_of(values)));
    let deviation = values.iter().filter(|(_, values)| values.len() > 1);
    let deviation = deviation.map(|(name, values)| {
        let mean = mean_of(values);
        let squares = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>();
        (
            (*name).to_owned(),
            (squares / (values.len() - 1) as f64).sqrt(),
        )
    });
    Ok(ReportRow {
        percent,
        examples,
        seeds: results.iter().map(|result| result.at.seed).collect(),
        mean: mean.collect(),
        deviation: deviation.collect(),
        interval: interval(counted)?,
        labels: labels(results),
        cost: total(results),
    })
}

/// The mean figures of each label over the seeds in which it has some.
fn labels(results: &[CellResult]) -> Vec<LabelFigures> {
    let mut all: Vec<(LabelFigures, f64)> = Vec::new();
    for figures in results.iter().flat_map(|result| &result.labels) {
        match all
            .iter_mut()
            .find(|(known, _)| known.label == figures.label)
        {
            None => all.push((figures.clone(), 1.0)),
            Some((sum, count)) => {
                sum.precision += figures.precision;
                sum.recall += figures.recall;
                sum.f1 += figures.f1;
                *count += 1.0;
            }
        }
    }
    let means = all.into_iter().map(|(mut sum, count)| {
        sum.precision /= count;
        sum.recall /= count;
        sum.f1 /= count;
        sum
    });
    means.collect()
}

/// Where a picture could not be written.
pub(crate) fn undrawn(source: std::io::Error) -> Error {
    Error::File {
        path: PathBuf::from("curve.svg"),
        done: "written",
        source,
    }
}
