#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod asclepius;
pub mod clip;
pub mod mednli;
pub mod radqa;

mod error;
mod fill;
mod marker;
mod options;
mod py;

pub use error::{Error, Field, Result};
pub use marker::MarkerPolicy;
pub use options::Options;
