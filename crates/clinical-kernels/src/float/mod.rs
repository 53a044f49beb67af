//! Kernels in f32.
//!
//! Loops over registers are written with indices: an array of vectors that is only indexed by constants after unrolling
//! stays in registers. And without closures: one that is not inlined is compiled without the instruction set, which
//! made the softmax several times slower.
#![allow(clippy::needless_range_loop)]
// Only the CPU backend calls them.
#![cfg_attr(not(feature = "flex"), allow(dead_code, unused_imports))]

pub(crate) mod attention;
mod math;
pub(crate) mod product;
pub(crate) mod rows;
mod scratch;
pub(crate) mod simd;
pub(crate) mod slopes;
pub(crate) mod transpose;

pub use math::Activation;
pub(crate) use scratch::scratch;

#[cfg(test)]
mod tests;
