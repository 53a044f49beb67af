//! Each kernel beside sums in f64, in CubeCL's runtime for CPUs: `cargo test --release --workspace --features cube-cpu --lib cube::`.
#![cfg(feature = "cube-cpu")]

use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};

use super::*;

fn device() -> Device {
    let device = Device::cpu();
    assert!(is_cube(&device) && !is_cube(&crate::cpu()));
    device
}

/// Numbers of a standard normal distribution, the same at every call, as this type holds them.
fn numbers(seed: u64, count: usize, dtype: DType) -> Vec<f32> {
    let cpu = crate::cpu();
    cpu.seed(seed);
    let normal = Distribution::Normal(0.0, 1.0);
    let numbers = Tensor::<1>::random([count], normal, &cpu).cast(dtype);
    numbers.cast(DType::F32).try_into_vec_as().unwrap()
}

fn tensor<const D: usize>(numbers: &[f32], shape: [usize; D], dtype: DType) -> Tensor<D> {
    let data = TensorData::new(numbers.to_vec(), shape);
    Tensor::<D>::from_data(data, &device()).cast(dtype)
}

fn assert_near(found: Vec<f32>, expected: &[f64], tolerance: f64, case: &str) {
    assert_eq!(found.len(), expected.len(), "{case}");
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let near = (f64::from(found) - expected).abs() <= tolerance * expected.abs().max(1.0);
        assert!(near, "{case}: {found} for {expected} at {at}");
    }
}

#[test]
fn the_first_of_the_largest() {
    for n in [1, 2, 3, 64, 513, 2000] {
        let (rows, mut values) = (3, numbers(n as u64, 3 * n, DType::F32));
        // A coarse grid makes many equal; the last row is broken at its end.
        values.iter_mut().for_each(|x| *x = x.round());
        for broken in [
            None,
            Some(f32::NAN),
            Some(f32::INFINITY),
            Some(f32::NEG_INFINITY),
        ] {
            if let (Some(broken), Some(last)) = (broken, values.last_mut()) {
                *last = broken;
            }
            let found = first_best(tensor(&values, [rows, n], DType::F32));
            let found: Vec<i64> = found.into_data().iter::<i64>().collect();
            for (row, found) in values.chunks(n).zip(found) {
                let max = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                let expected = match row.iter().all(|x| x.is_finite()) {
                    true => row.iter().position(|&x| x == max).unwrap(),
                    false => n,
                };
                assert_eq!(found, expected as i64, "{n} numbers, {broken:?}");
            }
        }
    }
    // Between operations that Burn fuses.
    let scores = tensor(&[1.0, 2.0, 3.0, 4.0], [2, 2], DType::F32);
    let found = first_best(scores.clone() * -1.0 + 0.5) + 10;
    let found: Vec<i64> = found.into_data().iter::<i64>().collect();
    assert_eq!(found, [10, 10]);
    assert_eq!(
        first_best(scores.cast(DType::F16))
            .into_data()
            .iter::<i64>()
            .next(),
        Some(1)
    );
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
            let expected: Vec<f64> = (0..rows * n)
                .map(|at| {
                    let (row, column) = (at / n, at % n);
                    let product = |k: usize| {
                        f64::from(x[row * depth + k]) * f64::from(weight[k * n + column])
                    };
                    (0..depth).map(product).sum()
                })
                .collect();
            let turned: Vec<f32> = (0..depth * n)
                .map(|at| weight[at % depth * n + at / depth])
                .collect();
            let x = tensor(&x, [rows, depth], dtype);
            for (layout, weight) in [
                ("columns", tensor(&weight, [depth, n], dtype)),
                ("rows", tensor(&turned, [n, depth], dtype).transpose()),
            ] {
                let y = product(&x, &weight).unwrap();
                assert_eq!((y.dims(), y.dtype()), ([rows, n], dtype));
                let found = y.cast(DType::F32).try_into_vec_as().unwrap();
                // Sums of `depth` products around 1.
                let tolerance = tolerance * (depth as f64).sqrt();
                let case = format!("{rows} rows, {depth} by {n}, {layout}, {dtype:?}");
                assert_near(found, &expected, tolerance, &case);
            }
        }
    }
    let many = tensor(&[0.0; 18], [9, 2], DType::F32);
    assert!(product(&many, &tensor(&[0.0; 6], [2, 3], DType::F32)).is_none());
}

