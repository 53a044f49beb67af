#![doc = include_str!("../README.md")]

#[cfg(feature = "flex")]
mod autodiff;
pub mod blocks;
#[cfg(feature = "cube")]
mod cube;
mod device;
mod dropout;
mod float;
pub mod fused;
mod host;
mod level;
pub mod optimizer;
mod pool;
mod quant;
pub mod recompute;
mod switch;
pub mod top_k;

#[cfg(feature = "ndarray")]
pub use device::ndarray;
pub use device::{Error, TOKEN_VARIABLE, cpu, cube_cpu, cuda, is_host, parse, remote};
pub use dropout::{DropMask, fold_seed};
pub use float::Activation;
pub use host::{keep_freed_memory, peak_rss_bytes, set_threads, threads};
pub use level::{InstructionSet, LEVEL_VARIABLE, check_level};
pub use quant::{Block, Packed, PackedMatrix, Packing, instruction_set, packed};
pub use switch::{KERNELS_VARIABLE, set_gpu_kernels};
