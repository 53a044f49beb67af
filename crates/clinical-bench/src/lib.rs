#![doc = include_str!("../README.md")]

mod overhead;
pub mod quality;
mod report;
mod shape;
mod work;

pub use overhead::{Overhead, overhead};
pub use report::Report;
pub use shape::{Shape, ShapeError};
pub use work::{BenchError, Plan, Workload, run};
