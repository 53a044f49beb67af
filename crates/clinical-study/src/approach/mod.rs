//! How each kind of model learns a task and predicts.

mod bert;
mod clip;
mod fresh;
mod gpt2;
mod llama;
mod locate;
mod numbers;
mod t5;

use clinical_tasks::Portion;
use clinical_tasks::metrics::SquadItem;
use clinical_train::{Recipe, Trainable, TrainingSet};

pub(crate) use bert::BertApproach;
pub(crate) use gpt2::Gpt2Approach;
pub(crate) use llama::LlamaApproach;
pub(crate) use t5::T5Approach;

use crate::data::TaskData;
use crate::prediction::{Found, Prediction};
use crate::{Method, Result, SpecError, TaskKind};

/// Predictions for a part, and what they cost.
#[derive(Default)]
pub(crate) struct Predicted {
    pub(crate) predictions: Vec<Prediction>,
    /// Tokens that were read and written.
    pub(crate) tokens: u64,
    /// RadQA: the scores of each question, for a threshold.
    pub(crate) answers: Vec<SquadItem>,
    /// What the model wrote, where it writes.
    pub(crate) written: Vec<String>,
}

impl Predicted {
    pub(crate) fn push(&mut self, data: &TaskData, portion: Portion, example: usize, found: Found) {
        self.predictions.push(Prediction {
            example,
            id: data.id(portion, example),
            found,
        });
    }
}

/// The examples that a facade learns from.
pub(crate) type Examples<F> = Box<dyn TrainingSet<Model = <F as Trainable>::Model>>;

/// How one kind of model does one task.
pub(crate) trait Approach {
    type Facade: Trainable;

    /// The model as it is in its directory; what it has anew follows from the seed.
    fn load(&self, seed: u64) -> Result<Self::Facade>;

    /// The values of its parameters.
    fn parameters(&self, facade: &Self::Facade) -> u64;

    /// Training examples by their numbers.
    fn training(&self, facade: &Self::Facade, chosen: &[usize]) -> Result<Examples<Self::Facade>>;

    /// Predictions for examples of a part by their numbers.
    fn predict(
        &self,
        facade: &Self::Facade,
        portion: Portion,
        chosen: &[usize],
    ) -> Result<Predicted>;
}

/// The error for a recipe that trains for something else.
fn other_recipe(recipe: &Recipe, wanted: &'static str) -> crate::Error {
    let found = recipe
        .task
        .map_or_else(String::new, |task| task.to_string());
    SpecError::OtherRecipe { found, wanted }.into()
}

/// The error for a model that cannot do a task so.
fn no_method(
    model: &'static str,
    task: TaskKind,
    method: Method,
    known: &'static str,
) -> crate::Error {
    SpecError::NoMethod {
        model,
        task: task.title(),
        method: method.name(),
        known,
    }
    .into()
}
