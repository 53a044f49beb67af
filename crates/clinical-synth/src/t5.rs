//! Examples for a T5 model (the next commit fills this in).

use serde::{Deserialize, Serialize};

use crate::Generator;

/// What a T5 example trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum T5Task {
    /// Abbreviations spelled out.
    #[serde(rename = "expand")]
    Expand,
}

/// An input and a target text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The task.
    pub task: T5Task,
    /// Encoder text.
    pub input: String,
    /// Decoder text.
    pub target: String,
}

pub(crate) struct Examples {
    _generator: Generator,
}

impl Examples {
    pub fn new(generator: Generator) -> Self {
        Self { _generator: generator }
    }
}

impl Iterator for Examples {
    type Item = Example;

    fn next(&mut self) -> Option<Example> {
        None
    }
}
