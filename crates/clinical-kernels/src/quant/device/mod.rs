//! Packed weights on a device that is not the CPU: uploaded once, and multiplied with where they lie.
//!
//! Integers lie as the words of [`PackedMatrix`], those of an output one after another, beside their scales as halves.
//! A product unpacks them on the device, by a kernel of this crate where those are turned on and by Burn's operations
//! elsewhere, or reads them as they are.

#[cfg(all(test, feature = "cube-cpu"))]
mod on_cube;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, Device, Element, FloatDType, Int, Tensor, TensorData};
use half::{bf16, f16};
use rayon::prelude::*;

use super::codec::{Affine, OFFSET4, OFFSET8};
use super::kernel::{BLOCK, LANES};
use super::matrix::{Line, PackedMatrix};
use super::packing::{Layout, Packing};

/// The copies of a matrix, one for each device that asked. They are freed with the last layer that shares them.
#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<Vec<(Device, Arc<OnDevice>)>>);

impl Copies {
    /// The copy on this device, made by the first who asks. Others wait for it, so that there is one.
    pub(super) fn on(&self, matrix: &PackedMatrix, device: &Device) -> Arc<OnDevice> {
        let device = device.clone().without_autodiff();
        // A copy is whole or not in the list, whatever stopped another thread.
        let mut copies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, copy)) = copies.iter().find(|(on, _)| *on == device) {
            return copy.clone();
        }
        let copy = Arc::new(OnDevice::new(matrix, &device));
        copies.push((device, copy.clone()));
        copy
    }

    /// How many devices have asked.
    #[cfg(all(test, feature = "cube-cpu"))]
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// How integers lie in words of 32 bits: unsigned, in the order of the inputs but for halves of bytes, of which a word
/// has those of inputs 0 to 3 in the lower halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    /// Of an integer: 8 or 4.
    pub bits: usize,
    pub beside: Beside,
}

/// What a block has beside its integers, as halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Beside {
    /// Of integers with an offset.
    Scale,
    /// Integers from 0.
    ScaleAndMinimum,
    /// Integers from 0; the scale is kept times [`Affine::STEPS`], the zero point counts steps.
    ScaleAndZero,
}

impl Form {
    fn of(packing: Packing) -> Option<Self> {
        let form = |bits, beside| Some(Self { bits, beside });
        match packing {
            Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => form(8, Beside::Scale),
            Packing::Int4 => form(4, Beside::Scale),
            Packing::Int4Min => form(4, Beside::ScaleAndMinimum),
            Packing::Int4Affine => form(4, Beside::ScaleAndZero),
            Packing::F16 | Packing::BF16 => None,
        }
    }

    /// Inputs of a word.
    pub(crate) const fn inputs(self) -> usize {
        32 / self.bits
    }

    /// Words of a block.
    pub(crate) const fn words(self) -> usize {
        BLOCK / self.inputs()
    }

    /// Numbers of a block beside its integers.
    pub(crate) const fn numbers(self) -> usize {
        if self.has_two() { 2 } else { 1 }
    }

    /// Whether a block has a number beside its scale.
    pub(crate) const fn has_two(self) -> bool {
        !matches!(self.beside, Beside::Scale)
    }

    #[cfg(feature = "cube")]
    pub(crate) const fn has_zero(self) -> bool {
        matches!(self.beside, Beside::ScaleAndZero)
    }

    /// A scale as it is kept is this many of what an integer counts.
    pub(crate) const fn factor(self) -> f32 {
        match self.beside {
            Beside::ScaleAndZero => 1.0 / Affine::STEPS,
            _ => 1.0,
        }
    }

    /// How far input `at` of a word is from its end.
    pub(crate) const fn shift(self, at: usize) -> usize {
        match self.bits {
            8 => 8 * at,
            _ => at % 4 * 8 + at / 4 * 4,
        }
    }

    /// The bits of an integer at the end of a word.
    pub(crate) const fn mask(self) -> i32 {
        (1 << self.bits) - 1
    }

    /// What was added to make an integer unsigned.
    pub(crate) const fn offset(self) -> i32 {
        match (self.bits, self.has_two()) {
            (8, _) => OFFSET8,
            (_, false) => OFFSET4,
            (_, true) => 0,
        }
    }
}

/// A matrix on a device.
#[derive(Debug)]
pub(super) struct OnDevice {
    values: Values,
    outputs: usize,
    inputs: usize,
}

/// One for each matrix, on the heap already.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)]
enum Values {
    /// No output or no input.
    Nothing,
    Integers(Integers),
    /// `[outputs, inputs]`, in f32 where the device has no such halves.
    Halves(Tensor<2>),
}

