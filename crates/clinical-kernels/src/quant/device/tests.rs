//! The way through Burn's operations on backends that run anywhere, beside the values of the packed matrix.

use burn::tensor::Tolerance;
use proptest::prelude::*;

use super::*;
use crate::quant::tests::{PACKINGS, random};

/// Backends on which the way through Burn's operations can be run anywhere.
fn devices() -> Vec<Device> {
    vec![
        crate::cpu(),
        #[cfg(feature = "ndarray")]
        crate::ndarray(),
    ]
}

pub(super) fn tensor(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

pub(super) fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    assert_eq!(tensor.dtype(), DType::F32);
    tensor.into_data().iter::<f32>().collect()
}

/// `x w^T`, and the sums of the magnitudes of its terms.
pub(super) fn exact(x: &[f32], weights: &[f32], inputs: usize) -> Vec<(f64, f64)> {
    let pair = |x: &[f32], w: &[f32]| {
        let terms = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
        terms.fold((0.0, 0.0), |(sum, magnitude), term| {
            (sum + term, magnitude + term.abs())
        })
    };
    let weights = || weights.chunks_exact(inputs.max(1));
    let rows = x.chunks_exact(inputs.max(1));
    rows.flat_map(|x| weights().map(move |w| pair(x, w)))
        .collect()
}

fn check(packing: Packing, [rows, outputs, inputs]: [usize; 3], device: &Device) {
    let seed = (rows * 1000 + outputs * 100 + inputs) as u64;
    let weights = random(outputs * inputs, seed);
    let matrix = PackedMatrix::new(packing, outputs, inputs, &weights);
    let copy = OnDevice::new(&matrix, device);
    let expected = matrix.to_f32();
    let case = format!("{packing:?}, {rows} by {inputs} by {outputs} on {device:?}");
    assert_eq!(numbers(copy.values(device)), expected, "{case}");

    let x = random(rows * inputs, seed + 1);
    let y = copy.product(tensor(&x, [rows, inputs], device));
    assert_eq!(y.dims(), [rows, outputs], "{case}");
    let found = numbers(y);
    let sums = exact(&x, &expected, inputs);
    // Without inputs there are no terms.
    assert!(inputs > 0 || found.iter().all(|&y| y == 0.0), "{case}");
    for (at, (found, (sum, magnitude))) in found.iter().zip(sums).enumerate() {
        let error = (f64::from(*found) - sum).abs();
        let near = error <= 1e-6 * magnitude + 1e-12;
        assert!(near, "{case} at {at}: {error} off");
    }

    let row = |all: &[f32], at: usize| all[at * inputs..][..inputs].to_vec();
    let chosen: Vec<usize> = (0..outputs.min(3))
        .map(|at| outputs - 1 - at * 2 % outputs)
        .collect();
    let ids: Vec<i64> = chosen.iter().map(|&at| at as i64).collect();
    let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [chosen.len()]), device);
    let found = copy.rows(ids);
    assert_eq!(found.dims(), [chosen.len(), inputs], "{case}");
    let all: Vec<f32> = chosen.iter().flat_map(|&at| row(&expected, at)).collect();
    assert_eq!(numbers(found), all, "{case}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn any_shape(rows in 1usize..20, outputs in 1usize..50, inputs in 1usize..200) {
        for packing in PACKINGS {
            check(packing, [rows, outputs, inputs], &crate::cpu());
        }
    }
}

#[test]
fn shapes_at_the_edges() {
    for device in devices() {
        for packing in PACKINGS {
            for shape in [
                [1, 1, 1],
                [1, 16, 32],
                [8, 17, 64],
                [9, 33, 31],
                [2, 5, 97],
                [0, 3, 40],
                [3, 0, 40],
                [3, 4, 0],
            ] {
                check(packing, shape, &device);
            }
        }
    }
}

