//! The tensors of a model, and safetensors files of them.

use serde_json::{Map, Value, json};

/// A state dict of f32 tensors. Names may share a storage.
#[derive(Default, Clone)]
pub struct State {
    pub storages: Vec<Vec<f32>>,
    /// Name, shape, storage.
    pub tensors: Vec<(String, Vec<usize>, usize)>,
    seed: u64,
}

impl State {
    /// Adds a tensor of small random values.
    pub fn draw(&mut self, name: impl Into<String>, shape: &[usize]) {
        let values = (0..shape.iter().product())
            .map(|_| {
                // The generator of Knuth's MMIX.
                self.seed = (self.seed.wrapping_mul(6_364_136_223_846_793_005))
                    .wrapping_add(1_442_695_040_888_963_407);
                ((self.seed >> 40) as f32 / (1u32 << 24) as f32 - 0.5) * 0.4
            })
            .collect();
        self.tensors
            .push((name.into(), shape.to_vec(), self.storages.len()));
        self.storages.push(values);
    }

    /// Adds a tensor of one value.
    pub fn fill(&mut self, name: impl Into<String>, shape: &[usize], value: f32) {
        self.tensors
            .push((name.into(), shape.to_vec(), self.storages.len()));
        self.storages.push(vec![value; shape.iter().product()]);
    }

    /// Adds another name of a tensor.
    pub fn share(&mut self, name: &str, other: &str) {
        let (_, shape, storage) = self
            .tensors
            .iter()
            .find(|tensor| tensor.0 == other)
            .unwrap();
        self.tensors
            .push((name.to_owned(), shape.clone(), *storage));
    }

    pub fn bytes(&self, storage: usize) -> Vec<u8> {
        self.storages[storage]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    /// The number of values, shared ones counted once.
    pub fn values(&self) -> u64 {
        self.storages.iter().map(|values| values.len() as u64).sum()
    }

    /// The tensors in `parts` consecutive groups of nearly equal count, each with its own storages.
    pub fn split(&self, parts: usize) -> Vec<Self> {
        let count = self.tensors.len().div_ceil(parts);
        self.tensors
            .chunks(count)
            .map(|tensors| Self {
                storages: tensors
                    .iter()
                    .map(|tensor| self.storages[tensor.2].clone())
                    .collect(),
                tensors: tensors
                    .iter()
                    .enumerate()
                    .map(|(at, (name, shape, _))| (name.clone(), shape.clone(), at))
                    .collect(),
                seed: 0,
            })
            .collect()
    }

    /// A safetensors file. As `save_pretrained` does, only the first name of a storage is written.
    pub fn safetensors(&self) -> Vec<u8> {
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({"format": "pt"}));
        let (mut values, mut written) = (Vec::new(), Vec::new());
        for (name, shape, storage) in &self.tensors {
            if written.contains(storage) {
                continue;
            }
            written.push(*storage);
            let start = values.len();
            values.extend(self.bytes(*storage));
            let place =
                json!({"dtype": "F32", "shape": shape, "data_offsets": [start, values.len()]});
            header.insert(name.clone(), place);
        }
        let mut header = Value::Object(header).to_string();
        while !header.len().is_multiple_of(8) {
            header.push(' ');
        }
        [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            &values,
        ]
        .concat()
    }

    /// An index over shards of which `name` tells the file.
    pub fn index(shards: &[Self], name: impl Fn(usize) -> String) -> Value {
        let mut map = Map::new();
        for (number, shard) in shards.iter().enumerate() {
            for (tensor, _, _) in &shard.tensors {
                map.insert(tensor.clone(), name(number).into());
            }
        }
        let bytes: u64 = shards.iter().map(|shard| 4 * shard.values()).sum();
        json!({"metadata": {"total_size": bytes}, "weight_map": map})
    }
}
