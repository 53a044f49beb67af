//! What a part of a study cost.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result};

/// What a cell cost. `N` below is the number of parameters.
///
/// Floating-point operations are estimates by the formulas of the paper (Kaplan et al. 2020): `6 N D` for training on
/// `D` tokens, `2 N D` for reading or writing `D` tokens. They count all parameters, embeddings included, and no
/// attention; a training that moves an adapter alone costs about `4 N D`, which is what is given there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cost {
    /// Values of all parameters.
    pub parameters: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens of the training examples in all steps; of a pair of texts the longer one.
    pub training_tokens: u64,
    /// Looks at the development part.
    pub evaluations: u64,
    /// Tokens of one look at the development part, read and written.
    pub development_tokens: u64,
    /// Tokens of the test part, read and written.
    pub test_tokens: u64,
    /// Floating-point operations of the training steps.
    pub training_flops: f64,
    /// Floating-point operations of all looks at the development part, and of the test.
    pub reading_flops: f64,
    /// Seconds of the training steps.
    pub training_seconds: f64,
    /// Seconds of the test.
    pub test_seconds: f64,
}

impl Cost {
    /// The estimates that follow from the counts.
    pub(crate) fn estimated(mut self, adapter: bool) -> Self {
        let parameters = self.parameters as f64;
        let step = if adapter { 4.0 } else { 6.0 };
        let read = self.evaluations * self.development_tokens + self.test_tokens;
        self.training_flops = step * parameters * self.training_tokens as f64;
        self.reading_flops = 2.0 * parameters * read as f64;
        self
    }

    /// The costs of several cells together; the parameters are those of one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.parameters = self.parameters.max(other.parameters);
        self.steps += other.steps;
        self.training_tokens += other.training_tokens;
        self.evaluations += other.evaluations;
        self.development_tokens += other.development_tokens;
        self.test_tokens += other.test_tokens;
        self.training_flops += other.training_flops;
        self.reading_flops += other.reading_flops;
        self.training_seconds += other.training_seconds;
        self.test_seconds += other.test_seconds;
    }

    /// Adds what `metrics.jsonl` of a run says, which has all of its steps however often it was taken up.
    pub(crate) fn read_run(&mut self, run: &Path) -> Result<()> {
        let path = run.join("metrics.jsonl");
        let text = fs::read_to_string(&path).map_err(Error::read(&path))?;
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let number = |key: &str| line.get(key).and_then(Value::as_f64);
            match (number("tokens"), number("tokens_per_second")) {
                (Some(tokens), Some(rate)) => {
                    self.steps += 1;
                    self.training_tokens += tokens as u64;
                    self.training_seconds += tokens / rate.max(1e-9);
                }
                _ => self.evaluations += u64::from(line.get("best").is_some()),
            }
        }
        Ok(())
    }
}
