//! Weights in every format, cut and inflated, through a facade.

use std::io::{Cursor, Write};

use clinical_weights::LoadOptions;
use clinical_weights::limits::MAX_TENSORS;
use serde_json::{Map, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::Facade;
use crate::files::state::State;
use crate::files::torch::{self, Style};

const BERT: Facade = Facade::Bert;

/// The fixture's tensors, from its safetensors file.
fn state() -> State {
    let bytes = std::fs::read(BERT.good().join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut state = State::default();
    for (name, view) in tensors.iter() {
        let values = view.data().chunks_exact(4);
        let values = values.map(|value| f32::from_le_bytes(value.try_into().unwrap()));
        state
            .tensors
            .push((name.to_owned(), view.shape().to_vec(), state.storages.len()));
        state.storages.push(values.collect());
    }
    state
}

/// The good directory without its weights, and these files instead.
fn with(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = BERT.copy();
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

#[test]
fn truncated_at_64_places() {
    let state = state();
    for (name, whole) in [
        ("model.safetensors", state.safetensors()),
        (
            "pytorch_model.bin",
            torch::zip(&state, "archive", Style::Plain),
        ),
        (
            "pytorch_model.bin",
            torch::zip(&state, "archive", Style::Fsdp),
        ),
        ("pytorch_model.bin", torch::legacy(&state)),
    ] {
        let dir = with(&[(name, &whole)]);
        BERT.load(dir.path(), &LoadOptions::new()).0.unwrap();
        for place in 0..64 {
            let cut = &whole[..whole.len() * place / 64];
            std::fs::write(dir.path().join(name), cut).unwrap();
            let expected = "EmptyFile|Truncated|TorchArchive|TorchPickle|WrongContent";
            BERT.refuses(dir.path(), expected, &format!("{name} {place}/64"));
        }
    }
    // An index and the shards beside it.
    let shards = state.split(3);
    let name = |at: usize| format!("model-0000{}-of-00003.safetensors", at + 1);
    let index = State::index(&shards, name).to_string();
    let dir = with(&[("model.safetensors.index.json", index.as_bytes())]);
    for (at, shard) in shards.iter().enumerate() {
        std::fs::write(dir.path().join(name(at)), shard.safetensors()).unwrap();
    }
    BERT.load(dir.path(), &LoadOptions::new()).0.unwrap();
    for place in 0..64 {
        let cut = &index[..index.len() * place / 64];
        std::fs::write(dir.path().join("model.safetensors.index.json"), cut).unwrap();
        BERT.refuses(dir.path(), "EmptyFile|Json", &format!("index {place}/64"));
    }
}

/// A zip archive whose entries are compressed: PyTorch stores them as they are.
fn deflated(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, content) in entries {
        zip.start_file(*name, deflated).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn archives_that_unpack_to_more_than_they_are() {
    let zeros = vec![0u8; 64 << 20];
    let mut one = State::default();
    one.tensors.push(("w".to_owned(), vec![16 << 20], 0));
    one.storages.push(Vec::new());
    let mut pickle = torch::pickle(&one, Style::Plain);
    // The storage is declared with the elements that it unpacks to.
    let none = b"X\x03\0\0\0cpuJ\0\0\0\0";
    let at = pickle
        .windows(none.len())
        .position(|window| window == none)
        .unwrap();
    pickle[at + 9..at + 13].copy_from_slice(&(16u32 << 20).to_le_bytes());
    let bomb = deflated(&[("a/data.pkl", &pickle), ("a/data/0", &zeros)]);
    assert!(bomb.len() < 1 << 20);
    let dir = with(&[("pytorch_model.bin", &bomb)]);
    BERT.refuses(dir.path(), "TorchArchive", "a storage of zeros");

    // A pickle of 64 MiB that does nothing: it pushes None and pops it.
    let mut idle = b"\x80\x02".to_vec();
    idle.extend(b"N0".repeat(32 << 20));
    idle.extend(b"}.");
    let bomb = deflated(&[("a/data.pkl", &idle)]);
    let dir = with(&[("pytorch_model.bin", &bomb)]);
    BERT.refuses(dir.path(), "TorchArchive", "an idle pickle");
}

#[test]
fn headers_and_indexes_that_are_nearly_too_large() {
    // Tensors without values, as many as are allowed and one more.
    for (count, refusal) in [
        (MAX_TENSORS, "LargerThanFiles|NoHead|DoesNotFit"),
        (MAX_TENSORS + 1, "TooMany"),
    ] {
        let mut header = Map::new();
        for number in 0..count {
            let place = json!({"dtype": "U8", "shape": [0], "data_offsets": [0, 0]});
            header.insert(number.to_string(), place);
        }
        let header = serde_json::Value::Object(header).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        let dir = with(&[("model.safetensors", &file)]);
        BERT.refuses(dir.path(), refusal, "many tensors");
    }

    let mut map = Map::new();
    for number in 0..MAX_TENSORS - 1000 {
        map.insert(format!("tensor.{number}.weight"), "a.safetensors".into());
    }
    let index = json!({"weight_map": map}).to_string();
    let dir = with(&[("model.safetensors.index.json", index.as_bytes())]);
    BERT.refuses(dir.path(), "ShardMissing", "a long index");
    for number in 0..1000 {
        map.insert(
            format!("tensor.{number}.weight"),
            format!("{number}.safetensors").into(),
        );
    }
    let index = json!({"weight_map": map}).to_string();
    let dir = with(&[("model.safetensors.index.json", index.as_bytes())]);
    BERT.refuses(dir.path(), "TooMany", "a thousand shards");
}

#[test]
fn nothing_in_a_pickle_is_run() {
    let mark = tempfile::tempdir().unwrap();
    let mark = mark.path().join("mark");
    let command = format!("touch {}", mark.display());
    let mut pickle = b"\x80\x02cposix\nsystem\nX".to_vec();
    pickle.extend((command.len() as u32).to_le_bytes());
    pickle.extend(command.as_bytes());
    pickle.extend(b"\x85R.");
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(&pickle).unwrap();
    let file = zip.finish().unwrap().into_inner();
    for content in [file, pickle] {
        let dir = with(&[("pytorch_model.bin", &content)]);
        BERT.refuses(dir.path(), "ForbiddenPickle", "os.system");
    }
    assert!(!mark.exists());
}

/// A tensor that repeats one value costs what it says it holds, and that is compared with the file.
#[test]
fn views_that_repeat_one_value() {
    let mut state = state();
    let (_, shape, storage) = state
        .tensors
        .iter()
        .find(|tensor| tensor.0.ends_with("word_embeddings.weight"))
        .cloned()
        .unwrap();
    state.storages[storage] = vec![0.5];
    let pickle = torch::pickle(&state, Style::Plain);
    // Strides of zero, written by hand: the first value again and again.
    let int = |value: usize| [&b"J"[..], &(value as i32).to_le_bytes()].concat();
    let wanted = [&b"("[..], &int(shape[1]), &int(1), b"t"].concat();
    let sizes = [&b"("[..], &int(shape[0]), &int(shape[1]), b"t", &wanted].concat();
    let at = pickle
        .windows(sizes.len())
        .position(|window| window == sizes)
        .unwrap();
    let mut changed = pickle.clone();
    let start = at + sizes.len() - wanted.len();
    changed.splice(
        start..start + wanted.len(),
        [&b"("[..], &int(0), &int(0), b"t"].concat(),
    );
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(&changed).unwrap();
    for storage in 0..state.storages.len() {
        zip.start_file(format!("archive/data/{storage}"), stored)
            .unwrap();
        zip.write_all(&state.bytes(storage)).unwrap();
    }
    let file = zip.finish().unwrap().into_inner();
    let dir = with(&[("pytorch_model.bin", &file)]);
    // It is a legal file: the table is small, and so is what it takes.
    let (result, cost) = BERT.load(dir.path(), &LoadOptions::new());
    result.unwrap();
    cost.check(super::bytes_of(dir.path()), "a repeated value");
}
