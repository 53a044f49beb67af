//! Weights as integers with scales: a few rows by them as they lie, and their values for products of many rows.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{empty, units, vector_size, with_rows};
use crate::quant::Form;

/// Units side by side on the words of some outputs.
const UNITS: usize = 256;

/// Outputs of a cube, whose sums a unit has in registers: each value of `x` that is read is used for all.
const OUTPUTS: usize = 8;

/// The same for more than [`HALF_ROWS`] rows, which have as many sums each.
const HALF_OUTPUTS: usize = 4;
const HALF_ROWS: usize = 4;

/// Outputs below which a cube has one, so that narrow weights give work to all processors of a GPU too.
const NARROW: usize = 2048;

/// The bits of 2^23, whose last bit counts ones: an integer below 2^23 that takes the place of its mantissa is added to
/// it. That costs one operation, which may be joined with the mask, where a conversion may be slow.
const ONES: i32 = 0x4b00_0000;

/// The longest vector of values of `x` and of results.
const VECTOR: usize = 4;

/// `x W^T` for `x` of `[rows, whole blocks]`, in f32.
pub(super) fn rows(x: CubeTensor, words: CubeTensor, scales: CubeTensor, form: Form) -> CubeTensor {
    let (x, words, scales) = (with_rows(x), with_rows(words), with_rows(scales));
    let rows = x.meta.shape()[0];
    let [outputs, count] = [words.meta.shape()[0], words.meta.shape()[1]];
    let client = x.client.clone();
    let y = empty(&x, [rows, outputs], DType::F32);
    let units = units(&client, UNITS.min(count.next_power_of_two()));
    let each = match (outputs < NARROW, rows > HALF_ROWS) {
        (true, _) => 1,
        (false, true) => HALF_OUTPUTS,
        (false, false) => OUTPUTS,
    };
    let x_row = x.meta.strides()[0];
    let size = vector_size(&client, x.dtype, &[VECTOR, x_row]);
    let rows_of = |tensor: &CubeTensor| tensor.meta.strides()[0];
    let (words_row, scales_row) = (rows_of(&words), rows_of(&scales));
    let dtypes = [x.dtype, scales.dtype].map(dtype_to_elem_type);
    integer_rows::launch(
        &client,
        CubeCount::new_1d(outputs.div_ceil(each) as u32),
        CubeDim::new_1d(units as u32),
        size,
        x.into_tensor_arg(),
        words.into_tensor_arg(),
        scales.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        count,
        outputs,
        x_row / size,
        words_row,
        scales_row,
        Sizes {
            rows,
            each,
            units,
            size,
            form,
        },
        dtypes,
    );
    y
}

/// The values in a float type, `[outputs, whole blocks]`.
pub(super) fn values(words: CubeTensor, scales: CubeTensor, form: Form, to: DType) -> CubeTensor {
    let (words, scales) = (with_rows(words), with_rows(scales));
    let [outputs, count] = [words.meta.shape()[0], words.meta.shape()[1]];
    let client = words.client.clone();
    let values = empty(&words, [outputs, count * form.inputs()], to);
    let units = units(&client, UNITS);
    let size = vector_size(&client, to, &[VECTOR]);
    let rows_of = |tensor: &CubeTensor| tensor.meta.strides()[0];
    let (words_row, scales_row) = (rows_of(&words), rows_of(&scales));
    let dtypes = [to, scales.dtype].map(dtype_to_elem_type);
    integer_values::launch(
        &client,
        CubeCount::new_1d((outputs * count).div_ceil(units) as u32),
        CubeDim::new_1d(units as u32),
        size,
        words.into_tensor_arg(),
        scales.into_tensor_arg(),
        values.clone().into_tensor_arg(),
        outputs * count,
        count,
        words_row,
        scales_row,
        Sizes {
            rows: 0,
            each: 1,
            units,
            size,
            form,
        },
        dtypes,
    );
    values
}

/// What the code of a kernel is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Sizes {
    rows: usize,
    /// Outputs of a cube.
    each: usize,
    units: usize,
    /// Values of a vector.
    size: usize,
    form: Form,
}

/// Input `at` of a word, without its scale.
#[cube]
fn integer(word: i32, #[comptime] at: usize, #[comptime] form: Form) -> f32 {
    let shift = comptime!(form.shift(at) as i32);
    let mask = comptime!(form.mask());
    let zero = comptime!((1i32 << 23) as f32 + form.offset() as f32);
    f32::reinterpret(((word >> shift) & mask) | comptime!(ONES)) - zero
}

