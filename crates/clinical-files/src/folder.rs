//! Folders whose files change all at once.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::draft::{
    Leftover, folder_of, hidden, lock_folder, remove, sync_folder, take_folder, write_error,
};
use crate::{Error, Result};

/// What [`replace_directory`] does with the files that are in the folder already.
#[derive(Debug, Clone, Copy)]
pub struct FolderRules {
    gates: &'static [&'static str],
    stale: fn(&str) -> bool,
}

impl Default for FolderRules {
    fn default() -> Self {
        Self::new()
    }
}

impl FolderRules {
    /// Every old file stays that has no new one of the same name.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            gates: &[],
            stale: |_| false,
        }
    }

    /// Files without which nobody takes the folder for complete. Where the system cannot change all files at once, they
    /// are taken away first and put back last, the first of these names at the very end.
    #[must_use]
    pub const fn with_gates(mut self, names: &'static [&'static str]) -> Self {
        self.gates = names;
        self
    }

    /// Old files that would be taken for new ones: they go where the new files do not have their names.
    #[must_use]
    pub const fn with_stale(mut self, stale: fn(&str) -> bool) -> Self {
        self.stale = stale;
        self
    }
}

/// Fills a folder so that it has all of the new files or none of them: `fill` writes them into an empty folder beside
/// `dir`, which then takes its place. Files of `dir` without a new one of their name stay, but for those that
/// [`FolderRules::with_stale`] names. Folders above `dir` are made. A link to a folder is followed.
///
/// Linux exchanges the two folders in one step. Elsewhere, and on file systems that cannot, the files are moved one by
/// one while those of [`FolderRules::with_gates`] are missing: a run that is killed in between leaves a folder without
/// them, and the next one mends it.
///
/// The unfinished folder is `.NAME.unfinished` beside `dir`; what a killed run left under that name is removed by the
/// next run that writes the same folder.
///
/// ```
/// # let parent = tempfile::tempdir()?;
/// # let dir = parent.path().join("model");
/// use clinical_files::{Error, FolderRules, replace_directory, write_file};
///
/// const RULES: FolderRules = FolderRules::new().with_gates(&["config.json"]);
/// replace_directory(&dir, &RULES, |part| {
///     write_file(part.join("config.json"), b"{}")?;
///     write_file(part.join("weights"), b"0123")
/// })?;
/// assert_eq!(std::fs::read(dir.join("weights"))?, b"0123");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Those of `fill`; [`Error::Write`], [`Error::NotAFolder`], [`Error::NoName`], and [`Error::InUse`] while another run
/// writes the same folder.
pub fn replace_directory<T, E: From<Error>>(
    dir: impl AsRef<Path>,
    rules: &FolderRules,
    fill: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let dir = dir.as_ref();
    let target = target_of(dir)?;
    let part = hidden(&target)?;
    let _lock = take_folder(&part, dir)?;
    let mut leftover = Leftover(Some(&part));
    let filled = fill(&part)?;
    let change = Change {
        part: &part,
        dir: &target,
        rules,
    };
    change.publish()?;
    leftover.0 = None;
    Ok(filled)
}

/// The folder itself, without links on the way to it.
fn target_of(dir: &Path) -> Result<PathBuf> {
    if dir.file_name().is_none() {
        return Err(Error::NoName {
            path: dir.to_owned(),
        });
    }
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => fs::canonicalize(dir).map_err(write_error(dir)),
        Ok(_) => Err(Error::NotAFolder {
            path: dir.to_owned(),
        }),
        Err(_) => Ok(dir.to_owned()),
    }
}

/// New files in `part` on their way into `dir`.
struct Change<'a> {
    part: &'a Path,
    dir: &'a Path,
    rules: &'a FolderRules,
}

