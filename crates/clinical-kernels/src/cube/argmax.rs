//! The argmax of each row: the index of its largest number.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{empty, units, with_rows};

/// Enough units to hide the latency of memory; one cube has one row.
const UNITS: usize = 512;

/// For each row of `[rows, n]` the index of its first largest number, `[rows]`; `n` where one is not finite.
pub(super) fn launch(scores: CubeTensor, int: DType) -> CubeTensor {
    let scores = with_rows(scores);
    let [rows, n] = [scores.meta.shape()[0], scores.meta.shape()[1]];
    let indices = empty(&scores, [rows], int);
    let client = scores.client.clone();
    let units = units(&client, UNITS);
    let (row, dtype) = (scores.meta.strides()[0], scores.dtype);
    first_best::launch(
        &client,
        CubeCount::new_1d(rows as u32),
        CubeDim::new_1d(units as u32),
        scores.into_tensor_arg(),
        indices.clone().into_tensor_arg(),
        n,
        row,
        units,
        [dtype_to_elem_type(dtype), dtype_to_elem_type(int)],
    );
    indices
}

#[cube(launch)]
fn first_best<F: Float, I: Int>(
    scores: &Tensor<F>,
    indices: &mut Tensor<I>,
    n: usize,
    row_stride: usize,
    #[comptime] units: usize,
    #[define(F, I)] _dtypes: [ElemType; 2],
) {
    let row = CUBE_POS_X as usize;
    let unit = UNIT_POS_X as usize;
    // A unit without numbers of its own looks at the first.
    let mut place = 0usize;
    if unit < n {
        place = unit;
    }
    let mut best = f32::cast_from(scores[row * row_stride + place]);
    let mut broken = 0u32;
    let mut at = place;
    while at < n {
        let score = f32::cast_from(scores[row * row_stride + at]);
        if score.is_nan() || score.is_inf() {
            broken = 1u32;
        }
        if score > best {
            best = score;
            place = at;
        }
        at += units;
    }

    let mut all_best = Shared::<[f32]>::new_slice(units);
    let mut all_places = Shared::<[u32]>::new_slice(units);
    let mut all_broken = Shared::<[u32]>::new_slice(units);
    all_best[unit] = best;
    all_places[unit] = place as u32;
    all_broken[unit] = broken;
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if unit < half {
            let other = unit + half;
            let mine = all_best[unit];
            let theirs = all_best[other];
            let is_first = theirs == mine && all_places[other] < all_places[unit];
            if theirs > mine || is_first {
                all_best[unit] = theirs;
                all_places[unit] = all_places[other];
            }
            all_broken[unit] = all_broken[unit] | all_broken[other];
        }
        sync_cube();
        half /= 2;
    }
    if unit == 0 {
        let mut found = all_places[0];
        if all_broken[0] == 1u32 {
            found = n as u32;
        }
        indices[row] = I::cast_from(found);
    }
}
