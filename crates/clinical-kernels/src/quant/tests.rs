//! Every kernel against the portable one and against products in f64.

use proptest::prelude::*;

use super::choose::available;
use super::kernel::BLOCK;
use super::matrix::PackedMatrix;
use super::packing::Packing;
use super::product::Ending;
use crate::Activation;
use crate::InstructionSet;

pub(super) const PACKINGS: [Packing; 8] = [
    Packing::Int8,
    Packing::Int8Wide,
    Packing::Int8Mixed,
    Packing::Int4,
    Packing::Int4Min,
    Packing::Int4Affine,
    Packing::F16,
    Packing::BF16,
];

/// Numbers from -1 to 1, the same for a seed.
pub(super) fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            let bits = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
            bits as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// `x w^T + bias` in f64, and the sum of the magnitudes of its terms.
fn exact(x: &[f32], w: &[f32], inputs: usize, bias: Option<&[f32]>) -> Vec<(f64, f64)> {
    let outputs = w.len() / inputs;
    let mut all = Vec::new();
    for x in x.chunks_exact(inputs) {
        for (output, w) in w.chunks_exact(inputs).enumerate() {
            let terms = || x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
            let bias = bias.map_or(0.0, |bias| f64::from(bias[output]));
            all.push((
                terms().sum::<f64>() + bias,
                terms().map(f64::abs).sum::<f64>() + bias.abs(),
            ));
        }
    }
    assert_eq!(all.len(), x.len() / inputs * outputs);
    all
}

/// What activations of this packing may be off, as a part of the largest one of a block.
fn step(packing: Packing) -> f64 {
    match packing {
        Packing::Int8
        | Packing::Int8Mixed
        | Packing::Int4
        | Packing::Int4Min
        | Packing::Int4Affine => 0.5 / 127.0,
        Packing::Int8Wide => 0.5 / 32_512.0,
        Packing::F16 | Packing::BF16 => 0.0,
    }
}

fn with_bias(bias: Option<&[f32]>) -> Ending<'_> {
    Ending {
        bias,
        ..Ending::default()
    }
}

