// Reading order: `options`, `server` (connections, and the way of a request) with `slow` and `tls`, `guard` (who may
// ask), `app` (what is shared), `work` (the threads of models); then the calls: `fields` (parameters), `answers` (questions on their way),
// `openai` (with `choices`), `ask`, `texts`, `own`, with `fhir` and `grammar`; `page`; `reply` (errors), `access` (the
// log), `metrics`.
#![doc = include_str!("../README.md")]

mod access;
mod answers;
mod app;
mod ask;
mod choices;
mod error;
mod feedback;
mod fhir;
mod fields;
mod grammar;
mod guard;
mod metrics;
mod openai;
mod options;
mod own;
mod page;
mod reply;
mod server;
mod slow;
mod texts;
mod tls;
mod work;

pub use access::Access;
pub use app::Models;
pub use asclepius::EngineOptions;
pub use error::{Error, Result};
pub use options::{Limits, ServeOptions};
pub use server::{Server, Stop};
