//! The devices that models run on, and the memory and threads that they use.

pub use clinical_kernels::{Error, cpu, cuda, keep_freed_memory, parse};
