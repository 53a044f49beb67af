//! Unfinished output: one hidden name for each output, locked while it is written, so that what an interrupted run left
//! is taken over or removed by the next one.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Names of more bytes are cut, since file systems take 255.
const LONGEST_NAME: usize = 200;

/// How often a name is tried that other processes take and give up in the meantime.
const ATTEMPTS: usize = 16;

/// `.NAME.unfinished`, in the same folder as the output, so that renaming moves no bytes.
pub(crate) fn hidden(output: &Path) -> Result<PathBuf> {
    let name = output.file_name().ok_or_else(|| Error::NoName {
        path: output.to_owned(),
    })?;
    let mut hidden = OsString::from(".");
    match name.len() {
        ..=LONGEST_NAME => hidden.push(name),
        _ => {
            let text = name.to_string_lossy();
            let start = &text[..text.floor_char_boundary(LONGEST_NAME / 2)];
            let sum = checksum(name.as_encoded_bytes());
            hidden.push(format!("{start}.{sum:016x}"));
        }
    }
    hidden.push(".unfinished");
    Ok(output.with_file_name(hidden))
}

/// FNV-1a, 64 bits: the same in every version of this library, unlike the hashes of the standard library.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The folder that holds a path.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

pub(crate) fn write_error(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |cause| Error::Write {
        path: path.to_owned(),
        cause,
    }
}

/// Opens the unfinished file at `path`, what is in it included, and locks it until it is closed.
pub(crate) fn take_file(path: &Path, output: &Path) -> Result<File> {
    let failed = write_error(output);
    for _ in 0..ATTEMPTS {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_file() && has_one_name(&found) => {}
            Ok(found) if found.is_dir() => {
                return Err(Error::NotAFile {
                    path: path.to_owned(),
                });
            }
            // What a link or a second name leads to is somebody else's.
            Ok(_) => fs::remove_file(path).map_err(&failed)?,
            Err(_) => {}
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NOFOLLOW);
        let file = options.open(path).map_err(&failed)?;
        lock(&file, output)?;
        if is_at(&file, path) {
            return Ok(file);
        }
    }
    Err(Error::InUse {
        path: output.to_owned(),
    })
}

/// Makes an empty folder at `path`, without what an interrupted run left there, and locks it until the handle is
/// closed.
pub(crate) fn take_folder(path: &Path, output: &Path) -> Result<FolderLock> {
    let failed = write_error(output);
    for _ in 0..ATTEMPTS {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => fs::remove_file(path).map_err(&failed)?,
            Err(_) => fs::create_dir_all(path).map_err(&failed)?,
        }
        // Another run may have put it in its place or removed it: then the name is looked at again.
        let Some(lock) = lock_folder(path, output)?.filter(|lock| lock.is_at(path)) else {
            continue;
        };
        for entry in fs::read_dir(path).map_err(&failed)? {
            remove(&entry.map_err(&failed)?.path()).map_err(&failed)?;
        }
        return Ok(lock);
    }
    Err(Error::InUse {
        path: output.to_owned(),
    })
}

/// Removes a file, or a folder with all that is in it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    }
}

/// A folder that no other run writes meanwhile. Only Unix can lock folders.
#[derive(Debug)]
pub(crate) struct FolderLock {
    #[cfg(unix)]
    folder: File,
}

impl FolderLock {
    fn is_at(&self, path: &Path) -> bool {
        #[cfg(unix)]
        return is_at(&self.folder, path);
        #[cfg(not(unix))]
        path.is_dir()
    }
}

#[cfg(unix)]
impl Drop for FolderLock {
    /// As [`Unlock`].
    fn drop(&mut self) {
        let _ = self.folder.unlock();
    }
}

/// Gives the lock of a file back when it is dropped. Closing the file alone would not: a program that another thread is
/// just starting has a copy of the handle until it runs, and the next writer would find the output in use.
#[derive(Debug)]
pub(crate) struct Unlock(File);

impl Unlock {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        file.try_clone().map(Self)
    }
}

impl Drop for Unlock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Locks a folder, if it is there.
#[cfg(unix)]
pub(crate) fn lock_folder(path: &Path, output: &Path) -> Result<Option<FolderLock>> {
    match File::open(path) {
        Ok(folder) => lock(&folder, output).map(|()| Some(FolderLock { folder })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(write_error(output)(error)),
    }
}

#[cfg(not(unix))]
pub(crate) fn lock_folder(_: &Path, _: &Path) -> Result<Option<FolderLock>> {
    Ok(Some(FolderLock {}))
}

fn lock(file: &File, output: &Path) -> Result<()> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            path: output.to_owned(),
        }),
        // Some network file systems have no locks: there, two runs at a time are the user's affair.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.is_file()
}

#[cfg(unix)]
fn has_one_name(found: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(found) == 1
}

#[cfg(not(unix))]
fn has_one_name(_: &fs::Metadata) -> bool {
    true
}

/// Removes what it names when it is dropped.
pub(crate) struct Leftover<'p>(pub(crate) Option<&'p Path>);

impl Drop for Leftover<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // Nothing can be done if this fails too.
            let _ = remove(path);
        }
    }
}

/// Makes the names in a folder last through a loss of power, where the system can do that.
pub(crate) fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    // Some file systems refuse it, and the names are right all the same.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    #[cfg(not(unix))]
    let _ = folder;
}
