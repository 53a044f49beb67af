//! A `config.json` by its path.

use std::path::Path;

use serde_json::Value;

use crate::{CheckpointDir, Error};

/// Reads a `config.json`, or the one in a directory, as [`CheckpointDir::read_python_json`] does.
///
/// # Errors
///
/// Those of [`CheckpointDir::open`] and [`CheckpointDir::read_python_json`].
pub fn read_config(path: impl AsRef<Path>) -> Result<Value, Error> {
    let path = path.as_ref();
    let name = path.file_name().and_then(|name| name.to_str());
    let (config, _) = match (path.parent(), name) {
        (Some(parent), Some(name)) if !path.is_dir() => {
            let here = parent.as_os_str().is_empty();
            let parent = if here { Path::new(".") } else { parent };
            CheckpointDir::open(parent)?.read_python_json(name)?
        }
        _ => CheckpointDir::open(path)?.read_python_json("config.json")?,
    };
    Ok(config)
}
