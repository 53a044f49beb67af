//! Whether to show an answer at all.
//!
//! Reading order: `support` (the score of one answer), `calibration` (the threshold, from labelled answers),
//! `files` (which model it is for).

mod calibration;
mod files;
mod support;

pub use calibration::{Calibration, CalibrationOptions, CoveragePoint, LabelledAnswer};
pub use files::{embedded_checksum, model_checksum};
pub use support::Support;
