//! Each kernel against plain loops, on every instruction set of the machine.

use half::f16;

use super::math::Activation;
use super::product::{Finish, Matrix, THIN, Target, dots_half, product, product_alone, thin_half};
use super::simd::Level;

/// Values from -1 to 1, the same at every run.
pub(super) fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

pub(super) fn close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(
            error <= tolerance * (1.0 + expected.abs()),
            "{what}: value {i} is {found}, not {expected}"
        );
    }
}

fn activation(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::None => x,
        Activation::Relu => x.max(0.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
    }
}

/// The Maclaurin series, which rounding spoils beyond 4, where it is 1 to seven digits.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

const SHAPES: [[usize; 3]; 16] = [
    [1, 1, 1],
    [1, 16, 8],
    [1, 700, 37],
    [2, 33, 17],
    [3, 5, 64],
    [5, 40, 300],
    [8, 513, 31],
    [9, 31, 7],
    [14, 32, 256],
    [15, 129, 257],
    [29, 64, 1],
    [33, 1, 40],
    [57, 300, 530],
    [800, 34, 3],
    [4, 20, 0],
    [20, 20, 0],
];

#[test]
fn products_equal_plain_loops() {
    for level in Level::all() {
        for [m, n, k] in SHAPES {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let (bias, residual) = (values(n, 3), values(m * n, 4));
            let sum = |i: usize, j: usize| -> f64 {
                (0..k)
                    .map(|p| f64::from(a[i * k + p]) * f64::from(b[p * n + j]))
                    .sum()
            };
            let left = Matrix {
                data: a.as_ptr(),
                row: k as isize,
                column: 1,
            };
            let transposed: Vec<f32> = (0..n * k)
                .map(|at| b[at % k.max(1) * n + at / k.max(1)])
                .collect();
            let plain = Matrix {
                data: b.as_ptr(),
                row: n as isize,
                column: 1,
            };
            let turned = Matrix {
                data: transposed.as_ptr(),
                row: 1,
                column: k as isize,
            };
            for right in [plain, turned] {
                for kind in [
                    Activation::None,
                    Activation::Relu,
                    Activation::Gelu,
                    Activation::GeluTanh,
                    Activation::Silu,
                ] {
                    let finish = match kind {
                        Activation::None => Finish::NONE,
                        _ => Finish {
                            bias: bias.as_ptr(),
                            activation: kind,
                            residual: residual.as_ptr(),
                            residual_row: n,
                        },
                    };
                    let expected: Vec<f64> = (0..m * n)
                        .map(|at| {
                            let (i, j) = (at / n, at % n);
                            match kind {
                                Activation::None => sum(i, j),
                                _ => {
                                    activation(sum(i, j) + f64::from(bias[j]), kind)
                                        + f64::from(residual[at])
                                }
                            }
                        })
                        .collect();
                    let mut found = vec![f32::NAN; m * n];
                    let out = Target {
                        data: found.as_mut_ptr(),
                        row: n,
                    };
                    // SAFETY: sizes as allocated above.
                    unsafe { product(level, [m, n, k], left, right, out, finish) };
                    let what = format!("{level:?} {m}x{k} by {k}x{n} {kind:?}");
                    close(&found, &expected, 2e-5, &what);
                    if kind == Activation::None && k > 0 {
                        found.fill(f32::NAN);
                        // SAFETY: sizes as allocated above.
                        unsafe { product_alone(level, [m, n, k], left, right, out, false) };
                        close(&found, &expected, 2e-5, &what);
                    }
                }
            }
        }
    }
}

/// A few rows by halves, in both layouts.
#[test]
fn products_by_halves_equal_plain_loops() {
    for level in Level::all() {
        let shapes = SHAPES.iter().filter(|[m, _, k]| *m <= THIN && *k > 0);
        for [m, n, k] in shapes.copied() {
            let halves = |values: Vec<f32>| values.into_iter().map(f16::from_f32).collect();
            let a = values(m * k, 1);
            let [plain, turned]: [Vec<f16>; 2] = [2, 3].map(|seed| halves(values(k * n, seed)));
            let left = Matrix {
                data: a.as_ptr(),
                row: k as isize,
                column: 1,
            };
            let mut found = vec![f32::NAN; m * n];
            for (right, row, column) in [(&plain, n, 1), (&turned, 1, k)] {
                let expected: Vec<f64> = (0..m * n)
                    .map(|at| {
                        let product = |p: usize| {
                            let right = right[p * row + at % n * column];
                            f64::from(a[at / n * k + p]) * right.to_f64()
                        };
                        (0..k).map(product).sum()
                    })
                    .collect();
                found.fill(f32::NAN);
                let out = Target {
                    data: found.as_mut_ptr(),
                    row: n,
                };
                let right = Matrix {
                    data: right.as_ptr(),
                    row: row as isize,
                    column: column as isize,
                };
                let kernel = if column == 1 { thin_half } else { dots_half };
                // SAFETY: sizes as allocated above.
                unsafe { kernel(level, m, n, k, left, right, out) };
                close(&found, &expected, 2e-5, &format!("{level:?} {m}x{k}x{n}"));
            }
        }
    }
}