fn check(rows: usize, outputs: usize, inputs: usize, biased: bool, seed: u64) {
    let weights = random(outputs * inputs, seed);
    let x = random(rows * inputs, seed + 1);
    let bias = random(outputs, seed + 2);
    let bias = biased.then_some(bias.as_slice());
    for packing in PACKINGS {
        let matrix = PackedMatrix::new(packing, outputs, inputs, &weights);
        assert_eq!(Some(matrix.bytes()), packing.bytes(outputs, inputs));
        let decoded = matrix.to_f32();
        let magnitudes: Vec<f64> = decoded
            .chunks_exact(inputs)
            .map(|row| row.iter().map(|w| f64::from(w.abs())).sum())
            .collect();
        let expected = exact(&x, &decoded, inputs, bias);
        let portable = matrix.multiply_with(InstructionSet::Portable, &x, rows, with_bias(bias));
        for set in available() {
            let found = matrix.multiply_with(set, &x, rows, with_bias(bias));
            assert_eq!(found.len(), expected.len());
            for (i, ((found, portable), (exact, magnitude))) in
                found.iter().zip(&portable).zip(&expected).enumerate()
            {
                let case = format!("{packing:?} {set:?} {rows}x{inputs}x{outputs} at {i}");
                // The same integers are summed; only the order of the f32 sums differs.
                let rounding = 1e-6 * magnitude + 1e-12;
                let apart = f64::from((found - portable).abs());
                assert!(apart <= rounding, "{case}: {found} {portable}");
                // Each activation is off by half a step of its block, whose largest value is at most 1.
                let quantised = step(packing) * magnitudes[i % outputs];
                let error = (f64::from(*found) - exact).abs();
                assert!(error <= rounding + quantised, "{case}: {found} {exact}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_shape(
        rows in 1usize..20,
        outputs in 1usize..150,
        inputs in 1usize..300,
        biased: bool,
        seed in 0u64..1000,
    ) {
        check(rows, outputs, inputs, biased, seed);
    }
}

#[test]
fn shapes_at_the_edges() {
    for (rows, outputs, inputs) in [
        (1, 1, 1),
        (1, 16, 32),
        (1, 64, 128),
        (6, 128, 128),
        (7, 65, 129),
        (12, 80, 256),
        (2, 33, 31),
        (13, 17, 97),
    ] {
        check(rows, outputs, inputs, true, 7);
    }
}

#[test]
fn large_products_go_over_threads() {
    check(3, 2048, 260, false, 3);
    check(70, 300, 512, true, 4);
}

#[test]
fn activation_and_residual_follow_the_bias() {
    for (rows, outputs, inputs) in [(1, 1, 1), (7, 65, 129), (70, 300, 512), (13, 31, 40)] {
        let weights = random(outputs * inputs, 8);
        let (x, bias) = (random(rows * inputs, 9), random(outputs, 10));
        let residual = random(rows * outputs, 11);
        for packing in PACKINGS {
            let matrix = PackedMatrix::new(packing, outputs, inputs, &weights);
            for set in available() {
                let plain = matrix.multiply_with(set, &x, rows, with_bias(Some(&bias)));
                let silu = |y: f32| y / (1.0 + (-y).exp());
                for (activation, function, apart) in [
                    (
                        Activation::Relu,
                        &(|y: f32| y.max(0.0)) as &dyn Fn(f32) -> f32,
                        0.0,
                    ),
                    (Activation::Silu, &silu, 1e-5),
                ] {
                    let ending = Ending {
                        bias: Some(&bias),
                        activation,
                        residual: Some(&residual),
                    };
                    let found = matrix.multiply_with(set, &x, rows, ending);
                    for ((found, y), residual) in found.iter().zip(&plain).zip(&residual) {
                        let expected = residual + function(*y);
                        let allowed = apart * (1.0 + y.abs());
                        assert!((found - expected).abs() <= allowed, "{packing:?} {set:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn empty_shapes() {
    for packing in PACKINGS {
        for set in available() {
            let matrix = PackedMatrix::new(packing, 5, 0, &[]);
            let bias = [1.0, 2.0, 3.0, 4.0, 5.0];
            let out = matrix.multiply_with(set, &[], 2, with_bias(Some(&bias)));
            assert_eq!(out, [bias, bias].concat());
            assert_eq!(
                matrix.multiply_with(set, &[], 2, with_bias(None)),
                [0.0; 10]
            );
            let matrix = PackedMatrix::new(packing, 5, 3, &[1.0; 15]);
            assert!(
                matrix
                    .multiply_with(set, &[], 0, with_bias(None))
                    .is_empty()
            );
            let matrix = PackedMatrix::new(packing, 0, 3, &[]);
            assert!(
                matrix
                    .multiply_with(set, &[1.0; 6], 2, with_bias(None))
                    .is_empty()
            );
        }
    }
}

#[test]
fn what_is_not_finite_stays_visible_where_it_belongs() {
    for packing in PACKINGS {
        let mut weights = vec![1.0; 20 * 40];
        weights[3 * 40 + 5] = f32::NAN;
        let matrix = PackedMatrix::new(packing, 20, 40, &weights);
        let mut x = vec![1.0; 2 * 40];
        x[40 + 7] = f32::INFINITY;
        for set in available() {
            let out = matrix.multiply_with(set, &x, 2, with_bias(None));
            for (i, y) in out.iter().enumerate() {
                let expected = i < 20 && i != 3;
                assert_eq!(y.is_finite(), expected, "{packing:?} {set:?} at {i}: {y}");
            }
        }
    }
}

#[test]
fn outliers_spoil_only_their_block_and_16_bits_nothing() {
    let inputs = 512;
    let weights = random(64 * inputs, 1);
    let mut x = random(inputs, 2);
    x[200] = 3000.0;
    let worst = |packing| {
        let matrix = PackedMatrix::new(packing, 64, inputs, &weights);
        let expected = exact(&x, &matrix.to_f32(), inputs, None);
        let found = matrix.multiply(&x, 1, None);
        found
            .iter()
            .zip(expected)
            .map(|(found, (exact, _))| (f64::from(*found) - exact).abs())
            .fold(0.0, f64::max)
    };
    for packing in [Packing::Int8Wide, Packing::Int8Mixed] {
        assert!(worst(packing) < 1.0, "{packing:?} {}", worst(packing));
        assert!(worst(Packing::Int8) > 10.0 * worst(packing));
    }
}

#[test]
fn rows_with_and_without_outliers_stand_side_by_side() {
    let (rows, inputs, outputs) = (13, 300, 50);
    let weights = random(outputs * inputs, 1);
    let mut x = random(rows * inputs, 2);
    for (row, x) in x.chunks_exact_mut(inputs).enumerate() {
        match row % 3 {
            0 => x[row * 17] = 500.0,
            1 => x[64..].fill(0.0),
            _ => {}
        }
    }
    let matrix = PackedMatrix::new(Packing::Int8Mixed, outputs, inputs, &weights);
    let expected = exact(&x, &matrix.to_f32(), inputs, None);
    for set in available() {
        let found = matrix.multiply_with(set, &x, rows, with_bias(None));
        for (i, (found, (exact, terms))) in found.iter().zip(&expected).enumerate() {
            // 8 bits everywhere would be off by up to 2 for each value beside an outlier.
            let off = (f64::from(*found) - exact).abs();
            assert!(off < 0.6 + 1e-5 * terms, "{set:?} at {i}: {found} {exact}");
        }
        // A row alone is the row among others.
        for row in 0..rows {
            let x = &x[row * inputs..][..inputs];
            let alone = matrix.multiply_with(set, x, 1, with_bias(None));
            for (alone, found) in alone.iter().zip(&found[row * outputs..]) {
                assert!((alone - found).abs() <= 1e-3, "{set:?} row {row}");
            }
        }
    }
}

#[test]
fn rows_of_a_table() {
    let (entries, width) = (37, 70);
    let values = random(entries * width, 5);
    let largest = |row: &[f32]| row.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    for packing in PACKINGS {
        let matrix = PackedMatrix::new(packing, entries, width, &values);
        let mut out = vec![0.0; width];
        for (row, values) in values.chunks_exact(width).enumerate() {
            matrix.row(row, &mut out);
            let allowed = match packing {
                Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => {
                    largest(values) * 0.56 / 127.0
                }
                Packing::Int4 | Packing::Int4Min | Packing::Int4Affine => largest(values) / 6.0,
                Packing::F16 => largest(values) * 0.51 / 1024.0,
                Packing::BF16 => largest(values) * 0.51 / 128.0,
            };
            for (value, out) in values.iter().zip(&out) {
                assert!((value - out).abs() <= allowed, "{packing:?} {value} {out}");
            }
        }
    }
}

#[test]
fn int4_blocks_have_their_own_scale() {
    let mut values = vec![1e-3; 4 * BLOCK];
    values[0] = 100.0;
    let matrix = PackedMatrix::new(Packing::Int4, 1, 4 * BLOCK, &values);
    let out = matrix.to_f32();
    assert!((out[0] - 100.0).abs() < 1.0);
    assert!((out[BLOCK] - 1e-3).abs() < 1e-4);
}

#[test]
fn random_weights_have_about_the_deviation_asked_for() {
    for packing in PACKINGS {
        let matrix = PackedMatrix::random(packing, 64, 256, 0.02, 1);
        let values = matrix.to_f32();
        let square: f32 = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        let deviation = square.sqrt();
        assert!((0.01..0.05).contains(&deviation), "{packing:?} {deviation}");
        assert_eq!(Some(matrix.bytes()), packing.bytes(64, 256));
    }
}

#[test]
fn rows_that_cannot_be_read_are_an_error() {
    let failed = PackedMatrix::from_rows(Packing::Int8, 40, 8, |row, out: &mut [f32]| {
        out.fill(1.0);
        if row >= 32 { Err("no") } else { Ok(()) }
    });
    assert_eq!(failed.unwrap_err(), "no");
}
