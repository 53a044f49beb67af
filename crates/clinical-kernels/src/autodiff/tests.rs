//! Each operation against Burn's own on a device with gradients.

use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Device, Int, Tensor, TensorData};
use proptest::prelude::*;

use crate::float::Activation;
use crate::fused::{self, Then};
use crate::{Packed, PackedMatrix, Packing};

pub(super) const ACTIVATIONS: [Activation; 5] = [
    Activation::None,
    Activation::Relu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Silu,
];

/// The CPU with gradients, with and without Burn's gradient checkpointing.
pub(super) fn devices() -> [Device; 2] {
    let plain = Device::flex().autodiff();
    [plain.clone(), plain.gradient_checkpointing()]
}

/// Values from -1 to 1, the same at every run.
pub(super) fn values<const D: usize>(shape: [usize; D], seed: u64) -> TensorData {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values = (0..shape.iter().product()).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    });
    TensorData::new(values.collect::<Vec<f32>>(), shape)
}

/// What an operation gives, and the gradients of its inputs: `None` where none is wanted.
pub(super) type Found = Vec<Option<Vec<f32>>>;

/// That two runs agree within a part of the largest value of each tensor.
#[track_caller]
pub(super) fn near(found: &Found, expected: &Found, tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.is_some(), expected.is_some(), "{what}: gradient {at}");
        let (Some(found), Some(expected)) = (found, expected) else {
            continue;
        };
        assert_eq!(found.len(), expected.len(), "{what}: tensor {at}");
        let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() <= tolerance * largest,
                "{what}: value {i} of tensor {at} is {found}, not {expected}; the largest is {largest}"
            );
        }
    }
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

/// A dense layer and which of `x`, weight, bias and residual are there and want a gradient.
#[derive(Debug, Clone)]
struct Layer {
    sizes: [usize; 3],
    activation: Activation,
    bias: bool,
    residual: bool,
    wanted: [bool; 4],
    /// The weight is a transposed view.
    turned: bool,
}

/// The result and the gradients of `sum(y * c)`, by `forward`.
fn run(
    layer: &Layer,
    device: &Device,
    forward: impl Fn(&Tensor<2>, &Tensor<2>, Then<'_>) -> Tensor<2>,
) -> Found {
    let [m, n, k] = layer.sizes;
    let leaf = |shape: [usize; 2], seed, wanted: bool| {
        let tensor = Tensor::<2>::from_data(values(shape, seed), device);
        tensor.set_require_grad(wanted)
    };
    let [x_wanted, weight_wanted, bias_wanted, residual_wanted] = layer.wanted;
    let x = leaf([m, k], 1, x_wanted);
    let stored = leaf(if layer.turned { [n, k] } else { [k, n] }, 2, weight_wanted);
    let weight = match layer.turned {
        true => stored.clone().transpose(),
        false => stored.clone(),
    };
    let bias = Tensor::<1>::from_data(values([n], 3), device).set_require_grad(bias_wanted);
    let residual = leaf([m, n], 4, residual_wanted);
    let then = Then {
        bias: layer.bias.then_some(&bias),
        activation: layer.activation,
        residual: layer.residual.then_some(&residual),
    };
    let y = forward(&x, &weight, then);
    let out = numbers(y.clone());
    let any = [
        x_wanted,
        weight_wanted,
        layer.bias && bias_wanted,
        layer.residual && residual_wanted,
    ];
    if !any.contains(&true) {
        return vec![Some(out)];
    }
    let c = Tensor::<2>::from_data(values([m, n], 5), device);
    let gradients = (y * c).sum().backward();
    vec![
        Some(out),
        x.grad(&gradients).map(numbers),
        stored.grad(&gradients).map(numbers),
        bias.grad(&gradients).map(numbers),
        residual.grad(&gradients).map(numbers),
    ]
}

fn burns(x: &Tensor<2>, weight: &Tensor<2>, then: Then<'_>) -> Tensor<2> {
    use burn::tensor::activation::{gelu, gelu_approximate, relu, silu};
    let mut y = x.clone().matmul(weight.clone());
    if let Some(bias) = then.bias {
        y = y + bias.clone().unsqueeze();
    }
    y = match then.activation {
        Activation::None => y,
        Activation::Relu => relu(y),
        Activation::Gelu => gelu(y),
        Activation::GeluTanh => gelu_approximate(y),
        Activation::Silu => silu(y),
    };
    match then.residual {
        Some(residual) => y + residual.clone(),
        None => y,
    }
}

fn ours(x: &Tensor<2>, weight: &Tensor<2>, then: Then<'_>) -> Tensor<2> {
    fused::linear(x, weight, then).expect("the kernel applies")
}

fn check(layer: &Layer) {
    for device in devices() {
        let expected = run(layer, &device, burns);
        near(
            &run(layer, &device, ours),
            &expected,
            1e-6,
            &format!("{layer:?}"),
        );
    }
}

const SIZES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [1, 33, 17],
    [2, 300, 40],
    [5, 40, 70],
    [8, 16, 8],
    [9, 31, 7],
    [70, 129, 300],
    [513, 20, 33],
    [300, 40, 17],
];

