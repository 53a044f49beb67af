//! The whole model: numbers of `transformers`, gradients, loading.

mod common;
mod loading;
mod packed;
mod parity;
mod smollm2;
mod training;
