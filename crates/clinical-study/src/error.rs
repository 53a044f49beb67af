//! Why a study cannot be made.

use std::path::{Path, PathBuf};

/// Why a study cannot begin, go on or be compared. What is finished stays, so a study goes on once the cause is gone.
/// No message holds text of a note.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of the specification has no meaning.
    #[error("the specification of the study cannot be used: {0}")]
    Spec(#[from] SpecError),
    /// The specification is not TOML, or has keys that none has.
    #[error("the specification {} cannot be read: {cause}", path.display())]
    SpecFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        cause: Box<toml::de::Error>,
    },
    /// The folder holds another study.
    #[error(
        "{} holds another study (`{key}` is {found} there and {wanted} here): give another folder, or the specification \
         that is in it",
        path.display()
    )]
    OtherStudy {
        /// The folder of the study.
        path: PathBuf,
        /// The first setting that differs.
        key: String,
        /// Its value in the folder.
        found: String,
        /// Its value in the specification that was given.
        wanted: String,
    },
    /// The files of the task or of the model are not those that the study began with.
    #[error("{} was begun with another {what}: give the same files, or another folder", path.display())]
    OtherFiles {
        /// The folder of the study.
        path: PathBuf,
        /// `data set` or `model`.
        what: &'static str,
    },
    /// Another process works in the folder.
    #[error("another process works in {}: wait until it has ended, or give another folder", path.display())]
    InUse {
        /// The folder of the study.
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
    /// A file could not be put in place, or is too large.
    #[error(transparent)]
    Files(#[from] clinical_files::Error),
    /// The task's files cannot be used; the message has file, row and column.
    #[error(transparent)]
    Task(#[from] clinical_tasks::Error),
    /// A run of training cannot begin, go on or end.
    #[error(transparent)]
    Train(#[from] clinical_train::Error),
    /// The model refuses a text, or its directory cannot be opened.
    #[error("{what}: {cause}")]
    Model {
        /// The directory of the model, or the id of the example.
        what: String,
        /// What the model said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of the study is damaged.
    #[error("line {line} of {} cannot be used, at column {column}: remove the file's folder to have it made again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The byte of the line, from 1; 0 for the whole line.
        column: usize,
    },
    /// Two studies cannot be compared.
    #[error("{} and {} cannot be compared: {why}", first.display(), second.display())]
    NotComparable {
        /// The folder of the first one.
        first: PathBuf,
        /// The folder of the second one.
        second: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The folder has no finished cell.
    #[error("{} has no finished part of a study: run `study` first", path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
    /// Who listens broke the study off. It goes on when it is run again.
    #[error("the study was stopped; run it again to go on")]
    Stopped,
}

/// Why a specification cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A list has nothing in it, has something twice or something out of range.
    #[error("`{field}` must have {rule}")]
    List {
        /// The field.
        field: &'static str,
        /// What it must have.
        rule: &'static str,
    },
    /// A number must be at least one.
    #[error("`{field}` is 0: give at least 1, or leave it out")]
    Zero {
        /// The field.
        field: &'static str,
    },
    /// There is no recipe of this name.
    #[error(
        "there is no recipe {name}: give the name of one of clinical-train, a file, or the recipe itself"
    )]
    NoRecipe {
        /// What was given, escaped.
        name: String,
    },
    /// The recipe trains for something else.
    #[error("the recipe is for {found}, and this model on this task wants {wanted}")]
    OtherRecipe {
        /// What it trains for.
        found: String,
        /// What is wanted.
        wanted: &'static str,
    },
    /// Without training there is nothing to predict with.
    #[error(
        "without `recipe` nothing is trained: that works with `method = \"scoring\"` or \"generation\" only"
    )]
    Untrained,
    /// A combination that does not exist.
    #[error("{model} cannot do {task} by {method}: {known}")]
    NoMethod {
        /// The kind of model.
        model: &'static str,
        /// The task.
        task: &'static str,
        /// The method.
        method: &'static str,
        /// What it can do.
        known: &'static str,
    },
    /// The task does not have the metric.
    #[error("the task has no metric {metric}: it has {known}")]
    NoMetric {
        /// The metric.
        metric: &'static str,
        /// Those of the task.
        known: String,
    },
    /// A setting that the task or the model does not have.
    #[error("`{field}` {why}")]
    Setting {
        /// The field.
        field: &'static str,
        /// Why it makes no sense.
        why: &'static str,
    },
    /// It cannot be written as TOML.
    #[error("it cannot be written as TOML: {detail}")]
    NotToml {
        /// What the writer said.
        detail: String,
    },
}

/// Short for a [`Result`](std::result::Result) with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn model(
        what: impl Into<String>,
    ) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Self {
        let what = what.into();
        move |cause| Self::Model { what, cause }
    }

    pub(crate) fn written(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |source| Self::File {
            path: path.to_owned(),
            done: "written",
            source,
        }
    }

    pub(crate) fn read(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |source| Self::File {
            path: path.to_owned(),
            done: "read",
            source,
        }
    }
}

/// What a model says about an example, by the example's id.
pub(crate) fn about<T, E: std::error::Error + Send + Sync + 'static>(
    result: Result<T, E>,
    what: impl FnOnce() -> String,
) -> Result<T> {
    result.map_err(|cause| Error::model(what())(Box::new(cause)))
}
