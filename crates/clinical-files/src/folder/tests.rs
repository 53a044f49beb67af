//! Processes that are killed before each change of the file system.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::write_file;

/// In a child: the number of changes that it makes before it is killed.
const STOP: &str = "CLINICAL_FILES_STOP";
/// In a child: the folder that it writes.
const DIR: &str = "CLINICAL_FILES_DIR";
/// In a child: folders cannot be exchanged.
const MOVES: &str = "CLINICAL_FILES_MOVES";

static STEPS: AtomicUsize = AtomicUsize::new(0);

const RULES: FolderRules = FolderRules::new()
    .with_gates(&["config.json", "index.json"])
    .with_stale(|name| name.starts_with("shard-"));

pub(super) fn step() {
    let stop = std::env::var(STOP).ok().and_then(|stop| stop.parse().ok());
    if stop.is_some_and(|stop| STEPS.fetch_add(1, Ordering::SeqCst) == stop) {
        std::process::abort();
    }
}

pub(super) fn moves_one_by_one() -> bool {
    std::env::var_os(MOVES).is_some()
}

const OLD: [(&str, &str); 7] = [
    ("README.md", "mine"),
    ("config.json", "old"),
    ("index.json", "old"),
    ("shard-1", "old"),
    ("shard-2", "old"),
    ("shard-3", "old"),
    ("tokenizer", "old"),
];

const NEW: [(&str, &str); 5] = [
    ("config.json", "new"),
    ("index.json", "new"),
    ("shard-1", "new"),
    ("shard-2", "new"),
    ("tokenizer", "new"),
];

fn content(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.path().is_file());
    files
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

fn map(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |&(name, text): &(&str, &str)| (name.to_owned(), text.to_owned());
    files.iter().map(owned).collect()
}

fn complete() -> BTreeMap<String, String> {
    map(&[&NEW[..], &OLD[..1]].concat())
}

fn save(dir: &Path) -> Result<()> {
    replace_directory(dir, &RULES, |part| {
        for (name, text) in NEW {
            write_file(part.join(name), text.as_bytes())?;
        }
        Ok(())
    })
}

/// Run by the tests below, in a process of its own.
#[test]
#[ignore = "a part of the other tests"]
fn child() {
    if let Some(dir) = std::env::var_os(DIR) {
        save(Path::new(&dir)).unwrap();
    }
}

/// Whether the child lived.
fn run(dir: &Path, stop: Option<usize>, moves: bool) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "folder::tests::child", "--include-ignored"]);
    command.env(DIR, dir);
    if let Some(stop) = stop {
        command.env(STOP, stop.to_string());
    }
    if moves {
        command.env(MOVES, "1");
    }
    command.output().unwrap().status.success()
}

fn killed_at_every_step(moves: bool) -> (usize, usize) {
    let (mut steps, mut refused) = (0, 0);
    loop {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("model");
        fs::create_dir_all(dir.join("runs/first")).unwrap();
        fs::write(dir.join("runs/first/log"), "kept").unwrap();
        for (name, text) in OLD {
            fs::write(dir.join(name), text).unwrap();
        }
        let lived = run(&dir, Some(steps), moves);
        let found = content(&dir);
        if found != map(&OLD) && found != complete() {
            assert!(
                !found.contains_key("config.json"),
                "step {steps}: {found:?}"
            );
            refused += 1;
        }
        if lived {
            assert_eq!(found, complete());
            return (steps, refused);
        }
        // The next run mends it, and leaves nothing beside it.
        assert!(run(&dir, None, moves), "step {steps}");
        assert_eq!(content(&dir), complete(), "step {steps}");
        assert_eq!(fs::read(dir.join("runs/first/log")).unwrap(), b"kept");
        assert_eq!(names(parent.path()).unwrap(), ["model"], "step {steps}");
        steps += 1;
    }
}

#[test]
fn a_killed_exchange_leaves_all_old_or_all_new() {
    let (steps, refused) = killed_at_every_step(false);
    assert!(steps >= 4, "{steps}");
    if cfg!(target_os = "linux") {
        assert_eq!(refused, 0);
    }
}

#[test]
fn killed_moves_leave_all_old_all_new_or_no_config() {
    let (steps, refused) = killed_at_every_step(true);
    assert!(steps >= 10 && refused >= 5, "{steps} {refused}");
}

#[test]
fn a_failed_fill_changes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/model");
    let refused = |part: &Path| -> Result<()> {
        write_file(part.join("config.json"), b"half")?;
        Err(Error::InUse { path: part.into() })
    };
    assert!(replace_directory(&dir, &RULES, refused).is_err());
    assert!(names(&parent.path().join("a")).unwrap().is_empty());
    save(&dir).unwrap();
    assert!(replace_directory(&dir, &RULES, refused).is_err());
    assert_eq!(content(&dir), map(&NEW));
    assert_eq!(names(&parent.path().join("a")).unwrap(), ["model"]);
}

#[test]
fn a_second_run_at_the_same_time_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("model");
    save(&dir).unwrap();
    replace_directory(&dir, &RULES, |part| {
        write_file(part.join("config.json"), b"newer")?;
        let second = save(&dir);
        if cfg!(unix) {
            assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
        }
        assert!(part.join("config.json").is_file());
        Ok::<_, Error>(())
    })
    .unwrap();
    assert_eq!(content(&dir)["config.json"], "newer");
}

#[test]
fn what_is_no_folder_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "old").unwrap();
    assert!(matches!(save(&file), Err(Error::NotAFolder { .. })));
    assert!(matches!(save(Path::new("..")), Err(Error::NoName { .. })));
    assert!(matches!(save(&file.join("x")), Err(Error::Write { .. })));
    // A folder where a file must go.
    let dir = parent.path().join("model");
    fs::create_dir_all(dir.join("config.json")).unwrap();
    assert!(matches!(save(&dir), Err(Error::NotAFile { .. })));
    assert_eq!(names(parent.path()).unwrap(), ["file", "model"]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_permissions_kept() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let parent = tempfile::tempdir().unwrap();
    let (dir, link) = (parent.path().join("model"), parent.path().join("link"));
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    symlink("elsewhere", dir.join("dangling")).unwrap();
    symlink("model", &link).unwrap();
    save(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(content(&dir), map(&NEW));
    assert_eq!(
        fs::read_link(dir.join("dangling")).unwrap(),
        Path::new("elsewhere")
    );
    let mode = fs::metadata(&dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
}
