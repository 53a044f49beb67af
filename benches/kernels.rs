//! The products of `clinical-kernels` alone: how near they come to the speed of memory and of arithmetic.
//!
//! `cargo bench --bench kernels -- int8` measures one format; without an argument all.

use std::hint::black_box;
use std::time::Instant;

use clinical_kernels::{Format, PackedMatrix};

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
    for (name, format) in [
        ("int8", Format::Int8),
        ("int8-mixed", Format::Int8Mixed),
        ("int8-wide", Format::Int8Wide),
        ("int4", Format::Int4),
        ("int4-min", Format::Int4Min),
        ("int4-affine", Format::Int4Affine),
        ("f16", Format::F16),
        ("bf16", Format::BF16),
    ] {
        // Cargo passes `--bench` too.
        let asked = wanted.iter().filter(|word| !word.starts_with('-'));
        if asked.clone().count() > 0 && !asked.clone().any(|word| word == name) {
            continue;
        }
        for shape in SHAPES {
            measure(name, format, shape);
        }
        packing(name, format);
    }
}

/// Quantising while loading, without the reading.
fn packing(name: &str, format: Format) {
    let (outputs, inputs) = (4096, 4096);
    let values: Vec<f32> = (0..outputs * inputs)
        .map(|i| (i * 7919 % 1_000_003) as f32 / 500_000.0 - 1.0)
        .collect();
    let start = Instant::now();
    black_box(PackedMatrix::new(
        format,
        outputs,
        inputs,
        black_box(&values),
    ));
    let seconds = start.elapsed().as_secs_f64();
    let rate = values.len() as f64 / seconds / 1e6;
    println!("{name:>11} packing {inputs} x {outputs}: {rate:.0} million values a second");
}

fn measure(name: &str, format: Format, [rows, inputs, outputs]: [usize; 3]) {
    let bytes = format.bytes(outputs, inputs).expect("small shapes");
    let count = if rows <= 8 {
        (SPREAD / bytes).clamp(1, 64)
    } else {
        1
    };
    let matrices: Vec<PackedMatrix> = (0..count)
        .map(|i| PackedMatrix::random(format, outputs, inputs, 0.02, i as u64))
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