#[test]
fn products_in_halves() {
    let device = crate::cpu();
    let (weights, x) = (random(40 * 70, 1), random(3 * 70, 2));
    for packing in PACKINGS {
        let matrix = PackedMatrix::new(packing, 40, 70, &weights);
        let weight = tensor(&matrix.to_f32(), [40, 70], &device);
        let copy = OnDevice::new(&matrix, &device);
        for (dtype, tolerance) in [(DType::F16, 2e-2), (DType::BF16, 2e-1)] {
            let x = tensor(&x, [3, 70], &device).cast(dtype);
            let expected = x
                .clone()
                .cast(DType::F32)
                .matmul(weight.clone().transpose());
            let found = copy.product(x);
            assert_eq!(found.dtype(), DType::F32);
            let near = Tolerance::<f32>::absolute(tolerance);
            found
                .into_data()
                .assert_approx_eq(&expected.into_data(), near);
        }
    }
}

/// Weights are constants; what came before them learns.
#[test]
fn gradients_flow_through_a_product() {
    let device = crate::cpu().autodiff();
    let weights = random(6 * 40, 3);
    for packing in PACKINGS {
        let matrix = PackedMatrix::new(packing, 6, 40, &weights);
        let copy = OnDevice::new(&matrix, &crate::cpu());
        let x = tensor(&random(2 * 40, 4), [2, 40], &device).require_grad();
        let gradients = copy.product(x.clone()).sum().backward();
        let found = numbers(x.grad(&gradients).unwrap());
        let values = matrix.to_f32();
        for (at, found) in found.into_iter().enumerate() {
            let column = values.iter().skip(at % 40).step_by(40);
            let expected: f32 = column.sum();
            assert!((found - expected).abs() < 1e-5, "{packing:?} at {at}");
        }
        // Rows and values are such that they meet others there.
        assert!(copy.values(&device).is_autodiff());
        let ids = Tensor::<1, Int>::from_ints([1, 0], &device);
        assert!(copy.rows(ids).is_autodiff());
    }
}

#[test]
fn a_device_has_one_copy_of_the_packed_size() {
    let device = crate::cpu();
    for (packing, bits) in [
        (Packing::Int8, 8.5),
        (Packing::Int4, 4.5),
        (Packing::Int4Min, 5.0),
        (Packing::Int4Affine, 5.0),
        (Packing::BF16, 16.0),
    ] {
        let matrix = PackedMatrix::new(packing, 8, 64, &random(8 * 64, 5));
        let copies = Copies::default();
        let copy = copies.on(&matrix, &device);
        for on in [device.clone(), device.clone().autodiff()] {
            assert!(Arc::ptr_eq(&copy, &copies.on(&matrix, &on)));
        }
        let bytes = match &copy.values {
            Values::Nothing => panic!("a matrix of values"),
            Values::Halves(weight) => weight.dtype().size() * weight.shape().num_elements(),
            Values::Integers(integers) => {
                let (words, scales) = (&integers.words, &integers.scales);
                words.dtype().size() * words.shape().num_elements()
                    + scales.dtype().size() * scales.shape().num_elements()
            }
        };
        assert_eq!(bytes as f64 * 8.0 / (8.0 * 64.0), bits, "{packing:?}");
        let weak = Arc::downgrade(&copy);
        drop((copy, copies));
        assert!(weak.upgrade().is_none(), "freed with the last layer");
    }
}

/// A block that is not finite breaks its output and no other.
#[test]
fn what_is_not_finite_stays_where_it_is() {
    let device = crate::cpu();
    let mut weights = random(3 * 64, 6);
    weights[64 + 40] = f32::NAN;
    for packing in PACKINGS {
        let matrix = PackedMatrix::new(packing, 3, 64, &weights);
        let copy = OnDevice::new(&matrix, &device);
        let y = numbers(copy.product(tensor(&random(64, 7), [1, 64], &device)));
        assert_eq!(
            y.iter().map(|y| y.is_nan()).collect::<Vec<_>>(),
            [false, true, false],
            "{packing:?}"
        );
    }
}
