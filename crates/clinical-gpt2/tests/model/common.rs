//! Fixtures made by `scripts/gpt2_reference.py`.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use clinical_gpt2::{Gpt2, Gpt2Config};
use clinical_weights::LoadOptions;
use serde::Deserialize;

/// Every decoder that the script makes.
pub const VARIANTS: [&str; 3] = ["plain", "inverse", "odd"];

#[derive(Deserialize)]
pub struct Expected {
    /// The 128 ids whose beginnings are read.
    pub ids: Vec<u32>,
    pub logits: Vec<Logits>,
    pub loss: Loss,
    pub rows: Rows,
    pub greedy: Greedy,
    pub beams: Beams,
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
    /// What a batch that is padded on the left goes on with.
    pub new: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
pub struct Greedy {
    pub prompt: usize,
    pub ids: Vec<u32>,
}

#[derive(Deserialize)]
pub struct Beams {
    pub prompt: usize,
    pub beams: usize,
    pub ids: Vec<u32>,
}

pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

pub fn read<T: serde::de::DeserializeOwned>(folder: &str) -> T {
    let text = std::fs::read_to_string(data().join(folder).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn expected(variant: &str) -> Expected {
    read(variant)
}

pub fn config(variant: &str) -> Gpt2Config {
    Gpt2Config::from_file(data().join(variant).join("config.json")).unwrap()
}

/// A variant with its weights; `change` may alter what does not change shapes.
pub fn model_with(variant: &str, change: impl FnOnce(&mut Gpt2Config)) -> Gpt2 {
    let mut config = config(variant);
    change(&mut config);
    let options = LoadOptions::default();
    let mut model = config.init(&options.device).unwrap();
    clinical_weights::load(&mut model, weights(variant), &options).unwrap();
    model
}

/// The directory with the weights of a variant.
pub fn weights(variant: &str) -> PathBuf {
    data().join(if variant == "inverse" {
        "plain"
    } else {
        variant
    })
}

pub fn model(variant: &str) -> Gpt2 {
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
