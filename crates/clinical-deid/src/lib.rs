#![doc = include_str!("../README.md")]

mod body;
#[cfg(feature = "csv")]
pub mod csv;
mod error;
mod normalized;
mod normalizer;
mod python;
mod qa;
mod scan;
mod tag;

pub use error::{Error, Place, TagShape};
pub use normalized::{Normalized, Span};
pub use normalizer::{Normalizer, UnknownTag, replace_list_of_notes};
pub use qa::{Answer, ConvertedAnswer, ConvertedContext};
pub use tag::{SPECIAL_TOKENS, Tag};
