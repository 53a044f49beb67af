//! Adapters against dense weights to which they were added, by Burn's own operations.

use std::sync::Arc;

use burn::tensor::{Device, Distribution, Tolerance};
use clinical_kernels::{Activation, Packed, PackedMatrix, Packing};

use super::*;

const SHAPE: [usize; 3] = [70, 33, 3];

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let values = Tensor::<D>::random(shape, Distribution::Normal(0.0, 0.2), device);
    // Without the history of a device where gradients flow.
    Tensor::from_data(values.into_data(), device)
}

fn adapter([d_input, d_output, rank]: [usize; 3], device: &Device) -> Adapter {
    Adapter {
        a: Param::from_tensor(random([d_input, rank], device)),
        b: Param::from_tensor(random([rank, d_output], device)),
        scale: 1.7,
        dropout: 0.0,
        dropout_seed: None,
    }
}

fn layer([d_input, d_output, _]: [usize; 3], device: &Device) -> Linear {
    Linear {
        weight: Param::from_tensor(random([d_input, d_output], device)),
        bias: Some(Param::from_tensor(random([d_output], device))),
        adapter: None,
    }
}

/// `W + scale A B`, as a layer.
fn composed(layer: &Linear) -> Linear {
    let adapter = layer.adapter.as_ref().unwrap();
    let delta = adapter.a.val().matmul(adapter.b.val()) * adapter.scale;
    let weight = (layer.weight.val() + delta).detach();
    Linear {
        weight: Param::from_tensor(weight),
        bias: layer.bias.clone(),
        adapter: None,
    }
}

fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    let (found, expected) = (found.into_data(), expected.into_data());
    found.assert_approx_eq::<f32>(&expected, Tolerance::absolute(tolerance));
}

#[test]
fn an_adapter_equals_the_weights_it_was_added_to() {
    let plain = clinical_kernels::cpu();
    for device in [plain.clone(), plain.autodiff()] {
        let [d_input, d_output, _] = SHAPE;
        let mut layer = layer(SHAPE, &device);
        layer.attach("layer", adapter(SHAPE, &device)).unwrap();
        let dense = composed(&layer);
        for rows in [1, 5, 40] {
            let x = random([2, rows, d_input], &device);
            let residual = random([2, rows, d_output], &device);
            close(layer.forward(x.clone()), dense.forward(x.clone()), 1e-6);
            for activation in [Activation::Silu, Activation::Gelu, Activation::Relu] {
                let found = layer.forward_with(x.clone(), activation);
                close(found, dense.forward_with(x.clone(), activation), 1e-6);
            }
            let found = layer.forward_onto(residual.clone(), x.clone());
            close(found, dense.forward_onto(residual.clone(), x.clone()), 1e-6);
            let both = layer.run(x.clone(), Activation::Silu, Some(residual.clone()));
            close(both, dense.run(x, Activation::Silu, Some(residual)), 1e-6);
        }
    }
}

#[test]
fn a_layer_without_an_adapter_computes_the_same_bits() {
    let device = clinical_kernels::cpu();
    let [d_input, _, _] = SHAPE;
    let mut layer = layer(SHAPE, &device);
    let x = random([5, d_input], &device);
    let (weight, bias) = (layer.weight.val(), layer.bias.as_ref().unwrap().val());
    let then = Then {
        bias: Some(&bias),
        activation: Activation::Gelu,
        residual: None,
    };
    let expected = match fused::linear(&x, &weight, then) {
        Some(y) => y.into_data(),
        None => crate::activate(
            x.clone().matmul(weight) + bias.unsqueeze(),
            Activation::Gelu,
        )
        .into_data(),
    };
    let run = |layer: &Linear| layer.forward_with(x.clone(), Activation::Gelu).into_data();
    run(&layer).assert_eq(&expected, true);
    layer.attach("layer", adapter(SHAPE, &device)).unwrap();
    assert!(run(&layer) != expected);
    assert_eq!(detach_adapters(&mut layer).len(), 1);
    run(&layer).assert_eq(&expected, true);
    // A new one for training changes nothing until B does.
    let new = Adapter::new(&layer, "layer", 4, 2.0, 7);
    layer.attach("layer", new).unwrap();
    close(
        layer.forward_with(x.clone(), Activation::Gelu),
        Tensor::from_data(expected, &device),
        0.0,
    );
}

fn packed_layer(packing: Packing, device: &Device) -> (Linear, Tensor<2>) {
    let [d_input, d_output, _] = SHAPE;
    let mut layer = layer(SHAPE, device);
    let turned = layer.weight.val().transpose().into_data();
    let values: Vec<f32> = turned.try_to_vec().unwrap();
    let matrix = PackedMatrix::new(packing, d_output, d_input, &values);
    let kept = TensorData::new(matrix.to_f32(), [d_output, d_input]);
    let dense = Tensor::<2>::from_data(kept, device).transpose();
    layer.weight = Packed::attach(layer.weight, Arc::new(matrix), true);
    layer.attach("layer", adapter(SHAPE, device)).unwrap();
    (layer, dense)
}

