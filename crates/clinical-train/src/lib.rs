#![doc = include_str!("../README.md")]

mod buckets;
mod clip;
mod data_error;
mod data_parallel;
mod error;
pub mod objective;
mod optimizer;
mod order;
mod preview;
mod random;
mod recipe_error;
mod schedule;

pub use buckets::{BatchPosition, BatchSettings, Batches, Batching, EpochBatches};
pub use clip::{clip_by_global_norm, global_norm};
pub use data_error::DataError;
pub use data_parallel::{DataParallel, Part, Reduction};
pub use error::Error;
pub use optimizer::{
    Adafactor, AdafactorState, AdamW, AdamWRms, AdamWState, Flavour, OptimizerConfig,
};
pub use order::{Order, Positions};
pub use preview::{Preview, Segment};
pub use recipe_error::RecipeError;
pub use schedule::{Schedule, Warmup};
