//! Intervals of figures, and whether two models differ.

use std::collections::BTreeMap;

use clinical_tasks::metrics::{Bootstrap, Interval, PairedTest, Significance};

use crate::figures::row;
use crate::prediction::{Found, Prediction};
use crate::{Metric, Result};

/// What all intervals and tests are drawn from.
const SEED: u64 = 17;

/// The labels that are counted: the types of entities that stand in predictions or references, else those of the task.
pub(crate) fn labels_of<'p>(
    task: &[String],
    predictions: impl Iterator<Item = &'p Prediction>,
) -> Vec<String> {
    let mut kinds: Vec<String> = task.to_vec();
    let mut found_entities = false;
    for prediction in predictions {
        if let Found::Entities {
            truth, predicted, ..
        } = &prediction.found
        {
            if !found_entities {
                kinds.clear();
                found_entities = true;
            }
            kinds.extend(truth.iter().chain(predicted).map(|one| one.kind.clone()));
        }
    }
    if found_entities {
        kinds.sort_unstable();
        kinds.dedup();
    }
    kinds
}

/// Predictions as what a metric counts of each, so that thousands of samples cost little.
#[derive(Debug, Clone)]
pub(crate) enum Counted {
    /// A value of each example; the metric is their mean.
    Values(Vec<f64>),
    /// For each example its labels: the label's number, right, predicted, true.
    Counts {
        rows: Vec<Vec<(usize, [u32; 3])>>,
        labels: usize,
        mean_of_labels: bool,
        /// Whether labels that no example has or gets count as 0.
        all_labels: bool,
    },
}

impl Counted {
    /// `labels` are those of [`labels_of`].
    pub(crate) fn new(metric: Metric, predictions: &[Prediction], labels: &[String]) -> Self {
        let value = |found: &Found| match (metric, found) {
            (
                Metric::Accuracy,
                Found::Class {
                    truth, predicted, ..
                },
            ) => Some(predicted.as_ref() == Some(truth)),
            (
                Metric::SubsetAccuracy,
                Found::Labels {
                    truth, predicted, ..
                },
            ) => Some(row(truth, labels) == row(predicted, labels)),
            _ => None,
        };
        let values: Option<Vec<f64>> = predictions
            .iter()
            .map(|prediction| match (metric, &prediction.found) {
                (Metric::Exact, Found::Answer { exact, .. }) => Some(*exact),
                (Metric::F1, Found::Answer { f1, .. }) => Some(*f1),
                (_, found) => value(found).map(|right| f64::from(u8::from(right))),
            })
            .collect();
        if let Some(values) = values {
            return Self::Values(values);
        }
        let names: BTreeMap<&str, usize> = labels.iter().map(String::as_str).zip(0..).collect();
        let is_entities = |found: &Found| matches!(found, Found::Entities { .. });
        let entities = predictions.iter().any(|one| is_entities(&one.found));
        let rows = predictions.iter().map(|prediction| {
            let mut counts: BTreeMap<usize, [u32; 3]> = BTreeMap::new();
            let mut add = |label: &str, right: bool, what: usize| {
                if let Some(label) = names.get(label) {
                    let counts = counts.entry(*label).or_default();
                    counts[what] += 1;
                    counts[0] += u32::from(right);
                }
            };
            match &prediction.found {
                Found::Class {
                    truth, predicted, ..
                } => {
                    add(truth, false, 2);
                    if let Some(predicted) = predicted {
                        add(predicted, predicted == truth, 1);
                    }
                }
                Found::Labels {
                    truth, predicted, ..
                } => {
                    truth.iter().for_each(|label| add(label, false, 2));
                    for label in predicted {
                        add(label, truth.contains(label), 1);
                    }
                }
                Found::Entities {
                    truth, predicted, ..
                } => {
                    truth.iter().for_each(|entity| add(&entity.kind, false, 2));
                    for entity in predicted {
                        add(&entity.kind, truth.contains(entity), 1);
                    }
                }
                Found::Answer { .. } => {}
            }
            counts.into_iter().collect()
        });
        let rows = rows.collect();
        Self::Counts {
            rows,
            labels: names.len(),
            mean_of_labels: metric == Metric::MacroF1,
            all_labels: !entities,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Counts { rows, .. } => rows.len(),
        }
    }

