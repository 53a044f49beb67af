//! The products of `clinical-kernels` alone: how near they come to the speed of memory and of arithmetic.
//!
//! `cargo bench --bench kernels -- int8` measures one packing, `-- f32` the products of plain weights; without an
//! argument all.

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Distribution, Tensor};
use clinical_kernels::fused::{self, Then};
use clinical_kernels::{PackedMatrix, Packing};

/// `rows, inputs, outputs`: the shapes of t5-base, a 1B and a 7B LLaMA, one row and many.
const SHAPES: [[usize; 3]; 12] = [
    [1, 768, 768],
    [1, 768, 3072],
    [1, 768, 32128],
    [1, 2048, 5632],
    [1, 4096, 11008],
    [1, 11008, 4096],
    [4, 768, 32128],
    [8, 768, 3072],
    [512, 768, 768],
    [512, 3072, 768],
    [1024, 2048, 5632],
    [512, 4096, 11008],
];

/// Weights that a few rows go over are spread over this much memory, so that they come from there and not from a cache.
const SPREAD: usize = 200_000_000;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    println!(
        "{:?}, {} threads",
        clinical_kernels::instruction_set(),
        clinical_kernels::threads()
    );
    // Cargo passes `--bench` too.
    let names: Vec<&String> = wanted
        .iter()
        .filter(|word| !word.starts_with('-'))
        .collect();
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|word| *word == name);
    if is_wanted("f32") {
        SHAPES.into_iter().for_each(measure_plain);
    }
    for (name, packing) in [
        ("int8", Packing::Int8),
        ("int8-mixed", Packing::Int8Mixed),
        ("int8-wide", Packing::Int8Wide),
        ("int4", Packing::Int4),
        ("int4-min", Packing::Int4Min),
        ("int4-affine", Packing::Int4Affine),
        ("f16", Packing::F16),
        ("bf16", Packing::BF16),
    ] {
        if !is_wanted(name) {
            continue;
        }
        for shape in SHAPES {
            measure(name, packing, shape);
        }
        pack(name, packing);
    }
}

/// Quantising while loading, without the reading.
fn pack(name: &str, packing: Packing) {
    let (outputs, inputs) = (4096, 4096);
    let values: Vec<f32> = (0..outputs * inputs)
        .map(|i| (i * 7919 % 1_000_003) as f32 / 500_000.0 - 1.0)
        .collect();
    let start = Instant::now();
    black_box(PackedMatrix::new(
        packing,
        outputs,
        inputs,
        black_box(&values),
    ));
    let seconds = start.elapsed().as_secs_f64();
    let rate = values.len() as f64 / seconds / 1e6;
    println!("{name:>11} packing {inputs} x {outputs}: {rate:.0} million values a second");
}

fn measure(name: &str, packing: Packing, [rows, inputs, outputs]: [usize; 3]) {
    let bytes = packing.bytes(outputs, inputs).expect("small shapes");
    let count = if rows <= 8 {
        (SPREAD / bytes).clamp(1, 64)
    } else {
        1
    };
    let matrices: Vec<PackedMatrix> = (0..count)
        .map(|i| PackedMatrix::random(packing, outputs, inputs, 0.02, i as u64))
        .collect();
    let x: Vec<f32> = (0..rows * inputs)
        .map(|i| (i * 7919 % 1013) as f32 / 500.0 - 1.0)
        .collect();
    let mut seconds: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            for matrix in &matrices {
                black_box(matrix.multiply(black_box(&x), rows, None));
            }
            start.elapsed().as_secs_f64() / count as f64
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    println!(
        "{name:>11} {rows:>4} x {inputs:>5} x {outputs:>5}: {:>8.3} ms {:>5.1} GB/s {:>4.0} GOP/s",
        median * 1e3,
        bytes as f64 / median / 1e9,
        2.0 * (rows * inputs * outputs) as f64 / median / 1e9
    );
}

/// f32 weights in both orders: `[outputs, inputs]` as files have them, and `[inputs, outputs]`.
fn measure_plain([rows, inputs, outputs]: [usize; 3]) {
    let device = clinical_kernels::cpu();
    let bytes = 4 * inputs * outputs;
    let count = if rows <= 8 {
        (SPREAD / bytes).clamp(1, 64)
    } else {
        1
    };
    let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device);
    let weights: Vec<Tensor<2>> = (0..count).map(|_| random([outputs, inputs])).collect();
    let x = random([rows, inputs]);
    for (name, turned) in [("f32 as filed", true), ("f32 turned", false)] {
        let view = |weight: &Tensor<2>| match turned {
            true => weight.clone().transpose(),
            false => weight.clone().reshape([inputs, outputs]),
        };
        let views: Vec<Tensor<2>> = weights.iter().map(view).collect();
        let mut seconds: Vec<f64> = (0..7)
            .map(|_| {
                let start = Instant::now();
                for weight in &views {
                    let y = fused::linear(black_box(&x), weight, Then::default());
                    black_box(y.expect("f32 on the CPU"));
                }
                start.elapsed().as_secs_f64() / count as f64
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        println!(
            "{name:>12} {rows:>4} x {inputs:>5} x {outputs:>5}: {:>8.3} ms {:>5.1} GB/s {:>4.0} GFLOP/s",
            median * 1e3,
            bytes as f64 / median / 1e9,
            2.0 * (rows * inputs * outputs) as f64 / median / 1e9
        );
    }
}
