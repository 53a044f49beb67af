//! Real tokenizers: Mistral v1 and v3, seqio's T5 model, all-MiniLM-L6-v2, SmolLM2. They are not in the repository:
//! `scripts/get_assets` fetches them into `$CLINICAL_LM_CACHE` or `.cache/assets`; without them this test says so.

#![allow(clippy::print_stdout)]

mod common;

use std::path::PathBuf;

use clinical_tokenizer::{OpenOptions, Tokenizer};
use common::{corpus, fnv, long_text, read};
use serde_json::{Map, Value};

#[derive(serde::Deserialize)]
struct Real {
    name: String,
    files: Map<String, Value>,
    json: Map<String, Value>,
    size: usize,
    ids: Vec<String>,
    long: (usize, String),
    decoded: String,
}

fn assets() -> PathBuf {
    match std::env::var_os("CLINICAL_LM_CACHE") {
        Some(path) => path.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.cache/assets"),
    }
}

#[test]
fn real_tokenizers_give_the_ids_of_transformers() {
    let lines = corpus();
    let mut skipped = Vec::new();
    for case in read::<Vec<Real>>("expected/real.json") {
        let directory = tempfile::tempdir().unwrap();
        let sources: Vec<_> = case
            .files
            .iter()
            .map(|(name, source)| (name, assets().join(source.as_str().unwrap())))
            .collect();
        if !sources.iter().all(|(_, source)| source.is_file()) {
            skipped.push(case.name);
            continue;
        }
        for (name, source) in sources {
            std::fs::copy(source, directory.path().join(name)).unwrap();
        }
        for (name, content) in &case.json {
            std::fs::write(directory.path().join(name), content.to_string()).unwrap();
        }
        let tokenizer = Tokenizer::from_dir_with(directory.path(), &OpenOptions::new()).unwrap();
        assert_eq!(tokenizer.vocab_size(), case.size, "{}", case.name);
        let mut decoded = Vec::new();
        for (line, wanted) in lines.iter().zip(&case.ids) {
            let ids = tokenizer.encode(line, true).unwrap().into_ids();
            assert_eq!(&fnv(&ids)[..8], wanted, "{} {line:?} {ids:?}", case.name);
            for skip in [false, true] {
                if !ids.is_empty() {
                    decoded.extend(
                        tokenizer
                            .decode(&ids, skip)
                            .unwrap()
                            .bytes()
                            .chain([b'\n'])
                            .map(u32::from),
                    );
                }
            }
        }
        assert_eq!(
            fnv(&decoded),
            case.decoded,
            "{}: decoded texts differ",
            case.name
        );
        let long = tokenizer
            .encode(&long_text(&lines, 20), true)
            .unwrap()
            .into_ids();
        assert_eq!(
            (long.len(), fnv(&long)),
            case.long,
            "{}: the long text differs",
            case.name
        );
    }
    if !skipped.is_empty() {
        println!(
            "skipped {}: run scripts/get_assets to fetch these tokenizers",
            skipped.join(", ")
        );
    }
}