#[test]
fn dense_layers_have_burns_gradients() {
    for sizes in SIZES {
        for activation in ACTIVATIONS {
            for (bias, residual) in [(false, false), (true, false), (true, true)] {
                check(&Layer {
                    sizes,
                    activation,
                    bias,
                    residual,
                    wanted: [true; 4],
                    turned: residual,
                });
            }
        }
    }
}

/// Sums of many rows, which Burn takes one after another, against sums in f64.
#[test]
fn the_gradient_of_a_bias_is_exact_over_many_rows() {
    let layer = Layer {
        sizes: [5000, 37, 1],
        activation: Activation::None,
        bias: true,
        residual: false,
        wanted: [false, false, true, false],
        turned: false,
    };
    let found = run(&layer, &devices()[0], ours);
    let c: Vec<f32> = values([5000, 37], 5).try_to_vec().unwrap();
    let column = |j: usize| {
        c.iter()
            .skip(j)
            .step_by(37)
            .map(|&x| f64::from(x))
            .sum::<f64>()
    };
    let exact = (0..37).map(|j| column(j) as f32).collect();
    near(&found[3..4].to_vec(), &vec![Some(exact)], 5e-7, "bias");
}

/// Frozen weights, constant inputs, and nothing wanted at all.
#[test]
fn gradients_go_only_where_they_are_wanted() {
    for wanted in 0..16 {
        for activation in [Activation::None, Activation::Relu, Activation::Silu] {
            check(&Layer {
                sizes: [5, 40, 70],
                activation,
                bias: true,
                residual: wanted % 3 != 0,
                wanted: std::array::from_fn(|bit| wanted >> bit & 1 == 1),
                turned: wanted % 2 == 0,
            });
        }
    }
}

