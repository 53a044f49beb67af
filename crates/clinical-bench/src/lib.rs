#![doc = include_str!("../README.md")]

pub mod quality;
mod report;
mod shape;
mod work;

pub use report::Report;
pub use shape::{Shape, ShapeError};
pub use work::{BenchError, Plan, Workload, run};
