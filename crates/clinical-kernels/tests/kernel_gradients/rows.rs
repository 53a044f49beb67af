//! Norms, gates, activations, rotations and dropout.

use burn::tensor::activation::{gelu, relu, sigmoid, tanh};
use burn::tensor::{DType, Tensor, TensorData};
use clinical_kernels::{Activation, DropMask, fused};

use super::{Found, TOLERANCE, close, device, leaf, noise, same_with_threads, values};

const SHAPES: [[usize; 3]; 6] = [
    [1, 1, 4],
    [1, 3, 17],
    [2, 35, 768],
    [1, 5, 33],
    [3, 700, 40],
    [2, 1, 2048],
];

/// Results and gradients of an operation on leaves of these shapes.
fn run<const N: usize>(
    dtype: DType,
    leaves: &[TensorData; N],
    operation: impl Fn(&[Tensor<3>; N]) -> Tensor<3>,
) -> Found {
    let leaves = leaves.each_ref().map(|data| leaf::<3>(data, dtype));
    let y = operation(&leaves);
    let weights = Tensor::<3>::from_data(noise(y.dims(), 9), (&device(), dtype));
    let gradients = (y.clone() * weights).sum().backward();
    let mut found = vec![values(&y)];
    found.extend(
        leaves
            .iter()
            .map(|leaf| values(&leaf.grad(&gradients).unwrap())),
    );
    found
}

#[track_caller]
fn check<const N: usize>(
    what: &str,
    tolerance: f64,
    leaves: &[TensorData; N],
    kernel: impl Fn(&[Tensor<3>; N]) -> Tensor<3> + Sync,
    composed: impl Fn(&[Tensor<3>; N]) -> Tensor<3>,
) {
    let found = run(DType::F32, leaves, &kernel);
    close(what, &found, &run(DType::F64, leaves, composed), tolerance);
    same_with_threads(|| run(DType::F32, leaves, &kernel));
}

fn flat(x: &Tensor<3>) -> Tensor<1> {
    x.clone().reshape([-1])
}

#[test]
fn norms() {
    for shape @ [batch, length, n] in SHAPES {
        let leaves = [
            noise([length, batch, n], 0),
            noise([1, 1, n], 1),
            noise([1, 1, n], 2),
        ];
        let [x, weight, bias] = leaves;
        // The values of a row do not lie one after another.
        let view = |x: &Tensor<3>| x.clone().swap_dims(0, 1);
        let rms = |[x, weight]: &[Tensor<3>; 2]| {
            fused::rms_norm(&view(x), &flat(weight), 1e-3).expect("the CPU")
        };
        let scale = |x: &Tensor<3>, epsilon: f64| {
            let squares = x.clone().square().mean_dim(2) + epsilon;
            x.clone() * squares.sqrt().recip()
        };
        let leaves = [x, weight];
        check(
            &format!("rms {shape:?}"),
            TOLERANCE,
            &leaves,
            rms,
            |[x, weight]| scale(&view(x), 1e-3) * weight.clone(),
        );
        let [x, weight] = leaves;
        let leaves = [x, weight, bias];
        let layer = |[x, weight, bias]: &[Tensor<3>; 3]| {
            fused::layer_norm(&view(x), &flat(weight), &flat(bias), 1e-3).expect("the CPU")
        };
        check(
            &format!("layer {shape:?}"),
            TOLERANCE,
            &leaves,
            layer,
            |[x, weight, bias]| {
                let x = view(x);
                let x = x.clone() - x.mean_dim(2);
                scale(&x, 1e-3) * weight.clone() + bias.clone()
            },
        );
    }
}

/// Activations in f64.
fn active(x: Tensor<3>, activation: Activation) -> Tensor<3> {
    match activation {
        Activation::Relu => relu(x),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => {
            let inner = x.clone() + x.clone().powi_scalar(3).mul_scalar(0.044_715);
            let inner = inner.mul_scalar((2.0 / std::f64::consts::PI).sqrt());
            x.mul_scalar(0.5) * (tanh(inner) + 1.0)
        }
        Activation::Silu => x.clone() * sigmoid(x),
        _ => x,
    }
}

