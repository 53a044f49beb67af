//! Relative positions.

use burn::tensor::{DType, Int, Tensor, TensorData};
use clinical_kernels::fused;
use clinical_nn::Embedding;

/// The row of the relative position table for `relative = key position - query position`.
///
/// The encoder looks both ways: half of the buckets are for keys after the query (`relative > 0`). The decoder looks
/// back only, so it has all buckets for distances `max(-relative, 0)`; to use the encoder's rule there is wrong from
/// distance `buckets / 4 + 1` on. The first half of a direction's buckets are exact distances, the rest grow
/// logarithmically up to `max_distance`, from which on all share the last (Raffel et al. 2020, section 2.1;
/// `_relative_position_bucket` in `modeling_t5.py`, in f32 as there).
///
/// `buckets` must be at least 4 (2 if not `bidirectional`) and `max_distance` above half the buckets of a direction.
///
/// ```
/// use clinical_t5::relative_position_bucket;
///
/// assert_eq!(relative_position_bucket(-9, true, 32, 128), 8);
/// assert_eq!(relative_position_bucket(9, true, 32, 128), 24);
/// assert_eq!(relative_position_bucket(-9, false, 32, 128), 9);
/// assert_eq!(relative_position_bucket(-4000, false, 32, 128), 31);
/// ```
#[must_use]
pub fn relative_position_bucket(
    relative: i64,
    bidirectional: bool,
    buckets: usize,
    max_distance: usize,
) -> usize {
    let (first, buckets, distance) = if bidirectional {
        let half = buckets / 2;
        let first = if relative > 0 { half } else { 0 };
        (first, half, relative.unsigned_abs())
    } else {
        (0, buckets, relative.min(0).unsigned_abs())
    };
    let exact = buckets / 2;
    if distance < exact as u64 {
        return first + distance as usize;
    }
    let scale = (max_distance as f64 / exact as f64).ln() as f32;
    let steps = (distance as f32 / exact as f32).ln() / scale * (buckets - exact) as f32;
    first + (exact + steps as usize).min(buckets - 1)
}

/// The self-attention bias of a whole sequence, `[1, heads, length, length]`. It depends on the offset alone, so where
/// layers are kernels of the CPU it is a view of a line of biases by offset: 16 MB less to make and to read for 512
/// tokens.
pub(crate) fn sequence_bias(
    table: &Embedding,
    length: usize,
    bidirectional: bool,
    max_distance: usize,
) -> Tensor<4> {
    let buckets = table.vocabulary();
    let last = length.saturating_sub(1) as i64;
    let by_offset: Vec<i64> = (-last..=last)
        .map(|relative| {
            relative_position_bucket(relative, bidirectional, buckets, max_distance) as i64
        })
        .collect();
    if length > 0 && fused::applies(&table.weight.val().device()) {
        let line = look_up(table, by_offset).reshape([1, -1, 2 * last + 1]);
        // The window that starts at offset -last is the last row.
        return line.unfold::<4, _>(2, length, 1).flip([2]);
    }
    // Row q starts where key 0 has the offset -q.
    let rows: Vec<i64> = (0..length)
        .flat_map(|query| &by_offset[length - 1 - query..2 * length - 1 - query])
        .copied()
        .collect();
    look_up(table, rows).reshape([1, -1, length as i64, length as i64])
}

/// Rows of the table, transposed: `[heads, rows]`.
fn look_up(table: &Embedding, rows: Vec<i64>) -> Tensor<2> {
    let table = table.weight.val();
    let count = rows.len();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &table.device());
    table.transpose().select(1, rows)
}

/// The decoder's bias for one query after another: a line of biases by distance, of which a row takes the end.
#[derive(Debug, Clone)]
pub(crate) struct StepBias {
    /// `[1, heads, 1, capacity]`; the last entry is distance 0.
    line: Tensor<4>,
}

impl StepBias {
    pub(crate) fn new(table: &Embedding, max_distance: usize, capacity: usize) -> Self {
        let buckets = table.vocabulary();
        let rows = (0..capacity as i64)
            .rev()
            .map(|distance| {
                relative_position_bucket(-distance, false, buckets, max_distance) as i64
            })
            .collect();
        Self {
            line: look_up(table, rows)
                .reshape([1, -1, 1, capacity as i64])
                .cast(DType::F32),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.line.dims()[3]
    }

    /// `[1, heads, 1, capacity]`: a query on the last of `n` positions takes the last `n`.
    pub(crate) fn line(&self) -> &Tensor<4> {
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        positions: Vec<i64>,
        bidirectional: Vec<usize>,
        causal: Vec<usize>,
    }

    #[test]
    fn equals_the_published_function() {
        let golden: Golden =
            serde_json::from_str(include_str!("../tests/data/t5_buckets.json")).unwrap();
        assert_eq!(golden.positions.len(), 521);
        for (i, &relative) in golden.positions.iter().enumerate() {
            let bucket = |bidirectional| relative_position_bucket(relative, bidirectional, 32, 128);
            assert_eq!(bucket(true), golden.bidirectional[i], "{relative}");
            assert_eq!(bucket(false), golden.causal[i], "{relative}");
        }
    }

    #[test]
    fn extreme_distances_have_a_bucket() {
        for relative in [i64::MIN, i64::MAX, 0] {
            for bidirectional in [true, false] {
                for (buckets, distance) in [(4, 3), (5, 3), (65_536, usize::MAX)] {
                    let bucket =
                        relative_position_bucket(relative, bidirectional, buckets, distance);
                    assert!(bucket < buckets);
                }
            }
        }
    }

    /// With gradients around, every value is looked up.
    #[test]
    fn a_view_by_offset_is_the_whole_bias() {
        let device = clinical_kernels::cpu();
        device.seed(4);
        let table = Embedding::new(32, 3, 1.0, &device);
        let mut slow = Embedding::new(32, 3, 1.0, &device.clone().autodiff());
        slow.weight = Param::from_data(table.weight.val().into_data(), &device.autodiff());
        for length in [1, 2, 9, 150] {
            for bidirectional in [true, false] {
                let view = sequence_bias(&table, length, bidirectional, 128).into_data();
                let all = sequence_bias(&slow, length, bidirectional, 128).into_data();
                view.assert_eq(&all, true);
            }
        }
    }

    #[test]
    fn a_step_sees_the_last_row_of_the_sequence() {
        let device = clinical_kernels::cpu();
        device.seed(3);
        let table = Embedding::new(32, 3, 1.0, &device);
        let line = StepBias::new(&table, 128, 200);
        for keys in [1, 2, 9, 17, 150, 200] {
            let all = sequence_bias(&table, keys, false, 128);
            assert_eq!(all.dims(), [1, 3, keys, keys]);
            let last = all.narrow(2, keys - 1, 1).into_data();
            let end = line.line().clone().narrow(3, 200 - keys, keys);
            end.into_data().assert_eq(&last, true);
        }
    }
}
