//! Reads with a bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::{Error, Result};

/// Reads a file of at most `limit` bytes. Pipes, devices and folders are not opened.
///
/// # Errors
///
/// [`Error::Read`], [`Error::NotAFile`], [`Error::TooLarge`].
pub fn read_file(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let failed = |cause| Error::Read {
        path: path.to_owned(),
        cause,
    };
    let too_large = |bytes| Error::TooLarge {
        path: path.to_owned(),
        bytes,
        limit,
    };
    // Asked before opening: opening a named pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > limit {
        return Err(too_large(length));
    }
    // The size may be a lie (a growing file), so the limit also holds while reading.
    let mut bytes = Vec::with_capacity(length as usize);
    let most = limit.saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 {
        read if read > limit => Err(too_large(read)),
        _ => Ok(bytes),
    }
}

/// A reader that gives at most so many bytes and then an error of the kind [`io::ErrorKind::FileTooLarge`], unlike
/// [`Read::take`], which ends as if the file did.
#[derive(Debug)]
pub struct Limited<R> {
    source: R,
    left: u64,
}

impl<R: Read> Limited<R> {
    /// A reader of at most `limit` bytes.
    pub fn new(source: R, limit: u64) -> Self {
        Self {
            source,
            left: limit,
        }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte more than is left tells a longer file from one that ends here.
        let most = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let read = self.source.read(&mut buffer[..most])?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::ErrorKind::FileTooLarge.into()),
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_file(&path, 5).unwrap(), b"12345");
        assert!(matches!(
            read_file(&path, 4),
            Err(Error::TooLarge {
                bytes: 5,
                limit: 4,
                ..
            })
        ));
        assert!(matches!(
            read_file(folder.path(), 4),
            Err(Error::NotAFile { .. })
        ));
        let missing = folder.path().join("missing");
        assert!(matches!(read_file(missing, 4), Err(Error::Read { .. })));
    }

    #[test]
    fn a_limited_reader_tells_the_end_from_the_limit() {
        let mut text = String::new();
        Limited::new(&b"12345"[..], 5)
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "12345");
        let error = Limited::new(&b"12345"[..], 4).read_to_string(&mut text);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
