#![doc = include_str!("../README.md")]

mod clip;
mod data_parallel;
mod error;
mod optimizer;
mod recipe_error;
mod schedule;

pub use clip::{clip_by_global_norm, global_norm};
pub use data_parallel::{DataParallel, Part, Reduction};
pub use error::Error;
pub use optimizer::{
    Adafactor, AdafactorState, AdamW, AdamWRms, AdamWState, Flavour, OptimizerConfig,
};
pub use recipe_error::RecipeError;
pub use schedule::{Schedule, Warmup};
