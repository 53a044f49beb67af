//! Reading the files of a model directory, with limits, and writing them so that an old file is never half overwritten.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::limits::{MAX_CONFIG_FILE_BYTES, MAX_TOKENIZER_FILE_BYTES};

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let fail = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    let too_large = |bytes| Error::FileTooLarge {
        path: path.to_owned(),
        bytes,
        limit,
    };
    // Asked before opening: opening a named pipe would wait for a writer.
    if !fs::metadata(path).map_err(fail)?.is_file() {
        return Err(Error::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = fs::File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    if length > limit {
        return Err(too_large(length));
    }
    // The size may be a lie (a growing file), so the limit also holds while reading.
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    let start = &bytes[..bytes.len().min(256)];
    if start.starts_with(b"version https://git-lfs") {
        return Err(Error::GitLfsPointer {
            path: path.to_owned(),
        });
    }
    let head = String::from_utf8_lossy(start)
        .trim_start()
        .to_ascii_lowercase();
    if head.starts_with("<!doctype html") || head.starts_with("<html") {
        return Err(Error::WebPage {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

/// Reads a tokenizer file.
pub(crate) fn read_model(path: &Path) -> Result<Vec<u8>> {
    read(path, MAX_TOKENIZER_FILE_BYTES)
}

/// Reads a configuration file, if it is there.
pub(crate) fn read_config(path: PathBuf) -> Result<Option<Vec<u8>>> {
    match path.try_exists() {
        Ok(false) => Ok(None),
        Ok(true) => {
            let mut bytes = read(&path, MAX_CONFIG_FILE_BYTES)?;
            // Some Windows tools put a byte order mark in front.
            if bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            Ok(Some(bytes))
        }
        Err(source) => Err(Error::Read { path, source }),
    }
}

/// Writes a file so that whoever reads it sees the old one or the new one.
pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    Ok(clinical_files::write_file(directory.join(name), bytes)?)
}
