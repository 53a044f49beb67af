//! Products with weights of reduced precision.
//!
//! * [`packing`]: the kinds, and the sizes of a panel;
//! * [`matrix`]: the packed weights, [`pack`] how they are made, [`codec`] the numbers themselves, [`blocks`] those
//!   that somebody else has chosen;
//! * [`rows`]: activations as 8-bit integers, quantised when they arrive;
//! * [`product`]: which pieces of a product run where; [`kernel`] the contract of the innermost loops, written for
//!   [`avx512`] and [`avx512_wide`], [`avx2`] and [`portable`]; [`choose`] which of them runs here;
//! * [`unpack`]: products in f32 with strips of unpacked weights, for training;
//! * [`layer`]: packed weights as parameters of a Burn module; [`device`] what they are on devices that are not the
//!   CPU.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_wide;
mod blocks;
mod choose;
mod codec;
mod device;
mod kernel;
mod layer;
mod matrix;
mod pack;
mod packing;
mod portable;
mod product;
mod rows;
#[cfg(test)]
mod tests;
#[cfg(feature = "flex")]
mod unpack;

pub use blocks::Block;
pub use choose::instruction_set;
#[cfg(feature = "cube")]
pub(crate) use device::Form;
pub use layer::{Packed, packed};
pub use matrix::PackedMatrix;
pub use packing::Packing;
#[cfg(feature = "flex")]
pub(crate) use unpack::{Columns, Rows};
