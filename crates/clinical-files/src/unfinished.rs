//! Output that grows for hours and that a later run goes on with.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::draft::{Unlock, checksum, folder_of, sync_folder, take_file, write_error};
use crate::file::{replace_file, target_of};
use crate::{Error, Result};

/// The first words of a log: what it is, and which version of its form.
const FORMAT: &str = "clinical-files unfinished 1";

/// The unfinished output of a long run: `<output>.partial`, and beside it `<output>.partial.log`, which says how much
/// of it is complete. A run that is killed leaves both, and the next one with the same output and the same `identity`
/// goes on after the last [`commit`](Self::commit); whatever was written after it is written again. Both are locked
/// while a run writes them.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let output = folder.path().join("rows.csv");
/// use clinical_files::Unfinished;
///
/// let (mut run, _) = Unfinished::open(&output, "rows of model A")?;
/// run.write(b"1,0.5\n")?;
/// run.commit("1 row")?;
/// run.write(b"2,0.")?;
/// drop(run); // killed
///
/// let (mut run, commits) = Unfinished::open(&output, "rows of model A")?;
/// assert_eq!(commits, ["1 row"]);
/// run.write(b"2,0.7\n")?;
/// run.finish()?;
/// assert_eq!(std::fs::read(&output)?, b"1,0.5\n2,0.7\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Unfinished {
    output: PathBuf,
    target: PathBuf,
    data_path: PathBuf,
    log_path: PathBuf,
    data: BufWriter<File>,
    log: File,
    /// Bytes up to the last commit.
    committed: u64,
    /// What was written since then.
    pending: Vec<u8>,
    /// Of the data and the log; last, since fields are dropped in order.
    _unlock: [Unlock; 2],
}

impl Unfinished {
    /// Opens the unfinished output, or begins one. Returns the remarks of the commits that are kept.
    ///
    /// `identity` says in a few words what makes the rows what they are: a run with another one is refused.
    ///
    /// # Errors
    ///
    /// [`Error::OtherRun`], [`Error::InUse`], [`Error::NotAFile`], [`Error::Write`].
    pub fn open(output: impl AsRef<Path>, identity: &str) -> Result<(Self, Vec<String>)> {
        let output = output.as_ref();
        let (target, _) = target_of(output)?;
        let data_path = with_suffix(&target, ".partial");
        let log_path = with_suffix(&target, ".partial.log");
        let failed = write_error(output);
        let mut data = take_file(&data_path, output)?;
        let mut log = take_file(&log_path, output)?;
        let header = format!("{FORMAT} {:016x}\n", checksum(identity.as_bytes()));
        let mut text = Vec::new();
        log.read_to_end(&mut text).map_err(&failed)?;
        let length = data.metadata().map_err(&failed)?.len();
        let kept = match text.strip_prefix(header.as_bytes()) {
            Some(lines) => kept(lines, &mut data).map_err(&failed)?,
            // Nothing was written yet, by whomever.
            None if length == 0 => Kept::default(),
            None => {
                return Err(Error::OtherRun { path: data_path });
            }
        };
        log.set_len((header.len() + kept.log_bytes) as u64)
            .and_then(|()| log.rewind())
            .and_then(|()| log.write_all(header.as_bytes()))
            .and_then(|()| log.seek(SeekFrom::End(0)))
            .and_then(|_| data.set_len(kept.data_bytes))
            .and_then(|()| data.seek(SeekFrom::End(0)))
            .map_err(&failed)?;
        let unlock = |file| Unlock::of(file).map_err(&failed);
        let unlock = [unlock(&data)?, unlock(&log)?];
        let unfinished = Self {
            output: output.to_owned(),
            target,
            data_path,
            log_path,
            data: BufWriter::new(data),
            log,
            committed: kept.data_bytes,
            pending: Vec::new(),
            _unlock: unlock,
        };
        Ok((unfinished, kept.remarks))
    }

