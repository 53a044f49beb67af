//! The whole model: numbers of `transformers`, gradients, heads, loading, texts.

mod common;
mod facade;
mod gguf;
mod gradients;
mod heads;
mod loading;
mod packed;
mod parity;
mod training;