    /// The metric of all examples.
    pub(crate) fn all(&self) -> f64 {
        self.of(0..self.len())
    }

    /// The metric of some of the examples, each as often as it is named; 0 where there is nothing.
    pub(crate) fn of(&self, chosen: impl Iterator<Item = usize>) -> f64 {
        let mut sums = Sums::new(self);
        chosen.for_each(|index| sums.add(self, index));
        sums.metric(self)
    }
}

/// What a metric is made of.
struct Sums {
    value: f64,
    examples: usize,
    counts: Vec<[u32; 3]>,
}

impl Sums {
    fn new(of: &Counted) -> Self {
        let labels = match of {
            Counted::Values(_) => 0,
            Counted::Counts { labels, .. } => *labels,
        };
        Self {
            value: 0.0,
            examples: 0,
            counts: vec![[0; 3]; labels],
        }
    }

    fn add(&mut self, of: &Counted, index: usize) {
        self.examples += 1;
        match of {
            Counted::Values(values) => self.value += values[index],
            Counted::Counts { rows, .. } => {
                for (label, counts) in &rows[index] {
                    for (sum, count) in self.counts[*label].iter_mut().zip(counts) {
                        *sum += count;
                    }
                }
            }
        }
    }

    fn metric(&self, of: &Counted) -> f64 {
        let f1 = |[right, predicted, truth]: [u32; 3]| match predicted + truth {
            0 => 0.0,
            all => f64::from(2 * right) / f64::from(all),
        };
        match of {
            Counted::Values(_) => self.value / self.examples.max(1) as f64,
            Counted::Counts {
                mean_of_labels: true,
                all_labels,
                ..
            } => {
                let counts = self.counts.iter().filter(|counts| {
                    let [_, predicted, truth] = **counts;
                    *all_labels || predicted + truth > 0
                });
                let (mut sum, mut labels) = (0.0, 0_usize);
                for counts in counts {
                    (sum, labels) = (sum + f1(*counts), labels + 1);
                }
                sum / labels.max(1) as f64
            }
            Counted::Counts { .. } => f1(self.counts.iter().fold([0; 3], |mut all, counts| {
                all.iter_mut()
                    .zip(counts)
                    .for_each(|(sum, count)| *sum += count);
                all
            })),
        }
    }
}

/// The interval of the mean of a metric over seeds, by resampling the test examples.
pub(crate) fn interval(seeds: &[Counted]) -> Result<Interval> {
    let examples = seeds.iter().map(Counted::len).min().unwrap_or(0);
    let mean = |sample: &[usize]| {
        let values = seeds.iter().map(|seed| seed.of(sample.iter().copied()));
        Some(values.sum::<f64>() / seeds.len() as f64)
    };
    Ok(Bootstrap::new(SEED).interval(examples, mean)?)
}

