//! GGUF files that hold something else than a model.

use super::Gguf;
use crate::Error;
use crate::shown::shown;

/// Refuses adapters, bare vocabularies and what else comes in these files.
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
        "model" if file.tensors.is_empty() => "a vocabulary and no weights".to_owned(),
        "model" => return Ok(()),
        "vocab" => "a vocabulary and no weights".to_owned(),
        "imatrix" => "an importance matrix, which is for quantising a model,".to_owned(),
        "mmproj" => "the part of a model that reads pictures".to_owned(),
        other => format!("`{}`", shown(other)),
    };
    Err(Error::GgufNoModel {
        path: file.path.clone(),
        what,
    })
}
