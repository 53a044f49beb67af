//! Each kernel beside sums in f64, in CubeCL's runtime for CPUs:
//! `cargo test --release --workspace --features cube-cpu --lib -- cube::`.
#![cfg(feature = "cube-cpu")]

use burn::tensor::{DType, Shape};
use burn_cubecl::CubeDevice;
use burn_cubecl::tensor::CubeTensor;
use half::f16;

use super::{argmax, attention, product};

/// Numbers around 0 with a deviation near 1, the same at every call, as this type holds them.
fn numbers(seed: u64, count: usize, dtype: DType) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let mut number = || {
        let sum: f64 = (0..6).map(|_| uniform()).sum();
        match dtype {
            DType::F16 => f16::from_f64(sum * 1.4).to_f32(),
            _ => (sum * 1.4) as f32,
        }
    };
    (0..count).map(|_| number()).collect()
}

fn tensor(values: &[f32], shape: &[usize], dtype: DType) -> CubeTensor {
    let device = CubeDevice::Cpu(cubecl::cpu::CpuDevice);
    let client = device.client();
    let bytes: Vec<u8> = match dtype {
        DType::F16 => values
            .iter()
            .flat_map(|&x| f16::from_f32(x).to_le_bytes())
            .collect(),
        _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    let handle = client.create_from_slice(&bytes);
    CubeTensor::new_contiguous(client, device, Shape::from(shape.to_vec()), handle, dtype)
}

fn values(tensor: CubeTensor) -> Vec<f64> {
    let bytes = tensor.client.read_one_unchecked(tensor.handle.clone());
    let count = tensor.meta.shape().iter().product();
    let chunks = bytes.chunks_exact(tensor.dtype.size()).take(count);
    let number = |bytes: &[u8]| match tensor.dtype {
        DType::F16 => f16::from_le_bytes(bytes.try_into().unwrap()).to_f64(),
        DType::F32 => f32::from_le_bytes(bytes.try_into().unwrap()).into(),
        DType::I32 => i32::from_le_bytes(bytes.try_into().unwrap()).into(),
        _ => i64::from_le_bytes(bytes.try_into().unwrap()) as f64,
    };
    chunks.map(number).collect()
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, case: &str) {
    assert_eq!(found.len(), expected.len(), "{case}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let near = (found - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(near, "{case}: {found} for {expected} at {at}");
    }
}

#[test]
fn the_first_of_the_largest() {
    for (n, int) in [
        (1, DType::I32),
        (2, DType::I64),
        (3, DType::I32),
        (64, DType::I64),
        (513, DType::I32),
        (2000, DType::I64),
    ] {
        let (rows, mut scores) = (3, numbers(n as u64, 3 * n, DType::F32));
        // A coarse grid makes many equal; the last row may be broken at its end.
        scores.iter_mut().for_each(|x| *x = x.round());
        for broken in [
            None,
            Some(f32::NAN),
            Some(f32::INFINITY),
            Some(f32::NEG_INFINITY),
        ] {
            if let (Some(broken), Some(last)) = (broken, scores.last_mut()) {
                *last = broken;
            }
            let found = argmax::launch(tensor(&scores, &[rows, n], DType::F32), int);
            for (row, found) in scores.chunks(n).zip(values(found)) {
                let max = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                let expected = match row.iter().all(|x| x.is_finite()) {
                    true => row.iter().position(|&x| x == max).unwrap(),
                    false => n,
                };
                assert_eq!(found as usize, expected, "{n} numbers, {broken:?}");
            }
        }
    }
}

#[test]
fn a_few_rows_by_a_weight() {
    for (case, (rows, depth, n)) in [
        (1, 1, 1),
        (1, 8, 5),
        (2, 33, 16),
        (3, 64, 257),
        (5, 300, 40),
        (8, 128, 96),
    ]
    .into_iter()
    .enumerate()
    {
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F16, 2e-3)] {
            let x = numbers(case as u64, rows * depth, dtype);
            let weight = numbers(100 + case as u64, depth * n, dtype);
            let sum = |at: usize| {
                let (row, column) = (at / n, at % n);
                let of =
                    |k: usize| f64::from(x[row * depth + k]) * f64::from(weight[k * n + column]);
                (0..depth).map(of).sum()
            };
            let expected: Vec<f64> = (0..rows * n).map(sum).collect();
            let turned: Vec<f32> = (0..depth * n)
                .map(|at| weight[at % depth * n + at / depth])
                .collect();
            let mut view = tensor(&turned, &[n, depth], dtype);
            view.meta.swap(0, 1);
            for (layout, weight) in [
                ("columns", tensor(&weight, &[depth, n], dtype)),
                ("rows", view),
            ] {
                let y = product::launch(tensor(&x, &[rows, depth], dtype), weight);
                assert_eq!((y.meta.shape()[0], y.meta.shape()[1]), (rows, n));
                // Sums of `depth` products around 1.
                let tolerance = tolerance * (depth as f64).sqrt();
                let case = format!("{rows} rows, {depth} by {n}, {layout}, {dtype:?}");
                assert_near(&values(y), &expected, tolerance, &case);
            }
        }
    }
}