/// An input that is used twice, and a result that is: gradients are added, and none is changed in its place.
#[test]
fn shared_inputs_and_results_add_up() {
    let values = |shape, seed| values(shape, seed);
    for device in devices() {
        let found = [ours, burns].map(|forward| {
            let x = Tensor::<2>::from_data(values([9, 20], 1), &device).require_grad();
            let weight = Tensor::<2>::from_data(values([20, 20], 2), &device).require_grad();
            let then = Then {
                activation: Activation::Silu,
                residual: Some(&x),
                ..Then::default()
            };
            let y = forward(&x, &weight, then);
            let then = Then {
                activation: Activation::Gelu,
                residual: Some(&y),
                ..Then::default()
            };
            let z = forward(&y, &weight, then) + y.clone();
            let gradients = (z.clone() * z).sum().backward();
            vec![
                x.grad(&gradients).map(numbers),
                weight.grad(&gradients).map(numbers),
            ]
        });
        near(&found[0], &found[1], 2e-6, "twice");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let layer = Layer {
        sizes: [333, 270, 517],
        activation: Activation::Gelu,
        bias: true,
        residual: true,
        wanted: [true; 4],
        turned: false,
    };
    let device = Device::flex().autodiff();
    for turned in [false, true] {
        let layer = Layer {
            turned,
            ..layer.clone()
        };
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| run(&layer, &device, ours))
        };
        let one = with(1);
        for threads in [2, 3] {
            assert!(one == with(threads), "{threads} threads");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn dense_layers_of_any_size(
        m in 1usize..40,
        n in 1usize..70,
        k in 1usize..90,
        which in 0usize..5,
        bits in 0u32..128,
    ) {
        check(&Layer {
            sizes: [m, n, k],
            activation: ACTIVATIONS[which],
            bias: bits & 1 != 0,
            residual: bits & 2 != 0,
            wanted: std::array::from_fn(|bit| bits >> (bit + 2) & 1 == 1),
            turned: bits & 64 != 0,
        });
    }
}

const PACKINGS: [Packing; 4] = [
    Packing::Int8,
    Packing::Int4,
    Packing::Int4Affine,
    Packing::BF16,
];

/// Packed weights `[outputs, inputs]` and the same as a tensor `[inputs, outputs]`.
fn packed(packing: Packing, [n, k]: [usize; 2], device: &Device) -> (Param<Tensor<2>>, Tensor<2>) {
    let data = values([n, k], 2);
    let matrix = PackedMatrix::new(packing, n, k, data.as_slice::<f32>().unwrap());
    let dense = TensorData::new(matrix.to_f32(), [n, k]);
    let like = Param::from_tensor(Tensor::zeros([k, n], device));
    let param = Packed::attach(like, Arc::new(matrix), true);
    (param, Tensor::<2>::from_data(dense, device).transpose())
}

/// Activations are not rounded, so packed weights are like those that they become.
#[test]
fn packed_weights_have_the_gradients_of_their_values() {
    for packing in PACKINGS {
        for [m, n, k] in [[1, 5, 3], [9, 40, 70], [70, 129, 300], [20, 200, 33]] {
            for device in devices() {
                let (param, dense) = packed(packing, [n, k], &device);
                let layer = Layer {
                    sizes: [m, n, k],
                    activation: Activation::GeluTanh,
                    bias: true,
                    residual: m > 1,
                    wanted: [true, false, true, true],
                    turned: false,
                };
                let ours = |x: &Tensor<2>, _: &Tensor<2>, then: Then<'_>| {
                    let weight = crate::packed(&param).unwrap();
                    weight.linear_then(x, then).expect("the kernel applies")
                };
                let burns = |x: &Tensor<2>, _: &Tensor<2>, then: Then<'_>| burns(x, &dense, then);
                let expected = run(&layer, &device, burns);
                let what = format!("{packing:?} {layer:?}");
                near(&run(&layer, &device, ours), &expected, 1e-6, &what);
            }
        }
    }
}

/// Rows, vocabulary and inputs, and whether the weight is a transposed table.
#[derive(Debug, Clone, Copy)]
struct Head {
    sizes: [usize; 3],
    turned: bool,
    bias: bool,
    wanted: [bool; 3],
    /// What the loss is multiplied by before the gradients are taken.
    factor: f32,
}

type Loss<'a> = dyn Fn(&Tensor<2>, &Tensor<2>, Option<&Tensor<1>>, &[usize]) -> Tensor<1> + 'a;

/// The loss and its gradients.
fn run_head(head: Head, device: &Device, loss: &Loss<'_>) -> Found {
    let [m, n, k] = head.sizes;
    let [of_x, of_weight, of_bias] = head.wanted;
    let leaf = |shape, seed, wanted: bool| {
        let tensor = Tensor::<2>::from_data(values(shape, seed), device) * 2.0;
        tensor.detach().set_require_grad(wanted)
    };
    let x = leaf([m, k], 1, of_x);
    let stored = leaf(if head.turned { [n, k] } else { [k, n] }, 2, of_weight);
    let weight = match head.turned {
        true => stored.clone().transpose(),
        false => stored.clone(),
    };
    let bias = Tensor::<1>::from_data(values([n], 3), device).set_require_grad(of_bias);
    let labels: Vec<usize> = (0..m).map(|row| row * 7919 % n).collect();
    let loss = loss(&x, &weight, head.bias.then_some(&bias), &labels);
    let mut found = vec![Some(numbers(loss.clone()))];
    if of_x || of_weight || of_bias && head.bias {
        let gradients = (loss * head.factor).backward();
        found.push(x.grad(&gradients).map(numbers));
        found.push(stored.grad(&gradients).map(numbers));
        found.push(bias.grad(&gradients).map(numbers));
    }
    found
}

