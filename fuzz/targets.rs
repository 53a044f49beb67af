//! One function for each parser: any bytes give a result or an error, never a panic.
//!
//! The fuzz targets call them, and so does their twin on stable Rust (`tests/fuzz_twins.rs`).
#![allow(dead_code)] // each target uses one

use std::path::{Path, PathBuf};

use clinical_deid::Normalizer;
use clinical_deid::csv::{Annotations, Options};
use clinical_tokenizer::{SentencePieceModel, SentencePieceOptions, Tokenizer};
use clinical_weights::{Checkpoint, CheckpointDir, Dtype, Inspection};

thread_local! {
    /// One folder for each thread, in memory where the system has such a place.
    static FOLDER: tempfile::TempDir = {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        tempfile::tempdir_in(place).expect("a temporary directory")
    };
}

/// A directory with these files alone.
fn directory(files: &[(&str, &[u8])]) -> PathBuf {
    let path = FOLDER.with(|folder| folder.path().to_owned());
    for entry in std::fs::read_dir(&path)
        .expect("the temporary directory")
        .flatten()
    {
        std::fs::remove_file(entry.path()).expect("a temporary file");
    }
    for (name, content) in files {
        std::fs::write(path.join(name), content).expect("a temporary file");
    }
    path
}

/// Values of one tensor that are read.
const MOST_BYTES: u64 = 1 << 20;

/// Everything that can be asked of a directory without a model, and the values of its tensors.
fn inspect(dir: &Path) {
    if let Err(error) = Inspection::of(dir).map(|inspection| inspection.to_string()) {
        let _ = error.to_string();
    }
    let Ok(weights) = CheckpointDir::open(dir).and_then(|dir| dir.weights()) else {
        return;
    };
    for tensor in weights.tensors().filter(|info| info.bytes <= MOST_BYTES) {
        let Ok(bytes) = weights.bytes(&tensor.name) else {
            continue;
        };
        assert_eq!(bytes.len() as u64, tensor.bytes, "all of a tensor");
        if let Dtype::Block(block) = tensor.dtype {
            let mut values = vec![0.0; tensor.elements() as usize];
            block.decode(&bytes, &mut values);
        }
    }
}

/// A tokenizer used in every way that depends on its file.
fn exercise(tokenizer: &Tokenizer) {
    for text in [
        "",
        "The patient  has fever.",
        "[Name] <extra_id_0></s>",
        "é😀\u{301}▁\0",
    ] {
        if let Ok(encoding) = tokenizer.encode(text, true) {
            let _ = tokenizer.decode(encoding.ids(), true);
        }
    }
    let _ = tokenizer.decode(&[0, 1, 2, 3, 999_999, u32::MAX], false);
    let _ = tokenizer.remarks(10);
}

/// `model.safetensors.index.json`.
pub fn index(data: &[u8]) {
    inspect(&directory(&[("model.safetensors.index.json", data)]));
    inspect(&directory(&[("pytorch_model.bin.index.json", data)]));
}

/// `config.json` of every architecture.
pub fn config(data: &[u8]) {
    let _ = clinical_t5::T5Config::from_json(data).map(|config| config.parameters());
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = clinical_llama::LlamaConfig::from_json(text).map(|config| config.parameters());
        let _ = clinical_bert::BertConfig::from_json(text).map(|config| config.parameters());
    }
    let dir = directory(&[("config.json", data)]);
    let _ = CheckpointDir::open(dir).and_then(|dir| dir.config(&["t5"]));
}

/// A SentencePiece model: `tokenizer.model`, `spiece.model`.
pub fn sentencepiece(data: &[u8]) {
    if let Ok(model) = SentencePieceModel::from_bytes(data) {
        let options = SentencePieceOptions::for_model(&model);
        let again = SentencePieceModel::from_bytes(&model.to_bytes());
        assert!(again.is_ok(), "what is written can be read");
        if let Ok(tokenizer) = Tokenizer::from_sentencepiece(model, &options) {
            exercise(&tokenizer);
        }
    }
}