/// The units of a cube have every `units`-th word of its outputs each, and add up what they found. The row stride of
/// `x` counts vectors.
#[cube(launch)]
fn integer_rows<F: Float, S: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    words: &Tensor<i32>,
    scales: &Tensor<S>,
    y: &mut Tensor<f32>,
    count: usize,
    outputs: usize,
    x_row: usize,
    words_row: usize,
    scales_row: usize,
    #[comptime] sizes: Sizes,
    #[define(F, S)] _dtypes: [ElemType; 2],
) {
    let rows = comptime!(sizes.rows);
    let each = comptime!(sizes.each);
    let units = comptime!(sizes.units);
    let size = comptime!(sizes.size);
    let form = comptime!(sizes.form);
    let vectors = comptime!(form.inputs() / size);
    let unit = UNIT_POS_X as usize;
    let first = CUBE_POS_X as usize * each;
    let mut sums = Array::<f32>::new(rows * each);
    #[unroll]
    for pair in 0..comptime!(rows * each) {
        sums[pair] = 0.0f32;
    }
    let mut at = unit;
    while at < count {
        let mut held = Array::<i32>::new(each);
        #[unroll]
        for of in 0..each {
            // Behind the last output the last is read again, and not written.
            let mut output = first + of;
            if output >= outputs {
                output = outputs - 1;
            }
            held[of] = words[output * words_row + at];
        }
        let mut parts = Array::<f32>::new(rows * each);
        #[unroll]
        for pair in 0..comptime!(rows * each) {
            parts[pair] = 0.0f32;
        }
        let mut totals = Array::<f32>::new(rows);
        #[unroll]
        for row in 0..rows {
            totals[row] = 0.0f32;
        }
        #[unroll]
        for vector in 0..vectors {
            let mut w = Array::<f32>::new(each * size);
            #[unroll]
            for of in 0..each {
                #[unroll]
                for i in 0..size {
                    w[of * size + i] = integer(held[of], comptime!(vector * size + i), form);
                }
            }
            #[unroll]
            for row in 0..rows {
                let all = Vector::<f32, N>::cast_from(x[row * x_row + at * vectors + vector]);
                #[unroll]
                for i in 0..size {
                    let value = all.extract(i);
                    if comptime!(form.has_two()) {
                        totals[row] += value;
                    }
                    #[unroll]
                    for of in 0..each {
                        parts[row * each + of] += value * w[of * size + i];
                    }
                }
            }
        }
        let block = at / comptime!(form.words());
        #[unroll]
        for of in 0..each {
            let mut output = first + of;
            if output >= outputs {
                output = outputs - 1;
            }
            let place = output * scales_row + block * comptime!(form.numbers());
            let step = f32::cast_from(scales[place]) * comptime!(form.factor());
            #[unroll]
            for row in 0..rows {
                sums[row * each + of] += parts[row * each + of] * step;
            }
            if comptime!(form.has_two()) {
                let mut least = f32::cast_from(scales[place + 1]);
                if comptime!(form.has_zero()) {
                    least = 0.0f32 - least * step;
                }
                #[unroll]
                for row in 0..rows {
                    sums[row * each + of] += totals[row] * least;
                }
            }
        }
        at += units;
    }
    let mut all = Shared::<[f32]>::new_slice(comptime!(sizes.rows * sizes.each * sizes.units));
    #[unroll]
    for pair in 0..comptime!(rows * each) {
        all[pair * units + unit] = sums[pair];
    }
    sync_cube();
    let mut half = comptime!(units / 2).runtime();
    while half > 0 {
        if unit < half {
            #[unroll]
            for pair in 0..comptime!(rows * each) {
                let place = pair * units + unit;
                all[place] = all[place] + all[place + half];
            }
        }
        sync_cube();
        half /= 2;
    }
    let mut pair = unit;
    while pair < comptime!(rows * each) {
        let output = first + pair % each;
        if output < outputs {
            y[pair / each * outputs + output] = all[pair * units];
        }
        pair += units;
    }
}

/// A unit has one word.
#[cube(launch)]
fn integer_values<F: Float, S: Float, N: Size>(
    words: &Tensor<i32>,
    scales: &Tensor<S>,
    values: &mut Tensor<Vector<F, N>>,
    total: usize,
    count: usize,
    words_row: usize,
    scales_row: usize,
    #[comptime] sizes: Sizes,
    #[define(F, S)] _dtypes: [ElemType; 2],
) {
    let units = comptime!(sizes.units);
    let size = comptime!(sizes.size);
    let form = comptime!(sizes.form);
    let vectors = comptime!(form.inputs() / size);
    let index = CUBE_POS_X as usize * units + UNIT_POS_X as usize;
    if index < total {
        let output = index / count;
        let at = index % count;
        let word = words[output * words_row + at];
        let block = at / comptime!(form.words());
        let place = output * scales_row + block * comptime!(form.numbers());
        let step = f32::cast_from(scales[place]) * comptime!(form.factor());
        let mut least = 0.0f32;
        if comptime!(form.has_two()) {
            least = f32::cast_from(scales[place + 1]);
            if comptime!(form.has_zero()) {
                least = 0.0f32 - least * step;
            }
        }
        #[unroll]
        for vector in 0..vectors {
            let mut all = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for i in 0..size {
                let q = integer(word, comptime!(vector * size + i), form);
                all.insert(i, q * step + least);
            }
            values[index * vectors + vector] = Vector::cast_from(all);
        }
    }
}
