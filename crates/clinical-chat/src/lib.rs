#![doc = include_str!("../README.md")]

mod conversation;
mod engine;
mod error;
mod methods;
mod operators;
mod python;
mod source;
mod template;
mod time;

pub use conversation::Conversation;
pub use error::{Error, Result};
pub use template::ChatTemplate;
pub use time::LocalTime;
