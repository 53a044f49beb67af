//! One file: where it may lie, and what its first bytes say about it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::limits::MAX_SAFETENSORS_HEADER;
use clinical_files::shown;

/// A directory whose files may be opened, and only those.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    /// As the caller gave it, for messages.
    pub(crate) path: PathBuf,
    canonical: PathBuf,
    /// The `blobs` folder of the Hugging Face cache that the directory is a snapshot of.
    blobs: Option<PathBuf>,
    pub(crate) allow_links: bool,
}

/// An open regular file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) bytes: u64,
}

impl Root {
    pub(crate) fn open(path: &Path, allow_links: bool) -> Result<Self, Error> {
        let metadata = fs::metadata(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::DirectoryMissing {
                path: path.to_owned(),
            },
            _ => Error::unreadable(path, source),
        })?;
        if !metadata.is_dir() {
            return Err(Error::NotADirectory {
                path: path.to_owned(),
            });
        }
        let canonical = path
            .canonicalize()
            .map_err(|source| Error::unreadable(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            blobs: hub_blobs(&canonical),
            canonical,
            allow_links,
        })
    }

    /// Opens the file `name`, which must be a plain name and, unless links are allowed, lie in this directory or in the
    /// blobs of its Hugging Face cache.
    pub(crate) fn open_file(&self, name: &str) -> Result<OpenFile, Error> {
        let path = self.path.join(name);
        let canonical = path.canonicalize().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::FileMissing {
                path: self.path.clone(),
                name: shown(name),
            },
            _ => Error::unreadable(&path, source),
        })?;
        let parent = canonical.parent();
        let inside = parent == Some(&self.canonical)
            || (self.blobs.is_some() && parent == self.blobs.as_deref());
        if !inside && !self.allow_links {
            return Err(Error::OutsideDirectory { path });
        }
        // Asked before opening: opening a named pipe would wait for a writer.
        let metadata =
            fs::metadata(&canonical).map_err(|source| Error::unreadable(&path, source))?;
        if !metadata.is_file() {
            return Err(Error::NotAFile { path });
        }
        let file = File::open(&canonical).map_err(|source| Error::unreadable(&path, source))?;
        let bytes = file
            .metadata()
            .map_err(|source| Error::unreadable(&path, source))?
            .len();
        if bytes == 0 {
            return Err(Error::EmptyFile { path });
        }
        Ok(OpenFile { path, file, bytes })
    }

    /// Refuses a folder that is not in this directory, unless links are allowed.
    pub(crate) fn check_folder(&self, path: &Path) -> Result<(), Error> {
        // What is not there has its own error when it is opened.
        let inside = path
            .canonicalize()
            .map_or(true, |found| found.parent() == Some(&self.canonical));
        match inside || self.allow_links {
            true => Ok(()),
            false => Err(Error::OutsideDirectory {
                path: path.to_owned(),
            }),
        }
    }

    /// The whole of a small file.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<(PathBuf, Vec<u8>), Error> {
        let OpenFile { path, file, bytes } = self.open_file(name)?;
        if bytes > limit {
            return Err(Error::FileTooLarge { path, bytes, limit });
        }
        let mut content = Vec::with_capacity(bytes as usize);
        // A file that grows meanwhile still ends at the limit.
        file.take(limit)
            .read_to_end(&mut content)
            .map_err(|source| Error::unreadable(&path, source))?;
        Ok((path, content))
    }
}

/// The blobs of the cache when `snapshot` is `.../models--owner--name/snapshots/<revision>`.
fn hub_blobs(snapshot: &Path) -> Option<PathBuf> {
    let snapshots = snapshot.parent()?;
    let repository = snapshots.parent()?;
    let is_cache = snapshots.file_name()? == "snapshots"
        && repository
            .file_name()?
            .to_str()
            .is_some_and(|name| name.starts_with("models--"));
    let blobs = repository.join("blobs");
    (is_cache && fs::symlink_metadata(&blobs).is_ok_and(|found| found.is_dir())).then_some(blobs)
}

/// What the first bytes of a weight file say that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Safetensors,
    TorchZip,
    TorchLegacy,
    Pickle,
    Tar,
    Gguf,
    Lfs,
    Page,
    Text,
    Unknown,
}

