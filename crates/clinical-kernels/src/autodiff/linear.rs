//! The dense layer.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::weight::{Weight, turned};
use super::{Input, Operation, record};
use crate::PackedMatrix;
use crate::float::Activation;
use crate::float::product::{Finish, Matrix, Target, product, ranges};
use crate::float::rows;
use crate::float::simd::Level;
use crate::fused::Then;
use crate::fused::flex::{
    Ending, Shared, WORTH_SHARING, contiguous, linear_sizes, matrix, pointer, written,
};

/// [`fused::linear`](crate::fused::linear) on a device with gradients.
pub(crate) fn linear(x: &Tensor<2>, weight: &Tensor<2>, then: Then<'_>) -> Option<Tensor<2>> {
    let sizes = linear_sizes(x, weight.dims(), &then);
    let weight = Input::of(weight)?;
    let values = Weight::Dense(weight.values());
    layer(sizes, x, values, Some(weight), then)
}

/// [`Packed::linear_then`](crate::Packed::linear_then) on a device with gradients.
pub(crate) fn packed(
    x: &Tensor<2>,
    weight: &Arc<PackedMatrix>,
    then: Then<'_>,
) -> Option<Tensor<2>> {
    let sizes = linear_sizes(x, [weight.inputs(), weight.outputs()], &then);
    layer(sizes, x, Weight::Packed(weight.clone()), None, then)
}

fn layer(
    sizes: [usize; 3],
    x: &Tensor<2>,
    weight: Weight,
    leaf: Option<Input>,
    then: Then<'_>,
) -> Option<Tensor<2>> {
    let x = Input::of(x)?;
    let x_values = x.values();
    let inputs = Inputs::of(x, leaf, then)?;
    let (y, before) = inputs.forward(then.activation, |ending| {
        weight.forward(sizes, &x_values, ending)
    });
    let operation = |[of_x, of_weight, of_bias, _]: [bool; 4]| Linear {
        sizes,
        x: of_weight.then_some(x_values),
        transposed: weight.is_transposed(),
        weight: of_x.then_some(weight),
        activation: before
            .filter(|_| of_x || of_weight || of_bias)
            .map(|before| (then.activation, before)),
    };
    Some(record(inputs.0, y, operation))
}

/// `x`, weight, bias and residual.
struct Inputs([Option<Input>; 4]);

impl Inputs {
    fn of(x: Input, weight: Option<Input>, then: Then<'_>) -> Option<Self> {
        let bias = Input::of_option(then.bias)?;
        let residual = Input::of_option(then.residual)?;
        Some(Self([Some(x), weight, bias, residual]))
    }

