#![doc = include_str!("../README.md")]

mod adapter;
mod batch;
mod calibration;
mod call;
mod checksum;
mod end;
mod long_text;
mod model_dir;
mod parts;
mod pooling;
mod remark;
mod save;
#[cfg(feature = "generate")]
mod token_text;

pub use adapter::{add_adapter, merge_adapter, save_adapter};
pub use batch::{BatchLimits, batches, in_batches, in_batches_of_one};
pub use calibration::{
    Calibration, CalibrationError, CalibrationOptions, CoveragePoint, LabelledAnswer,
};
pub use call::{BatchProgress, CallOptions};
pub use checksum::{embedded_checksum, model_checksum};
pub use clinical_nn::CancelFlag;
pub use clinical_weights::{
    ARCHITECTURES, Architecture, Facade, LoadOptions, LoadReport, SaveOptions,
};
pub use end::end_ids;
pub use long_text::{LongText, TextTooLong};
pub use model_dir::ModelDir;
pub use parts::Parts;
pub use pooling::{Pooling, UnknownPooling, normalize};
pub use remark::Remark;
pub use save::{SavedParts, save, save_with};
#[cfg(feature = "generate")]
pub use token_text::TokenText;
