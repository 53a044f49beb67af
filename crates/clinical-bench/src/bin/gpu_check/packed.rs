//! Packed weights on the device, unpacked by Burn's operations and read by this crate's kernels, beside f32 products of
//! the same values on the CPU.

use std::sync::Arc;

use anyhow::Result;
use burn::module::Param;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use clinical_kernels::{Packed, PackedMatrix, Packing, fused};
use clinical_nn::{Embedding, Linear};

use crate::check::{Checks, values};

const PACKINGS: [Packing; 6] = [
    Packing::Int8,
    Packing::Int4,
    Packing::Int4Min,
    Packing::Int4Affine,
    Packing::F16,
    Packing::BF16,
];

/// The largest difference in parts of the largest value. Burn may multiply f32 with the 10 bits of tf32; this crate's
/// kernels do not.
const TOLERANCES: [f32; 2] = [2e-3, 1e-4];

/// Rows that a kernel of this crate takes.
const FEW_ROWS: usize = 8;

/// Each output's inputs, and rows.
const SHAPES: [[usize; 3]; 5] = [
    [1, 4096, 11008],
    [8, 768, 3072],
    [3, 33, 17],
    [2, 1000, 2049],
    [40, 4096, 1024],
];

pub fn run(checks: &mut Checks) -> Result<()> {
    for own in [false, true] {
        clinical_kernels::set_gpu_kernels(own);
        if own && !fused::gpu_kernels(&checks.device) {
            continue;
        }
        for packing in PACKINGS {
            for shape in SHAPES {
                products(checks, packing, shape, own);
            }
            table(checks, packing, own);
        }
    }
    clinical_kernels::set_gpu_kernels(checks.kernels);
    Ok(())
}

/// Random weights and the same in f32 on the CPU, `[outputs, inputs]`.
fn random(packing: Packing, outputs: usize, inputs: usize) -> (Arc<PackedMatrix>, Tensor<2>) {
    let matrix = PackedMatrix::random(packing, outputs, inputs, 1.0, 7);
    let data = TensorData::new(matrix.to_f32(), [outputs, inputs]);
    let dense = Tensor::from_data(data, &clinical_kernels::cpu());
    (Arc::new(matrix), dense)
}

/// A parameter of some shape with these weights.
fn param(
    matrix: &Arc<PackedMatrix>,
    shape: [usize; 2],
    transposed: bool,
    device: &Device,
) -> Param<Tensor<2>> {
    let zeros = Tensor::<2>::zeros([1, 1], device).expand(shape);
    Packed::attach(Param::from_tensor(zeros), matrix.clone(), transposed)
}

fn products(checks: &mut Checks, packing: Packing, [rows, inputs, outputs]: [usize; 3], own: bool) {
    let (matrix, dense) = random(packing, outputs, inputs);
    let cpu = clinical_kernels::cpu();
    let x = Tensor::<2>::random([rows, inputs], Distribution::Normal(0.0, 1.0), &cpu);
    let expected = values(x.clone().matmul(dense.transpose()));
    // Where the CPU is checked, gradients keep its own kernels, which round activations, out of it.
    let device = checks.exact_device();
    let layer = Linear {
        weight: param(&matrix, [inputs, outputs], true, &device),
        bias: None,
        adapter: None,
    };
    let found = layer.forward(Tensor::<2>::from_data(x.into_data(), &device));
    let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let tolerance = TOLERANCES[usize::from(own && rows <= FEW_ROWS)];
    let name =
        format!("packed, {packing:?}, {rows}x{inputs} by {inputs}x{outputs}, own kernels {own}");
    checks.close(&name, &values(found), &expected, tolerance * largest);
}

fn table(checks: &mut Checks, packing: Packing, own: bool) {
    let (entries, width) = (3000, 200);
    let (matrix, dense) = random(packing, entries, width);
    let device = checks.exact_device();
    let table = Embedding {
        weight: param(&matrix, [entries, width], false, &device),
    };
    let ids = [0, 2999, 17, 17];
    let found = table.forward(Tensor::<2, Int>::from_ints([ids], &device));
    let ids = Tensor::<1, Int>::from_ints(ids, &dense.device());
    let expected = values(dense.select(0, ids));
    let name = format!("packed, {packing:?}, rows of a table, own kernels {own}");
    checks.close(&name, &values(found), &expected, 1e-5);
}
