//! Fixtures: what `scripts/tokenizer_corpus.py` wrote.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// The fixtures; `CLINICAL_TOKENIZER_DATA` names others, made with `--out`.
pub fn data() -> PathBuf {
    if let Some(path) = std::env::var_os("CLINICAL_TOKENIZER_DATA") {
        return path.into();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

pub fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let path = data().join(name);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The hard strings.
pub fn corpus() -> Vec<String> {
    read("corpus.json")
}

/// A model directory: files to copy and JSON files to write.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    pub name: String,
    pub files: Map<String, Value>,
    pub json: Map<String, Value>,
}

pub fn cases() -> Vec<Case> {
    read("cases.json")
}

pub fn case(name: &str) -> Case {
    cases()
        .into_iter()
        .find(|case| case.name == name)
        .unwrap_or_else(|| panic!("no case {name}"))
}

impl Case {
    /// Builds the directory.
    pub fn build(&self) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, source) in &self.files {
            fs::copy(
                data().join("models").join(source.as_str().unwrap()),
                directory.path().join(name),
            )
            .unwrap();
        }
        for (name, content) in &self.json {
            fs::write(directory.path().join(name), content.to_string()).unwrap();
        }
        directory
    }

    pub fn open(&self) -> clinical_tokenizer::Tokenizer {
        let directory = self.build();
        let options = clinical_tokenizer::OpenOptions::new().with_max_text_bytes(64 << 20);
        clinical_tokenizer::Tokenizer::from_dir_with(directory.path(), &options)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// What `transformers` gives for a case.
#[derive(Debug, Deserialize)]
pub struct Expected {
    pub size: usize,
    pub ids: Vec<Vec<u32>>,
    pub bare: Vec<Vec<u32>>,
    pub pairs: Vec<(usize, usize, Vec<u32>)>,
    pub long: (usize, String),
    pub special: Map<String, Value>,
    #[serde(default)]
    pub decode: Vec<(Vec<u32>, String, String)>,
}

/// One long note, put together as `tokenizer_text.long_text` does.
pub fn long_text(lines: &[String], repeats: usize) -> String {
    vec![lines.join(" "); repeats].join("\n")
}

/// 64-bit FNV-1a over the ids as little-endian `u32`.
pub fn fnv(ids: &[u32]) -> String {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

const TEXTS: [&str; 6] = [
    "",
    " ",
    "The patient  has fever.",
    "[Name] <extra_id_0> </s>",
    "é😀\u{301}▁\0",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// Uses a tokenizer in every way.
pub fn exercise(tokenizer: &clinical_tokenizer::Tokenizer) {
    for text in TEXTS {
        let encoding = tokenizer.encode(text, true);
        let _ = tokenizer.encode_pair(text, "b", false);
        if let Ok(encoding) = encoding {
            let _ = (
                tokenizer.decode(encoding.ids(), true),
                tokenizer.decode(encoding.ids(), false),
            );
        }
    }
    let ids: Vec<u32> = (0..60).chain([999_999, u32::MAX]).collect();
    let _ = tokenizer.decode(&ids, false);
    let _ = (
        tokenizer.vocab_size(),
        tokenizer.special(),
        tokenizer.added_tokens(),
        tokenizer.resolution().to_string(),
    );
}
