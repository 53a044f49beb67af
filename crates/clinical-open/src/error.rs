//! Why a directory was not opened.

use std::path::PathBuf;

/// Why a directory could not be opened, looked at or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory, its configuration or its weights.
    #[error(transparent)]
    Weights(#[from] clinical_weights::Error),
    /// What [`Asclepius`](crate::Asclepius) says.
    #[error(transparent)]
    Asclepius(#[from] asclepius::Error),
    /// What [`ClinicalT5`](crate::ClinicalT5) says.
    #[error(transparent)]
    T5(#[from] clinical_t5::Error),
    /// What [`ClinicalBert`](crate::ClinicalBert) says.
    #[error(transparent)]
    Bert(#[from] clinical_bert::Error),
    /// No facade opens a model of this kind.
    #[error(
        "{} holds {found}, and this library opens {known}: check that it is the directory of such a model",
        path.display()
    )]
    UnknownKind {
        /// The directory.
        path: PathBuf,
        /// What its configuration says.
        found: String,
        /// The architectures that are opened.
        known: String,
    },
}

/// What this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
