// Reading order: `writer` (the model), `pipeline` (notes to instructions), `rows` (files of them), `judging`; `draw` and
// `lines` are what both runs stand on.
#![doc = include_str!("../README.md")]

mod draw;
mod error;
mod judging;
mod lines;
mod pipeline;
mod rows;
mod writer;

pub use clinical_files::csv::CsvOptions;
pub use clinical_prompts::MarkerPolicy;
pub use clinical_prompts::asclepius::Task;
pub use error::{Error, Result};
pub use judging::{
    Agreement, JudgeReport, Judgement, Judging, Missing, ModelResult, PairResult, ToJudge,
    agreement, read_judgements,
};
pub use pipeline::{Dropped, Made, Pipeline, Progress, SourceNote};
pub use rows::{
    Instruction, InstructionRows, Questions, check_format, join_notes, read_instructions,
    read_made, read_mimic_questions, write_instructions,
};
pub use writer::{Ask, Cause, Named, Writer, named};