/// Integers with their scales.
#[derive(Debug)]
struct Integers {
    form: Form,
    /// `[outputs, words]`: whole blocks.
    words: Tensor<2, Int>,
    /// `[outputs, blocks * numbers]`.
    scales: Tensor<2>,
    /// `[1, 1, inputs of a word]`: [`Form::shift`] of each.
    shifts: Tensor<3, Int>,
}

impl OnDevice {
    pub(super) fn new(matrix: &PackedMatrix, device: &Device) -> Self {
        let (outputs, inputs) = (matrix.outputs, matrix.inputs);
        let values = match Form::of(matrix.packing) {
            _ if outputs == 0 || inputs == 0 => Values::Nothing,
            Some(form) => Values::Integers(Integers::new(matrix, form, device)),
            None => Values::Halves(halves(matrix, device)),
        };
        Self {
            values,
            outputs,
            inputs,
        }
    }

    /// `x W^T`: `[rows, inputs]` to f32 `[rows, outputs]`. Gradients flow to `x`.
    pub(super) fn product(&self, x: Tensor<2>) -> Tensor<2> {
        let ([rows, _], dtype) = (x.dims(), x.dtype());
        let y = match &self.values {
            Values::Nothing => return zeros([rows, self.outputs], &x.device()),
            _ if rows == 0 => return zeros([rows, self.outputs], &x.device()),
            Values::Integers(integers) => integers.product(x),
            Values::Halves(weight) => {
                let weight = weight.clone().transpose();
                crate::fused::few_rows(&x, &weight).unwrap_or_else(|| x.matmul(weight.cast(dtype)))
            }
        };
        y.cast(FloatDType::F32)
    }

    /// Some rows, `[count, inputs]` in f32.
    pub(super) fn rows(&self, rows: Tensor<1, Int>) -> Tensor<2> {
        let (device, [count]) = (rows.device(), rows.dims());
        let rows = rows.without_autodiff();
        let found = match &self.values {
            Values::Nothing => zeros([count, self.inputs], &device),
            _ if count == 0 => zeros([count, self.inputs], &device),
            Values::Integers(integers) => {
                let few = Integers {
                    words: integers.words.clone().select(0, rows.clone()),
                    scales: integers.scales.clone().select(0, rows),
                    shifts: integers.shifts.clone(),
                    form: integers.form,
                };
                few.values(DType::F32).narrow(1, 0, self.inputs)
            }
            Values::Halves(weight) => weight.clone().select(0, rows).cast(FloatDType::F32),
        };
        with_context(found, &device)
    }

    /// All values, `[outputs, inputs]` in f32, for a device that is this one.
    pub(super) fn values(&self, device: &Device) -> Tensor<2> {
        let values = match &self.values {
            Values::Nothing => zeros([self.outputs, self.inputs], device),
            Values::Integers(integers) => integers.values(DType::F32).narrow(1, 0, self.inputs),
            Values::Halves(weight) => weight.clone().cast(FloatDType::F32),
        };
        with_context(values, device)
    }
}

/// A constant as one of a device on which gradients flow, if they do there.
fn with_context(values: Tensor<2>, device: &Device) -> Tensor<2> {
    match device.is_autodiff() {
        true => Tensor::zeros([1, 1], (device, DType::F32)) + values,
        false => values,
    }
}

impl Integers {
    fn new(matrix: &PackedMatrix, form: Form, device: &Device) -> Self {
        let blocks = matrix.inputs.div_ceil(BLOCK);
        let (count, numbers) = (blocks * form.words(), blocks * form.numbers());
        let shifts = (0..form.inputs()).map(|at| form.shift(at) as i32).collect();
        let (words, scales) = (words(matrix, count), scales(matrix, form, numbers));
        Self {
            form,
            words: uploaded_integers(words, device).reshape([matrix.outputs, count]),
            scales: uploaded(scales, device).reshape([matrix.outputs, numbers]),
            shifts: uploaded_integers(shifts, device).reshape([1, 1, form.inputs()]),
        }
    }

    /// `x W^T` in f32 or the type of `x`.
    fn product(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.padded(x);
        #[cfg(feature = "cube")]
        if crate::cube::apply(&x.device())
            && let Some(y) = crate::cube::integer_rows(&x, &self.words, &self.scales, self.form)
        {
            return y;
        }
        let weight = self.values(x.dtype());
        x.matmul(weight.transpose())
    }

    /// Zeros after the last input, up to whole blocks.
    fn padded(&self, x: Tensor<2>) -> Tensor<2> {
        let [rows, inputs] = x.dims();
        let more = self.words.dims()[1] * self.form.inputs() - inputs;
        match more {
            0 => x,
            _ => {
                let zeros = Tensor::zeros([rows, more], (&x.device(), x.dtype()));
                Tensor::cat(vec![x, zeros], 1)
            }
        }
    }