/// How many bytes [`Content::of`] looks at: a tar header holds its mark at 257.
pub(crate) const HEAD: usize = 512;

/// The number that opens a legacy torch file (`0x1950a86a20f9469cfc6c`), as binary and as text pickles write it.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const LEGACY_MAGIC_TEXT: &[u8] = b"119547037146038801333356";

impl Content {
    pub(crate) fn of(head: &[u8]) -> Self {
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        let text = text.trim_ascii_start();
        let starts = |prefix: &str| {
            text.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        let holds = |part: &[u8]| {
            head[..head.len().min(64)]
                .windows(part.len())
                .any(|window| window == part)
        };
        if head.starts_with(b"version https://git-lfs") {
            Self::Lfs
        } else if ["<!doctype", "<html", "<head", "<?xml", "<body"]
            .iter()
            .any(|prefix| starts(prefix))
        {
            Self::Page
        } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            Self::TorchZip
        } else if head.starts_with(b"GGUF") {
            Self::Gguf
        } else if head.get(257..262) == Some(b"ustar") {
            Self::Tar
        } else if head.get(8) == Some(&b'{')
            && head
                .first_chunk()
                .is_some_and(|length| u64::from_le_bytes(*length) <= MAX_SAFETENSORS_HEADER)
        {
            Self::Safetensors
        } else if holds(&LEGACY_MAGIC) || holds(LEGACY_MAGIC_TEXT) {
            Self::TorchLegacy
        } else if head.first() == Some(&0x80) && head.get(1).is_some_and(|version| *version <= 5) {
            Self::Pickle
        } else if !text.is_empty()
            && text
                .iter()
                .all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
        {
            Self::Text
        } else {
            Self::Unknown
        }
    }

    /// What a file with this content is not, when it was expected to hold `expected`.
    pub(crate) fn refuse(self, path: &Path, expected: &'static str) -> Option<Error> {
        let path = path.to_owned();
        let wrong = |path, found| Error::WrongContent {
            path,
            expected,
            found,
        };
        match self {
            Self::Lfs => Some(Error::LfsPointer { path }),
            Self::Page => Some(Error::WebPage { path }),
            Self::Text => Some(wrong(path, "text")),
            Self::Gguf => Some(wrong(path, "GGUF")),
            Self::Tar => Some(Error::UnsupportedFormat {
                path,
                format: "PyTorch tar (before 0.1.10)",
            }),
            _ => None,
        }
    }
}

/// The first bytes of a file, without moving its cursor for readers that use explicit offsets.
pub(crate) fn head(file: &OpenFile) -> Result<Vec<u8>, Error> {
    let mut head = vec![0; HEAD.min(usize::try_from(file.bytes).unwrap_or(HEAD))];
    read_at(&file.file, &mut head, 0).map_err(|source| Error::unreadable(&file.path, source))?;
    Ok(head)
}

/// Fills `buffer` from `offset`; any number of threads may do so at once.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` from `offset`; any number of threads may do so at once.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        match file.seek_read(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_told_by_the_first_bytes() {
        let mut safetensors = 16u64.to_le_bytes().to_vec();
        safetensors.extend(b"{\"a\":{}}        ");
        let mut tar = vec![b'x'; 257];
        tar.extend(b"ustar\0");
        for (head, content) in [
            (
                &b"version https://git-lfs.github.com/spec/v1\n"[..],
                Content::Lfs,
            ),
            (b"\n <!DOCTYPE html><html>", Content::Page),
            (b"\xef\xbb\xbf<html lang=en>", Content::Page),
            (b"PK\x03\x04rest", Content::TorchZip),
            (b"GGUF\x03\0\0\0", Content::Gguf),
            (
                b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
                Content::TorchLegacy,
            ),
            (b"\x80\x02}q\0.", Content::Pickle),
            (b"{\"error\":\"Repository not found\"}", Content::Text),
            (b"\0\0\0\0\0", Content::Unknown),
            (b"", Content::Unknown),
            (safetensors.as_slice(), Content::Safetensors),
            (tar.as_slice(), Content::Tar),
        ] {
            assert_eq!(Content::of(head), content, "{head:?}");
        }
    }
}
