#![doc = include_str!("../README.md")]

mod device;
mod host;

#[cfg(feature = "ndarray")]
pub use device::ndarray;
pub use device::{Error, cpu, cuda, parse};
pub use host::{keep_freed_memory, peak_rss_bytes, set_threads, threads};
