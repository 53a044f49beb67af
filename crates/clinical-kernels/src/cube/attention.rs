//! Attention of one query of each row to the keys and values of a cache, where they lie.
//!
//! A row's keys are divided among cubes, so that a GPU is busy with one row too; a second kernel puts their parts
//! together (flash decoding, Dao et al. 2023). The heads of a group read their keys once.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{empty, units, vector_size, with_rows};

/// Heads that share keys and values; each has its own sums in a unit's registers.
pub(super) const LARGEST_GROUP: usize = 8;

/// Values of a head; the queries of a group lie in shared memory.
pub(super) const LARGEST_HEAD: usize = 256;

const UNITS: usize = 128;

/// Keys of a cube.
const CHUNK: usize = 256;

/// See [`super::one_query`].
pub(super) struct Inputs {
    pub(super) query: CubeTensor,
    pub(super) key: CubeTensor,
    pub(super) value: CubeTensor,
    pub(super) bias: Option<CubeTensor>,
    pub(super) mask: Option<CubeTensor>,
}

pub(super) fn launch(inputs: Inputs, keys: usize, scale: f32) -> CubeTensor {
    let query = burn_cubecl::kernel::into_contiguous(inputs.query);
    let (key, value) = (with_rows(inputs.key), with_rows(inputs.value));
    let shape = query.meta.shape().clone();
    let [rows, heads, d] = [shape[0], shape[1], shape[3]];
    let key_heads = key.meta.shape()[1];
    let group = heads / key_heads;
    let client = query.client.clone();
    let dtype = query.dtype;
    let strides = [&key, &value].map(|all| {
        let strides = all.meta.strides();
        [strides[0], strides[1], strides[2]]
    });
    let multiples = [&[d], &strides[0][..], &strides[1][..]].concat();
    let size = vector_size(&client, dtype, &multiples);
    let vectors = d / size;
    let splits = keys.div_ceil(CHUNK);
    let units = units(&client, UNITS);
    let lanes = (1usize << vectors.ilog2()).min(units);
    let parts = empty(&query, [rows, heads, splits, d], DType::F32);
    let facts = empty(&query, [rows, heads, splits, 2], DType::F32);
    // A bias or mask of one row, or one value, serves all.
    let stride = |tensor: &CubeTensor, dim: usize| match tensor.meta.shape()[dim] {
        1 => 0,
        _ => tensor.meta.strides()[dim],
    };
    let bias = inputs.bias.map(with_rows);
    let mask = inputs.mask.map(with_rows);
    let bias_strides = bias
        .as_ref()
        .map_or([0; 2], |bias| [0, 1].map(|dim| stride(bias, dim)));
    // A query on the last position takes the end of a longer bias.
    let bias_first = bias.as_ref().map_or(0, |bias| bias.meta.shape()[3] - keys);
    let mask_stride = mask.as_ref().map_or(0, |mask| stride(mask, 0));
    let has = (bias.is_some(), mask.is_some());
    let [bias, mask] = [bias, mask].map(|given| given.unwrap_or_else(|| facts.clone()));
    part::launch(
        &client,
        CubeCount::new_3d(key_heads as u32, rows as u32, splits as u32),
        CubeDim::new_1d(units as u32),
        size,
        query.clone().into_tensor_arg(),
        key.into_tensor_arg(),
        value.into_tensor_arg(),
        bias.into_tensor_arg(),
        mask.into_tensor_arg(),
        parts.clone().into_tensor_arg(),
        facts.clone().into_tensor_arg(),
        keys,
        key_heads,
        strides[0][0] / size,
        strides[0][1] / size,
        strides[0][2] / size,
        strides[1][0] / size,
        strides[1][1] / size,
        strides[1][2] / size,
        bias_first,
        bias_strides[0],
        bias_strides[1],
        mask_stride,
        scale,
        Sizes {
            group,
            vectors,
            lanes,
            slices: units / lanes,
            has_bias: has.0,
            has_mask: has.1,
        },
        dtype_to_elem_type(dtype),
    );
    let y = empty(&query, [rows, heads, 1, d], dtype);
    join::launch(
        &client,
        CubeCount::new_1d((rows * heads) as u32),
        CubeDim::new_1d(lanes as u32),
        size,
        parts.into_tensor_arg(),
        facts.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        splits,
        vectors,
        lanes,
        dtype_to_elem_type(dtype),
    );
    y
}

