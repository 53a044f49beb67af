#![doc = include_str!("../README.md")]

pub mod blocks;
mod device;
mod float;
pub mod fused;
mod host;
mod pool;
mod quant;

#[cfg(feature = "ndarray")]
pub use device::ndarray;
pub use device::{Error, TOKEN_VARIABLE, cpu, cuda, parse, remote};
pub use float::Activation;
pub use host::{keep_freed_memory, peak_rss_bytes, set_threads, threads};
pub use quant::{Block, Format, InstructionSet, Packed, PackedMatrix, instruction_set, packed};