/// `tokenizer.json`.
pub fn tokenizer_json(data: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_bytes(data, None) {
        exercise(&tokenizer);
    }
}

/// `vocab.txt`, and the small files beside it: the input is cut at its NUL bytes.
pub fn vocabulary(data: &[u8]) {
    let names = [
        "vocab.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ];
    let parts = data.split(|byte| *byte == 0);
    let files: Vec<(&str, &[u8])> = names.into_iter().zip(parts).collect();
    let dir = directory(&files);
    if let Ok(tokenizer) = Tokenizer::from_dir(dir) {
        exercise(&tokenizer);
    }
}

/// `model.safetensors`.
pub fn safetensors(data: &[u8]) {
    if let Ok(checkpoint) = Checkpoint::from_bytes(data.to_vec()) {
        let values: u64 = checkpoint.tensors().map(|tensor| tensor.bytes).sum();
        assert!(values <= data.len() as u64, "no tensor beyond the file");
    }
    inspect(&directory(&[("model.safetensors", data)]));
}

/// A GGUF file: its metadata, its vocabulary, its tensors.
pub fn gguf(data: &[u8]) {
    let dir = directory(&[("model.gguf", data)]);
    if let Ok(dir) = CheckpointDir::open(&dir)
        && let Ok(Some(file)) = dir.gguf()
    {
        let _ = (file.config(), file.vocabulary().is_ok());
    }
    inspect(&dir);
}

/// `flax_model.msgpack`.
pub fn flax(data: &[u8]) {
    inspect(&directory(&[("flax_model.msgpack", data)]));
}

/// The pickle of a state dict, in a file of its own and inside a zip archive.
pub fn pickle(data: &[u8]) {
    inspect(&directory(&[("pytorch_model.bin", data)]));
    let archive = stored(&[("archive/data.pkl", data), ("archive/data/0", &[0; 16])]);
    inspect(&directory(&[("pytorch_model.bin", &archive)]));
}

/// A torch file of since 1.6, or whatever else is under its name.
pub fn torch_zip(data: &[u8]) {
    inspect(&directory(&[("pytorch_model.bin", data)]));
}

/// A torch file of before 1.6: what follows its magic number and version.
pub fn torch_legacy(data: &[u8]) {
    let start = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    inspect(&directory(&[(
        "pytorch_model.bin",
        &[start, data].concat(),
    )]));
}

/// `NOTEEVENTS.csv` and `discharge.csv`.
pub fn notes_csv(data: &[u8]) {
    // The readers end at an error that cannot be skipped; the bound is for those that can.
    let most = data.len() + 2;
    if let Ok(notes) = clinical_notes::corpus::mimic_iii::Notes::new(data) {
        assert!(notes.take(most + 1).count() <= most);
    }
    if let Ok(notes) = clinical_notes::corpus::mimic_iv::Notes::new(data) {
        assert!(notes.take(most + 1).count() <= most);
    }
}

/// A CSV file of notes, converted.
pub fn deid_csv(data: &[u8]) {
    for normalizer in [Normalizer::mimic_iii(), Normalizer::mimic_iv()] {
        for column in ["TEXT", "text"] {
            let mut out = Vec::new();
            let _ = clinical_deid::csv::convert(
                data,
                &mut out,
                &normalizer,
                &Options::new(column),
                |_| (),
            );
        }
    }
}

/// The annotation file of MIMIC-IV.
pub fn annotations_csv(data: &[u8]) {
    let _ = Annotations::read(data).map(|annotations| annotations.notes());
}

/// A zip archive with these entries, stored as they are: what the reader needs of the format, without a writer's crate.
pub fn stored(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut directory = Vec::new();
    for (name, content) in entries {
        let offset = file.len() as u32;
        let sizes = (content.len() as u32).to_le_bytes();
        let mut fields = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fields.extend(crc32(content).to_le_bytes());
        fields.extend(sizes);
        fields.extend(sizes);
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&fields);
        file.extend(name.as_bytes());
        file.extend(*content);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = file.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend(count);
    file.extend(count);
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
