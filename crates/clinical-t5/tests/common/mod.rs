//! The fixtures of `scripts/t5_reference.py`: tiny seeded models and what Python `transformers` computes with them.
#![allow(dead_code)]

use std::collections::HashMap;
use std::path::PathBuf;

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};
use clinical_t5::{T5, T5Config};
use clinical_weights::{LoadOptions, Precision, load};
use safetensors::{Dtype, SafeTensors};

pub const VARIANTS: [&str; 3] = ["v1_0", "v1_1", "uneven"];

pub fn folder(variant: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(variant)
}

pub struct Fixture {
    pub name: &'static str,
    pub config: T5Config,
    pub model: T5,
    pub facts: serde_json::Value,
    tensors: HashMap<String, (Vec<usize>, Values)>,
    device: Device,
}

enum Values {
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl Fixture {
    pub fn load(name: &'static str) -> Self {
        Self::on(name, clinical_kernels::cpu(), Precision::F32)
    }

    pub fn on(name: &'static str, device: Device, precision: Precision) -> Self {
        let dir = folder(name);
        let config = T5Config::from_file(dir.join("config.json")).unwrap();
        let mut model = config.init(&device).unwrap();
        let report = load(
            &mut model,
            &dir,
            &LoadOptions::new().with_precision(precision),
        )
        .unwrap();
        assert!(
            report.missing.is_empty() && report.unexpected.is_empty(),
            "{report:?}"
        );
        let bytes = std::fs::read(dir.join("expected.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes)
            .unwrap()
            .iter()
            .map(|(key, view)| {
                let words = view
                    .data()
                    .chunks_exact(4)
                    .map(|word| <[u8; 4]>::try_from(word).unwrap());
                let values = match view.dtype() {
                    Dtype::F32 => Values::Floats(words.map(f32::from_le_bytes).collect()),
                    Dtype::I32 => {
                        Values::Ints(words.map(|word| i32::from_le_bytes(word).into()).collect())
                    }
                    other => panic!("{key}: {other:?}"),
                };
                (key.to_owned(), (view.shape().to_vec(), values))
            })
            .collect();
        let facts =
            serde_json::from_slice(&std::fs::read(dir.join("expected.json")).unwrap()).unwrap();
        Self {
            name,
            config,
            model,
            facts,
            tensors,
            device,
        }
    }

    pub fn floats(&self, key: &str) -> &[f32] {
        match &self.tensors[key].1 {
            Values::Floats(values) => values,
            Values::Ints(_) => panic!("{key} holds integers"),
        }
    }

    pub fn ints(&self, key: &str) -> &[i64] {
        match &self.tensors[key].1 {
            Values::Ints(values) => values,
            Values::Floats(_) => panic!("{key} holds floats"),
        }
    }

    pub fn shape(&self, key: &str) -> &[usize] {
        &self.tensors[key].0
    }

    pub fn ids(&self, key: &str) -> Tensor<2, Int> {
        let data = TensorData::new(self.ints(key).to_vec(), self.shape(key).to_vec());
        Tensor::from_data(data, &self.device)
    }

    pub fn mask(&self, key: &str) -> Tensor<2, Bool> {
        let mask: Vec<bool> = self.ints(key).iter().map(|&value| value != 0).collect();
        Tensor::from_data(
            TensorData::new(mask, self.shape(key).to_vec()),
            &self.device,
        )
    }

    pub fn all_visible(&self, key: &str) -> Tensor<2, Bool> {
        let mask = vec![true; self.ints(key).len()];
        Tensor::from_data(
            TensorData::new(mask, self.shape(key).to_vec()),
            &self.device,
        )
    }

    /// The rows of padded ids without their padding.
    pub fn rows(&self, ids: &str, mask: &str) -> Vec<Vec<u32>> {
        let width = self.shape(ids)[1];
        self.ints(ids)
            .chunks(width)
            .zip(self.ints(mask).chunks(width))
            .map(|(row, mask)| {
                row.iter()
                    .zip(mask)
                    .filter(|&(_, &kept)| kept != 0)
                    .map(|(&id, _)| id as u32)
                    .collect()
            })
            .collect()
    }
}

pub fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().iter::<f32>().collect()
}

pub fn slices(rows: &[Vec<u32>]) -> Vec<&[u32]> {
    rows.iter().map(Vec::as_slice).collect()
}

#[track_caller]
pub fn close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    let worst = found
        .iter()
        .zip(expected)
        .map(|(found, expected)| (found - expected).abs())
        .fold(0.0f32, |worst, x| {
            if x.is_nan() {
                f32::INFINITY
            } else {
                worst.max(x)
            }
        });
    assert!(worst <= tolerance, "{what}: off by {worst}");
}

pub fn argmax(values: &[f32]) -> usize {
    (0..values.len())
        .max_by(|&a, &b| values[a].total_cmp(&values[b]))
        .unwrap()
}