    /// The values with those after the last input, `[outputs, words * inputs of a word]`.
    fn values(&self, dtype: DType) -> Tensor<2> {
        #[cfg(feature = "cube")]
        if crate::cube::apply(&self.words.device())
            && let Some(values) =
                crate::cube::integer_values(&self.words, &self.scales, self.form, dtype)
        {
            return values;
        }
        let [outputs, words] = self.words.dims();
        let (form, blocks) = (self.form, words / self.form.words());
        let spread = self.words.clone().reshape([outputs, words, 1]);
        let integers = spread
            .bitwise_right_shift(self.shifts.clone())
            .bitwise_and_scalar(form.mask());
        let integers = integers
            .reshape([outputs, blocks, BLOCK])
            .cast(FloatDType::F32);
        let scales = self.scales.clone().cast(FloatDType::F32);
        let scales = scales.reshape([outputs, blocks, form.numbers()]);
        let step = scales.clone().narrow(2, 0, 1);
        let values = match form.beside {
            Beside::Scale => (integers - form.offset()) * step,
            Beside::ScaleAndMinimum => integers * step + scales.narrow(2, 1, 1),
            Beside::ScaleAndZero => (integers - scales.narrow(2, 1, 1)) * (step * form.factor()),
        };
        values.reshape([outputs, blocks * BLOCK]).cast(dtype)
    }
}

fn zeros(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::zeros(shape, (device, DType::F32))
}

/// One dimension: rows of a tensor of two may be padded on a device.
fn uploaded_integers(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), (device, DType::I32))
}

/// As they are, or in f32 where the device has no such type.
fn uploaded<E: Element + Into<f32>>(values: Vec<E>, device: &Device) -> Tensor<1> {
    let count = values.len();
    if device.supports_dtype(E::dtype()) {
        return Tensor::from_data(TensorData::new(values, [count]), (device, E::dtype()));
    }
    let values: Vec<f32> = values.into_iter().map(Into::into).collect();
    Tensor::from_data(TensorData::new(values, [count]), (device, DType::F32))
}

fn halves(matrix: &PackedMatrix, device: &Device) -> Tensor<2> {
    let bits = each_row(matrix, matrix.inputs, |lines, _, lane, input| {
        let at = input * LANES + lane;
        (word(lines, at / 2) >> (at % 2 * 16)) as u16
    });
    let values = match matrix.packing {
        Packing::BF16 => uploaded(bits.into_iter().map(bf16::from_bits).collect(), device),
        _ => uploaded(bits.into_iter().map(f16::from_bits).collect(), device),
    };
    values.reshape([matrix.outputs, matrix.inputs])
}

/// The words of each output, `[outputs, count]`. A panel has them as `[count][LANES]`.
fn words(matrix: &PackedMatrix, count: usize) -> Vec<i32> {
    each_row(matrix, count, |lines, _, lane, at| {
        word(lines, at * LANES + lane).cast_signed()
    })
}

/// The scales of each output with what stands beside them, `[outputs, count]`. A panel has them as `[count][LANES]`, or
/// a scale and its zero point in one half, `[count / 2][LANES]`.
fn scales(matrix: &PackedMatrix, form: Form, count: usize) -> Vec<f16> {
    each_row(matrix, count, |_, scales, lane, number| {
        let half = |number: usize| {
            let at = number * LANES + lane;
            (scales[at / 2] >> (at % 2 * 16)) as u16
        };
        match (form.beside, number % 2) {
            (Beside::ScaleAndZero, 0) => {
                f16::from_f32(Affine(half(number / 2)).step() * Affine::STEPS)
            }
            (Beside::ScaleAndZero, _) => f16::from_f32(Affine(half(number / 2)).zero() / 4.0),
            _ => f16::from_bits(half(number)),
        }
    })
}

/// Word `at` of some lines.
fn word(lines: &[Line], at: usize) -> u32 {
    let (words, _) = lines[at / 16].0.as_chunks::<4>();
    u32::from_le_bytes(words[at % 16])
}

/// `count` values for each output, made of the lines and scales of its panel, its lane and the index among the values.
fn each_row<T: Copy + Default + Send>(
    matrix: &PackedMatrix,
    count: usize,
    value: impl Fn(&[Line], &[u32], usize, usize) -> T + Sync,
) -> Vec<T> {
    let layout = Layout::new(matrix.packing, matrix.inputs);
    let (lines, scales) = (layout.panel_bytes / size_of::<Line>(), layout.panel_scales);
    let mut all = vec![T::default(); matrix.outputs * count];
    let panels = all.par_chunks_mut(LANES * count).enumerate();
    panels.for_each(|(panel, rows)| {
        let lines = &matrix.lines[panel * lines..][..lines];
        let scales = &matrix.scales[panel * scales..][..scales];
        for at in 0..count {
            for (lane, row) in rows.chunks_exact_mut(count).enumerate() {
                row[at] = value(lines, scales, lane, at);
            }
        }
    });
    all
}
