//! How good a model is on examples that it does not learn from.

use std::fmt;

use burn::module::Module;
use clinical_facade::{BatchLimits, Parts, batches};

use super::checkpoint::{Best, State};
use super::progress::EvaluationReport;
use crate::{Error, Result, Trainable, TrainingSet};

/// Which values of a metric are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Better {
    /// As of accuracy.
    Higher,
    /// As of perplexity.
    Lower,
}

type Measure<'a, F> = Box<dyn Fn(&F) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> + 'a>;

struct Metric<'a, F> {
    name: String,
    better: Better,
    measure: Measure<'a, F>,
}

/// What a run looks at to find the best weights: the mean loss over development examples, or a metric of the caller's.
pub struct Development<'a, F: Trainable> {
    set: Option<&'a dyn TrainingSet<Model = F::Model>>,
    metric: Option<Metric<'a, F>>,
}

impl<F: Trainable> Default for Development<'_, F> {
    fn default() -> Self {
        Self::none()
    }
}

impl<F: Trainable> fmt::Debug for Development<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Development")
            .field("examples", &self.set.map(TrainingSet::len))
            .field("metric", &self.metric.as_ref().map(|metric| &metric.name))
            .finish()
    }
}

impl<'a, F: Trainable> Development<'a, F> {
    /// Nothing: the last weights are the result.
    #[must_use]
    pub fn none() -> Self {
        Self {
            set: None,
            metric: None,
        }
    }

    /// The mean loss over these examples; the lowest is the best.
    #[must_use]
    pub fn loss(set: &'a dyn TrainingSet<Model = F::Model>) -> Self {
        Self {
            set: Some(set),
            metric: None,
        }
    }

    /// Decides by a metric of the facade with its weights so far, such as the accuracy of its answers.
    #[must_use]
    pub fn with_metric(
        mut self,
        name: impl Into<String>,
        better: Better,
        measure: impl Fn(&F) -> Result<f64, Box<dyn std::error::Error + Send + Sync>> + 'a,
    ) -> Self {
        self.metric = Some(Metric {
            name: name.into(),
            better,
            measure: Box::new(measure),
        });
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set.is_none() && self.metric.is_none()
    }

    /// Evaluates a model that is being trained.
    pub(super) fn evaluate(
        &self,
        model: &F::Model,
        rest: Parts<F::Config, ()>,
        state: &mut State,
    ) -> Result<(Parts<F::Config, ()>, EvaluationReport)> {
        let model = model.valid();
        let loss = self.set.map(|set| mean_loss(set, &model)).transpose()?;
        let (rest, metric) = match &self.metric {
            None => (rest, None),
            Some(metric) => {
                let facade = F::from_parts(rest.with_model(model))?;
                let value = (metric.measure)(&facade).map_err(|cause| Error::Metric {
                    name: metric.name.clone(),
                    cause,
                })?;
                if !value.is_finite() {
                    return Err(Error::Metric {
                        name: metric.name.clone(),
                        cause: format!("it is {value}").into(),
                    });
                }
                let (_, rest) = facade.into_parts().take_model();
                (rest, Some((metric.name.clone(), value)))
            }
        };
        let higher = self
            .metric
            .as_ref()
            .is_some_and(|metric| metric.better == Better::Higher);
        let value = metric.as_ref().map(|(_, value)| *value).or(loss);
        let value = value.unwrap_or(f64::INFINITY);
        let is_better = state.best.is_none_or(|best| match higher {
            true => value > best.value,
            false => value < best.value,
        });
        if is_better {
            let step = state.step;
            (state.best, state.waited) = (Some(Best { step, value }), 0);
        } else {
            state.waited += 1;
        }
        let report = EvaluationReport {
            step: state.step,
            epoch: state.epoch,
            development_loss: loss,
            metric,
            best: is_better,
        };
        Ok((rest, report))
    }
}

/// The mean loss over all targets.
fn mean_loss<M>(set: &dyn TrainingSet<Model = M>, model: &M) -> Result<f64> {
    if set.is_empty() {
        return Err(Error::NoExamples {
            what: "development",
        });
    }
    let lengths: Vec<usize> = (0..set.len()).map(|row| set.tokens(row)).collect();
    let (mut sum, mut targets) = (0.0, 0usize);
    for batch in batches(&lengths, BatchLimits::tokens(4096)) {
        // The same masks in every evaluation.
        let loss = set.loss(model, &batch, u64::MAX)?;
        sum += f64::from(loss.mean.into_scalar::<f32>()) * loss.targets as f64;
        targets += loss.targets;
    }
    Ok(sum / targets as f64)
}
