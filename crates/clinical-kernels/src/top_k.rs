//! Argmax and top-k of scores, found on the device that has them: a row of a vocabulary is not read to choose one
//! token.
//!
//! Among equal scores the first comes first, so the result does not depend on how a device divides a row.

use burn::tensor::{Bool, FloatDType, Int, Tensor};

/// What [`top_k`] says of a row before its scores: whether all are finite, and the logarithm of the sum of `e^score`.
pub const FACTS: usize = 2;

/// For each row of `scores` `[rows, n]` the index of its largest number among those that are not `hidden`, `[rows]`;
/// `n` for a row with a number that is not finite, hidden or not.
///
/// `hidden` is `[rows, n]`. Of a row that is hidden altogether the result is the first index.
#[must_use]
pub fn argmax(scores: Tensor<2>, hidden: Option<&Tensor<2, Bool>>) -> Tensor<1, Int> {
    #[cfg(feature = "cube")]
    if hidden.is_none() && crate::cube::apply(&scores.device()) {
        return crate::cube::first_best(scores);
    }
    let n = scores.dims()[1];
    let scores = scores.cast(FloatDType::F32);
    let broken = broken(&scores);
    let (_, indices) = largest(hide(scores, hidden));
    indices.mask_fill(broken, n as i64).squeeze_dim(1)
}

/// For each row of `scores` `[rows, n]`, in f32, `[rows, FACTS + 2 * count]`: 1 if all its numbers are finite, else 0;
/// the logarithm of the sum of `e^score`; the `count` largest of those that are not `hidden`; their indices, which f32
/// holds exactly below 2^24.
///
/// Hidden scores count in the first two, and are minus infinity in the rest. The largest come in any order, and of
/// scores that equal the least of them any may be left out, unless `count` is 1: then it is the first of the largest.
/// `count` is less than `n`.
#[must_use]
pub fn top_k(scores: Tensor<2>, hidden: Option<&Tensor<2, Bool>>, count: usize) -> Tensor<2> {
    let scores = scores.cast(FloatDType::F32);
    let finite = broken(&scores).bool_not().float().cast(FloatDType::F32);
    let max = scores.clone().max_dim(1);
    let sum = (scores.clone() - max.clone()).exp().sum_dim(1);
    let normaliser = sum.log() + max;
    let scores = hide(scores, hidden);
    let (best, indices) = match count {
        1 => largest(scores),
        _ => scores.topk_with_indices(count, 1),
    };
    let indices = indices.cast(FloatDType::F32);
    Tensor::cat(vec![finite, normaliser, best, indices], 1)
}

/// `[rows, 1]`: whether a number of the row is not finite.
fn broken(scores: &Tensor<2>) -> Tensor<2, Bool> {
    scores.clone().is_finite().bool_not().any_dim(1)
}

fn hide(scores: Tensor<2>, hidden: Option<&Tensor<2, Bool>>) -> Tensor<2> {
    match hidden {
        Some(hidden) => scores.mask_fill(hidden.clone(), f32::NEG_INFINITY),
        None => scores,
    }
}

