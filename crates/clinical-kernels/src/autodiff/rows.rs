//! Norms, gates, activations, rotations and dropout with gradients.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::{Input, Operation, record};
use crate::float::product::ranges;
use crate::float::rows::{self, Moments};
use crate::float::simd::Level;
use crate::float::slopes;
use crate::fused::Activation;
use crate::fused::flex::rows::{activate_values, gated_values, norm_values, rotate_values};
use crate::fused::flex::{Shared, WORTH_SHARING, contiguous, count, pointer, with_rows, written};
use crate::{DropMask, dropout, pool};

/// [`fused::rms_norm`](crate::fused::rms_norm) and [`fused::layer_norm`](crate::fused::layer_norm) on a device with
/// gradients.
pub(crate) fn norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let (x, weight, bias) = (Input::of(x)?, Input::of(weight)?, Input::of_option(bias)?);
    let values = contiguous(x.values());
    let weights = contiguous(weight.values());
    let biases = bias.as_ref().map(|bias| contiguous(bias.values()));
    let nothing = Moments {
        mean: 0.0,
        scale: 0.0,
    };
    let mut kept = vec![nothing; shape[..D - 1].iter().product()];
    let to = kept.as_mut_ptr();
    let y = norm_values(shape, &values, &weights, biases.as_ref(), epsilon, to);
    let operation = |_| Norm {
        x: values,
        weight: weights,
        kept: Arc::new(kept),
        centred: biases.is_some(),
    };
    Some(record([Some(x), Some(weight), bias], y, operation))
}

/// The input, and what each row was normalised by.
#[derive(Debug, Clone)]
struct Norm {
    x: FlexTensor,
    weight: FlexTensor,
    kept: Arc<Vec<Moments>>,
    centred: bool,
}

/// Parts that the sums over all rows are made of; a matter of the number of rows alone.
const PARTS: usize = 64;

/// The fewest rows of such a part.
const PART: usize = 16;

impl Operation<3> for Norm {
    fn backward(self, gradient: FlexTensor, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let [of_x, of_weight, of_bias] = wanted;
        let n = self.weight.layout().shape()[0];
        let rows = if n == 0 { 0 } else { self.kept.len() };
        let step = rows.div_ceil(PARTS).max(PART);
        let parts = rows.div_ceil(step);
        let sums = |wanted: bool| vec![0.0f32; if wanted { parts * n } else { 0 }];
        let (mut weights, mut biases) = (sums(of_weight), sums(of_bias));
        let or_null = |sums: &mut Vec<f32>| match sums.is_empty() {
            true => std::ptr::null_mut(),
            false => sums.as_mut_ptr(),
        };
        let sums = Shared([or_null(&mut weights), or_null(&mut biases)]);
        let gradient = contiguous(gradient);
        let from = Shared((pointer(&self.x), pointer(&self.weight), pointer(&gradient)));
        let kept = Shared(self.kept.as_ptr());
        let run = |to: *mut f32| {
            let to = Shared(to);
            pool::run(parts, |part| {
                let (x, weight, gradient) = from.get();
                let first = part * step;
                let (start, count) = (first * n, step.min(rows - first));
                let part = |to: *mut f32, start: usize| match to.is_null() {
                    true => to,
                    // SAFETY: there is room for every part.
                    false => unsafe { to.add(start) },
                };
                let [weights, biases] = sums.get().map(|to| part(to, (first / step) * n));
                let to = part(to.get(), start);
                // SAFETY: the sizes are those of the tensors; parts are different rows.
                unsafe {
                    let (x, gradient, kept) =
                        (x.add(start), gradient.add(start), kept.get().add(first));
                    let (level, centred) = (Level::best(), self.centred);
                    slopes::norm(
                        level, count, n, x, kept, weight, centred, gradient, to, weights, biases,
                    );
                }
            });
        };
        let of_x = match of_x {
            true => Some(in_place(gradient, run)),
            false => {
                run(std::ptr::null_mut());
                None
            }
        };
        let total = |sums: &[f32]| column_sums(parts, n, sums);
        [
            of_x,
            of_weight.then(|| total(&weights)),
            of_bias.then(|| total(&biases)),
        ]
    }
}

/// The sums of the parts, in order.
fn column_sums(parts: usize, n: usize, sums: &[f32]) -> FlexTensor {
    written([n], |out| {
        // SAFETY: `sums` has `parts` rows of `n`.
        unsafe { rows::column_sums(Level::best(), parts, n, sums.as_ptr(), n, out, false) };
    })
}

/// Has `write` write a tensor like `gradient`, in its place where nobody else has it; its values lie one after another.
fn in_place(mut gradient: FlexTensor, write: impl FnOnce(*mut f32)) -> FlexTensor {
    let values = gradient.layout().num_elements();
    if values == 0 {
        return gradient;
    }
    let start = gradient.layout().start_offset();
    if let Some(storage) = gradient.try_storage_mut::<f32>() {
        write(storage[start..].as_mut_ptr());
        return gradient;
    }
    let shape = gradient.layout().shape().clone();
    written([values], write).reshape(shape)
}

/// [`fused::gated`](crate::fused::gated) on a device with gradients.
pub(crate) fn gated<const D: usize>(
    gate: &Tensor<D>,
    x: &Tensor<D>,
    activation: Activation,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let (gate, x) = (Input::of(gate)?, Input::of(x)?);
    let (gates, values) = (contiguous(gate.values()), contiguous(x.values()));
    let y = gated_values(shape, &gates, &values, activation);
    Some(record([Some(gate), Some(x)], y, |_| Gated {
        gate: gates,
        x: values,
        activation,
    }))
}

