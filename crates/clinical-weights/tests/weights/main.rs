//! The crate from outside: published layouts, hostile files, reports.

mod adapter;
mod arbitrary;
mod files;
mod fit;
mod flax;
mod formats;
mod gguf;
mod gguf_file;
mod gguf_rules;
mod gguf_settings;
mod hostile;
mod layout;
#[path = "../../../../tests/files/memory.rs"]
mod memory;
mod model;
mod prefix;
mod saving;
mod torch;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
