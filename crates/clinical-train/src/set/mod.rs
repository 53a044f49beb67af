//! Training examples of one kind, as token ids in memory.

mod bert;
mod gpt2;
mod instructions;
mod llama;
mod sum;
mod t5;

use clinical_nn::Loss;

pub use bert::{
    AnswerSet, ClassSet, LabelledText, LabelledWords, MaskedSet, QuestionExample, TagSet,
};
pub use gpt2::{ContinuationSet, Gpt2AnswerSet, Gpt2ClassSet};
pub use instructions::{
    InstructionExample, InstructionPrompt, InstructionSet, InstructionSettings,
};
pub use llama::{NoteSet, NoteSettings};
use sum::Sum;
pub use t5::{PairSet, SpanSet, TextPair};

use crate::{Result, RowPreview};

/// Training examples of one kind for one kind of model.
///
/// What is drawn for an example (which spans are corrupted) is a function of the epoch and of its number alone, so a run
/// can be taken up anywhere.
pub trait TrainingSet: Sync {
    /// The model that learns from them.
    type Model;

    /// The number of examples.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tokens of an example that the model reads at once, for batches of like length: for pairs the longer of both.
    fn tokens(&self, example: usize) -> usize;

    /// The loss of a batch.
    ///
    /// # Errors
    ///
    /// [`Error::Model`](crate::Error::Model) for what the model refuses.
    fn loss(&self, model: &Self::Model, batch: &[usize], epoch: u64) -> Result<Loss>;

    /// What the model reads of an example, and what it learns of it, as text.
    ///
    /// # Errors
    ///
    /// [`Error::Model`](crate::Error::Model) if the tokenizer cannot decode it.
    fn preview(&self, example: usize, epoch: u64) -> Result<RowPreview>;

    /// A checksum of everything that the examples are, so that a run is not taken up with others.
    fn checksum(&self) -> u64;
}
