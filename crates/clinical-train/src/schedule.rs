//! The learning rate as a function of the step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::RecipeError;
use crate::recipe_error::not_negative;

/// How long the rate rises: in a file a whole number of steps (`warmup = 500`) or a ratio of all steps
/// (`warmup = 0.06`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a whole number of steps, or a ratio of all steps from 0 to 1"
)]
pub enum Warmup {
    /// So many steps.
    Steps(usize),
    /// A part of all steps in [0, 1), rounded up: `ceil(total * ratio)`, as
    /// `transformers.TrainingArguments.get_warmup_steps`.
    Ratio(f64),
}

impl Default for Warmup {
    /// No warm-up.
    fn default() -> Self {
        Self::Steps(0)
    }
}

impl Warmup {
    /// The number of steps in a run of `total` steps.
    #[must_use]
    pub fn steps(self, total: usize) -> usize {
        match self {
            Self::Steps(steps) => steps,
            // Saturates; not a number is 0.
            Self::Ratio(ratio) => (total as f64 * ratio).ceil() as usize,
        }
    }

    fn validate(self) -> Result<(), RecipeError> {
        match self {
            Self::Ratio(ratio) if !(0.0..1.0).contains(&ratio) => {
                Err(RecipeError::WarmupRatio { ratio })
            }
            _ => Ok(()),
        }
    }
}

/// The learning rate of each step: a pure function, so that a run that is resumed has nothing to restore.
///
/// **Numbering**: `step` is the number of updates already made. The first update has step 0 and the last `total - 1`,
/// as in `transformers` and `optax`; with a warm-up the first update of `constant`, `linear` and `cosine` therefore has
/// rate 0.
///
/// In a file: `{ name = "cosine", warmup = 0.06, minimum = 1e-5 }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// `peak`, after a linear rise from 0 (`constant_with_warmup` of `transformers`).
    Constant {
        /// Default: none.
        #[serde(default)]
        warmup: Warmup,
    },
    /// A linear rise from 0, then a linear fall to 0 at step `total` (`linear` of `transformers`).
    Linear {
        /// Default: none.
        #[serde(default)]
        warmup: Warmup,
    },
    /// A linear rise, then half a cosine down to `minimum` at step `total`, where it stays (`cosine` and
    /// `cosine_with_min_lr` of `transformers`; nanoT5 with `warmup_start = 0.5` and `minimum = 1e-5`).
    Cosine {
        /// Default: none.
        #[serde(default)]
        warmup: Warmup,
        /// The rate at the end. Default: 0.
        #[serde(default)]
        minimum: f64,
        /// Where the rise begins, as a part of the peak. Default: 0, as `transformers`; nanoT5 begins at 0.5.
        #[serde(default)]
        warmup_start: f64,
    },
    /// `peak * max(step, warmup)^-0.5`, as T5 was trained: constant during the warm-up. Here `peak` is a factor, **1 in
    /// T5's recipe**; the highest rate is `peak / sqrt(warmup)`, 0.01 with T5's 10,000 steps.
    InverseSqrt {
        /// Default: 10,000 steps.
        #[serde(default = "t5_warmup")]
        warmup: Warmup,
    },
}

fn t5_warmup() -> Warmup {
    Warmup::Steps(10_000)
}

impl Schedule {
    /// The rate of the update number `step`, counted from 0, of `total`.
    ///
    /// `peak` is the rate at the end of the warm-up; for [`InverseSqrt`](Self::InverseSqrt) it is a factor.
    #[must_use]
    pub fn rate(&self, peak: f64, step: usize, total: usize) -> f64 {
        match *self {
            Self::Constant { warmup } => {
                let warmup = warmup.steps(total);
                if step < warmup {
                    return peak * rise(step, warmup, 0.0);
                }
                peak
            }
            Self::Linear { warmup } => {
                let warmup = warmup.steps(total);
                if step < warmup {
                    return peak * rise(step, warmup, 0.0);
                }
                let left = total.saturating_sub(step) as f64;
                peak * (left / total.saturating_sub(warmup).max(1) as f64)
            }
            Self::Cosine {
                warmup,
                minimum,
                warmup_start,
            } => {
                let warmup = warmup.steps(total);
                if step < warmup {
                    return peak * rise(step, warmup, warmup_start);
                }
                let length = total.saturating_sub(warmup).max(1) as f64;
                let progress = ((step - warmup) as f64 / length).min(1.0);
                let factor = 0.5 * (1.0 + (PI * progress).cos());
                minimum + (peak - minimum) * factor
            }
            Self::InverseSqrt { warmup } => {
                let step = step.max(warmup.steps(total)).max(1);
                peak * (step as f64).powf(-0.5)
            }
        }
    }

    /// How long the rate rises, or for [`InverseSqrt`](Self::InverseSqrt) stays at its highest.
    #[must_use]
    pub fn warmup(&self) -> Warmup {
        match *self {
            Self::Constant { warmup }
            | Self::Linear { warmup }
            | Self::Cosine { warmup, .. }
            | Self::InverseSqrt { warmup } => warmup,
        }
    }

    /// Whether every number is in its range.
    ///
    /// # Errors
    ///
    /// [`RecipeError::WarmupRatio`]; of `cosine` also [`RecipeError::Negative`] for `minimum` and
    /// [`RecipeError::NotAPart`] for `warmup_start`.
    pub fn validate(&self) -> Result<(), RecipeError> {
        self.warmup().validate()?;
        if let Self::Cosine {
            minimum,
            warmup_start,
            ..
        } = *self
        {
            not_negative("minimum", minimum)?;
            if !(0.0..=1.0).contains(&warmup_start) {
                return Err(RecipeError::NotAPart {
                    field: "warmup_start",
                    value: warmup_start,
                });
            }
        }
        Ok(())
    }
}

/// The part of the peak at `step` of `warmup`, which is above 0.
fn rise(step: usize, warmup: usize, start: f64) -> f64 {
    start + (1.0 - start) * (step as f64 / warmup as f64)
}
