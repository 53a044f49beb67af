//! Norms, gates and rotations.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use super::{
    Shared, WORTH_SHARING, count, heads_of, packed, pointer, primitive, with_rows, written,
};
use crate::autodiff;
use crate::float::product::ranges;
use crate::float::rows::{self, Moments};
use crate::float::simd::Level;
use crate::fused::Activation;

pub(crate) fn norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    count(shape);
    let n = shape[D - 1];
    assert_eq!(weight.dims(), [n], "one weight for each value of a row");
    if let Some(bias) = bias {
        assert_eq!(bias.dims(), [n], "one bias for each value of a row");
    }
    if x.device().is_autodiff() {
        return autodiff::rows::norm(x, weight, bias, epsilon);
    }
    let (x, weight) = (packed(x)?, packed(weight)?);
    let bias = match bias {
        Some(bias) => Some(packed(bias)?),
        None => None,
    };
    let y = norm_values(
        shape,
        &x,
        &weight,
        bias.as_ref(),
        epsilon,
        std::ptr::null_mut(),
    );
    Some(Tensor::from_primitive::<Flex>(y))
}

/// A norm of tensors whose values lie one after another; `kept` has room for each row, or is null.
pub(crate) fn norm_values<const D: usize>(
    shape: [usize; D],
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    epsilon: f64,
    kept: *mut Moments,
) -> FlexTensor {
    let n = shape[D - 1];
    let from = Shared((
        pointer(x),
        pointer(weight),
        bias.map_or(std::ptr::null(), pointer),
    ));
    written(shape, |out| {
        let to = Shared((out, kept));
        let rows = shape[..D - 1].iter().product();
        let least = WORTH_SHARING.div_ceil(n);
        ranges(rows, least, 1, 2, |range| {
            let ((x, weight, bias), (out, kept)) = (from.get(), to.get());
            let (level, start, rows) = (Level::best(), range.start * n, range.len());
            let epsilon = epsilon as f32;
            // SAFETY: the sizes are those of the tensors; ranges are different rows.
            unsafe {
                let (x, y) = (x.add(start), out.add(start));
                let kept = match kept.is_null() {
                    true => kept,
                    false => kept.add(range.start),
                };
                if bias.is_null() {
                    rows::rms_norm(level, rows, n, x, weight, epsilon, y, kept);
                } else {
                    rows::layer_norm(level, rows, n, x, weight, bias, epsilon, y, kept);
                }
            }
        });
    })
}

pub(crate) fn gated<const D: usize>(
    gate: &Tensor<D>,
    x: &Tensor<D>,
    activation: Activation,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    count(shape);
    assert_eq!(gate.dims(), shape, "gate and gated values have one shape");
    if x.device().is_autodiff() {
        return autodiff::rows::gated(gate, x, activation);
    }
    let y = gated_values(shape, &packed(gate)?, &packed(x)?, activation);
    Some(Tensor::from_primitive::<Flex>(y))
}

/// `activation(gate) * x` of tensors whose values lie one after another.
pub(crate) fn gated_values<const D: usize>(
    shape: [usize; D],
    gate: &FlexTensor,
    x: &FlexTensor,
    activation: Activation,
) -> FlexTensor {
    let from = Shared((pointer(gate), pointer(x)));
    written(shape, |out| {
        let out = Shared(out);
        ranges(count(shape), WORTH_SHARING, 16, 2, |range| {
            let (gate, x) = from.get();
            let start = range.start;
            // SAFETY: the sizes are those of the tensors; ranges do not overlap.
            unsafe {
                let (gate, x, y) = (gate.add(start), x.add(start), out.get().add(start));
                rows::gate(Level::best(), range.len(), activation, gate, x, y);
            }
        });
    })
}

pub(crate) fn activate<const D: usize>(x: &Tensor<D>, activation: Activation) -> Option<Tensor<D>> {
    let shape = x.dims();
    count(shape);
    if x.device().is_autodiff() {
        return autodiff::rows::activate(x, activation);
    }
    let y = activate_values(shape, &packed(x)?, activation);
    Some(Tensor::from_primitive::<Flex>(y))
}

/// `activation(x)` of a tensor whose values lie one after another.
pub(crate) fn activate_values<const D: usize>(
    shape: [usize; D],
    x: &FlexTensor,
    activation: Activation,
) -> FlexTensor {
    let from = Shared(pointer(x));
    written(shape, |out| {
        let out = Shared(out);
        ranges(count(shape), WORTH_SHARING, 16, 2, |range| {
            let start = range.start;
            // SAFETY: the sizes are those of the tensors; ranges do not overlap.
            unsafe {
                let (x, y) = (from.get().add(start), out.get().add(start));
                rows::activate(Level::best(), range.len(), activation, x, y);
            }
        });
    })
}

pub(crate) fn rotate(x: &Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Option<Tensor<4>> {
    let shape @ [batch, _, length, d] = x.dims();
    let [tables, one, positions, half] = cos.dims();
    assert_eq!(
        [tables, one, positions, half],
        sin.dims(),
        "cosines and sines"
    );
    assert!(
        (tables == 1 || tables == batch)
            && one == 1
            && positions == length
            && half.checked_mul(2) == Some(d),
        "tables are [batch or 1, 1, length, d / 2]"
    );
    count(shape);
    if x.device().is_autodiff() {
        return autodiff::rows::rotate(x, cos, sin);
    }
    let x = with_rows(primitive(x)?);
    let y = rotate_values(shape, &x, tables, &packed(cos)?, &packed(sin)?);
    Some(Tensor::from_primitive::<Flex>(y))
}

/// Rotates `x` of this shape, whose rows lie one value after another, by so many `tables`.
pub(crate) fn rotate_values(
    shape: [usize; 4],
    x: &FlexTensor,
    tables: usize,
    cos: &FlexTensor,
    sin: &FlexTensor,
) -> FlexTensor {
    let [batch, heads, length, d] = shape;
    let half = d / 2;
    let from = Shared((heads_of(x, shape), pointer(cos), pointer(sin)));
    written(shape, |out| {
        let out = Shared(out);
        let least = WORTH_SHARING.div_ceil(length * d);
        ranges(batch * heads, least, 1, 2, |range| {
            let (x, cos, sin) = from.get();
            for head in range {
                let row = head / heads;
                let table = if tables == 1 { 0 } else { row * length * half };
                for position in 0..length {
                    let angle = table + position * half;
                    // SAFETY: the sizes are those of the tensors; ranges are different heads.
                    unsafe {
                        let y = out.get().add((head * length + position) * d);
                        let x = x.at(row, head % heads, position);
                        rows::rotate(Level::best(), half, x, cos.add(angle), sin.add(angle), y);
                    }
                }
            }
        });
    })
}