/// Whether two models, each with the same seeds, differ by more than the choice of test examples explains. The
/// predictions for an example are swapped in all seeds at once.
pub(crate) fn paired(first: &[Counted], second: &[Counted]) -> Result<Significance> {
    let seeds = first.len().min(second.len()).max(1) as f64;
    let test = PairedTest::new(SEED);
    let values = |all: &[Counted]| -> Option<Vec<f64>> {
        let mut sums = vec![0.0; all.iter().map(Counted::len).min()?];
        for counted in all {
            let Counted::Values(values) = counted else {
                return None;
            };
            sums.iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum += value / seeds);
        }
        Some(sums)
    };
    if let (Some(first), Some(second)) = (values(first), values(second)) {
        return Ok(test.means(&first, &second)?);
    }
    let examples = first.iter().chain(second).map(Counted::len).min();
    let difference = |swapped: &[bool]| {
        let pairs = first.iter().zip(second).map(|(first, second)| {
            let (mut one, mut other) = (Sums::new(first), Sums::new(second));
            for (index, swap) in swapped.iter().enumerate() {
                // Both number their labels alike.
                match swap {
                    false => {
                        one.add(first, index);
                        other.add(second, index);
                    }
                    true => {
                        one.add(second, index);
                        other.add(first, index);
                    }
                }
            }
            one.metric(first) - other.metric(second)
        });
        pairs.sum::<f64>() / seeds
    };
    Ok(test.metric(examples.unwrap_or(0), difference)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskKind;
    use crate::figures::figures;
    use crate::prediction::EntityAt;

    fn entity(kind: &str, words: std::ops::Range<usize>) -> EntityAt {
        EntityAt {
            kind: kind.to_owned(),
            bytes: words.clone(),
            words,
        }
    }

    fn examples() -> Vec<(Vec<String>, Vec<Prediction>, &'static [Metric])> {
        let names = |all: &[&str]| {
            all.iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let of = |found: Vec<Found>| {
            let found = found.into_iter().enumerate();
            let found = found.map(|(example, found)| Prediction {
                example,
                id: example.to_string(),
                found,
            });
            found.collect::<Vec<_>>()
        };
        let class = |truth: &str, predicted: Option<&str>| Found::Class {
            truth: truth.to_owned(),
            predicted: predicted.map(str::to_owned),
            scores: Vec::new(),
        };
        let labels = |truth: &[&str], predicted: &[&str]| Found::Labels {
            bytes: 0..1,
            truth: names(truth),
            predicted: names(predicted),
            scores: Vec::new(),
        };
        let line = |truth: Vec<EntityAt>, predicted: Vec<EntityAt>| Found::Entities {
            words: 9,
            truth,
            predicted,
        };
        vec![
            (
                names(&["a", "b", "c"]),
                of(vec![
                    class("a", Some("a")),
                    class("b", Some("a")),
                    class("b", None),
                    class("b", Some("b")),
                ]),
                Metric::of(TaskKind::Mednli),
            ),
            (
                names(&["a", "b", "c"]),
                of(vec![
                    labels(&["a"], &["a", "c"]),
                    labels(&[], &[]),
                    labels(&["b", "a"], &["b"]),
                ]),
                Metric::of(TaskKind::Clip),
            ),
            (
                Vec::new(),
                of(vec![
                    line(
                        vec![entity("x", 0..2)],
                        vec![entity("x", 0..2), entity("y", 3..4)],
                    ),
                    line(
                        vec![entity("x", 1..2), entity("z", 4..6)],
                        vec![entity("x", 1..3)],
                    ),
                    line(vec![], vec![]),
                ]),
                Metric::of(TaskKind::Entities),
            ),
        ]
    }

    /// What intervals and tests count is what `clinical-tasks` reports.
    #[test]
    fn counted_metrics_are_the_reported_ones() {
        for (labels, predictions, metrics) in examples() {
            let figures = figures(&predictions, &labels).unwrap();
            let labels = labels_of(&labels, predictions.iter());
            for metric in metrics {
                let counted = Counted::new(*metric, &predictions, &labels);
                let found = counted.of(0..predictions.len());
                let reported = figures.scores[metric.name()];
                assert!(
                    (found - reported).abs() < 1e-12,
                    "{metric:?}: {found} {reported}"
                );
                assert!(interval(std::slice::from_ref(&counted)).unwrap().high >= found - 1e-12);
                let all = std::slice::from_ref(&counted);
                let same = paired(all, all).unwrap();
                assert_eq!((same.difference, same.p_value), (0.0, 1.0));
            }
        }
    }

    #[test]
    fn a_threshold_takes_answers_away() {
        let place = 3..6;
        let answer = |truth: Vec<std::ops::Range<usize>>| Found::Answer {
            truth,
            answered: true,
            predicted: Some(3..5),
            no_answer: 0.7,
            exact: 0.0,
            f1: 0.5,
        };
        for (truth, right) in [(vec![], 1.0), (vec![place], 0.0)] {
            let mut found = answer(truth.clone());
            found.above(0.7);
            assert_eq!(found, answer(truth.clone()));
            found.above(0.69);
            let Found::Answer {
                answered,
                predicted,
                exact,
                f1,
                ..
            } = found
            else {
                panic!("not an answer");
            };
            assert_eq!(
                (answered, predicted, exact, f1),
                (false, None, right, right)
            );
        }
    }
}
