//! The same in CubeCL's runtime for CPUs, which is slow:
//! `cargo test --release --workspace --features cube-cpu --lib -- quant::device`.

use burn::module::{Module, Param};
use burn::tensor::Tolerance;

use super::tests::{exact, numbers, tensor};
use super::*;
use crate::quant::tests::random;
use crate::{Packed, packed};

const PACKINGS: [Packing; 5] = [
    Packing::Int8,
    Packing::Int4,
    Packing::Int4Min,
    Packing::Int4Affine,
    Packing::F16,
];

/// What is on is on for all tests.
static SWITCH: Mutex<()> = Mutex::new(());

/// A few rows by the integers as they lie, and their values, by this crate's kernels.
#[test]
fn kernels() {
    let device = crate::cube_cpu().unwrap();
    for packing in PACKINGS {
        for (rows, outputs, inputs) in [
            (1, 1, 1),
            (3, 5, 70),
            (8, 3, 320),
            // Several outputs of a cube.
            (1, 2049, 32),
            (6, 2050, 32),
        ] {
            let matrix = PackedMatrix::new(packing, outputs, inputs, &random(outputs * inputs, 1));
            let weights = matrix.to_f32();
            let copy = OnDevice::new(&matrix, &device);
            let Values::Integers(integers) = &copy.values else {
                continue;
            };
            let (words, scales, form) = (&integers.words, &integers.scales, integers.form);
            let case = format!("{packing:?}, {rows} by {inputs} by {outputs}");
            for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 1e-3)] {
                let x = tensor(&random(rows * inputs, 2), [rows, inputs], &device).cast(dtype);
                let near = Tolerance::<f32>::absolute(tolerance as f32);
                let values = crate::cube::integer_values(words, scales, form, dtype).unwrap();
                assert_eq!(values.dtype(), dtype);
                let values = values
                    .narrow(1, 0, inputs)
                    .cast(FloatDType::F32)
                    .into_data();
                let expected = TensorData::new(weights.clone(), [outputs, inputs]);
                values.assert_approx_eq(&expected, near);

                // What the kernel is given.
                let given = numbers(x.clone().cast(FloatDType::F32));
                let y = crate::cube::integer_rows(&integers.padded(x), words, scales, form);
                let y = numbers(y.unwrap());
                for (found, (sum, magnitude)) in y.iter().zip(exact(&given, &weights, inputs)) {
                    let error = (f64::from(*found) - sum).abs();
                    assert!(error <= 1e-6 * magnitude + 1e-12, "{case}: {error} off");
                }
                assert_eq!(y.len(), rows * outputs);
            }
            let many = Tensor::zeros([9, words.dims()[1] * form.inputs()], &device);
            assert!(crate::cube::integer_rows(&many, words, scales, form).is_none());
        }
    }
}

/// A layer with and without kernels: products, rows, values, gradients, and one upload for all of them.
#[test]
fn a_layer_keeps_its_weights_on_its_device() {
    let _switch = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
    let device = crate::cube_cpu().unwrap();
    let (outputs, inputs) = (7, 45);
    for packing in PACKINGS {
        let matrix = PackedMatrix::new(packing, outputs, inputs, &random(outputs * inputs, 3));
        let weights = matrix.to_f32();
        let param = Param::from_tensor(Tensor::<2>::zeros([inputs, outputs], &device));
        let param = Packed::attach(param, Arc::new(matrix), true);
        let clone = param.clone().to_device(&device).fork(&device);
        let bias = random(outputs, 4);
        for own in [false, true] {
            crate::set_gpu_kernels(own);
            for (param, rows) in [(&param, 1), (&clone, 9)] {
                let layer = packed(param).unwrap();
                let x = random(rows * inputs, 5);
                let given = tensor(&x, [rows, inputs], &device);
                let b = Tensor::<1>::from_data(TensorData::new(bias.clone(), [outputs]), &device);
                let y = numbers(layer.linear(given, Some(b)));
                assert_eq!(y.len(), rows * outputs);
                for (at, (sum, magnitude)) in exact(&x, &weights, inputs).into_iter().enumerate() {
                    let error = (f64::from(y[at] - bias[at % outputs]) - sum).abs();
                    assert!(
                        error <= 1e-6 * (magnitude + 1.0),
                        "{packing:?}: {error} off"
                    );
                }
                let near = Tolerance::<f32>::absolute(1e-6);
                let expected = TensorData::new(weights.clone(), [outputs, inputs]);
                let values = param.val().transpose().into_data();
                values.assert_approx_eq(&expected, near);
                let ids = Tensor::<1, Int>::from_ints([6, 0, 6], &device);
                let row = |at: usize| weights[at * inputs..][..inputs].to_vec();
                let expected = TensorData::new([row(6), row(0), row(6)].concat(), [3, inputs]);
                layer
                    .select(ids)
                    .into_data()
                    .assert_approx_eq(&expected, near);

                let learning = device.clone().autodiff();
                let x = tensor(&x, [rows, inputs], &learning).require_grad();
                let gradients = layer.linear(x.clone(), None).sum().backward();
                let found = numbers(x.grad(&gradients).unwrap());
                for (at, found) in found.into_iter().enumerate() {
                    let column = weights.iter().skip(at % inputs).step_by(inputs);
                    let expected: f32 = column.sum();
                    assert!((found - expected).abs() < 1e-5, "{packing:?} at {at}");
                }
            }
        }
        crate::set_gpu_kernels(false);
        let copies = [&param, &clone].map(|param| packed(param).unwrap().copies());
        assert!(std::ptr::eq(copies[0], copies[1]));
        assert_eq!(copies[0].count(), 1);
    }
}
