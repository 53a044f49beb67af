//! Files that appear only when all of them is written.

use std::fs::{self, File, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use crate::Error;

/// Writes a file beside its place under another name, then renames it: whoever reads `output` sees what was there before
/// or all of what is new. On an error the file that `output` named before, if any, is as it was, and the unfinished one is
/// removed. A file that is replaced keeps its permissions.
///
/// # Errors
///
/// Those of `fill`; [`Error::Write`] with the path; [`Error::OutputNotAFile`].
pub fn replace_file<T, E: From<Error>>(
    output: &Path,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let failed = |cause| Error::Write {
        path: output.display().to_string(),
        cause,
    };
    let (target, permissions) = target_of(output)?;
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut unfinished = temporary(folder).map_err(|error| Error::Write {
        path: format!("into the folder {}", folder.display()),
        // The error itself would add the temporary file's name.
        cause: error.kind().into(),
    })?;

    // Dropping `unfinished` removes it, on every way out but the last.
    let filled = fill(unfinished.as_file_mut())?;
    // A file that only its owner may read must not become readable to others by being replaced.
    if let Some(permissions) = permissions {
        let file = unfinished.as_file();
        file.set_permissions(permissions).map_err(failed)?;
    }
    unfinished.as_file().sync_all().map_err(failed)?;
    unfinished
        .persist(&target)
        .map_err(|error| failed(error.error))?;
    Ok(filled)
}

/// The file that the new one replaces, with its permissions: links are followed, anything but a file is
/// refused.
fn target_of(output: &Path) -> Result<(PathBuf, Option<Permissions>), Error> {
    match fs::metadata(output) {
        Ok(found) if found.is_file() => match fs::canonicalize(output) {
            Ok(target) => Ok((target, Some(found.permissions()))),
            Err(cause) => Err(Error::Write {
                path: output.display().to_string(),
                cause,
            }),
        },
        Ok(_) => Err(Error::OutputNotAFile {
            path: output.display().to_string(),
        }),
        // What is not there yet, or cannot be seen, is left to the creation of the file.
        Err(_) => Ok((output.to_owned(), None)),
    }
}

/// A file that removes itself, with the permissions of any new file.
fn temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".clinical-lm-").suffix(".unfinished");
    #[cfg(unix)]
    let builder = {
        use std::os::unix::fs::PermissionsExt;
        // Less the process's umask.
        builder.permissions(Permissions::from_mode(0o666))
    };
    builder.tempfile_in(folder)
}