    /// Where the unfinished output is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.data_path
    }

    /// Where the output will be.
    #[must_use]
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// Bytes that were written since the last commit.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending.len() as u64
    }

    /// Bytes that were committed.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Appends bytes, which are kept in memory until the next commit.
    ///
    /// # Errors
    ///
    /// None today; a full disk shows at the commit.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    /// Keeps what was written until now, with a remark of one line from which the next run learns where to go on.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn commit(&mut self, remark: &str) -> Result<()> {
        let failed = write_error(&self.data_path);
        self.data.write_all(&self.pending).map_err(&failed)?;
        self.data.flush().map_err(&failed)?;
        self.committed += self.pending.len() as u64;
        let line = log_line(self.committed, checksum(&self.pending), remark);
        self.log.write_all(line.as_bytes()).map_err(&failed)?;
        self.pending.clear();
        Ok(())
    }

    /// The committed bytes from here on.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn read_from(&mut self, start: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = self.data.get_mut();
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(|cause| Error::Read {
                path: self.data_path.clone(),
                cause,
            })?;
        Ok(bytes)
    }

    /// Puts all that was written in the output's place.
    ///
    /// # Errors
    ///
    /// [`Error::Write`]; what was committed is kept then.
    pub fn finish(mut self) -> Result<()> {
        self.commit("finished")?;
        let failed = write_error(&self.output);
        let (_, permissions) = target_of(&self.output)?;
        let file = self.data.get_ref();
        if let Some(permissions) = permissions {
            file.set_permissions(permissions).map_err(&failed)?;
        }
        file.sync_all().map_err(&failed)?;
        fs::rename(&self.data_path, &self.target).map_err(&failed)?;
        sync_folder(folder_of(&self.target));
        self.remove_log();
        Ok(())
    }

    /// Writes the output from all that was written, in another form.
    ///
    /// # Errors
    ///
    /// Those of `convert` and of [`replace_file`]; what was committed is kept then.
    pub fn finish_with<E: From<Error>>(
        mut self,
        convert: impl FnOnce(&mut File, &mut File) -> Result<(), E>,
    ) -> Result<(), E> {
        self.commit("finished")?;
        let file = self.data.get_mut();
        file.rewind().map_err(|cause| Error::Read {
            path: self.data_path.clone(),
            cause,
        })?;
        replace_file(&self.output, |output| convert(file, output))?;
        // The output is there; what cannot be removed only costs room.
        let _ = fs::remove_file(&self.data_path);
        self.remove_log();
        Ok(())
    }

    fn remove_log(&self) {
        let _ = fs::remove_file(&self.log_path);
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Bytes of data up to here, checksum of the data since the line before, checksum of the line itself, remark.
fn log_line(bytes: u64, sum: u64, remark: &str) -> String {
    let remark = remark.replace(['\n', '\r'], " ");
    let line = checksum(format!("{bytes} {sum:016x} {remark}").as_bytes());
    format!("{bytes} {sum:016x} {line:016x} {remark}\n")
}

/// The complete commits of a log.
#[derive(Default)]
struct Kept {
    remarks: Vec<String>,
    log_bytes: usize,
    data_bytes: u64,
}

/// Reads commits up to the first whose line or whose data is not whole.
fn kept(lines: &[u8], data: &mut File) -> std::io::Result<Kept> {
    let mut kept = Kept::default();
    let mut data = BufReader::new(data);
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let Some((bytes, sum, remark)) = commit_of(line) else {
            break;
        };
        let Some(length) = bytes.checked_sub(kept.data_bytes) else {
            break;
        };
        // Not trusted: a length is only read as far as there is a file.
        let mut chunk = Vec::new();
        data.by_ref().take(length).read_to_end(&mut chunk)?;
        if chunk.len() as u64 != length || checksum(&chunk) != sum {
            break;
        }
        kept.data_bytes = bytes;
        kept.log_bytes += line.len();
        kept.remarks.push(remark.to_owned());
    }
    Ok(kept)
}

