//! What lies beside a model of sentence-transformers.

use clinical_weights::CheckpointDir;
use serde_json::Value;

use crate::inspect::read;

/// The last parts of the names of the classes in `modules.json`.
pub(crate) fn modules(files: &CheckpointDir) -> Vec<String> {
    let list = read(files, "modules.json");
    let list = list.as_ref().and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|module| module.get("type")?.as_str()?.rsplit('.').next())
        .map(str::to_owned)
        .collect()
}

/// What `1_Pooling/config.json` switches on.
pub(crate) fn pooling(files: &CheckpointDir) -> Vec<String> {
    const FOLDER: &str = "1_Pooling";
    if !files.has(FOLDER) {
        return Vec::new();
    }
    let config = files
        .folder(FOLDER)
        .ok()
        .and_then(|folder| read(&folder, "config.json"));
    let keys = config.as_ref().and_then(Value::as_object);
    keys.into_iter()
        .flatten()
        .filter(|(_, on)| **on == true)
        .filter_map(|(key, _)| key.strip_prefix("pooling_mode_"))
        .map(str::to_owned)
        .collect()
}
