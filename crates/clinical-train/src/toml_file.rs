//! Recipes as TOML.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, RecipeError, Result};

/// What a recipe without a file is called in errors.
pub(crate) const UNNAMED: &str = "recipe";

pub(crate) fn open<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).map_err(Error::read(path))?;
    parse(path, &text)
}

pub(crate) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|cause| Error::RecipeFile {
        path: path.to_owned(),
        cause: Box::new(cause),
    })
}

pub(crate) fn write(recipe: &impl Serialize) -> Result<String> {
    toml::to_string_pretty(recipe).map_err(|cause| {
        Error::Recipe(RecipeError::NotToml {
            detail: cause.to_string(),
        })
    })
}
