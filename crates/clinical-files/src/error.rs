//! What can go wrong. No message quotes what is in a file.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One rule that a path, a file or a folder broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened or read.
    #[error("cannot read {}: {cause}; {}", .path.display(), advice(.cause, "who may read it"))]
    Read {
        /// The file, or "the input" for a reader without a name.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A file or folder could not be created, written or put in its place.
    #[error("cannot write {}: {cause}; {}", .path.display(), advice(.cause, "who may write there"))]
    Write {
        /// The file or folder, or "the output" for a writer without a name.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },

    /// A path that must name a regular file names a folder, a pipe or a device.
    #[error("{} exists and is not a regular file: name a file", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },

    /// A path that must name a folder names something else.
    #[error("{} exists and is not a folder: name a folder", .path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },

    /// A path ends in `..`, or is the root.
    #[error("{} has no name of its own: write the name of the file or folder at its end", .path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },

    /// A file is larger than its kind may be.
    #[error("{} has {bytes} bytes, and at most {limit} are read: check that it is the right file", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, or as much of it as was read.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },

    /// Another process, or another thread of this one, is writing the same output.
    #[error("another process is writing {}: wait until it has finished, or name another output", .path.display())]
    InUse {
        /// The output.
        path: PathBuf,
    },

    /// The output is the input, perhaps through a link.
    #[error("the output {} is the input itself, which would be replaced: name another file", .path.display())]
    OutputIsInput {
        /// The output.
        path: PathBuf,
    },
}

/// What can be done about an error of the system; `who` is what to check where something is forbidden.
fn advice(cause: &io::Error, who: &'static str) -> &'static str {
    match cause.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "check the path",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there",
        ErrorKind::FileTooLarge => "the limit on the size of a file is too low for it",
        ErrorKind::ReadOnlyFilesystem => "name a place that can be written",
        ErrorKind::OutOfMemory => "the process may not take more memory",
        ErrorKind::PermissionDenied => match who {
            "who may read it" => "check who may read it",
            _ => "check who may write there",
        },
        _ => "try again, or look at the disk",
    }
}
