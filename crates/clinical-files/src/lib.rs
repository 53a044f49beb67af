#![doc = include_str!("../README.md")]

#[cfg(feature = "csv")]
pub mod csv;

mod draft;
mod error;
mod file;
mod folder;
mod read;
mod text;
mod unfinished;

#[cfg(feature = "csv")]
pub use error::RowAt;
pub use error::{Error, Result};
pub use file::{refuse_same_file, replace_file, write_file};
pub use folder::{FolderRules, replace_directory};
pub use read::{Limited, read_file};
pub use text::{is_space, shown, strip};
pub use unfinished::Unfinished;