/// What the code of a kernel is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Sizes {
    /// Heads that share keys.
    group: usize,
    /// Vectors of a head.
    vectors: usize,
    /// Units side by side on the vectors of a value.
    lanes: usize,
    /// Values that are read at once.
    slices: usize,
    has_bias: bool,
    has_mask: bool,
}

/// The sum of `e^(score - max) value` over one chunk of keys, and in `facts` the largest score and the sum of the
/// weights. The strides of keys and values count vectors.
#[cube(launch)]
fn part<F: Float, N: Size>(
    query: &Tensor<Vector<F, N>>,
    key: &Tensor<Vector<F, N>>,
    value: &Tensor<Vector<F, N>>,
    bias: &Tensor<f32>,
    mask: &Tensor<f32>,
    parts: &mut Tensor<Vector<f32, N>>,
    facts: &mut Tensor<f32>,
    keys: usize,
    key_heads: usize,
    key_row: usize,
    key_head: usize,
    key_position: usize,
    value_row: usize,
    value_head: usize,
    value_position: usize,
    bias_first: usize,
    bias_row: usize,
    bias_head: usize,
    mask_row: usize,
    scale: f32,
    #[comptime] sizes: Sizes,
    #[define(F)] _dtype: ElemType,
) {
    let group = comptime!(sizes.group);
    let vectors = comptime!(sizes.vectors);
    let lanes = comptime!(sizes.lanes);
    let slices = comptime!(sizes.slices);
    let units = comptime!(sizes.lanes * sizes.slices);
    let chunk = comptime!(CHUNK);
    let unit = UNIT_POS_X as usize;
    let head = CUBE_POS_X as usize;
    let row = CUBE_POS_Y as usize;
    let split = CUBE_POS_Z as usize;
    let splits = CUBE_COUNT_Z as usize;
    let first = split * chunk;
    let mut count = keys - first;
    if count > chunk {
        count = chunk.runtime();
    }
    // The first head of the group among all heads of all rows.
    let heads = (row * key_heads + head) * group;

    let mut queries = Shared::<[Vector<f32, N>]>::new_slice(group * vectors);
    let mut at = unit;
    while at < group * vectors {
        queries[at] = Vector::cast_from(query[heads * vectors + at]);
        at += units;
    }
    sync_cube();

    let mut weights = Shared::<[f32]>::new_slice(group * chunk);
    let key_start = row * key_row + head * key_head + first * key_position;
    let mut position = unit;
    while position < count {
        let mut scores = Array::<f32>::new(group);
        #[unroll]
        for of in 0..group {
            scores[of] = 0.0f32;
        }
        for at in 0..vectors {
            let k = Vector::<f32, N>::cast_from(key[key_start + position * key_position + at]);
            #[unroll]
            for of in 0..group {
                scores[of] += k.dot(queries[of * vectors + at]);
            }
        }
        #[unroll]
        for of in 0..group {
            let mut score = scores[of] * scale;
            if comptime!(sizes.has_bias) {
                let of_head = row * bias_row + (head * group + of) * bias_head;
                score += bias[of_head + bias_first + first + position];
            }
            if comptime!(sizes.has_mask) {
                score += mask[row * mask_row + first + position];
            }
            weights[of * chunk + position] = score;
        }
        position += units;
    }
    sync_cube();

    let mut shared = Shared::<[f32]>::new_slice(units);
    #[unroll]
    for of in 0..group {
        let mut max = f32::min_value();
        let mut position = unit;
        while position < count {
            max = max.max(weights[of * chunk + position]);
            position += units;
        }
        shared[unit] = max;
        sync_cube();
        let mut half = comptime!(units / 2).runtime();
        while half > 0 {
            if unit < half {
                shared[unit] = shared[unit].max(shared[unit + half]);
            }
            sync_cube();
            half /= 2;
        }
        let max = shared[0];
        sync_cube();
        let mut sum = 0.0f32;
        let mut position = unit;
        while position < count {
            let weight = (weights[of * chunk + position] - max).exp();
            weights[of * chunk + position] = weight;
            sum += weight;
            position += units;
        }
        shared[unit] = sum;
        sync_cube();
        let mut half = comptime!(units / 2).runtime();
        while half > 0 {
            if unit < half {
                shared[unit] = shared[unit] + shared[unit + half];
            }
            sync_cube();
            half /= 2;
        }
        if unit == 0 {
            let place = ((heads + of) * splits + split) * 2;
            facts[place] = max;
            facts[place + 1] = shared[0];
        }
        sync_cube();
    }

    let lane = unit % lanes;
    let slice = unit / lanes;
    let value_start = row * value_row + head * value_head + first * value_position;
    let mut of_units = Shared::<[Vector<f32, N>]>::new_slice(units);
    for step in 0..comptime!(vectors.div_ceil(lanes)) {
        let at = step * lanes + lane;
        let mut sums = Array::<Vector<f32, N>>::new(group);
        #[unroll]
        for of in 0..group {
            sums[of] = Vector::new(0.0f32);
        }
        if at < vectors {
            let mut position = slice;
            while position < count {
                let v = Vector::<f32, N>::cast_from(
                    value[value_start + position * value_position + at],
                );
                #[unroll]
                for of in 0..group {
                    sums[of] = sums[of] + v * Vector::new(weights[of * chunk + position]);
                }
                position += slices;
            }
        }
        #[unroll]
        for of in 0..group {
            of_units[unit] = sums[of];
            sync_cube();
            let mut half = comptime!(slices / 2).runtime();
            while half > 0 {
                if slice < half {
                    of_units[unit] = of_units[unit] + of_units[unit + half * lanes];
                }
                sync_cube();
                half /= 2;
            }
            if slice == 0 && at < vectors {
                parts[((heads + of) * splits + split) * vectors + at] = of_units[lane];
            }
            sync_cube();
        }
    }
}

