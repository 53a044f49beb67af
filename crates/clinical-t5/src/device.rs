//! Where models run, and what a program does once before it loads one.

pub use clinical_kernels::{Error, cpu, keep_freed_memory, parse};