fn burns_loss(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    labels: &[usize],
) -> Tensor<1> {
    let mut logits = x.clone().matmul(weight.clone());
    if let Some(bias) = bias {
        logits = logits + bias.clone().unsqueeze();
    }
    let labels: Vec<i64> = labels.iter().map(|&label| label as i64).collect();
    let shape = [labels.len(), 1];
    let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, shape), &x.device());
    let found = burn::tensor::activation::log_softmax(logits, 1).gather(1, labels);
    found.mean().neg()
}

fn our_loss(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    labels: &[usize],
) -> Tensor<1> {
    fused::cross_entropy(x, weight, bias, labels).expect("the kernel applies")
}

#[test]
fn the_cross_entropy_of_a_vocabulary_has_burns_gradients() {
    for sizes in [
        [1, 1, 1],
        [1, 37, 5],
        [3, 5, 4],
        [9, 100, 33],
        [70, 1030, 64],
        [600, 33, 17],
    ] {
        for turned in [false, true] {
            for bits in 0..16u32 {
                let head = Head {
                    sizes,
                    turned,
                    bias: bits & 8 != 0,
                    wanted: std::array::from_fn(|bit| bits >> bit & 1 == 1),
                    factor: if turned { 1.0 } else { 3.5 },
                };
                let what = format!("{head:?}");
                for device in devices() {
                    let expected = run_head(head, &device, &burns_loss);
                    near(&run_head(head, &device, &our_loss), &expected, 1e-6, &what);
                }
                // Without gradients the loss is the same, bit by bit.
                let plain = Head {
                    wanted: [false; 3],
                    ..head
                };
                let loss = run_head(plain, &devices()[0], &our_loss);
                assert_eq!(loss[0], run_head(plain, &Device::flex(), &our_loss)[0]);
            }
        }
    }
}

#[test]
fn a_packed_vocabulary_has_the_gradients_of_its_values() {
    for packing in PACKINGS {
        let device = &devices()[0];
        let (param, dense) = packed(packing, [130, 70], device);
        let head = Head {
            sizes: [40, 130, 70],
            turned: false,
            bias: true,
            wanted: [true, false, true],
            factor: 1.0,
        };
        let ours = |x: &Tensor<2>, _: &Tensor<2>, bias: Option<&Tensor<1>>, labels: &[usize]| {
            let weight = crate::packed(&param).unwrap();
            weight.cross_entropy(x, bias, labels).unwrap()
        };
        let burns = |x: &Tensor<2>, _: &Tensor<2>, bias: Option<&Tensor<1>>, labels: &[usize]| {
            burns_loss(x, &dense, bias, labels)
        };
        let expected = run_head(head, device, &burns);
        near(
            &run_head(head, device, &ours),
            &expected,
            2e-6,
            &format!("{packing:?}"),
        );
    }
}

#[test]
fn the_cross_entropy_does_not_depend_on_threads() {
    let head = Head {
        sizes: [530, 1030, 70],
        turned: true,
        bias: true,
        wanted: [true; 3],
        factor: 1.0,
    };
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let run = || run_head(head, &devices()[0], &our_loss);
        pool.unwrap().install(run)
    };
    let one = with(1);
    assert!(one == with(2) && one == with(3));
}

#[test]
#[should_panic(expected = "labels are below 5")]
fn a_label_outside_the_vocabulary_panics() {
    let device = Device::flex();
    let x = Tensor::<2>::from_data(values([2, 3], 1), &device);
    let weight = Tensor::<2>::from_data(values([3, 5], 2), &device);
    let _ = fused::cross_entropy(&x, &weight, None, &[4, 5]);
}
