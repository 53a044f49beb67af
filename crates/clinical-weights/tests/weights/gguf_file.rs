//! GGUF files made by hand.

use clinical_weights::{Checkpoint, CheckpointDir, Error, Gguf};

use crate::files::directory;

/// A GGUF file made by hand.
#[derive(Default)]
pub struct Builder {
    keys: Vec<(String, Vec<u8>)>,
    tensors: Vec<Vec<u8>>,
    values: usize,
}

pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Builder {
    pub fn key(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.keys
            .push((key.to_owned(), [&kind.to_le_bytes(), value].concat()));
        self
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.key(key, 8, &text(value))
    }

    pub fn float(self, key: &str, value: f32) -> Self {
        self.key(key, 6, &value.to_le_bytes())
    }

    pub fn flag(self, key: &str, value: bool) -> Self {
        self.key(key, 7, &[u8::from(value)])
    }

    pub fn number(self, key: &str, value: u32) -> Self {
        self.key(key, 4, &value.to_le_bytes())
    }

    pub fn tensor(mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Self {
        let mut entry = text(name);
        entry.extend((shape.len() as u32).to_le_bytes());
        entry.extend(shape.iter().flat_map(|extent| extent.to_le_bytes()));
        entry.extend(kind.to_le_bytes());
        entry.extend(offset.to_le_bytes());
        self.tensors.push(entry);
        self
    }

    pub fn values(mut self, bytes: usize) -> Self {
        self.values = bytes;
        self
    }

    pub fn build(&self) -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.keys.len() as u64).to_le_bytes());
        for (key, value) in &self.keys {
            file.extend(text(key));
            file.extend(value);
        }
        file.extend(self.tensors.concat());
        file.resize(file.len().next_multiple_of(32) + self.values, 0);
        file
    }

    pub fn open(&self) -> Result<Checkpoint, Error> {
        open(&self.build())
    }
}

pub fn llama() -> Builder {
    Builder::default().text("general.architecture", "llama")
}

pub fn open(file: &[u8]) -> Result<Checkpoint, Error> {
    let dir = directory(&[("model.gguf", file)]);
    CheckpointDir::open(dir.path())?.weights()
}

pub fn metadata(file: &[u8]) -> Gguf {
    let dir = directory(&[("model.gguf", file)]);
    let file = CheckpointDir::open(dir.path()).unwrap().gguf();
    file.unwrap().unwrap()
}

/// The metadata of a LLaMA with heads of 4 dimensions, and its table.
pub fn whole_llama() -> Builder {
    llama()
        .number("llama.attention.head_count", 2)
        .number("llama.embedding_length", 8)
        .number("llama.feed_forward_length", 16)
        .number("llama.block_count", 1)
        .number("llama.context_length", 64)
        .float("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .tensor("token_embd.weight", &[8, 12], 0, 0)
        .values(8 * 12 * 4)
}

/// The same of a BERT.
pub fn whole_bert() -> Builder {
    Builder::default()
        .text("general.architecture", "bert")
        .number("bert.attention.head_count", 2)
        .number("bert.embedding_length", 8)
        .number("bert.feed_forward_length", 16)
        .number("bert.block_count", 1)
        .float("bert.attention.layer_norm_epsilon", 1e-12)
        .tensor("token_embd.weight", &[8, 12], 0, 0)
        .tensor("position_embd.weight", &[8, 4], 0, 384)
        .tensor("token_types.weight", &[8, 2], 0, 512)
        .values(576)
}

/// What a file says of its model.
pub fn config(file: &Builder) -> Result<serde_json::Value, Error> {
    let dir = directory(&[("model.gguf", &file.build())]);
    let found = CheckpointDir::open(dir.path())?.gguf()?;
    found.expect("a GGUF file is there").config()
}
