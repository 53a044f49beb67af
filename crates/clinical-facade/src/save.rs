//! Writing what a facade was made of.

use std::fs;
use std::path::Path;

use clinical_files::replace_directory;
use clinical_tokenizer::Tokenizer;
use clinical_weights::{Error, FromCheckpoint, SAVED_MODEL, SaveOptions, save_model_files};
use serde_json::Value;

/// The parts of a facade that are written beside its weights.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SavedParts<'a> {
    /// `config.json`, with the keys that this library does not know.
    pub config: &'a Value,
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// `generation_config.json`, written as it was found.
    pub generation_config: Option<&'a Value>,
}

impl<'a> SavedParts<'a> {
    /// What every facade has.
    #[must_use]
    pub fn new(
        config: &'a Value,
        tokenizer: &'a Tokenizer,
        generation_config: Option<&'a Value>,
    ) -> Self {
        Self {
            config,
            tokenizer,
            generation_config,
        }
    }
}

/// Writes a Hugging Face directory that the facades and Python's `transformers` open: `config.json`,
/// `generation_config.json`, weights in the type that they have in memory, tokenizer files. An error leaves what was
/// there before; see [`save_pretrained`](clinical_weights::save_pretrained).
///
/// # Errors
///
/// Those of [`replace_directory`] and of [`Tokenizer::save`].
pub fn save<M, E>(
    model: &M,
    parts: SavedParts<'_>,
    dir: impl AsRef<Path>,
    options: &SaveOptions,
) -> Result<(), E>
where
    M: FromCheckpoint,
    E: From<Error> + From<clinical_files::Error> + From<clinical_tokenizer::Error>,
{
    save_with(model, parts, dir, options, |_| Ok(()))
}

/// [`save`] with more files: `more` writes them into the directory before it appears.
///
/// # Errors
///
/// Those of [`save`] and of `more`.
pub fn save_with<M, E>(
    model: &M,
    parts: SavedParts<'_>,
    dir: impl AsRef<Path>,
    options: &SaveOptions,
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E>
where
    M: FromCheckpoint,
    E: From<Error> + From<clinical_files::Error> + From<clinical_tokenizer::Error>,
{
    replace_directory(dir, &SAVED_MODEL, |part| {
        save_model_files(model, &parts.config.to_string(), part, options)?;
        if let Some(config) = parts.generation_config {
            write(&part.join("generation_config.json"), config)?;
        }
        parts.tokenizer.save(part)?;
        more(part)
    })
}

fn write(path: &Path, config: &Value) -> Result<(), Error> {
    // Values that came from JSON always have a form in it.
    fs::write(path, format!("{config:#}\n")).map_err(|error| Error::Write {
        path: path.to_owned(),
        detail: error.to_string(),
    })
}
