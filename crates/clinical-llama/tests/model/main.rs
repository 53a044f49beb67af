//! The whole model: numbers of `transformers`, gradients, loading.

mod branches;
mod common;
mod gguf;
mod gradients;
mod loading;
mod packed;
mod parity;
mod resizing;
mod smollm2;
mod training;
