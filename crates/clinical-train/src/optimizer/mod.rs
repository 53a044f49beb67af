//! Optimisers with the numbers of `transformers`, `optax`, PyTorch and nanoT5.
//!
//! All of them compute in f32 and keep their state in f32, whatever the type of the parameters. A state that does not
//! fit its parameter (of another optimiser, flavour or shape) is not used: the parameter begins anew.

mod adafactor;
mod adamw;

use burn::module::ParamGroup;
use burn::optim::{ModuleOptimizer, Optimizer};
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

pub use adafactor::{Adafactor, AdafactorState, Flavour};
pub use adamw::{AdamW, AdamWRms, AdamWState};

use crate::RecipeError;

/// An optimiser as a recipe names it: `{ name = "adafactor", flavour = "optax" }`, `{ name = "adamw", weight_decay =
/// 0.01 }`, `{ name = "adamw-rms" }`. Every field has a default, and a field that does not exist is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name")]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// `adafactor`.
    #[serde(rename = "adafactor")]
    Adafactor(Adafactor),
    /// `adamw`.
    #[serde(rename = "adamw")]
    AdamW(AdamW),
    /// `adamw-rms`.
    #[serde(rename = "adamw-rms")]
    AdamWRms(AdamWRms),
}

impl OptimizerConfig {
    /// Whether every field is in its range and belongs to the optimiser's flavour.
    ///
    /// # Errors
    ///
    /// [`RecipeError`].
    pub fn validate(&self) -> Result<(), RecipeError> {
        match self {
            Self::Adafactor(adafactor) => adafactor.validate()?,
            Self::AdamW(adamw) => adamw.validate()?,
            Self::AdamWRms(adamw) => adamw.validate()?,
        }
        for pattern in self.no_decay() {
            named(std::slice::from_ref(pattern))?;
        }
        Ok(())
    }

    /// The optimiser of a whole module. With a weight decay, the parameters that `no_decay` names form a group of their
    /// own without it.
    ///
    /// # Errors
    ///
    /// [`RecipeError`], as [`validate`](Self::validate).
    pub fn build(&self) -> Result<ModuleOptimizer, RecipeError> {
        self.validate()?;
        let decays = self.weight_decay() != 0.0;
        let names = if decays { self.no_decay() } else { &[] };
        match self {
            Self::Adafactor(all) => grouped(all.clone(), all.clone().with_weight_decay(0.0), names),
            Self::AdamW(all) => grouped(all.clone(), all.clone().with_weight_decay(0.0), names),
            Self::AdamWRms(all) => grouped(all.clone(), all.clone().with_weight_decay(0.0), names),
        }
    }

    fn weight_decay(&self) -> f64 {
        match self {
            Self::Adafactor(adafactor) => adafactor.weight_decay,
            Self::AdamW(adamw) => adamw.weight_decay,
            Self::AdamWRms(adamw) => adamw.weight_decay,
        }
    }

    fn no_decay(&self) -> &[String] {
        match self {
            Self::Adafactor(adafactor) => &adafactor.no_decay,
            Self::AdamW(adamw) => &adamw.no_decay,
            Self::AdamWRms(adamw) => &adamw.no_decay,
        }
    }
}

fn grouped<O: Optimizer>(
    all: O,
    without_decay: O,
    names: &[String],
) -> Result<ModuleOptimizer, RecipeError> {
    let optimizer = ModuleOptimizer::from(all);
    // Burn takes no patterns for every name.
    if names.is_empty() {
        return Ok(optimizer);
    }
    Ok(optimizer.with_group(named(names)?, without_decay, None))
}

/// The parameters whose path matches one of the patterns, in either case.
fn named(patterns: &[String]) -> Result<ParamGroup, RecipeError> {
    let patterns: Vec<String> = patterns.iter().map(|one| format!("(?i){one}")).collect();
    ParamGroup::from_any_regexes(patterns.clone()).map_err(|_| RecipeError::Pattern {
        pattern: patterns
            .iter()
            .map(|one| &one["(?i)".len()..])
            .collect::<Vec<_>>()
            .join("`, `"),
    })
}

/// The names without weight decay in the Trainer of `transformers` 5 (`get_decay_parameter_names`): biases and norms,
/// and with the biases T5's `relative_attention_bias`.
fn biases_and_norms() -> Vec<String> {
    let names = [
        "bias",
        "layernorm",
        "rmsnorm",
        r"(?:^|\.)norm(?:$|\.)",
        r"_norm(?:$|\.)",
    ];
    names.map(String::from).to_vec()
}

/// In f32, unless it is wider.
fn widened<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.dtype() {
        DType::F16 | DType::BF16 => tensor.cast(DType::F32),
        _ => tensor,
    }
}

/// The root mean square, `[1]`. The last dimension first: a sum over everything at once may be taken in any order.
fn rms<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let mut mean = tensor.square();
    for dim in (0..D).rev() {
        mean = mean.mean_dim(dim);
    }
    mean.reshape([1]).sqrt()
}

/// `tensor * factor` with a factor of shape `[1]`.
fn times<const D: usize>(tensor: Tensor<D>, factor: Tensor<1>) -> Tensor<D> {
    tensor.mul(factor.reshape([1; D]))
}

/// `average * factor + (1 - factor) * value`, where no average yet is zeros.
fn averaged<const D: usize>(
    average: Option<Tensor<D>>,
    value: Tensor<D>,
    factor: f64,
) -> Tensor<D> {
    let value = value.mul_scalar(1.0 - factor);
    match average {
        Some(average) => average.mul_scalar(factor).add(value),
        None => value,
    }
}