/// A case of [`attends`]: rows, heads, key heads, d, keys, capacity.
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
    let scale = 0.3;
    let mut expected = Vec::with_capacity(query.len());
    for row in 0..rows {
        for head in 0..heads {
            let of_head = |all: &[f32], position: usize, at: usize| {
                let head = row * key_heads + head / (heads / key_heads);
                f64::from(all[(head * capacity + position) * d + at])
            };
            let score = |position: usize| {
                let q = |at: usize| f64::from(query[(row * heads + head) * d + at]);
                let sum: f64 = (0..d).map(|at| q(at) * of_head(&key, position, at)).sum();
                let bias = if has_bias {
                    bias[head * line + 3 + position]
                } else {
                    0.0
                };
                sum * scale + f64::from(bias)
            };
            let weight = |position: usize| match hidden(row, position) {
                true => 0.0,
                false => score(position).exp(),
            };
            let weights: Vec<f64> = (0..keys).map(weight).collect();
            let total: f64 = weights.iter().sum();
            expected.extend((0..d).map(|at| {
                let values = weights.iter().enumerate();
                values
                    .map(|(position, w)| w * of_head(&value, position, at))
                    .sum::<f64>()
                    / total
            }));
        }
    }
    let mask: Vec<f32> = (0..rows * keys)
        .map(|at| match hidden(at / keys, at % keys) {
            true => f32::NEG_INFINITY,
            false => 0.0,
        })
        .collect();
    let cache = |all: &[f32]| tensor(all, [rows, key_heads, capacity, d], dtype);
    let found = one_query(
        &tensor(&query, [rows, heads, 1, d], dtype),
        [&cache(&key), &cache(&value)],
        keys,
        has_bias
            .then(|| tensor(&bias, [1, heads, 1, line], DType::F32))
            .as_ref(),
        has_mask
            .then(|| tensor(&mask, [rows, keys], DType::F32))
            .as_ref(),
        scale,
    )
    .unwrap();
    assert_eq!((found.dims(), found.dtype()), ([rows, heads, 1, d], dtype));
    let found = found.cast(DType::F32).try_into_vec_as().unwrap();
    let case = format!("{case:?} {dtype:?}, bias {has_bias}, mask {has_mask}");
    assert_near(found, &expected, tolerance, &case);
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
    let zeros = |shape| tensor(&[1.0; 16], shape, DType::F32);
    let mask = tensor(&[f32::NEG_INFINITY; 4], [1, 4], DType::F32);
    let found = one_query(
        &tensor(&[1.0; 4], [1, 1, 1, 4], DType::F32),
        [&zeros([1, 1, 4, 4]), &zeros([1, 1, 4, 4])],
        4,
        None,
        Some(&mask),
        1.0,
    );
    let found: Vec<f32> = found.unwrap().try_into_vec_as().unwrap();
    assert_eq!(found, [0.0; 4]);
}

#[test]
fn other_sizes_are_left_to_burn() {
    let of = |shape: [usize; 4]| tensor(&vec![0.0; shape.iter().product()], shape, DType::F32);
    let (key, two) = (of([1, 1, 4, 2]), of([1, 1, 2, 2]));
    let query = of([1, 1, 1, 2]);
    let try_it = |query: &Tensor<4>, key: &Tensor<4>, keys| {
        one_query(query, [key, key], keys, None, None, 1.0).is_some()
    };
    assert!(try_it(&query, &key, 4));
    assert!(!try_it(&query, &key, 5), "more keys than there are");
    assert!(!try_it(&two, &key, 4), "two queries");
    assert!(
        !try_it(&of([1, 16, 1, 2]), &key, 4),
        "sixteen heads of one key head"
    );
    assert!(!try_it(&of([2, 1, 1, 2]), &key, 4), "other rows");
}
