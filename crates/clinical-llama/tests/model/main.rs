//! The whole model: numbers of `transformers`, gradients, loading.

mod common;
mod gguf;
mod loading;
mod parity;
mod resizing;
mod smollm2;
mod training;
