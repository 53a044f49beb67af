//! The crate from outside: published layouts, hostile files, reports.

mod arbitrary;
mod files;
mod fit;
mod formats;
mod hostile;
mod model;
mod saving;
