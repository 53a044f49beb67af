//! Measures what the layout of a matrix costs or saves in products on the CPU: the figures of the README.
//!
//! ```text
//! cargo run --release -p clinical-bench --bin linear_layout
//! ```
//!
//! `x` is `[rows, d_input]`; the matrix has rows of `d_output` values (`InputMajor`) or is a view of one with rows of
//! `d_input` values (`OutputMajor`). In f32 both go through our kernels and through Burn's product, in f16 and bf16
//! through Burn's alone.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use burn::tensor::{DType, Distribution, Tensor};
use clinical_kernels::fused::{self, Then};

/// Copies of each matrix, used in turn, so that none stays in the cache.
const COPIES: usize = 4;

fn main() {
    clinical_kernels::keep_freed_memory();
    println!("| d_input x d_output | rows | product | InputMajor ms | OutputMajor ms |");
    println!("|---|---|---|---|---|");
    for (d_input, d_output) in [(768, 3072), (2048, 5632), (4096, 4096)] {
        for rows in [1, 8, 16, 256] {
            measure(DType::F32, true, [rows, d_input, d_output]);
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                measure(dtype, false, [rows, d_input, d_output]);
            }
        }
    }
}

fn measure(dtype: DType, ours: bool, [rows, d_input, d_output]: [usize; 3]) {
    let device = clinical_kernels::cpu();
    let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device).cast(dtype);
    let stored: Vec<Tensor<2>> = (0..COPIES).map(|_| random([d_output, d_input])).collect();
    let turned: Vec<Tensor<2>> = stored
        .iter()
        .map(|matrix| Tensor::from_data(matrix.clone().transpose().into_data(), (&device, dtype)))
        .collect();
    let x = random([rows, d_input]);
    let product = |weight: Tensor<2>| match ours {
        true => fused::linear(&x, &weight, Then::default()),
        false => Some(x.clone().matmul(weight)),
    };
    let mut times = [Vec::new(), Vec::new()];
    // One run that does not count, then the two in turn.
    for run in 0..10 {
        for (layout, times) in times.iter_mut().enumerate() {
            let start = Instant::now();
            drop(match layout {
                0 => product(turned[run % COPIES].clone()),
                _ => product(stored[run % COPIES].clone().transpose()),
            });
            if run > 0 {
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let [first, second] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let name = if ours { "ours" } else { "Burn's" };
    println!("| {d_input} x {d_output} | {rows} | {dtype:?}, {name} | {first:.2} | {second:.2} |");
}