impl Change<'_> {
    fn publish(&self) -> Result<()> {
        let failed = write_error(self.dir);
        sync_tree(self.part).map_err(&failed)?;
        if !self.dir.exists() {
            step();
            fs::rename(self.part, self.dir).map_err(&failed)?;
            sync_folder(folder_of(self.dir));
            return Ok(());
        }
        // After the exchange the old folder has the hidden name, and no other run may take it over.
        let _lock = lock_folder(self.dir, self.dir)?;
        let new = names(self.part).map_err(&failed)?;
        let old = names(self.dir).map_err(&failed)?;
        for name in new.iter().filter(|name| old.contains(name)) {
            let path = self.dir.join(name);
            if path.is_dir() != self.part.join(name).is_dir() {
                return Err(Error::NotAFile { path });
            }
        }
        let stays =
            |name: &&OsString| !new.contains(name) && !name.to_str().is_some_and(self.rules.stale);
        let stays: Vec<_> = old.iter().filter(stays).collect();
        if !self.exchange(&stays) {
            self.move_in(&new, &old, &stays).map_err(&failed)?;
            sync_folder(self.dir);
        }
        sync_folder(folder_of(self.dir));
        step();
        // The new files are in their place; what cannot be removed is left to the next run.
        let _ = remove(self.part);
        Ok(())
    }

    /// Puts the new folder where the old one is, in one step; `false` where that cannot be done and nothing has
    /// changed.
    fn exchange(&self, stays: &[&OsString]) -> bool {
        let prepared = stays.iter().all(|name| {
            step();
            link_tree(&self.dir.join(name), &self.part.join(name)).is_ok()
        });
        let permissions = || fs::set_permissions(self.part, fs::metadata(self.dir)?.permissions());
        step();
        let exchanged = prepared && permissions().is_ok() && {
            sync_folder(self.part);
            exchange_names(self.part, self.dir).is_ok()
        };
        step();
        if !exchanged {
            for name in stays {
                // A name that was not linked is not there.
                let _ = remove(&self.part.join(name));
            }
        }
        exchanged
    }

    fn move_in(&self, new: &[OsString], old: &[OsString], stays: &[&OsString]) -> io::Result<()> {
        let is_gate = |name: &OsStr| self.rules.gates.iter().any(|gate| name == *gate);
        for gate in self.rules.gates.iter().map(OsStr::new) {
            if old.iter().any(|name| name == gate) {
                self.park(gate)?;
            }
        }
        sync_folder(self.dir);
        let goes = |name: &&OsString| !new.contains(name) && !stays.contains(name);
        for name in old.iter().filter(goes).filter(|name| !is_gate(name)) {
            step();
            remove(&self.dir.join(name))?;
        }
        for name in new.iter().filter(|name| !is_gate(name)) {
            self.put(name)?;
        }
        sync_folder(self.dir);
        for gate in self.rules.gates.iter().rev() {
            let name = OsString::from(gate);
            if new.contains(&name) {
                self.put(&name)?;
            } else if stays.contains(&&name) {
                step();
                fs::rename(self.parked(&name), self.dir.join(&name))?;
            }
        }
        Ok(())
    }

    /// Moves a new file to its place. A folder there makes room first.
    fn put(&self, name: &OsStr) -> io::Result<()> {
        let to = self.dir.join(name);
        if to.is_dir() {
            self.park(name)?;
        }
        step();
        fs::rename(self.part.join(name), to)
    }

    /// Takes an old file or folder away.
    fn park(&self, name: &OsStr) -> io::Result<()> {
        step();
        fs::rename(self.dir.join(name), self.parked(name))
    }

    fn parked(&self, name: &OsStr) -> PathBuf {
        let mut parked = OsString::from(".before.");
        parked.push(name);
        self.part.join(parked)
    }
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    // The order of a folder is the file system's.
    names.sort();
    Ok(names)
}

/// The same files under a second name, and folders with such files.
fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    if !found.is_dir() {
        return fs::hard_link(from, to);
    }
    fs::create_dir(to)?;
    for name in names(from)? {
        link_tree(&from.join(&name), &to.join(&name))?;
    }
    fs::set_permissions(to, found.permissions())
}

/// Brings all files of a folder to the disk.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for name in names(folder)? {
        let path = folder.join(name);
        let found = fs::symlink_metadata(&path)?;
        if found.is_dir() {
            sync_tree(&path)?;
        } else if found.is_file() {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_folder(folder);
    Ok(())
}

#[cfg(target_os = "linux")]
fn exchange_names(one: &Path, other: &Path) -> io::Result<()> {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    /// `RENAME_EXCHANGE` of `linux/fs.h`.
    const EXCHANGE: libc::c_uint = 1 << 1;
    #[cfg(test)]
    if tests::moves_one_by_one() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let one = CString::new(one.as_os_str().as_bytes())?;
    let other = CString::new(other.as_os_str().as_bytes())?;
    // SAFETY: both are strings that end in NUL and live until the call returns; the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            EXCHANGE,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange_names(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Called before each change of the file system: where tests stop the process.
#[inline]
fn step() {
    #[cfg(test)]
    tests::step();
}

#[cfg(test)]
mod tests;
