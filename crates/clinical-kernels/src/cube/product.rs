//! A few rows by a weight: the weight is read once, and its bytes are what it costs.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{empty, units, vector_size, with_rows};

const UNITS: usize = 256;

/// Units side by side, each with a vector of columns: with 16 bytes each they read 64 bytes of a row of the weight at
/// once, and even narrow weights give work to all processors of a GPU.
const COLUMN_LANES: usize = 4;

/// Units side by side on one row of a transposed weight.
const ROW_LANES: usize = 32;

/// `[rows, d_input]` by `[d_input, d_output]`.
pub(super) fn launch(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
    let x = with_rows(x);
    if weight.meta.strides()[0] == 1 && weight.meta.strides()[1] != 1 {
        by_rows(x, weight)
    } else {
        by_columns(x, with_rows(weight))
    }
}

fn by_columns(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
    let [rows, depth, n] = sizes(&x, &weight);
    let client = x.client.clone();
    let weight_row = weight.meta.strides()[0];
    let (x_row, dtypes) = (x.meta.strides()[0], types(&x, &weight));
    let size = vector_size(&client, wider(&x, &weight), &[n, weight_row]);
    let y = empty(&x, [rows, n], x.dtype);
    let units = units(&client, UNITS);
    let lanes = COLUMN_LANES.min((units / 2).max(1));
    let groups = n / size;
    columns::launch(
        &client,
        CubeCount::new_1d(groups.div_ceil(lanes) as u32),
        CubeDim::new_1d(units as u32),
        size,
        x.into_tensor_arg(),
        weight.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        depth,
        groups,
        x_row,
        weight_row / size,
        rows,
        lanes,
        units / lanes,
        dtypes,
    );
    y
}

fn by_rows(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
    let [rows, depth, n] = sizes(&x, &weight);
    let client = x.client.clone();
    let (x_row, weight_row) = (x.meta.strides()[0], weight.meta.strides()[1]);
    let dtypes = types(&x, &weight);
    let size = vector_size(&client, wider(&x, &weight), &[depth, x_row, weight_row]);
    let y = empty(&x, [rows, n], x.dtype);
    let units = units(&client, UNITS);
    let lanes = ROW_LANES.min(units);
    let teams = units / lanes;
    weight_rows::launch(
        &client,
        CubeCount::new_1d(n.div_ceil(teams) as u32),
        CubeDim::new_1d(units as u32),
        size,
        x.into_tensor_arg(),
        weight.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        depth / size,
        n,
        x_row / size,
        weight_row / size,
        rows,
        lanes,
        teams,
        dtypes,
    );
    y
}

fn sizes(x: &CubeTensor, weight: &CubeTensor) -> [usize; 3] {
    let (x, weight) = (x.meta.shape(), weight.meta.shape());
    [x[0], x[1], weight[1]]
}

fn types(x: &CubeTensor, weight: &CubeTensor) -> [ElemType; 2] {
    [x.dtype, weight.dtype].map(dtype_to_elem_type)
}

/// The type of which fewer values are a vector.
fn wider(x: &CubeTensor, weight: &CubeTensor) -> DType {
    match x.dtype.size() > weight.dtype.size() {
        true => x.dtype,
        false => weight.dtype,
    }
}

/// Each cube has the columns of `lanes` vectors, each slice of it every `slices`-th row of the weight. Row strides of
/// vectors count vectors.
#[cube(launch)]
fn columns<F: Float, W: Float, N: Size>(
    x: &Tensor<F>,
    weight: &Tensor<Vector<W, N>>,
    y: &mut Tensor<Vector<F, N>>,
    depth: usize,
    groups: usize,
    x_row: usize,
    weight_row: usize,
    #[comptime] rows: usize,
    #[comptime] lanes: usize,
    #[comptime] slices: usize,
    #[define(F, W)] _dtypes: [ElemType; 2],
) {
    let unit = UNIT_POS_X as usize;
    let lane = unit % lanes;
    let slice = unit / lanes;
    let group = CUBE_POS_X as usize * lanes + lane;
    let mut sums = Array::<Vector<f32, N>>::new(rows);
    #[unroll]
    for row in 0..rows {
        sums[row] = Vector::new(0.0f32);
    }
    if group < groups {
        let mut at = slice;
        while at < depth {
            let w = Vector::<f32, N>::cast_from(weight[at * weight_row + group]);
            #[unroll]
            for row in 0..rows {
                let value = f32::cast_from(x[row * x_row + at]);
                sums[row] = sums[row] + w * Vector::new(value);
            }
            at += slices;
        }
    }
    let mut parts = Shared::<[Vector<f32, N>]>::new_slice(lanes * slices);
    #[unroll]
    for row in 0..rows {
        parts[unit] = sums[row];
        sync_cube();
        let mut half = comptime!(slices / 2).runtime();
        while half > 0 {
            if slice < half {
                parts[unit] = parts[unit] + parts[unit + half * lanes];
            }
            sync_cube();
            half /= 2;
        }
        if slice == 0 && group < groups {
            y[row * groups + group] = Vector::cast_from(parts[lane]);
        }
        sync_cube();
    }
}

/// Each team of a cube has one row of the transposed weight, which is one output.
#[cube(launch)]
fn weight_rows<F: Float, W: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    weight: &Tensor<Vector<W, N>>,
    y: &mut Tensor<F>,
    vectors: usize,
    outputs: usize,
    x_row: usize,
    weight_row: usize,
    #[comptime] rows: usize,
    #[comptime] lanes: usize,
    #[comptime] teams: usize,
    #[define(F, W)] _dtypes: [ElemType; 2],
) {
    let unit = UNIT_POS_X as usize;
    let lane = unit % lanes;
    let output = CUBE_POS_X as usize * teams + unit / lanes;
    let mut sums = Array::<f32>::new(rows);
    #[unroll]
    for row in 0..rows {
        sums[row] = 0.0f32;
    }
    if output < outputs {
        let mut at = lane;
        while at < vectors {
            let w = Vector::<f32, N>::cast_from(weight[output * weight_row + at]);
            #[unroll]
            for row in 0..rows {
                let value = Vector::<f32, N>::cast_from(x[row * x_row + at]);
                sums[row] += w.dot(value);
            }
            at += lanes;
        }
    }
    let mut parts = Shared::<[f32]>::new_slice(lanes * teams);
    #[unroll]
    for row in 0..rows {
        parts[unit] = sums[row];
        sync_cube();
        let mut half = comptime!(lanes / 2).runtime();
        while half > 0 {
            if lane < half {
                parts[unit] = parts[unit] + parts[unit + half];
            }
            sync_cube();
            half /= 2;
        }
        if lane == 0 && output < outputs {
            y[row * outputs + output] = F::cast_from(parts[unit]);
        }
        sync_cube();
    }
}
