//! Writers of the published file formats, for tests that build model directories: plain code, no Python.
#![allow(dead_code)] // each test uses some of them

pub mod flax;
pub mod memory;
pub mod process;
pub mod state;
pub mod tokenizers;
pub mod torch;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The files of a model, in memory.
#[derive(Default)]
pub struct Directory(pub Vec<(String, Vec<u8>)>);

impl Directory {
    pub fn add(&mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) -> &mut Self {
        self.0.push((name.into(), content.into()));
        self
    }

    pub fn json(&mut self, name: &str, content: &serde_json::Value) -> &mut Self {
        self.add(name, format!("{content:#}\n"))
    }

    /// Writes the files into a folder of this name, in a folder that is removed with the first value. With
    /// `CLINICAL_LAYOUTS=DIR` they are written to `DIR` as well, to be looked at.
    pub fn write(&self, name: &str) -> (TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(name);
        self.write_to(&path);
        if let Some(kept) = std::env::var_os("CLINICAL_LAYOUTS") {
            self.write_to(&PathBuf::from(kept).join(name));
        }
        (root, path)
    }

    fn write_to(&self, path: &Path) {
        std::fs::create_dir_all(path).unwrap();
        for (name, content) in &self.0 {
            std::fs::write(path.join(name), content).unwrap();
        }
    }
}
