//! Two studies on the same test part beside each other.

use std::path::Path;

use clinical_files::write_file;
use clinical_tasks::metrics::Significance;
use serde::Serialize;

use crate::cell::{self, CellAt};
use crate::counted::{Counted, labels_of, paired};
use crate::prediction::{Found, Prediction};
use crate::report::{Block, Curves, Page, Report, html, markdown};
use crate::study::{facts_of, folder};
use crate::{Error, Metric, Result, prediction};

/// Two studies, part by part.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// The first study.
    pub first: Report,
    /// The second study.
    pub second: Report,
    /// The metric: that of the first study.
    pub metric: Metric,
    /// The parts that both have.
    pub rows: Vec<ComparisonRow>,
}

/// One part of the data in both studies.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ComparisonRow {
    /// Percent of the training data; 0 where neither was trained.
    pub percent: u32,
    /// The seeds that both have.
    pub seeds: Vec<u64>,
    /// The mean of the first study over these seeds.
    pub first: f64,
    /// The mean of the second study.
    pub second: f64,
    /// The difference, and how often chance alone gives it: approximate randomization over the test examples, an
    /// example's predictions swapped in all seeds at once.
    pub significance: Significance,
}

impl Comparison {
    /// Compares the finished cells of two studies that have the same part of the data and the same seed.
    ///
    /// # Errors
    ///
    /// [`Error::NotComparable`] for other tasks or test examples, or no cell in common; [`Error::Nothing`],
    /// [`Error::Damaged`], [`Error::File`].
    pub fn of(first: impl AsRef<Path>, second: impl AsRef<Path>) -> Result<Self> {
        let dirs = [first.as_ref(), second.as_ref()];
        let not_comparable = |why| Error::NotComparable {
            first: dirs[0].to_owned(),
            second: dirs[1].to_owned(),
            why,
        };
        let [first, second] = [Report::of(dirs[0])?, Report::of(dirs[1])?];
        if first.task != second.task {
            return Err(not_comparable("they are about other tasks"));
        }
        let metric = first.metric;
        let task_labels = facts_of(dirs[0])?
            .map(|facts| facts.labels)
            .unwrap_or_default();
        let mut rows = Vec::new();
        for row in &first.rows {
            let Some(other) = second
                .rows
                .iter()
                .find(|other| other.percent == row.percent)
            else {
                continue;
            };
            let seeds = row
                .seeds
                .iter()
                .copied()
                .filter(|seed| other.seeds.contains(seed));
            let seeds: Vec<u64> = seeds.collect();
            let mut counted = [Vec::new(), Vec::new()];
            for &seed in &seeds {
                let percent = row.percent;
                let at = CellAt { percent, seed };
                let [a, b] = dirs.map(|dir| prediction::read(&cell::predictions(&folder(dir, at))));
                let (a, b) = (a?, b?);
                if !same_truth(&a, &b) {
                    return Err(not_comparable("their test examples differ"));
                }
                let labels = labels_of(&task_labels, a.iter().chain(&b));
                for (counted, predictions) in counted.iter_mut().zip([&a, &b]) {
                    counted.push(Counted::new(metric, predictions, &labels));
                }
            }
            if seeds.is_empty() {
                continue;
            }
            let mean = |cells: &[Counted]| {
                let values = cells.iter().map(Counted::all);
                values.sum::<f64>() / cells.len() as f64
            };
            rows.push(ComparisonRow {
                percent: row.percent,
                first: mean(&counted[0]),
                second: mean(&counted[1]),
                significance: paired(&counted[0], &counted[1])?,
                seeds,
            });
        }
        match rows.is_empty() {
            true => Err(not_comparable(
                "they have no finished part of the data and seed in common",
            )),
            false => Ok(Self {
                first,
                second,
                metric,
                rows,
            }),
        }
    }

    fn names(&self) -> [String; 2] {
        let name = |report: &Report| match self.first.model == self.second.model {
            true => format!("{} by {}", report.model, report.method),
            false => report.model.clone(),
        };
        let names = [name(&self.first), name(&self.second)];
        match names[0] == names[1] {
            true => ["first", "second"].map(|which| format!("{} ({which})", names[0])),
            false => names,
        }
    }

    fn curves(&self) -> Curves {
        let [first, second] = self.names();
        Curves {
            metric: self.metric.name(),
            curves: vec![self.first.curve(first), self.second.curve(second)],
            baseline: self.first.baseline(),
        }
    }

    fn page(&self) -> Page {
        let [first, second] = self.names();
        let rows = self.rows.iter().map(|row| {
            let part = match row.percent {
                0 => "no training".to_owned(),
                percent => format!("{percent} %"),
            };
            vec![
                part,
                row.seeds.len().to_string(),
                format!("{:.3}", row.first),
                format!("{:.3}", row.second),
                format!("{:+.3}", row.significance.difference),
                format!("{:.4}", row.significance.p_value),
            ]
        });
        Page {
            title: format!("{first} beside {second}, {}", self.first.task.title()),
            blocks: vec![
                Block::Text(format!(
                    "{} on {} test {}, means over the seeds that both have. p: how often the difference, or a larger one, \
                     comes about where it makes no difference which of the two models made which prediction (approximate \
                     randomization over the test examples, an example's predictions swapped in all seeds at once). It says \
                     nothing about seeds that were not run; five rows are five tests.",
                    self.metric.name(),
                    self.first.test,
                    self.first.task.examples(),
                )),
                Block::Picture(format!(
                    "{} of both over the part of the data",
                    self.metric.name()
                )),
                Block::Table {
                    head: ["data", "seeds", &first, &second, "difference", "p"]
                        .map(str::to_owned)
                        .to_vec(),
                    rows: rows.collect(),
                },
            ],
        }
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown(&self.page())
    }

    /// Writes `report.md`, `report.html`, `report.json`, `curve.svg` and `curve.png` into a folder, which is made.
    ///
    /// # Errors
    ///
    /// [`Error::File`], [`Error::Files`].
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(Error::written(dir))?;
        let json = dir.join("report.json");
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let (page, curves) = (self.page(), self.curves());
        let svg = curves.svg()?;
        for (name, bytes) in [
            ("report.md", markdown(&page).into_bytes()),
            ("report.html", html(&page, &svg).into_bytes()),
            ("report.json", text.map_err(Error::written(&json))?),
            ("curve.png", curves.png()?),
            ("curve.svg", svg),
        ] {
            write_file(dir.join(name), &bytes)?;
        }
        Ok(())
    }
}

/// Whether two files are about the same examples.
fn same_truth(first: &[Prediction], second: &[Prediction]) -> bool {
    let same = |(a, b): (&Prediction, &Prediction)| {
        a.example == b.example
            && a.id == b.id
            && match (&a.found, &b.found) {
                (Found::Class { truth: a, .. }, Found::Class { truth: b, .. }) => a == b,
                (Found::Labels { truth: a, .. }, Found::Labels { truth: b, .. }) => a == b,
                (Found::Entities { truth: a, .. }, Found::Entities { truth: b, .. }) => a == b,
                // Offsets move with converted tags, so whether there is an answer must do.
                (Found::Answer { truth: a, .. }, Found::Answer { truth: b, .. }) => {
                    a.len() == b.len()
                }
                _ => false,
            }
    };
    first.len() == second.len() && first.iter().zip(second).all(same)
}
