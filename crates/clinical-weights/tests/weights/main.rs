//! The crate from outside: published layouts, hostile files, reports.

mod arbitrary;
mod files;
mod fit;
mod formats;
mod hostile;
#[path = "../../../../tests/files/memory.rs"]
mod memory;
mod model;
mod saving;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
