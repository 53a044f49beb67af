//! Whether a model is the one that something was made with.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use clinical_files::{Error, Result};

/// What of a directory makes a model, by the end of the name.
const ENDS: [&str; 6] = ["safetensors", "bin", "gguf", "json", "model", "jinja"];

/// And by the whole name: vocabularies. A text of another name may be anything.
const NAMES: [&str; 2] = ["vocab.txt", "merges.txt"];

/// The calibration itself is not part of it.
const CALIBRATION: &str = "calibration.json";

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// A checksum over the files of a model directory, or over a GGUF file: names, lengths and contents, weights included.
/// It finds out that a model was exchanged; it is no protection against somebody who wants to deceive.
///
/// # Errors
///
/// [`clinical_files::Error::Read`] for a path without a file of a model, or one that cannot be read.
pub fn model_checksum(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let files = files(path).map_err(unreadable(path))?;
    if files.is_empty() {
        let none = io::Error::new(ErrorKind::NotFound, "it holds no file of a model");
        return Err(unreadable(path)(none));
    }
    let mut sum = crc32fast::Hasher::new();
    let mut length = 0;
    let mut chunk = vec![0; CHUNK];
    for file in files {
        let name = file.file_name().unwrap_or_default();
        sum.update(name.as_encoded_bytes());
        sum.update(&[0]);
        let mut open = File::open(&file).map_err(unreadable(&file))?;
        let mut of_file: u64 = 0;
        loop {
            let read = open.read(&mut chunk).map_err(unreadable(&file))?;
            if read == 0 {
                break;
            }
            sum.update(&chunk[..read]);
            of_file += read as u64;
        }
        sum.update(&of_file.to_le_bytes());
        length += of_file;
    }
    Ok(shown(sum, length))
}

/// [`model_checksum`] of a model that is part of the program: its configuration and its weights.
#[must_use]
pub fn embedded_checksum(config: &str, weights: &[u8]) -> String {
    let mut sum = crc32fast::Hasher::new();
    sum.update(config.as_bytes());
    sum.update(weights);
    shown(sum, (config.len() + weights.len()) as u64)
}

fn shown(sum: crc32fast::Hasher, bytes: u64) -> String {
    format!("crc32:{:08x} of {bytes} bytes", sum.finalize())
}

/// Sorted by name.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if fs::metadata(path)?.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let end = file.extension().and_then(|end| end.to_str());
        let name = file.file_name().and_then(|name| name.to_str());
        let of_model = end.is_some_and(|end| ENDS.contains(&end))
            || name.is_some_and(|name| NAMES.contains(&name));
        if of_model && name != Some(CALIBRATION) && fs::metadata(&file)?.is_file() {
            found.push(file);
        }
    }
    found.sort();
    Ok(found)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    |cause| Error::Read {
        path: path.to_owned(),
        cause,
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
        write("notes.txt", "what it is for");
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
        fs::rename(
            dir.path().join("other.json"),
            dir.path().join("config.json"),
        )
        .unwrap();
        assert_eq!(model_checksum(dir.path()).unwrap(), first);
        write("vocab.txt", "[PAD]");
        assert_ne!(model_checksum(dir.path()).unwrap(), first);
        let file = dir.path().join("model.safetensors");
        assert_ne!(model_checksum(file).unwrap(), first);
    }
}