#[derive(Debug, Clone)]
struct Gated {
    gate: FlexTensor,
    x: FlexTensor,
    activation: Activation,
}

impl Operation<2> for Gated {
    fn backward(self, gradient: FlexTensor, _: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let gradient = contiguous(gradient);
        let values = gradient.layout().num_elements();
        let shape = gradient.layout().shape().clone();
        let from = Shared((pointer(&self.gate), pointer(&self.x), pointer(&gradient)));
        let mut of_x = None;
        let of_gate = written([values], |to_gate| {
            of_x = Some(in_place(gradient, |to| {
                let to = Shared((to_gate, to));
                ranges(values, WORTH_SHARING, 16, 2, |range| {
                    let ((gate, x, gradient), (to_gate, to)) = (from.get(), to.get());
                    let (start, count) = (range.start, range.len());
                    // SAFETY: the sizes are those of the tensors; ranges do not overlap.
                    unsafe {
                        let (gate, x, gradient) =
                            (gate.add(start), x.add(start), gradient.add(start));
                        let (to_gate, to) = (to_gate.add(start), to.add(start));
                        let (level, activation) = (Level::best(), self.activation);
                        slopes::gate(level, count, activation, gate, x, gradient, to_gate, to);
                    }
                });
            }));
        });
        [Some(of_gate.reshape(shape)), of_x]
    }
}

/// [`fused::activate`](crate::fused::activate) on a device with gradients.
pub(crate) fn activate<const D: usize>(x: &Tensor<D>, activation: Activation) -> Option<Tensor<D>> {
    let shape = x.dims();
    let x = Input::of(x)?;
    let values = contiguous(x.values());
    let y = activate_values(shape, &values, activation);
    Some(record([Some(x)], y, |_| Activated {
        x: values,
        activation,
    }))
}

#[derive(Debug, Clone)]
struct Activated {
    x: FlexTensor,
    activation: Activation,
}

impl Operation<1> for Activated {
    fn backward(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = contiguous(gradient);
        let values = gradient.layout().num_elements();
        let from = Shared((pointer(&self.x), pointer(&gradient)));
        let of_x = in_place(gradient, |to| {
            let to = Shared(to);
            ranges(values, WORTH_SHARING, 16, 2, |range| {
                let (x, gradient) = from.get();
                let (start, count) = (range.start, range.len());
                // SAFETY: the sizes are those of the tensors; ranges do not overlap.
                unsafe {
                    let (x, gradient) = (x.add(start), gradient.add(start));
                    let to = to.get().add(start);
                    rows::slope(Level::best(), count, self.activation, x, gradient, to);
                }
            });
        });
        [Some(of_x)]
    }
}

/// [`fused::rotate`](crate::fused::rotate) on a device with gradients.
pub(crate) fn rotate(x: &Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Option<Tensor<4>> {
    let (shape, tables) = (x.dims(), cos.dims()[0]);
    let (x, cos, sin) = (Input::of(x)?, Input::of(cos)?, Input::of(sin)?);
    if cos.wanted() || sin.wanted() {
        return None;
    }
    let [cos, sin] = [cos, sin].map(|table| contiguous(table.values()));
    let y = rotate_values(shape, &with_rows(x.values()), tables, &cos, &sin);
    Some(record([Some(x)], y, |_| Rotated {
        shape,
        tables,
        cos,
        sin,
    }))
}

#[derive(Debug, Clone)]
struct Rotated {
    shape: [usize; 4],
    tables: usize,
    cos: FlexTensor,
    sin: FlexTensor,
}

impl Operation<1> for Rotated {
    fn backward(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        // A rotation turned back.
        let angles = self.sin.layout().num_elements();
        let back = written([angles], |to| {
            for i in 0..angles {
                // SAFETY: both have so many values, one after another.
                unsafe { *to.add(i) = -*pointer(&self.sin).add(i) };
            }
        });
        let (gradient, tables) = (with_rows(gradient), self.tables);
        let of_x = rotate_values(self.shape, &gradient, tables, &self.cos, &back);
        [Some(of_x)]
    }
}

/// [`fused::dropout`](crate::fused::dropout).
pub(crate) fn dropout<const D: usize>(x: &Tensor<D>, mask: DropMask) -> Option<Tensor<D>> {
    let shape = x.dims();
    let x = Input::of(x)?;
    let values = contiguous(x.values());
    let y = written(shape, |to| {
        dropped(mask, count(shape), pointer(&values), to)
    });
    Some(record([Some(x)], y, |_| Dropped { mask }))
}

fn dropped(mask: DropMask, values: usize, x: *const f32, to: *mut f32) {
    let (x, to) = (Shared(x), Shared(to));
    // Pairs of elements have their bits in common.
    ranges(values, WORTH_SHARING, 64, 2, |range| {
        let start = range.start;
        // SAFETY: both have so many values; ranges do not overlap.
        unsafe {
            let (x, to) = (x.get().add(start), to.get().add(start));
            dropout::multiply(Level::best(), mask, start as u64, range.len(), x, to);
        }
    });
}

/// The mask alone, which is made again.
#[derive(Debug, Clone)]
struct Dropped {
    mask: DropMask,
}

impl Operation<1> for Dropped {
    fn backward(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = contiguous(gradient);
        let values = gradient.layout().num_elements();
        let from = pointer(&gradient);
        [Some(in_place(gradient, |to| {
            dropped(self.mask, values, from, to)
        }))]
    }
}
