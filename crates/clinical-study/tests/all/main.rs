//! One program, since each one links three kinds of models.

mod bad;
mod common;
mod killed;
mod tasks;