/// `[rows, heads, key heads, d, keys, capacity]`.
type Case = [usize; 6];

fn attends(case: Case, dtype: DType, has_bias: bool, has_mask: bool, tolerance: f64) {
    let [rows, heads, key_heads, d, keys, capacity] = case;
    let seed = (keys * 7 + d) as u64;
    let query = numbers(seed, rows * heads * d, dtype);
    let key = numbers(seed + 1, rows * key_heads * capacity * d, dtype);
    let value = numbers(seed + 2, rows * key_heads * capacity * d, dtype);
    // Longer than the keys: the end counts.
    let line = keys + 3;
    let bias = numbers(seed + 3, heads * line, DType::F32);
    // Later rows see less; the first sees all.
    let hidden = |row: usize, position: usize| has_mask && position < row * keys / rows;
    let scale = 0.3f32;
    let mut expected = Vec::with_capacity(query.len());
    for (row, head) in (0..rows).flat_map(|row| (0..heads).map(move |head| (row, head))) {
        let of_head = |all: &[f32], position: usize, at: usize| {
            let head = row * key_heads + head / (heads / key_heads);
            f64::from(all[(head * capacity + position) * d + at])
        };
        let weight = |position: usize| {
            if hidden(row, position) {
                return 0.0;
            }
            let q = |at: usize| f64::from(query[(row * heads + head) * d + at]);
            let score: f64 = (0..d).map(|at| q(at) * of_head(&key, position, at)).sum();
            let bias = match has_bias {
                true => bias[head * line + 3 + position],
                false => 0.0,
            };
            (score * f64::from(scale) + f64::from(bias)).exp()
        };
        let weights: Vec<f64> = (0..keys).map(weight).collect();
        let total: f64 = weights.iter().sum();
        expected.extend((0..d).map(|at| {
            let all = weights.iter().enumerate();
            let sum: f64 = all.map(|(p, w)| w * of_head(&value, p, at)).sum();
            sum / total
        }));
    }
    let mask: Vec<f32> = (0..rows * keys)
        .map(|at| match hidden(at / keys, at % keys) {
            true => f32::NEG_INFINITY,
            false => 0.0,
        })
        .collect();
    let cache = |all: &[f32]| tensor(all, &[rows, key_heads, capacity, d], dtype);
    let inputs = attention::Inputs {
        query: tensor(&query, &[rows, heads, 1, d], dtype),
        key: cache(&key),
        value: cache(&value),
        bias: has_bias.then(|| tensor(&bias, &[1, heads, 1, line], DType::F32)),
        mask: has_mask.then(|| tensor(&mask, &[rows, keys], DType::F32)),
    };
    let found = values(attention::launch(inputs, keys, scale));
    let case = format!("{case:?} {dtype:?}, bias {has_bias}, mask {has_mask}");
    assert_near(&found, &expected, tolerance, &case);
}

#[test]
fn one_query_of_each_row() {
    for case in [
        [1, 1, 1, 1, 1, 1],
        [2, 4, 4, 8, 37, 40],
        [1, 6, 2, 20, 256, 300],
        [3, 8, 1, 64, 257, 257],
        [2, 3, 3, 5, 600, 700],
    ] {
        attends(case, DType::F32, false, false, 1e-5);
        attends(case, DType::F32, true, true, 1e-5);
    }
    attends([2, 4, 2, 16, 300, 512], DType::F16, true, true, 2e-3);
}

#[test]
fn a_query_that_may_look_nowhere_gives_zeros() {
    let ones = |shape: &[usize]| tensor(&[1.0; 16], shape, DType::F32);
    let inputs = attention::Inputs {
        query: tensor(&[1.0; 4], &[1, 1, 1, 4], DType::F32),
        key: ones(&[1, 1, 4, 4]),
        value: ones(&[1, 1, 4, 4]),
        bias: None,
        mask: Some(tensor(&[f32::NEG_INFINITY; 4], &[1, 4], DType::F32)),
    };
    assert_eq!(values(attention::launch(inputs, 4, 1.0)), [0.0; 4]);
}