/// Puts the parts of a head together.
#[cube(launch)]
fn join<F: Float, N: Size>(
    parts: &Tensor<Vector<f32, N>>,
    facts: &Tensor<f32>,
    y: &mut Tensor<Vector<F, N>>,
    splits: usize,
    vectors: usize,
    #[comptime] lanes: usize,
    #[define(F)] _dtype: ElemType,
) {
    let head = CUBE_POS_X as usize;
    let mut max = f32::min_value();
    for split in 0..splits {
        max = max.max(facts[(head * splits + split) * 2]);
    }
    let mut total = 0.0f32;
    for split in 0..splits {
        let place = (head * splits + split) * 2;
        total += facts[place + 1] * (facts[place] - max).exp();
    }
    // Nowhere to look: all weights are 0, and so is the result.
    let mut factor = 0.0f32;
    if total > 0.0f32 {
        factor = 1.0f32 / total;
    }
    let mut at = UNIT_POS_X as usize;
    while at < vectors {
        let mut sum = Vector::<f32, N>::new(0.0f32);
        for split in 0..splits {
            let place = head * splits + split;
            let weight = (facts[place * 2] - max).exp() * factor;
            sum = sum + parts[place * vectors + at] * Vector::new(weight);
        }
        y[head * vectors + at] = Vector::cast_from(sum);
        at += lanes;
    }
}
