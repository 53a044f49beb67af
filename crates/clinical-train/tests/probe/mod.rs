//! Parameters and gradients as `scripts/train_reference.py` makes them: each value is a hash of its number, exact in
//! f32.
// Each test binary uses a part of it.
#![allow(dead_code)]

use std::path::PathBuf;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

/// One tensor of each kind: factored everywhere, below optax's 128, rank 1, rank 3.
#[derive(Module, Debug)]
pub struct Probe {
    pub matrix: Param<Tensor<2>>,
    pub small: Param<Tensor<2>>,
    pub vector: Param<Tensor<1>>,
    pub cube: Param<Tensor<3>>,
}

pub const NAMES: [&str; 4] = ["matrix", "small", "vector", "cube"];
/// Every how many elements the fixtures hold one.
pub const STRIDES: [usize; 4] = [211, 5, 1, 211];
const LENGTHS: [usize; 4] = [256 * 160, 32 * 12, 48, 130 * 3 * 140];

pub fn device() -> Device {
    clinical_kernels::cpu().autodiff()
}

pub fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/train")
        .join(name)
}

/// In [-1, 1).
fn noise(seed: u32, at: usize) -> f32 {
    let mut x = (at as u32).wrapping_add(seed.wrapping_mul(0x9E37_79B9));
    x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^= x >> 16;
    ((x >> 8) as f32 - 8_388_608.0) / 8_388_608.0
}

/// The parameters' values, in the order of [`NAMES`].
pub fn parameters() -> [Vec<f32>; 4] {
    std::array::from_fn(|tensor| {
        let scale = [4, 11, 4, 3].map(|power| 2f32.powi(-power))[tensor];
        let offset = if NAMES[tensor] == "vector" { 1.0 } else { 0.0 };
        let values = 0..LENGTHS[tensor];
        values
            .map(|at| noise(tensor as u32, at) * scale + offset)
            .collect()
    })
}

/// The gradients of a step counted from 0.
pub fn gradient_values(step: u32) -> [Vec<f32>; 4] {
    let scale = if step == 3 { 16.0 } else { 0.125 };
    std::array::from_fn(|tensor| {
        let seed = 100 + 10 * step + tensor as u32;
        let values = 0..LENGTHS[tensor];
        values
            .map(|at| noise(seed, at) * 2f32.powi(-((at % 7) as i32)) * scale)
            .collect()
    })
}

pub fn probe(device: &Device) -> Probe {
    let [matrix, small, vector, cube] = parameters();
    Probe {
        matrix: Param::from_tensor(tensor(matrix, [256, 160], device)),
        small: Param::from_tensor(tensor(small, [32, 12], device)),
        vector: Param::from_tensor(tensor(vector, [48], device)),
        cube: Param::from_tensor(tensor(cube, [130, 3, 140], device)),
    }
}

pub fn gradients(probe: &Probe, step: u32) -> GradientsParams {
    let device = probe.matrix.val().device().inner();
    let [matrix, small, vector, cube] = gradient_values(step);
    let mut grads = GradientsParams::new();
    grads.register(probe.matrix.id, tensor(matrix, [256, 160], &device));
    grads.register(probe.small.id, tensor(small, [32, 12], &device));
    grads.register(probe.vector.id, tensor(vector, [48], &device));
    grads.register(probe.cube.id, tensor(cube, [130, 3, 140], &device));
    grads
}

/// The values of all parameters, in the order of [`NAMES`].
pub fn values(probe: &Probe) -> [Vec<f32>; 4] {
    [
        floats(probe.matrix.val()),
        floats(probe.small.val()),
        floats(probe.vector.val()),
        floats(probe.cube.val()),
    ]
}

pub fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, dims), device)
}

pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
