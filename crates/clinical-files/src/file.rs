//! Files that appear only when all of them is written.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::draft::{Leftover, Unlock, folder_of, hidden, sync_folder, take_file, write_error};
use crate::{Error, Result};

/// Writes a file beside its place under another name, then renames it: whoever reads `output` sees what was there
/// before or all of what is new. On an error the file that `output` named before, if any, is as it was, and the
/// unfinished one is removed. A file that is replaced keeps its permissions; links are followed.
///
/// The unfinished file is `.NAME.unfinished` in the same folder. What a killed run left under that name is removed by
/// the next run that writes the same output.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("page.html");
/// use std::io::Write;
///
/// clinical_files::replace_file(&path, |file| {
///     file.write_all(b"<p>").and_then(|()| file.write_all(b"</p>"))
///         .map_err(|cause| clinical_files::Error::Write { path: path.clone(), cause })
/// })?;
/// assert_eq!(std::fs::read(&path)?, b"<p></p>");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of `fill`; [`Error::Write`], [`Error::NotAFile`], [`Error::InUse`] while another run writes the same output.
pub fn replace_file<T, E: From<Error>>(
    output: impl AsRef<Path>,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let output = output.as_ref();
    let failed = write_error(output);
    let (target, permissions) = target_of(output)?;
    let draft = hidden(&target)?;
    let mut file = take_file(&draft, output)?;
    let _unlock = Unlock::of(&file).map_err(&failed)?;
    let mut leftover = Leftover(Some(&draft));
    file.set_len(0).map_err(&failed)?;
    // Before anything is written: a file that only its owner may read must not be read by others on its way.
    if let Some(permissions) = &permissions {
        file.set_permissions(writable(permissions))
            .map_err(&failed)?;
    }
    let filled = fill(&mut file)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions).map_err(&failed)?;
    }
    file.sync_all().map_err(&failed)?;
    fs::rename(&draft, &target).map_err(&failed)?;
    leftover.0 = None;
    sync_folder(folder_of(&target));
    Ok(filled)
}

/// Writes these bytes as [`replace_file`] does.
///
/// # Errors
///
/// Those of [`replace_file`].
pub fn write_file(output: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let output = output.as_ref();
    replace_file(output, |file| {
        file.write_all(bytes).map_err(write_error(output))
    })
}

/// Refuses an output that is the input, or two outputs that are one, by whatever path or link: a run that replaces its
/// only input cannot be repeated.
///
/// # Errors
///
/// [`Error::OutputIsInput`].
pub fn refuse_same_file(input: impl AsRef<Path>, output: impl AsRef<Path>) -> Result<()> {
    let (input, output) = (input.as_ref(), output.as_ref());
    // What cannot be looked at cannot be opened either, and says so then.
    match input == output || is_same(input, output).unwrap_or(false) {
        false => Ok(()),
        true => Err(Error::OutputIsInput {
            path: output.to_owned(),
        }),
    }
}

#[cfg(unix)]
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
    Ok(one.is_file() && (one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(not(unix))]
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(fs::canonicalize(one)? == fs::canonicalize(other)?)
}

/// The file that the new one replaces, with its permissions: links are followed, anything but a file is refused.
pub(crate) fn target_of(output: &Path) -> Result<(PathBuf, Option<Permissions>)> {
    match fs::metadata(output) {
        Ok(found) if found.is_file() => {
            let target = fs::canonicalize(output).map_err(write_error(output))?;
            Ok((target, Some(found.permissions())))
        }
        Ok(_) => Err(Error::NotAFile {
            path: output.to_owned(),
        }),
        // What is not there yet, or cannot be seen, is left to the creation of the file.
        Err(_) => Ok((output.to_owned(), None)),
    }
}

/// The same permissions, but a later run can open what this one leaves when it is killed.
fn writable(permissions: &Permissions) -> Permissions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Permissions::from_mode(permissions.mode() | 0o600)
    }
    #[cfg(not(unix))]
    {
        let mut permissions = permissions.clone();
        permissions.set_readonly(false);
        permissions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_error_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        let full = || write_error(&path)(io::ErrorKind::StorageFull.into());
        for before in [None, Some("old")] {
            if let Some(text) = before {
                fs::write(&path, text).unwrap();
            }
            let result = replace_file(&path, |file| {
                file.write_all(b"half").unwrap();
                assert_eq!(names(folder.path())[0], ".page.html.unfinished");
                Err::<(), _>(full())
            });
            let message = result.unwrap_err().to_string();
            assert!(message.ends_with("; make room there"), "{message}");
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), before);
            assert_eq!(names(folder.path()).len(), usize::from(before.is_some()));
        }
        let filled = replace_file(&path, |file| Ok::<_, Error>(file.write(b"new").unwrap()));
        assert_eq!(filled.unwrap(), 3);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["page.html"]);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let left = folder.path().join(".out.csv.unfinished");
        fs::write(&left, "a note of a run that was killed").unwrap();
        write_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::write(&left, "another").unwrap();
        let failed = replace_file(&path, |_| {
            Err::<(), _>(Error::NoName { path: path.clone() })
        });
        assert!(failed.is_err());
        assert_eq!(names(folder.path()), ["out.csv"]);
    }

    #[test]
    fn a_second_run_at_the_same_time_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        replace_file(&path, |file| {
            let second = write_file(&path, b"second");
            assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
            file.write_all(b"first").map_err(write_error(&path))
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["out.csv"]);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = write_file(folder.path(), b"");
        assert!(matches!(refused, Err(Error::NotAFile { .. })));
        let refused = write_file(folder.path().join("missing/out"), b"");
        let message = refused.unwrap_err().to_string();
        assert!(message.ends_with("check the path"), "{message}");
        assert!(matches!(write_file("..", b""), Err(Error::NotAFile { .. })));
        fs::create_dir(folder.path().join(".out.unfinished")).unwrap();
        let refused = write_file(folder.path().join("out"), b"");
        assert!(matches!(refused, Err(Error::NotAFile { .. })));
    }

    #[test]
    fn names_of_any_length_have_a_hidden_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("é".repeat(120));
        write_file(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_kept_and_links_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        symlink("file", &link).unwrap();
        replace_file(&link, |file| {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "nobody else reads it meanwhile");
            file.write_all(b"new").map_err(write_error(&link))
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        // A link under the hidden name leads nobody's file astray.
        let victim = folder.path().join("victim");
        fs::write(&victim, "theirs").unwrap();
        symlink("victim", folder.path().join(".other.unfinished")).unwrap();
        write_file(folder.path().join("other"), b"new").unwrap();
        fs::hard_link(&victim, folder.path().join(".third.unfinished")).unwrap();
        write_file(folder.path().join("third"), b"new").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"theirs");
    }

    #[test]
    fn an_output_that_is_the_input_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.csv");
        fs::write(&path, "old").unwrap();
        let other = folder.path().join("other.csv");
        assert!(refuse_same_file(&path, &other).is_ok());
        assert!(refuse_same_file(&other, &path).is_ok());
        assert!(refuse_same_file(&other, &other).is_err());
        let refused = |output: &Path| {
            let refused = refuse_same_file(&path, output);
            assert!(matches!(refused, Err(Error::OutputIsInput { .. })));
        };
        refused(&path);
        refused(&folder.path().join("./notes.csv"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("notes.csv", &other).unwrap();
            refused(&other);
            fs::remove_file(&other).unwrap();
        }
        fs::hard_link(&path, &other).unwrap();
        if cfg!(unix) {
            refused(&other);
        }
    }
}
