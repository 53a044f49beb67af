//! One model for the whole process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Asclepius, LoadOptions, Result};

/// Names the directory of the model that [`answer`] uses.
const VARIABLE: &str = "ASCLEPIUS_MODEL";

static MODEL: Mutex<Option<Arc<Asclepius>>> = Mutex::new(None);

/// Answers a question about a note with the model of this process: the directory that the environment variable
/// `ASCLEPIUS_MODEL` names, else the demonstration model inside this crate (a toy; see
/// [`Asclepius::embedded`]). It is loaded at the first call and kept.
///
/// # Errors
///
/// Those of [`Asclepius::load`] and [`Asclepius::answer`]. A model that failed to load is tried again at the next call.
pub fn answer(note: &str, question: &str) -> Result<String> {
    Ok(model()?.answer(note, question)?.text)
}

/// The directory of the model that this process asks by default: `ASCLEPIUS_MODEL`, if it is set and not empty.
#[must_use]
pub fn model_dir() -> Option<PathBuf> {
    named(std::env::var_os(VARIABLE))
}

/// A shell that empties a variable unsets it.
fn named(value: Option<OsString>) -> Option<PathBuf> {
    value.filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

fn model() -> Result<Arc<Asclepius>> {
    // A panic elsewhere leaves the slot as it was: empty or loaded.
    let mut slot = MODEL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(model) = &*slot {
        return Ok(Arc::clone(model));
    }
    let model = Arc::new(match model_dir() {
        Some(dir) => Asclepius::load(dir, &LoadOptions::default())?,
        None => Asclepius::embedded()?,
    });
    *slot = Some(Arc::clone(&model));
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_names_no_model() {
        assert_eq!(named(None), None);
        assert_eq!(named(Some(OsString::new())), None);
        assert_eq!(named(Some("models/a".into())), Some("models/a".into()));
    }
}
