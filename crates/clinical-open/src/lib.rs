#![doc = include_str!("../README.md")]

mod any;
mod error;
mod fit;
mod inspect;
mod sentence;
mod show;
mod tokenizer;

pub use any::{AnyModel, open};
pub use asclepius::Asclepius;
pub use clinical_bert::ClinicalBert;
pub use clinical_facade::{
    ARCHITECTURES, Architecture, Facade, LoadOptions, LoadReport, Remark, SaveOptions,
};
pub use clinical_t5::ClinicalT5;
pub use error::{Error, Result};
pub use fit::Fit;
pub use inspect::{Adapter, Inspection, Weights, inspect};
pub use tokenizer::TokenizerFacts;