#[test]
fn packed_weights_take_an_adapter() {
    let plain = clinical_kernels::cpu();
    let [d_input, _, _] = SHAPE;
    for packing in [
        Packing::F16,
        Packing::BF16,
        Packing::Int8,
        Packing::Int4Affine,
    ] {
        for device in [plain.clone(), plain.clone().autodiff()] {
            let (layer, _) = packed_layer(packing, &device);
            let alone = Linear {
                adapter: None,
                ..layer.clone()
            };
            let x = random([3, 4, d_input], &device);
            let delta = layer.adapter.as_ref().unwrap().delta();
            let flat = x.clone().reshape([12, d_input]).matmul(delta);
            let expected = alone.forward(x.clone()) + flat.reshape([3, 4, SHAPE[1]]);
            close(layer.forward(x), expected, 1e-6);
        }
    }
}

/// A layer of which neither weights nor bias take gradients.
fn frozen(layer: Linear) -> Linear {
    train_adapters_only(layer)
}

#[test]
fn gradients_are_those_of_the_composed_weights() {
    let device = clinical_kernels::cpu().autodiff();
    let [d_input, _, _] = SHAPE;
    let mut dense = layer(SHAPE, &device);
    dense.attach("layer", adapter(SHAPE, &device)).unwrap();
    let weight = dense.weight.val().into_data();
    let cases = [Packing::F16, Packing::Int8, Packing::Int4Affine].map(|packing| {
        let (layer, weight) = packed_layer(packing, &device);
        (layer, weight.into_data())
    });
    for (layer, weight) in cases.into_iter().chain([(dense, weight)]) {
        let layer = frozen(layer);
        let own = layer.adapter.as_ref().unwrap();
        let x = random([6, d_input], &device).require_grad();
        let y = layer.forward_with(x.clone(), Activation::Silu);
        let gradients = y.powf_scalar(2.0).sum().backward();
        // Burn's own operations on tensors of their own.
        let leaf =
            |tensor: Tensor<2>| Tensor::<2>::from_data(tensor.into_data(), &device).require_grad();
        let (a, b, same) = (leaf(own.a.val()), leaf(own.b.val()), leaf(x.clone()));
        let weight = Tensor::<2>::from_data(weight, &device);
        let all = weight + a.clone().matmul(b.clone()) * own.scale;
        let y = same.clone().matmul(all) + layer.bias.as_ref().unwrap().val().unsqueeze();
        let y = burn::tensor::activation::silu(y);
        let expected = y.powf_scalar(2.0).sum().backward();
        for (found, leaf) in [(own.a.val(), a), (own.b.val(), b), (x, same)] {
            let found = found.grad(&gradients).expect("a gradient");
            close(found, leaf.grad(&expected).unwrap(), 2e-5);
        }
        assert!(layer.weight.base().grad(&gradients).is_none());
        let bias = layer.bias.as_ref().unwrap().val();
        assert!(bias.grad(&gradients).is_none());
    }
}

#[test]
fn merged_weights_equal_the_adapter() {
    let device = clinical_kernels::cpu();
    let [d_input, _, _] = SHAPE;
    for dtype in [FloatDType::F32, FloatDType::F16] {
        let mut layer = layer(SHAPE, &device);
        layer.weight = layer.weight.map(|weight| weight.cast(dtype));
        layer.bias = None;
        let id = layer.weight.id;
        layer.attach("layer", adapter(SHAPE, &device)).unwrap();
        let x = random([4, d_input], &device).cast(dtype);
        let expected = layer.forward(x.clone()).cast(FloatDType::F32);
        assert!(layer.merge("layer").unwrap());
        assert_eq!((layer.weight.id, layer.dtype()), (id, dtype.into()));
        assert!(adapted_layers(&layer).is_empty());
        let found = layer.forward(x).cast(FloatDType::F32);
        let near = if dtype == FloatDType::F32 { 1e-6 } else { 4e-3 };
        close(found, expected, near);
        assert!(!layer.merge("layer").unwrap());
    }
}

#[test]
fn outputs_are_resized_with_their_adapter() {
    let device = clinical_kernels::cpu();
    let [d_input, d_output, _] = SHAPE;
    let mut layer = layer(SHAPE, &device);
    layer.attach("head", adapter(SHAPE, &device)).unwrap();
    let x = random([4, d_input], &device);
    let before = layer.forward(x.clone());
    layer.resize_outputs(d_output + 3);
    let after = layer.forward(x.clone());
    assert_eq!(after.dims(), [4, d_output + 3]);
    close(after.clone().narrow(1, 0, d_output), before.clone(), 1e-6);
    let mean = before.clone().mean_dim(1).repeat(&[1, 3]);
    close(after.narrow(1, d_output, 3), mean, 1e-5);
    layer.resize_outputs(5);
    close(layer.forward(x), before.narrow(1, 0, 5), 1e-6);
}