    /// The result, and what an activation's derivative is found from: what came before the activation, or for ReLU
    /// what came of it, which is above zero at the same places.
    fn forward(
        &self,
        activation: Activation,
        product: impl Fn(Ending<'_>) -> FlexTensor,
    ) -> (FlexTensor, Option<FlexTensor>) {
        let [_, _, bias, residual] = &self.0;
        let values = |input: &Option<Input>| {
            let input = input.as_ref();
            input.map(|input| contiguous(input.values()))
        };
        let (bias, residual) = (values(bias), values(residual));
        let (bias, residual) = (bias.as_ref(), residual.as_ref());
        let whole = Ending {
            bias,
            activation,
            residual,
        };
        let wanted = self.0.iter().take(3).flatten().any(Input::wanted);
        match activation {
            _ if !wanted => (product(whole), None),
            Activation::None => (product(whole), None),
            Activation::Relu if residual.is_none() => {
                let y = product(whole);
                (y.clone(), Some(y))
            }
            _ => {
                let before = product(Ending {
                    bias,
                    ..Ending::default()
                });
                (activated(&before, activation, residual), Some(before))
            }
        }
    }
}

/// What the gradients of a dense layer are made of.
#[derive(Debug, Clone)]
struct Linear {
    /// `[rows, d_output, d_input]`.
    sizes: [usize; 3],
    x: Option<FlexTensor>,
    weight: Option<Weight>,
    /// Whether the weight, and so its gradient, lies as `[d_output, d_input]`.
    transposed: bool,
    /// With what its derivative is found from.
    activation: Option<(Activation, FlexTensor)>,
}

impl Operation<4> for Linear {
    fn backward(self, gradient: FlexTensor, wanted: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let [_, _, bias, residual] = wanted;
        let [m, n, k] = self.sizes;
        let gradient = contiguous(gradient);
        let of_residual = residual.then(|| gradient.clone());
        let gradient = match self.activation {
            Some((activation, before)) => through_activation(gradient, activation, &before),
            None => gradient,
        };
        // The largest goes first: `x` is often used for nothing else.
        let of_weight = self.x.map(|x| match self.transposed {
            false => multiplied([k, n, m], turned(matrix(&x)), matrix(&gradient)),
            true => multiplied([n, k, m], turned(matrix(&gradient)), matrix(&x)).transpose(0, 1),
        });
        let of_x = self.weight.map(|weight| {
            written([m, k], |data| {
                let out = Target { data, row: k };
                // SAFETY: the sizes are those of the tensors.
                unsafe { weight.multiply_back([m, n, k], matrix(&gradient), out) };
            })
        });
        let of_bias = bias.then(|| column_sums([m, n], &gradient));
        [of_x, of_weight, of_bias, of_residual]
    }
}

/// `a b` for matrices of the sizes `[m, n, k]` of a product, which live meanwhile.
fn multiplied([m, n, k]: [usize; 3], a: Matrix, b: Matrix) -> FlexTensor {
    written([m, n], |out| {
        let out = Target { data: out, row: n };
        // SAFETY: the caller's tensors have these sizes.
        unsafe { product(Level::best(), [m, n, k], a, b, out, Finish::NONE) };
    })
}

/// `residual + activation(x)`.
fn activated(x: &FlexTensor, activation: Activation, residual: Option<&FlexTensor>) -> FlexTensor {
    let [m, n] = dims(x);
    let from = Shared((pointer(x), residual.map_or(std::ptr::null(), pointer)));
    written([m, n], |out| {
        let out = Shared(out);
        ranges(m * n, WORTH_SHARING, 16, 2, |range| {
            let (x, residual) = from.get();
            let (start, count, level) = (range.start, range.len(), Level::best());
            // SAFETY: the sizes are those of the tensors; ranges do not overlap.
            unsafe {
                let y = out.get().add(start);
                rows::activate(level, count, activation, x.add(start), y);
                if !residual.is_null() {
                    rows::add(level, count, residual.add(start), y);
                }
            }
        });
    })
}

/// `gradient * activation'(before)`, in the place of the gradient where nobody else has it.
fn through_activation(
    mut gradient: FlexTensor,
    activation: Activation,
    before: &FlexTensor,
) -> FlexTensor {
    let [m, n] = dims(before);
    if m * n == 0 {
        return gradient;
    }
    let x = Shared(pointer(before));
    let run = |gradient: *const f32, to: *mut f32| {
        let both = Shared((gradient, to));
        ranges(m * n, WORTH_SHARING, 16, 2, |range| {
            let (x, (gradient, to)) = (x.get(), both.get());
            let (start, count, level) = (range.start, range.len(), Level::best());
            // SAFETY: the sizes are those of the tensors; ranges do not overlap.
            unsafe {
                let (x, gradient) = (x.add(start), gradient.add(start));
                rows::slope(level, count, activation, x, gradient, to.add(start));
            }
        });
    };
    let start = gradient.layout().start_offset();
    if let Some(values) = gradient.try_storage_mut::<f32>() {
        let values = values[start..].as_mut_ptr();
        run(values, values);
        return gradient;
    }
    written([m, n], |to| run(pointer(&gradient), to))
}

/// The sum of each column.
pub(super) fn column_sums([m, n]: [usize; 2], x: &FlexTensor) -> FlexTensor {
    let x = match m * n {
        0 => std::ptr::null(),
        _ => pointer(x),
    };
    // SAFETY: the sizes are those of the tensors.
    written([n], |out| unsafe {
        column_sums_onto([m, n], x, out, false);
    })
}

/// The sum of each of `n` columns of `m` rows, added to what is there with `onto`.
///
/// # Safety
///
/// There are as many values, and as many sums.
pub(super) unsafe fn column_sums_onto(
    [m, n]: [usize; 2],
    x: *const f32,
    sums: *mut f32,
    onto: bool,
) {
    let both = Shared((x, sums));
    let least = WORTH_SHARING.div_ceil(m.max(1));
    ranges(n, least, 16, 2, |range| {
        let (x, sums) = both.get();
        let (start, count) = (range.start, range.len());
        // SAFETY: as demanded; ranges are different columns.
        unsafe {
            let (x, sums) = (x.wrapping_add(start), sums.add(start));
            rows::column_sums(Level::best(), m, count, x, n, sums, onto);
        }
    });
}

fn dims(tensor: &FlexTensor) -> [usize; 2] {
    let shape = tensor.layout().shape();
    [shape[0], shape[1]]
}
