//! GGUF files that do not say all about their tokenizer: an error with advice that can be followed, never other tokens.

use std::fs;
use std::path::{Path, PathBuf};

use clinical_facade::{LoadOptions, ModelDir};
use clinical_tokenizer::{Error, OpenOptions, Tokenizer};

/// A GGUF file with a byte-level vocabulary.
fn whole() -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../asclepius/tests/data/gguf");
    fs::read(data.join("byte_level.gguf")).unwrap()
}

/// The same without a key: it gets a name that nobody knows.
fn without(key: &str) -> Vec<u8> {
    let mut bytes = whole();
    let at = bytes
        .windows(key.len())
        .position(|part| part == key.as_bytes());
    bytes[at.expect("the key") + key.len() - 1] = b'_';
    bytes
}

fn written(folder: &Path, bytes: &[u8]) -> PathBuf {
    let path = folder.join("model.gguf");
    fs::write(&path, bytes).unwrap();
    path
}

fn tokenizer(path: &Path) -> Result<Tokenizer, Error> {
    let dir = ModelDir::open(path, &LoadOptions::default()).unwrap();
    dir.tokenizer(&OpenOptions::default())
}

const TEXT: &str = "The patient's fever is 38.5 degrees.\nNo pain.";

#[test]
fn the_tokenizer_json_beside_a_file_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let expected = tokenizer(&written(folder.path(), &whole())).unwrap();
    let ids = |tokenizer: &Tokenizer| tokenizer.encode(TEXT, true).unwrap().into_ids();
    for key in ["tokenizer.ggml.pre", "tokenizer.ggml.merges"] {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), &without(key));
        let error = tokenizer(&path).unwrap_err();
        assert!(
            matches!(
                error,
                Error::PreTokenizer { .. } | Error::NoVocabularyMerges
            ),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .contains("put the tokenizer.json of the model beside the file")
        );
        // What the advice says.
        expected.save(folder.path()).unwrap();
        assert_eq!(ids(&tokenizer(&path).unwrap()), ids(&expected), "{key}");
    }
}

#[cfg(unix)]
#[test]
fn a_tokenizer_json_that_is_a_link_out_of_the_folder_is_refused() {
    let [elsewhere, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let path = written(folder.path(), &without("tokenizer.ggml.pre"));
    fs::write(elsewhere.path().join("tokenizer.json"), "{}").unwrap();
    let link = folder.path().join("tokenizer.json");
    std::os::unix::fs::symlink(elsewhere.path().join("tokenizer.json"), link).unwrap();
    assert!(ModelDir::open(path, &LoadOptions::default()).is_err());
}
