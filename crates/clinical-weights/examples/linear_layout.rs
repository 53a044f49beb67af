//! Measures what the layout of a matrix costs or saves in products on the CPU: the figures of the README.
//!
//! ```text
//! cargo run --release -p clinical-weights --example linear_layout
//! ```
//!
//! `x` is `[rows, d_input]`. Three ways to the same result: a matrix with rows of `d_output` values (`InputMajor`), a
//! view of one with rows of `d_input` values (`OutputMajor`), and that view used as `(W x^T)^T`.

#![allow(clippy::print_stdout)]

use std::time::Instant;

use burn::tensor::{Distribution, Tensor};

/// Copies of each matrix, used in turn, so that none stays in the cache.
const COPIES: usize = 4;

fn main() {
    let device = clinical_kernels::cpu();
    println!(
        "| d_input x d_output | rows | InputMajor ms | OutputMajor ms | OutputMajor as (W x^T)^T ms |"
    );
    println!("|---|---|---|---|---|");
    for (d_input, d_output) in [(768, 3072), (2048, 5632), (4096, 4096)] {
        let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device);
        let stored: Vec<Tensor<2>> = (0..COPIES).map(|_| random([d_output, d_input])).collect();
        let input_major: Vec<Tensor<2>> = stored
            .iter()
            .map(|matrix| Tensor::from_data(matrix.clone().transpose().into_data(), &device))
            .collect();
        for rows in [1, 4, 16, 64, 256] {
            let x = random([rows, d_input]);
            let first = median(|i| x.clone().matmul(input_major[i].clone()));
            let second = median(|i| x.clone().matmul(stored[i].clone().transpose()));
            let third = median(|i| {
                let y = stored[i].clone().matmul(x.clone().transpose()).transpose();
                // The next operation would need the rows in order.
                y.reshape([1, rows * d_output])
            });
            println!("| {d_input} x {d_output} | {rows} | {first:.2} | {second:.2} | {third:.2} |");
        }
    }
}

/// The median of nine runs, in milliseconds.
fn median(mut product: impl FnMut(usize) -> Tensor<2>) -> f64 {
    let mut times: Vec<f64> = (0..10)
        .map(|run| {
            let start = Instant::now();
            drop(product(run % COPIES));
            start.elapsed().as_secs_f64() * 1e3
        })
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