#[derive(Module, Debug)]
struct Block {
    first: Linear,
    second: Option<Linear>,
}

#[derive(Module, Debug)]
struct Stack {
    block: Vec<Block>,
    head: Linear,
}

crate::linears!(Block: first, second);
crate::linears!(Stack: block, head);

fn stack(device: &Device) -> Stack {
    let square = || layer([8, 8, 0], device);
    let block = |second: bool| Block {
        first: square(),
        second: second.then(square),
    };
    Stack {
        block: vec![block(true), block(false)],
        head: square(),
    }
}

fn attach_all(model: &mut Stack) {
    let device = model.head.weight.lazy_device();
    model.linears("", &mut |path, layer| {
        if path != "head" {
            layer.attach(path, adapter([8, 8, 2], &device)).unwrap();
        }
    });
}

const ADAPTED: [&str; 3] = ["block.0.first", "block.0.second", "block.1.first"];

#[test]
fn layers_are_found_by_their_paths() {
    let device = clinical_kernels::cpu();
    let mut model = stack(&device);
    let count = model.num_params();
    let mut paths = Vec::new();
    model.linears("model", &mut |path, _| paths.push(path.to_owned()));
    assert_eq!(paths.len(), 4);
    assert_eq!(paths[3], "model.head");
    attach_all(&mut model);
    assert_eq!(adapted_layers(&model), ADAPTED);
    assert_eq!(model.num_params(), count + 3 * 2 * 16);
    let taken = detach_adapters(&mut model);
    assert!(taken.iter().map(|(path, _)| path.as_str()).eq(ADAPTED));
    assert_eq!(model.num_params(), count);
}

#[test]
fn all_adapters_are_merged_or_none() {
    let device = clinical_kernels::cpu();
    let mut model = stack(&device);
    attach_all(&mut model);
    let x = random([2, 8], &device);
    let expected = model.block[1].first.forward(x.clone());
    let mut packed = model.clone();
    let matrix = PackedMatrix::new(Packing::Int8, 8, 8, &[0.5; 64]);
    let last = &mut packed.block[1].first;
    last.weight = Packed::attach(last.weight.clone(), Arc::new(matrix), true);
    let refused = merge_adapters(&mut packed).unwrap_err();
    assert!(matches!(&refused, AdapterError::Packed { path } if path == "block.1.first"));
    assert_eq!(adapted_layers(&packed), ADAPTED);
    assert_eq!(merge_adapters(&mut model).unwrap(), 3);
    assert!(adapted_layers(&model).is_empty());
    close(model.block[1].first.forward(x), expected, 1e-6);
}

#[test]
fn records_keep_adapters() {
    let device = clinical_kernels::cpu();
    let mut model = stack(&device);
    attach_all(&mut model);
    let mut other = stack(&device);
    attach_all(&mut other);
    let x = random([2, 8], &device);
    let run = |model: &Stack| model.block[0].first.forward(x.clone()).into_data();
    assert!(run(&model) != run(&other));
    let other = other.load_record(model.clone().into_record());
    run(&other).assert_eq(&run(&model), true);
}

#[test]
fn an_adapter_of_another_layer_is_refused() {
    let device = clinical_kernels::cpu();
    let mut layer = layer(SHAPE, &device);
    let [d_input, d_output, rank] = SHAPE;
    for shape in [
        [d_output, d_input, rank],
        [d_input, 1, rank],
        [1, d_output, rank],
        [d_input, d_output, 0],
    ] {
        let refused = layer.attach("q", adapter(shape, &device));
        assert!(matches!(refused, Err(AdapterError::Shape { .. })));
    }
    let endless = Adapter {
        scale: f64::INFINITY,
        ..adapter(SHAPE, &device)
    };
    assert!(matches!(
        layer.attach("q", endless),
        Err(AdapterError::Scale { .. })
    ));
    assert!(layer.adapter.is_none());
}

#[test]
fn new_adapters_depend_on_seed_and_path_alone() {
    let device = clinical_kernels::cpu();
    let layer = layer(SHAPE, &device);
    let draw = |path: &str, seed| {
        let adapter = Adapter::new(&layer, path, 4, 2.0, seed);
        assert_eq!(adapter.rank(), 4);
        adapter.a.val().into_data().try_to_vec::<f32>().unwrap()
    };
    let first = draw("q", 1);
    assert_eq!(first, draw("q", 1));
    assert!(first != draw("q", 2) && first != draw("v", 1));
    let bound = 1.0 / (SHAPE[0] as f32).sqrt();
    assert!(first.iter().all(|value| value.abs() <= bound));
    assert!(first.iter().any(|value| value.abs() > bound / 2.0));
    let mean = first.iter().sum::<f32>() / first.len() as f32;
    assert!(mean.abs() < bound / 5.0);
}
