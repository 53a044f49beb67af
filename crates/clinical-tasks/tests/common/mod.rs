//! Folders of bad files, and what their errors must say.
#![allow(dead_code)] // each test uses some

use std::fs;
use std::path::PathBuf;

use clinical_tasks::{Error, Result};
use tempfile::TempDir;

/// A word that must not be in a message.
pub const SECRET: &str = "Zweibrücken";

/// A folder of files.
pub struct Files(pub TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn with(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The error, whose message names the file, holds all of `parts` and nothing of the text.
pub fn fails<T: std::fmt::Debug>(result: Result<T>, file: &str, parts: &[&str]) -> Error {
    let error = result.expect_err(&parts.join(", "));
    let message = error.to_string();
    for part in parts.iter().chain([&file]) {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(
        !message.contains(SECRET) && message.len() < 700,
        "{message}"
    );
    error
}
