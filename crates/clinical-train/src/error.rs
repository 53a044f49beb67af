//! What can go wrong with a run, and with a step on several devices.

use std::path::PathBuf;

/// Why a run cannot begin, go on or end. What was saved before stays as it is, so a run can be taken up again once the
/// cause is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of the recipe has no meaning.
    #[error(transparent)]
    Recipe(#[from] crate::RecipeError),
    /// An example cannot be learned from.
    #[error(transparent)]
    Data(#[from] crate::DataError),
    /// The recipe is not TOML, or has keys that no recipe has.
    #[error("the recipe {} cannot be read: {cause}", path.display())]
    RecipeFile {
        /// The file, or the name of a recipe.
        path: PathBuf,
        /// What is wrong, with the line.
        cause: Box<toml::de::Error>,
    },
    /// The folder holds a run of another recipe.
    #[error(
        "{} holds a run of another recipe (`{key}` is {found} there and {wanted} here): give another folder, or the recipe \
         that is in it",
        path.display()
    )]
    OtherRecipe {
        /// The folder of the run.
        path: PathBuf,
        /// The first setting that differs.
        key: String,
        /// Its value in the folder.
        found: String,
        /// Its value in the recipe that was given.
        wanted: String,
    },
    /// The folder holds a run on other examples.
    #[error("{} holds a run on other examples: give the same ones, or another folder", path.display())]
    OtherData {
        /// The folder of the run.
        path: PathBuf,
    },
    /// A checkpoint does not belong to this model.
    #[error("{} belongs to another model ({detail}): load the model that the run began with", path.display())]
    OtherModel {
        /// The checkpoint.
        path: PathBuf,
        /// The first thing that differs.
        detail: String,
    },
    /// A checkpoint is damaged.
    #[error("the checkpoint {} is damaged ({detail}): remove it to go on from the one before it", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Another process trains in the folder.
    #[error("another process trains in {}: wait until it has ended, or give another folder", path.display())]
    InUse {
        /// The folder of the run.
        path: PathBuf,
    },
    /// A file could not be written or read.
    #[error("{} cannot be {done} ({source})", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// `written` or `read`.
        done: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of a file of examples is none.
    #[error("line {line} of {} cannot be used, at column {column}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The byte of the line, from 1; 0 for the whole line.
        column: usize,
        /// What is wrong. Nothing of the line is in it.
        problem: &'static str,
    },
    /// A folder or file could not be put in place.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
    /// There is nothing to train on.
    #[error("there are no {what} examples")]
    NoExamples {
        /// `training` or `development`.
        what: &'static str,
    },
    /// The loss or the gradient is infinite or not a number. The step was not made.
    #[error(
        "{what} is {value} at step {step}: lower the learning rate, clip the gradient, or look at the batch with a preview; \
         the last checkpoint is as it was"
    )]
    NotFinite {
        /// `the loss` or `the norm of the gradient`.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step, from 1.
        step: u64,
    },
    /// The recipe asks for an adapter, and no layer has one of its names.
    #[error("no layer of the model is named {targets}: it has {known}")]
    NoLayer {
        /// The names that were asked for.
        targets: String,
        /// The last parts of the names of the model's layers.
        known: String,
    },
    /// The model has packed weights, which cannot be trained.
    #[error(
        "the weights of the model are packed, which cannot be trained: load it at f32, or give the recipe a [lora]"
    )]
    Packed,
    /// The tokenizer lacks a token that the rows need.
    #[error(
        "the tokenizer has no {token} token: add one, or take the tokenizer that belongs to the model"
    )]
    NoToken {
        /// `start` or `end`.
        token: &'static str,
    },
    /// A label that the model does not have.
    #[error("example {example} has the label {label}: the model knows {known}")]
    Label {
        /// The number of the example, from 0.
        example: usize,
        /// The label, escaped and cut.
        label: String,
        /// The labels of the model.
        known: String,
    },
    /// An example of a task with one label has another number of them.
    #[error("example {example} has {labels} labels: give one, or train for several labels")]
    LabelCount {
        /// The number of the example, from 0.
        example: usize,
        /// How many it has.
        labels: usize,
    },
    /// A sentence has not one label for each word.
    #[error("example {example} has {labels} labels for {words} words: give each word one")]
    WordLabels {
        /// The number of the example, from 0.
        example: usize,
        /// Its words.
        words: usize,
        /// Its labels.
        labels: usize,
    },
    /// An answer that is not in its text.
    #[error(
        "the answer of example {example} is at bytes {start} to {end} of a text of {bytes} bytes: give the bytes of whole \
         characters inside it"
    )]
    AnswerRange {
        /// The number of the example, from 0.
        example: usize,
        /// The first byte.
        start: usize,
        /// The byte after the last.
        end: usize,
        /// The bytes of the text.
        bytes: usize,
    },
    /// Masked words need the head of the pretraining.
    #[error("the model has no masked-language-model head: load it with one, or with a new one")]
    NoMaskedHead,
    /// The model refuses a text or a batch.
    #[error("the model cannot learn from this: {cause}")]
    Model {
        /// What the model said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The metric of the caller could not be computed.
    #[error("the metric `{name}` cannot be computed: {cause}")]
    Metric {
        /// Its name.
        name: String,
        /// Why.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Short for a [`Result`](std::result::Result) with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What a model says about a batch.
    pub(crate) fn model(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Model {
            cause: Box::new(cause),
        }
    }

    /// For [`Result::map_err`](std::result::Result::map_err) after writing.
    pub(crate) fn written(path: &std::path::Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |source| Self::File {
            path: path.to_owned(),
            done: "written",
            source,
        }
    }

    /// For [`Result::map_err`](std::result::Result::map_err) after reading.
    pub(crate) fn read(path: &std::path::Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |source| Self::File {
            path: path.to_owned(),
            done: "read",
            source,
        }
    }
}

/// Why a step of [`DataParallel`](crate::DataParallel) cannot be made. `E` is the error of the caller's loss.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError<E> {
    /// There is no device to train on.
    #[error("at least one device is needed")]
    NoDevice,
    /// The devices have no collective operations.
    #[error("{device} has no collective operations: use `Reduction::Gather`")]
    NoCollective {
        /// The device.
        device: String,
    },
    /// A collective needs devices that are not the same.
    #[error("{device} is named twice: use `Reduction::Gather`, or each device once")]
    SameDevice {
        /// The device.
        device: String,
    },
    /// No part of the batch has a target, so there is no mean.
    #[error("no part of the batch has a target to learn from")]
    NoTargets,
    /// The number of targets of a part is negative or not a number.
    #[error("part {part} has {targets} targets")]
    BadTargets {
        /// The part.
        part: usize,
        /// What it said.
        targets: f64,
    },
    /// The caller's loss could not be computed. Nothing has changed.
    #[error("the loss of part {part} cannot be computed: {cause}")]
    Loss {
        /// The part.
        part: usize,
        /// Why.
        cause: E,
    },
    /// A device stopped while it computed. Nothing has changed.
    #[error("device {part} stopped while it computed its part")]
    Device {
        /// The number of the device.
        part: usize,
    },
    /// The loss is infinite or not a number. Nothing has changed.
    #[error("the loss is {loss}: lower the learning rate, or look at the batch")]
    NotFinite {
        /// The mean over the batch.
        loss: f64,
    },
}
