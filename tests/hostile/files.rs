//! What stands under a file's name and is no file of the model: links, folders, pipes. Unix only.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use clinical_weights::LoadOptions;

use super::{FACADES, Facade};

/// The names that the facade's good directory has, and some that it could have.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().flatten();
    let there = entries.map(|entry| entry.file_name().into_string().unwrap());
    // The library reads no settings of generation; the other is what a test expects.
    let mut names: Vec<String> = there
        .filter(|name| name != "generation_config.json" && name != "expected.json")
        .collect();
    names.push("chat_template.jinja".to_owned());
    names.push("added_tokens.json".to_owned());
    names
}

/// Every file of a directory in turn becomes what `make` makes, and the directory is refused.
fn every_file(expected: &str, what: &str, make: impl Fn(&Path)) {
    for facade in FACADES {
        for name in names(facade.copy().path()) {
            let dir = facade.copy();
            let path = dir.path().join(&name);
            let _ = fs::remove_file(&path);
            make(&path);
            facade.refuses(dir.path(), expected, &format!("{name}: {what}"));
        }
    }
}

#[test]
fn links_that_leave_the_directory() {
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, "{}").unwrap();
    every_file("OutsideDirectory", "a link to another file", |path| {
        symlink(&secret, path).unwrap();
    });
    every_file("OutsideDirectory", "a link to a device", |path| {
        symlink("/dev/zero", path).unwrap();
    });
    // A user who says so may keep them elsewhere.
    let dir = Facade::Asclepius.copy();
    let path = dir.path().join("tokenizer.json");
    fs::rename(&path, elsewhere.path().join("tokenizer.json")).unwrap();
    symlink(elsewhere.path().join("tokenizer.json"), path).unwrap();
    let allowed = LoadOptions::new().with_allow_links(true);
    assert!(Facade::Asclepius.load(dir.path(), &allowed).0.is_ok());
}

#[test]
fn links_to_nothing_and_in_circles() {
    every_file("FileMissing|Unreadable", "a link to nothing", |path| {
        symlink("nothing", path).unwrap();
    });
    every_file("Unreadable", "a link to itself", |path| {
        symlink(path.file_name().unwrap(), path).unwrap();
    });
}

#[test]
fn folders_pipes_and_empty_files() {
    every_file("NotAFile", "a folder", |path| fs::create_dir(path).unwrap());
    // Opening one would wait for somebody who writes.
    every_file("NotAFile", "a pipe", |path| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    });
    every_file("EmptyFile", "nothing in it", |path| {
        fs::write(path, "").unwrap();
    });
}

#[test]
fn a_byte_order_mark_does_no_harm() {
    for facade in FACADES {
        let dir = facade.copy();
        for name in ["config.json", "tokenizer_config.json"] {
            let path = dir.path().join(name);
            let text = fs::read(&path).unwrap_or_else(|_| b"{}".to_vec());
            fs::write(&path, [b"\xef\xbb\xbf", text.as_slice()].concat()).unwrap();
        }
        let (result, _) = facade.load(dir.path(), &LoadOptions::new());
        assert_eq!(result, Ok(()), "{facade:?}");
    }
}
