#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod approach;
mod baseline;
mod cell;
mod checksum;
mod compare;
mod cost;
mod counted;
mod data;
mod error;
mod figures;
mod prediction;
mod report;
mod spec;
mod study;
mod texts;

pub use baseline::Baseline;
pub use cell::{CellAt, CellResult};
pub use clinical_bert::LoadOptions;
pub use compare::{Comparison, ComparisonRow};
pub use cost::Cost;
pub use error::{Error, Result, SpecError};
pub use figures::{LabelFigures, Metric};
pub use prediction::{EntityAt, Found, Prediction};
pub use report::{Report, ReportRow};
pub use spec::{Method, StudySpec, TaskKind, TaskSpec};
pub use study::{Study, StudyProgress};
