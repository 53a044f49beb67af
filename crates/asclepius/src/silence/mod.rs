//! Whether to show an answer at all.
//!
//! Reading order: `support` (the score of one answer), `calibration` (the threshold, from labelled answers).

mod calibration;
mod support;

pub use calibration::{Calibration, CalibrationOptions, CoveragePoint, LabelledAnswer};
pub use support::Support;
