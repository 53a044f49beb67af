//! Fixtures made by `scripts/llama_reference.py`.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use clinical_llama::{Llama, LlamaConfig};
use clinical_weights::LoadOptions;
use serde::Deserialize;

/// Every variant that the script makes.
pub const VARIANTS: [&str; 9] = [
    "mha",
    "gqa",
    "tied",
    "llama3",
    "linear",
    "dynamic",
    "mistral",
    "bias",
    "mistral_window",
];

#[derive(Deserialize)]
pub struct Expected {
    /// The 300 ids whose beginnings are read.
    pub ids: Vec<u32>,
    pub logits: Vec<Logits>,
    pub loss: Loss,
    pub rows: Rows,
    pub greedy: Greedy,
}

#[derive(Deserialize)]
pub struct Logits {
    pub length: usize,
    pub positions: Vec<usize>,
    pub values: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
pub struct Loss {
    pub ids: Vec<Vec<u32>>,
    pub labels: Vec<Vec<i64>>,
    pub value: f32,
}

#[derive(Deserialize)]
pub struct Rows {
    pub ids: Vec<Vec<u32>>,
    pub last: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
pub struct Greedy {
    pub prompt: usize,
    pub ids: Vec<u32>,
}

pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

pub fn expected(variant: &str) -> Expected {
    let text = std::fs::read_to_string(data().join(variant).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn config(variant: &str) -> LlamaConfig {
    LlamaConfig::from_file(data().join(variant).join("config.json")).unwrap()
}

/// A variant with its weights; `change` may alter what does not change shapes.
pub fn model_with(variant: &str, change: impl FnOnce(&mut LlamaConfig)) -> Llama {
    let mut config = config(variant);
    change(&mut config);
    let options = LoadOptions::default();
    let mut model = config.init(&options.device).unwrap();
    let weights = match variant {
        "mistral_window" => "mistral",
        own => own,
    };
    clinical_weights::load(&mut model, data().join(weights), &options).unwrap();
    model
}

pub fn model(variant: &str) -> Llama {
    model_with(variant, |_| {})
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

/// The largest difference; not-a-number counts as infinite.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |worst, (a, b)| {
        let difference = (a - b).abs();
        if difference.is_nan() {
            f32::INFINITY
        } else {
            worst.max(difference)
        }
    })
}

pub fn argmax(logits: &[f32]) -> u32 {
    let best = logits
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .unwrap();
    best.0 as u32
}