/// The largest number of each row and its first index, both `[rows, 1]`.
fn largest(scores: Tensor<2>) -> (Tensor<2>, Tensor<2, Int>) {
    let [rows, n] = scores.dims();
    let max = scores.clone().max_dim(1);
    let smaller = scores.not_equal(max.clone().expand([rows, n]));
    let indices = Tensor::<1, Int>::arange(0..n as i64, &max.device());
    let indices = indices.unsqueeze::<2>().expand([rows, n]);
    (max, indices.mask_fill(smaller, n as i64).min_dim(1))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device, TensorData};
    use proptest::prelude::*;

    use super::*;

    fn rows(values: &[f32], n: usize, device: &Device) -> Tensor<2> {
        Tensor::from_data(
            TensorData::new(values.to_vec(), [values.len() / n, n]),
            device,
        )
    }

    /// What the functions promise, number by number.
    fn first(row: &[f32], hidden: &[bool]) -> usize {
        if row.iter().any(|x| !x.is_finite()) {
            return row.len();
        }
        let mut best = (f32::NEG_INFINITY, 0);
        for (at, (&x, &hidden)) in row.iter().zip(hidden).enumerate() {
            if !hidden && x > best.0 {
                best = (x, at);
            }
        }
        best.1
    }

    fn check(values: &[f32], hidden: &[bool], n: usize, count: usize, device: &Device) {
        let scores = rows(values, n, device);
        let mask = Tensor::from_data(TensorData::new(hidden.to_vec(), scores.dims()), device);
        let mask = hidden.contains(&true).then_some(mask);
        let found = argmax(scores.clone(), mask.as_ref());
        let found: Vec<i64> = found.into_data().iter::<i64>().collect();
        let all = top_k(scores, mask.as_ref(), count);
        assert_eq!(all.dims(), [values.len() / n, FACTS + 2 * count]);
        assert_eq!(all.dtype(), DType::F32);
        let all: Vec<f32> = all.try_into_vec_as().unwrap();
        let numbers = values.chunks(n).zip(hidden.chunks(n));
        let results = found.iter().zip(all.chunks(FACTS + 2 * count));
        for ((row, hidden), (&found, all)) in numbers.zip(results) {
            let expected = first(row, hidden);
            assert_eq!(found, expected as i64, "{row:?}");
            assert_eq!(all[0] == 1.0, expected < n, "{row:?}");
            if expected == n {
                continue;
            }
            let max = row.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            let sum: f64 = row.iter().map(|&x| f64::from(x - max).exp()).sum();
            let normaliser = f64::from(max) + sum.ln();
            let error = (f64::from(all[1]) - normaliser).abs();
            assert!(error < 1e-5 * normaliser.abs().max(10.0), "{row:?}");
            let hide = |(&x, &hidden): (&f32, &bool)| if hidden { f32::NEG_INFINITY } else { x };
            let row: Vec<f32> = row.iter().zip(hidden).map(hide).collect();
            let (best, indices) = all[FACTS..].split_at(count);
            let mut sorted = row.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let mut found = best.to_vec();
            found.sort_by(|a, b| b.total_cmp(a));
            assert_eq!(found, sorted[..count]);
            let mut seen = std::collections::BTreeSet::new();
            for (&best, &place) in best.iter().zip(indices) {
                assert_eq!(row[place as usize], best, "{row:?}");
                assert!(seen.insert(place as usize), "a place comes once");
            }
            if count == 1 {
                assert_eq!(indices, [expected as f32]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Few different values, so that many are equal.
        #[test]
        fn the_best_are_found(
            (n, values, hidden) in (2usize..70, 1usize..4).prop_flat_map(|(n, rows)| (
                Just(n),
                prop::collection::vec(prop_oneof![
                    12 => (-8i32..8).prop_map(|x| x as f32 / 4.0),
                    1 => -1e4f32..1e4,
                ], n * rows),
                prop::collection::vec(any::<bool>(), n * rows),
            )),
            share in 0usize..100,
            broken in prop::option::weighted(0.2, (any::<prop::sample::Index>(), 0usize..3)),
            hides in any::<bool>(),
        ) {
            let mut values = values;
            if let Some((at, kind)) = broken {
                let at = at.index(values.len());
                values[at] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][kind];
            }
            let hidden = if hides { hidden } else { vec![false; values.len()] };
            let count = 1 + share * (n - 1) / 100;
            check(&values, &hidden, n, count.min(n - 1), &crate::cpu());
        }
    }

    #[test]
    fn halves_are_compared_as_they_are() {
        let device = crate::cpu();
        for dtype in [DType::F16, DType::BF16] {
            let scores = rows(&[1.0, 2.0, 2.0, -3.0], 4, &device).cast(dtype);
            assert_eq!(argmax(scores.clone(), None).into_scalar::<i64>(), 1);
            let found: Vec<f32> = top_k(scores, None, 1).try_into_vec_as().unwrap();
            assert_eq!([found[0], found[2], found[3]], [1.0, 2.0, 1.0]);
        }
    }
}
