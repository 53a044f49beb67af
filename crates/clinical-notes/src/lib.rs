#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "csv")]
pub mod corpus;
pub mod sections;
pub mod sentences;

mod error;
mod line_ends;
mod py;
mod windows;

pub use error::{Error, Result};
pub use windows::{Window, windows};
