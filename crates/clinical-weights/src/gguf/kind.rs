//! GGUF files that hold something else than a model.

use super::Gguf;
use crate::Error;
use clinical_files::shown;

/// Refuses adapters, and what else comes in these files beside models.
pub(super) fn check(file: &Gguf) -> Result<(), Error> {
    let lora = |name: &String| name.ends_with(".lora_a") || name.ends_with(".lora_b");
    let kind = file.text("general.type").unwrap_or("model");
    if kind == "adapter" || file.text("adapter.type").is_some() || file.tensors.keys().any(lora) {
        let base = file.text("general.base_model.0.name");
        return Err(Error::Adapter {
            path: file.path.clone(),
            base: base.map_or_else(|| "another model".to_owned(), shown),
        });
    }
    let what = match kind {
        "model" => return Ok(()),
        "vocab" => "a vocabulary and no weights".to_owned(),
        "imatrix" => "an importance matrix, which is for quantising a model,".to_owned(),
        "mmproj" => "the part of a model that reads pictures".to_owned(),
        other => format!("`{}`", shown(other)),
    };
    Err(no_model(file, what))
}

/// Refuses a file without weights, as llama.cpp has them for tests of tokenizers.
pub(super) fn check_weights(file: &Gguf) -> Result<(), Error> {
    match file.tensors.is_empty() {
        true => Err(no_model(file, "a vocabulary and no weights".to_owned())),
        false => Ok(()),
    }
}

fn no_model(file: &Gguf, what: String) -> Error {
    Error::GgufNoModel {
        path: file.path.clone(),
        what,
    }
}
