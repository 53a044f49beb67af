//! What a run tells while it goes on.

use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

/// One optimizer step. A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepReport {
    /// From 1.
    pub step: u64,
    /// Of how many.
    pub steps: u64,
    /// From 0.
    pub epoch: u64,
    /// The mean loss over the targets of the step, in nats, before the step.
    pub loss: f64,
    /// The norm of the whole gradient, before it was clipped.
    pub gradient_norm: f64,
    /// The learning rate.
    pub rate: f64,
    /// Tokens read in the step, padding not counted.
    pub tokens: u64,
    /// Tokens or rows of the step that carried loss.
    pub targets: u64,
    /// Tokens read by a second, in this step.
    pub tokens_per_second: f64,
}

/// One evaluation on the development examples. A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EvaluationReport {
    /// After which step.
    pub step: u64,
    /// From 0.
    pub epoch: u64,
    /// The mean loss over all targets, in nats, where there are development examples.
    pub development_loss: Option<f64>,
    /// The caller's metric, with its name.
    pub metric: Option<(String, f64)>,
    /// Whether it is the best so far.
    pub best: bool,
}

/// Hears what a run does. Every function does nothing unless it is written.
pub trait Progress {
    /// The run begins, or goes on after `done` of `steps` steps.
    fn begin(&mut self, done: u64, steps: u64) {
        let _ = (done, steps);
    }

    /// A remark about the run, such as that it goes on with other kernels than it began with.
    fn remark(&mut self, remark: &str) {
        let _ = remark;
    }

    /// A step was made. `Break` writes a checkpoint and ends the run, which can be taken up again.
    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// The model was evaluated.
    fn evaluation(&mut self, report: &EvaluationReport) {
        let _ = report;
    }

    /// A checkpoint was written.
    fn checkpoint(&mut self, path: &Path) {
        let _ = path;
    }
}

/// Nobody listens.
impl Progress for () {}