fn commit_of(line: &[u8]) -> Option<(u64, u64, &str)> {
    let text = str::from_utf8(line).ok()?;
    let mut parts = text.strip_suffix('\n')?.splitn(4, ' ');
    let bytes = parts.next()?.parse().ok()?;
    let sum = u64::from_str_radix(parts.next()?, 16).ok()?;
    let remark = parts.nth(1)?;
    (log_line(bytes, sum, remark) == text).then_some((bytes, sum, remark))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [&str; 4] = ["header\n", "a,1\nb,2\n", "", "c,3\n"];

    /// Goes on from what is there; returns how many commits were kept.
    fn run(output: &Path, most: usize) -> (usize, Option<Unfinished>) {
        let (mut unfinished, commits) = Unfinished::open(output, "test").unwrap();
        for (number, rows) in ROWS.iter().enumerate().skip(commits.len()) {
            if number == most {
                return (commits.len(), Some(unfinished));
            }
            unfinished.write(rows.as_bytes()).unwrap();
            unfinished.commit(&format!("chunk {number}")).unwrap();
        }
        unfinished.finish().unwrap();
        (commits.len(), None)
    }

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_run_goes_on_wherever_it_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("rows.csv");
        let (data, log) = (
            with_suffix(&output, ".partial"),
            with_suffix(&output, ".partial.log"),
        );
        assert_eq!(run(&output, 3).0, 0);
        let whole = (fs::read(&data).unwrap(), fs::read(&log).unwrap());
        let mut seen = [0; 4];
        for data_cut in 0..=whole.0.len() {
            let cuts = (data_cut % 7..whole.1.len()).step_by(7);
            for log_cut in cuts.chain([whole.1.len()]) {
                fs::write(&data, &whole.0[..data_cut]).unwrap();
                fs::write(&log, &whole.1[..log_cut]).unwrap();
                let header = whole.1.iter().position(|&byte| byte == b'\n').unwrap();
                if log_cut <= header && data_cut > 0 {
                    // Data of an unknown run: not thrown away.
                    let refused = Unfinished::open(&output, "test");
                    assert!(matches!(refused, Err(Error::OtherRun { .. })));
                    continue;
                }
                seen[run(&output, 9).0] += 1;
                assert_eq!(fs::read_to_string(&output).unwrap(), ROWS.concat());
                assert_eq!(names(folder.path()), 1);
                fs::remove_file(&output).unwrap();
            }
        }
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    }

    #[test]
    fn damaged_data_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("rows.csv");
        run(&output, 3);
        let path = with_suffix(&output, ".partial");
        let mut data = fs::read(&path).unwrap();
        data[8] = 0;
        data.extend_from_slice(b"garbage");
        fs::write(&path, data).unwrap();
        assert_eq!(run(&output, 9).0, 1);
        assert_eq!(fs::read_to_string(&output).unwrap(), ROWS.concat());
    }

    #[test]
    fn another_run_is_refused_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("rows.csv");
        let (_, first) = run(&output, 2);
        let second = Unfinished::open(&output, "test");
        assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
        drop(first);
        let other = Unfinished::open(&output, "another model");
        assert!(matches!(other, Err(Error::OtherRun { .. })), "{other:?}");
        assert_eq!(run(&output, 9).0, 2);
    }

    #[test]
    fn the_output_can_have_another_form() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("rows.txt");
        let (_, unfinished) = run(&output, 3);
        let mut unfinished = unfinished.unwrap();
        assert_eq!(unfinished.read_from(7).unwrap(), b"a,1\nb,2\n");
        unfinished.write(b"last").unwrap();
        unfinished
            .finish_with(|data, output| {
                let mut text = String::new();
                data.read_to_string(&mut text).unwrap();
                output.write_all(text.to_uppercase().as_bytes()).unwrap();
                Ok::<_, Error>(())
            })
            .unwrap();
        assert_eq!(
            fs::read_to_string(&output).unwrap(),
            "HEADER\nA,1\nB,2\nLAST"
        );
        assert_eq!(names(folder.path()), 1);
        let folder = Unfinished::open(folder.path(), "test");
        assert!(matches!(folder, Err(Error::NotAFile { .. })));
    }
}
