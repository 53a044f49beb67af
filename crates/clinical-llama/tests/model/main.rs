//! The whole model: numbers of `transformers`, gradients, loading.

mod common;
mod gguf;
mod loading;
mod parity;
mod smollm2;
mod training;
