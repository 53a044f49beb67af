#![doc = include_str!("../README.md")]

mod any;
mod fit;
mod inspect;
mod sentence;
mod show;
mod tokenizer;

pub use any::*;
pub use clinical_facade::{
    ARCHITECTURES, Architecture, Facade, LoadOptions, LoadReport, Remark, SaveOptions,
};
pub use fit::Fit;
pub use inspect::{Adapter, Inspection, Weights, inspect};
pub use tokenizer::TokenizerFacts;