const ACTIVATIONS: [Activation; 5] = [
    Activation::None,
    Activation::Relu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
];

#[test]
fn activations_and_gates() {
    for shape in SHAPES {
        for activation in ACTIVATIONS {
            let what = format!("{activation:?} {shape:?}");
            let wide = |number| {
                let data = noise(shape, number);
                let values = data.iter::<f32>().map(|x| 6.0 * x);
                TensorData::new(values.collect::<Vec<f32>>(), shape)
            };
            check(
                &what,
                TOLERANCE,
                &[wide(5)],
                |[x]| fused::activate(x, activation).expect("the CPU"),
                |[x]| active(x.clone(), activation),
            );
            check(
                &what,
                TOLERANCE,
                &[wide(6), noise(shape, 7)],
                |[gate, x]| fused::gated(gate, x, activation).expect("the CPU"),
                |[gate, x]| active(gate.clone(), activation) * x.clone(),
            );
        }
    }
}

#[test]
fn rotations() {
    for ([batch, length, half], heads, tables) in [
        ([1, 1, 1], 1, 1),
        ([2, 7, 10], 3, 2),
        ([2, 70, 32], 2, 1),
        ([1, 5, 40], 4, 1),
    ] {
        let constant = |number, dtype| {
            let data = noise([tables, 1, length, half], number);
            Tensor::<4>::from_data(data, (&device(), dtype))
        };
        let split = |x: &Tensor<3>| {
            let x = x.clone().reshape([batch, length, heads, 2 * half]);
            x.swap_dims(1, 2)
        };
        let merge = |x: Tensor<4>| x.reshape([batch, heads, length * 2 * half]);
        check(
            "rotation",
            TOLERANCE,
            &[noise([batch, length, heads * 2 * half], 1)],
            |[x]| {
                let (cos, sin) = (constant(2, DType::F32), constant(3, DType::F32));
                merge(fused::rotate(&split(x), &cos, &sin).expect("the CPU"))
            },
            |[x]| {
                let (cos, sin) = (constant(2, DType::F64), constant(3, DType::F64));
                let x = split(x);
                let (one, two) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
                let first = one.clone() * cos.clone() - two.clone() * sin.clone();
                merge(Tensor::cat(vec![first, two * cos + one * sin], 3))
            },
        );
    }
}

#[test]
fn dropout() {
    let mask = DropMask::new(0.2, 8, 3);
    for shape in SHAPES {
        let mut factors = vec![0.0; shape.iter().product()];
        mask.fill(0, &mut factors);
        let factors = TensorData::new(factors, shape);
        check(
            "dropout",
            TOLERANCE,
            &[noise(shape, 0)],
            |[x]| fused::dropout(x, mask).expect("the CPU"),
            |[x]| x.clone() * Tensor::from_data(factors.clone(), (&device(), DType::F64)),
        );
    }
}

/// A frozen weight, and an input without gradients.
#[test]
fn only_what_is_wanted_has_a_gradient() {
    let x = leaf::<3>(&noise([1, 9, 5], 0), DType::F32);
    let constant = |number| Tensor::<1>::from_data(noise([5], number), (&device(), DType::F32));
    let y = fused::layer_norm(&x, &constant(1), &constant(2), 1e-5).unwrap();
    assert!(x.grad(&y.sum().backward()).is_some());
    let weight = leaf::<1>(&noise([5], 1), DType::F32);
    let x = x.detach().set_require_grad(false);
    let y = fused::rms_norm(&x, &weight, 1e-5).unwrap();
    let gradients = (y.clone() * y).sum().backward();
    assert!(x.grad(&gradients).is_none());
    assert!(weight.grad(&gradients).is_some());
}
