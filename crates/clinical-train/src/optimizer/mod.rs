//! Optimisers with the numbers of `transformers`, `optax`, PyTorch and nanoT5.
//!
//! All of them compute in f32 and keep their state in f32, whatever the type of the parameters. A state that does not
//! fit its parameter (of another optimiser, flavour or shape) is not used: the parameter begins anew.

mod adafactor;
mod adamw;
mod muon;

use burn::module::ParamGroup;
use burn::optim::{ModuleOptimizer, Optimizer};
use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};

pub use adafactor::{Adafactor, AdafactorState, Flavour};
pub use adamw::{AdamW, AdamWRms, AdamWState};
pub use muon::{Muon, MuonState};

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
    /// `muon`.
    #[serde(rename = "muon")]
    Muon(Muon),
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
            Self::Muon(muon) => muon.validate()?,
        }
        for pattern in self.no_decay() {
            named("no_decay", std::slice::from_ref(pattern))?;
        }
        if let Self::Muon(muon) = self {
            for pattern in &muon.not_matrices {
                named("not_matrices", std::slice::from_ref(pattern))?;
            }
            for pattern in &muon.slow {
                named("slow", std::slice::from_ref(pattern))?;
            }
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
            Self::Muon(muon) => of_muon(muon),
        }
    }

    fn weight_decay(&self) -> f64 {
        match self {
            Self::Adafactor(adafactor) => adafactor.weight_decay,
            Self::AdamW(adamw) => adamw.weight_decay,
            Self::AdamWRms(adamw) => adamw.weight_decay,
            Self::Muon(muon) => muon.weight_decay,
        }
    }

    fn no_decay(&self) -> &[String] {
        match self {
            Self::Adafactor(adafactor) => &adafactor.no_decay,
            Self::AdamW(adamw) => &adamw.no_decay,
            Self::AdamWRms(adamw) => &adamw.no_decay,
            Self::Muon(muon) => muon.others_without_decay(),
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
    Ok(optimizer.with_group(named("no_decay", names)?, without_decay, None))
}

/// The last group that a parameter is in trains it.
fn of_muon(muon: &Muon) -> Result<ModuleOptimizer, RecipeError> {
    let mut optimizer = ModuleOptimizer::from(muon.clone());
    if !muon.slow.is_empty() {
        let slow = muon::PartOfRate(muon.clone(), muon.slow_rate);
        optimizer = optimizer.with_group(named("slow", &muon.slow)?, slow, None);
    }
    if !muon.not_matrices.is_empty() {
        let group = named("not_matrices", &muon.not_matrices)?;
        optimizer = optimizer.with_group(group, muon.others(true), None);
    }
    let without_decay = muon.others_without_decay();
    if !without_decay.is_empty() {
        let group = named("no_decay", without_decay)?;
        optimizer = optimizer.with_group(group, muon.others(false), None);
    }
    Ok(optimizer)
}

/// The parameters whose path matches one of the patterns of a field, in either case.
fn named(field: &'static str, patterns: &[String]) -> Result<ParamGroup, RecipeError> {
    let patterns: Vec<String> = patterns.iter().map(|one| format!("(?i){one}")).collect();
    ParamGroup::from_any_regexes(patterns.clone()).map_err(|_| RecipeError::Pattern {
        field,
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
