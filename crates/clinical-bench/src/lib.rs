#![doc = include_str!("../README.md")]

mod error;
pub mod http;
mod overhead;
pub mod quality;
mod report;
mod shape;
mod train;
mod work;

pub use error::Error;
pub use overhead::{Overhead, overhead};
pub use report::{Report, StepTimes};
pub use shape::Shape;
pub use work::{Plan, Workload, run};
