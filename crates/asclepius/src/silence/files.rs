//! Which model a calibration belongs to.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::{Error, Result, demo};

/// What of a directory makes a model, by the end of the name.
const ENDS: [&str; 6] = ["safetensors", "bin", "gguf", "json", "model", "jinja"];

/// The calibration itself is not part of it.
const CALIBRATION: &str = "calibration.json";

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// A checksum over the files of a model directory, or over a GGUF file: names, lengths and contents, weights included.
/// It finds out that a model was exchanged; it is no protection against somebody who wants to deceive.
///
/// # Errors
///
/// [`Error::Calibration`] for a path without a file of a model, or one that cannot be read.
pub fn model_checksum(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let files = files(path).map_err(|error| unreadable(path, &error))?;
    if files.is_empty() {
        return Err(Error::Calibration {
            problem: format!("{} holds no file of a model", path.display()),
        });
    }
    let mut sum = crc32fast::Hasher::new();
    let mut length = 0;
    let mut chunk = vec![0; CHUNK];
    for file in files {
        let name = file.file_name().unwrap_or_default();
        sum.update(name.as_encoded_bytes());
        sum.update(&[0]);
        let mut open = File::open(&file).map_err(|error| unreadable(&file, &error))?;
        let mut of_file: u64 = 0;
        loop {
            let read = open
                .read(&mut chunk)
                .map_err(|error| unreadable(&file, &error))?;
            if read == 0 {
                break;
            }
            sum.update(&chunk[..read]);
            of_file += read as u64;
        }
        sum.update(&of_file.to_le_bytes());
        length += of_file;
    }
    Ok(format!("crc32:{:08x} of {length} bytes", sum.finalize()))
}

/// The same for the demonstration model, which has no directory.
#[must_use]
pub fn embedded_checksum() -> String {
    let weights = demo::WEIGHTS;
    let mut sum = crc32fast::Hasher::new();
    sum.update(demo::CONFIG.as_bytes());
    sum.update(weights);
    format!(
        "crc32:{:08x} of {} bytes",
        sum.finalize(),
        demo::CONFIG.len() + weights.len()
    )
}

/// Sorted by name.
fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if fs::metadata(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let ends = file.extension().and_then(|end| end.to_str());
        let of_model = ends.is_some_and(|end| ENDS.contains(&end));
        let calibration = file.file_name().is_some_and(|name| name == CALIBRATION);
        if of_model && !calibration && fs::metadata(&file)?.is_file() {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Calibration {
        problem: format!("cannot read {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_model_changes_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert!(model_checksum(dir.path()).is_err());
        assert!(model_checksum(dir.path().join("missing")).is_err());
        write("model.safetensors", "weights");
        write("config.json", "{}");
        let first = model_checksum(dir.path()).unwrap();
        write("calibration.json", "{}");
        write("README.md", "what it is");
        assert_eq!(model_checksum(dir.path()).unwrap(), first);
        write("model.safetensors", "weighty");
        assert_ne!(model_checksum(dir.path()).unwrap(), first);
        write("model.safetensors", "weights");
        fs::rename(
            dir.path().join("config.json"),
            dir.path().join("other.json"),
        )
        .unwrap();
        assert_ne!(model_checksum(dir.path()).unwrap(), first);
        let file = dir.path().join("model.safetensors");
        assert_ne!(model_checksum(file).unwrap(), first);
    }
}
