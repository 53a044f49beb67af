#![doc = include_str!("../README.md")]

mod call;
mod long_text;
mod parts;
mod pooling;
mod remark;

pub use call::{BatchProgress, CallOptions};
pub use clinical_nn::CancelFlag;
pub use long_text::{LongText, TextTooLong};
pub use parts::Parts;
pub use pooling::{Pooling, UnknownPooling, normalize};
pub use remark::Remark;
