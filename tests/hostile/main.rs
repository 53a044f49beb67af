//! Files that were made to do harm, through the three facades: each is refused with a named error, in less than a
//! second, with no more memory than a small multiple of the files, and nothing of them is executed.
//!
//! What concerns one parser alone is tested in its crate (`crates/clinical-weights/tests/weights/hostile.rs`,
//! `crates/clinical-tokenizer/tests/hostile*.rs`).

#[path = "../files/mod.rs"]
mod files;

mod configs;
#[path = "files.rs"]
mod odd_files;
mod weights;

use std::path::{Path, PathBuf};

use asclepius::Asclepius;
use clinical_bert::ClinicalBert;
use clinical_t5::ClinicalT5;
use clinical_weights::LoadOptions;

use files::memory::{Cost, Counting, measure};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One facade, and a good directory for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facade {
    Asclepius,
    T5,
    Bert,
}

pub const FACADES: [Facade; 3] = [Facade::Asclepius, Facade::T5, Facade::Bert];

impl Facade {
    fn good(self) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        root.join(match self {
            Self::Asclepius => "crates/asclepius/demo",
            Self::T5 => "crates/clinical-t5/demo",
            Self::Bert => "crates/clinical-bert/tests/data/bert_pretraining",
        })
    }

    /// A copy of the good directory.
    pub fn copy(self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.good()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        dir
    }

    /// Loads a directory; the error as its variants (`Config/TooBig`) and its sentence.
    pub fn load(self, dir: &Path, options: &LoadOptions) -> (Result<(), (String, String)>, Cost) {
        // What Burn and the standard library set up once is no cost of a file.
        static WARM: std::sync::Once = std::sync::Once::new();
        WARM.call_once(|| {
            for facade in FACADES {
                let _ = facade.open(&facade.good(), &LoadOptions::new());
            }
        });
        measure(|| self.open(dir, options))
    }

    fn open(self, dir: &Path, options: &LoadOptions) -> Result<(), (String, String)> {
        fn told<E: std::error::Error>(error: E) -> (String, String) {
            (variants(&format!("{error:?}")), error.to_string())
        }
        match self {
            Self::Asclepius => Asclepius::load(dir, options).map(drop).map_err(told),
            Self::T5 => ClinicalT5::load(dir, options).map(drop).map_err(told),
            Self::Bert => ClinicalBert::load(dir, options).map(drop).map_err(told),
        }
    }

    /// Loads a directory that must be refused with one of these variants, within the limits.
    #[track_caller]
    pub fn refuses(self, dir: &Path, expected: &str, what: &str) {
        let (result, cost) = self.load(dir, &LoadOptions::new());
        let Err((variant, message)) = result else {
            panic!("{self:?} opened {what}");
        };
        assert!(
            expected
                .split('|')
                .any(|name| variant.split('/').any(|found| found == name)),
            "{self:?}, {what}: {variant}: {message}"
        );
        assert!(
            !message.contains(char::is_control) && message.len() < 1200,
            "{message:?}"
        );
        cost.check(bytes_of(dir), &format!("{self:?}, {what}"));
    }
}

/// The bytes of all files of a directory.
pub fn bytes_of(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|found| found.len() as usize)
        .sum()
}

/// The names of the variants of an error, from its `Debug`: `Config(TooBig { .. })` is `Config/TooBig`.
fn variants(debug: &str) -> String {
    let mut names = Vec::new();
    let mut rest = debug;
    while rest.starts_with(|first: char| first.is_ascii_uppercase()) {
        let end = rest
            .find(|found: char| !found.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        // An error of another crate ends the path.
        if rest[..end].starts_with("Error") {
            break;
        }
        names.push(&rest[..end]);
        let Some(inner) = rest[end..].strip_prefix('(') else {
            break;
        };
        rest = inner;
    }
    names.retain(|name| *name != "LoadReport");
    names.join("/")
}
