//! Gradients of the kernels against Burn's operations in f64, which are exact for these purposes, and against
//! themselves with other numbers of threads.
#![cfg(feature = "flex")]

mod attention;
mod rows;

use burn::tensor::{DType, Device, Tensor, TensorData};
use clinical_kernels::fold_seed;

/// Of the largest value of a tensor.
const TOLERANCE: f64 = 1e-6;

fn device() -> Device {
    clinical_kernels::cpu().autodiff()
}

/// Values in [-1, 1) that need no random state and have nothing in common, another set for each number. (Of regular
/// ones, as those of a sine are, sums cancel out, and what is left is rounding.)
fn noise<const D: usize>(shape: [usize; D], number: u64) -> TensorData {
    let count: usize = shape.iter().product();
    let bits = |i: usize| fold_seed(number, i as u64) >> 40;
    let value = |i: usize| bits(i) as f32 / (1 << 23) as f32 - 1.0;
    TensorData::new((0..count).map(value).collect::<Vec<f32>>(), shape)
}

/// The same values as a leaf in this type.
fn leaf<const D: usize>(data: &TensorData, dtype: DType) -> Tensor<D> {
    Tensor::<D>::from_data(data.clone(), (&device(), dtype)).require_grad()
}

fn values<const D: usize>(x: &Tensor<D>) -> Vec<f64> {
    x.to_data().iter::<f64>().collect()
}

/// The largest difference, of the largest expected value.
fn apart(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    let most = largest(&mut expected.iter().map(|x| x.abs()));
    let difference = largest(&mut found.iter().zip(expected).map(|(a, b)| (a - b).abs()));
    assert!(found.iter().all(|x| x.is_finite()));
    match most {
        0.0 => difference,
        most => difference / most,
    }
}

/// A result, and the gradients of a weighted sum of it.
type Found = Vec<Vec<f64>>;

#[track_caller]
fn close(what: &str, found: &Found, expected: &Found, tolerance: f64) {
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        let apart = apart(found, expected);
        assert!(apart <= tolerance, "{what}, tensor {number}: {apart:e}");
    }
}

/// With one thread and with two.
#[track_caller]
fn same_with_threads(run: impl Fn() -> Found + Sync) {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(&run)
    };
    let one = with(1);
    for threads in [2, 3] {
        assert!(with(threads) == one, "{threads} threads");
    }
}
