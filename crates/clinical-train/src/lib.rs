#![doc = include_str!("../README.md")]

mod data_parallel;
mod error;

pub use data_parallel::{DataParallel, Part, Reduction};
pub use error::Error;
