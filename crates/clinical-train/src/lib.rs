#![doc = include_str!("../README.md")]

mod buckets;
mod clip;
mod data_error;
mod data_parallel;
mod error;
mod jsonl;
pub mod metric;
pub mod objective;
mod optimizer;
mod order;
pub mod picture;
mod preview;
mod random;
mod recipe;
mod recipe_error;
mod run;
mod schedule;
mod set;
mod task;
mod tokenizer_recipe;
mod toml_file;
mod trainable;

pub use buckets::{BatchPosition, BatchSettings, Batches, Batching, EpochBatches};
pub use clip::{clip_by_global_norm, global_norm};
pub use data_error::DataError;
pub use data_parallel::{DataParallel, Part, Reduction};
pub use error::{Error, Result, StepError};
pub use jsonl::{NoteText, read_examples};
pub use optimizer::{
    Adafactor, AdafactorState, AdamW, AdamWRms, AdamWState, Flavour, Muon, MuonState,
    OptimizerConfig,
};
pub use order::{Order, Positions};
pub use preview::{RowPreview, Segment};
pub use recipe::{Every, Lora, Recipe, Weights};
pub use recipe_error::RecipeError;
pub use run::{Better, Development, EvaluationReport, FineTune, Progress, Run, StepReport};
pub use schedule::{Schedule, Warmup};
pub use set::{
    AnswerSet, ClassSet, ContinuationSet, Gpt2AnswerSet, Gpt2ClassSet, InstructionExample,
    InstructionPrompt, InstructionSet, InstructionSettings, LabelledText, LabelledWords, MaskedSet,
    NoteSet, NoteSettings, PairSet, QuestionExample, SpanSet, TagSet, TextPair, TrainingSet,
};
pub use task::{AnswerSettings, ClassSettings, LabelledPieces, MaskedSettings, TagSettings, Task};
pub use tokenizer_recipe::{TokenizerRecipe, UnigramSettings, WordPieceSettings};
pub use trainable::Trainable;
