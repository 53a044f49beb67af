//! The way through the memory of Burn's Flex backend.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor, TensorData};

use super::{Activation, Attend, Then};
use crate::float::attention::{Heads, Inputs, Sizes, attention as attend_heads};
use crate::float::product::{Finish, Matrix, Target, product, ranges};
use crate::float::rows;
use crate::float::simd::Level;

/// Values that are worth handing to another thread.
pub(crate) const WORTH_SHARING: usize = 1 << 14;

/// The memory of an f32 tensor of this backend that no gradient flows through.
pub(crate) fn primitive<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    if tensor.dtype() != DType::F32 || tensor.device().is_autodiff() {
        return None;
    }
    tensor.clone().try_into_primitive::<Flex>().ok()
}

/// The same with its values one after another.
fn packed<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    primitive(tensor).map(contiguous)
}

/// A tensor with its values one after another.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    match tensor.layout().is_contiguous() {
        true => tensor,
        false => tensor.to_contiguous(),
    }
}

pub(crate) fn pointer(tensor: &FlexTensor) -> *const f32 {
    tensor.storage::<f32>()[tensor.layout().start_offset()..].as_ptr()
}

pub(crate) fn matrix(tensor: &FlexTensor) -> Matrix {
    let strides = tensor.layout().strides();
    Matrix {
        data: pointer(tensor),
        row: strides[0],
        column: strides[1],
    }
}

/// How many values a tensor of this shape has.
///
/// A view that repeats values can have a shape that no memory holds. Kernels count positions, so every shape that they
/// compute with goes through here first.
///
/// # Panics
///
/// When there are more values than memory can hold.
pub(crate) fn count<const D: usize>(shape: [usize; D]) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    let values = shape
        .iter()
        .try_fold(size_of::<f32>(), |all, &size| all.checked_mul(size))
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .map(|bytes| bytes / size_of::<f32>());
    match values {
        Some(values) => values,
        None => panic!("a tensor of {shape:?} has more values than memory can hold"),
    }
}

/// A tensor of `shape` that `fill` writes in full; it is not called where there is nothing to write.
pub(crate) fn filled<const D: usize>(shape: [usize; D], fill: impl FnOnce(*mut f32)) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(written(shape, fill))
}

/// [`filled`] as the backend has it.
pub(crate) fn written<const D: usize>(
    shape: [usize; D],
    fill: impl FnOnce(*mut f32),
) -> FlexTensor {
    let count = count(shape);
    let mut values = Vec::<f32>::new();
    if values.try_reserve_exact(count).is_err() {
        panic!("there is no memory for a tensor of {shape:?}");
    }
    if count > 0 {
        fill(values.as_mut_ptr());
    }
    // SAFETY: the caller's `fill` has written every value.
    unsafe { values.set_len(count) };
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// A pointer that goes to other threads, which write different parts.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T>(pub T);
// SAFETY: see above; what is read is kept alive by the tensors of the caller.
unsafe impl<T> Sync for Shared<T> {}
impl<T: Copy> Shared<T> {
    pub(crate) fn get(&self) -> T {
        self.0
    }
}

/// That the tensors of a dense layer fit each other: the sizes `[rows, d_output, d_input]`.
///
/// # Panics
///
/// When they do not, or are more than memory can hold.
pub(crate) fn linear_sizes(x: &Tensor<2>, weight: [usize; 2], then: &Then<'_>) -> [usize; 3] {
    let ([m, k], [depth, n]) = (x.dims(), weight);
    assert_eq!(
        k, depth,
        "x is [rows, d_input], the weight [d_input, d_output]"
    );
    if let Some(bias) = then.bias {
        assert_eq!(bias.dims(), [n], "one bias for each output");
    }
    if let Some(residual) = then.residual {
        assert_eq!(residual.dims(), [m, n], "one residual for each result");
    }
    count([m, k]);
    count([k, n]);
    [m, n, k]
}

pub(super) fn linear(x: &Tensor<2>, weight: &Tensor<2>, then: Then<'_>) -> Option<Tensor<2>> {
    let sizes = linear_sizes(x, weight.dims(), &then);
    if x.device().is_autodiff() {
        return crate::autodiff::linear::linear(x, weight, then);
    }
    let (x, weight) = (primitive(x)?, primitive(weight)?);
    let bias = match then.bias {
        Some(bias) => Some(packed(bias)?),
        None => None,
    };
    let residual = match then.residual {
        Some(residual) => Some(packed(residual)?),
        None => None,
    };
    let ending = Ending {
        bias: bias.as_ref(),
        activation: then.activation,
        residual: residual.as_ref(),
    };
    let y = linear_values(sizes, &x, &weight, ending);
    Some(Tensor::from_primitive::<Flex>(y))
}

/// [`Then`] in the memory of the backend, one value after another.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ending<'a> {
    pub bias: Option<&'a FlexTensor>,
    pub activation: Activation,
    pub residual: Option<&'a FlexTensor>,
}

/// `residual + activation(x W + bias)` for tensors of the sizes `[rows, d_output, d_input]`.
pub(crate) fn linear_values(
    [m, n, k]: [usize; 3],
    x: &FlexTensor,
    weight: &FlexTensor,
    ending: Ending<'_>,
) -> FlexTensor {
    written([m, n], |out| {
        let out = Target { data: out, row: n };
        let (x, weight, finish) = (matrix(x), matrix(weight), ending.finish(n));
        // SAFETY: the sizes are those of the tensors, which live until here.
        unsafe { product(Level::best(), [m, n, k], x, weight, out, finish) };
    })
}

impl Ending<'_> {
    /// For results of `n` columns.
    pub(crate) fn finish(&self, n: usize) -> Finish {
        Finish {
            bias: self.bias.map_or(std::ptr::null(), pointer),
            activation: self.activation,
            residual: self.residual.map_or(std::ptr::null(), pointer),
            residual_row: n,
        }
    }
}

pub(super) fn norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    let n = shape[D - 1];
    count(shape);
    assert_eq!(weight.dims(), [n], "one weight for each value of a row");
    let (x, weight) = (packed(x)?, packed(weight)?);
    let bias = match bias {
        Some(bias) => {
            assert_eq!(bias.dims(), [n], "one bias for each value of a row");
            Some(packed(bias)?)
        }
        None => None,
    };
    let from = Shared((
        pointer(&x),
        pointer(&weight),
        bias.as_ref().map_or(std::ptr::null(), pointer),
    ));
    Some(filled(shape, |out| {
        let out = Shared(out);
        let rows = shape[..D - 1].iter().product();
        let least = WORTH_SHARING.div_ceil(n);
        ranges(rows, least, 1, 2, |range| {
            let (x, weight, bias) = from.get();
            let (level, start, rows) = (Level::best(), range.start * n, range.len());
            let epsilon = epsilon as f32;
            // SAFETY: the sizes are those of the tensors; ranges are different rows.
            unsafe {
                let (x, y) = (x.add(start), out.get().add(start));
                if bias.is_null() {
                    rows::rms_norm(level, rows, n, x, weight, epsilon, y);
                } else {
                    rows::layer_norm(level, rows, n, x, weight, bias, epsilon, y);
                }
            }
        });
    }))
}

pub(super) fn gated<const D: usize>(
    gate: &Tensor<D>,
    x: &Tensor<D>,
    activation: Activation,
) -> Option<Tensor<D>> {
    let shape = x.dims();
    count(shape);
    assert_eq!(gate.dims(), shape, "gate and gated values have one shape");
    let (gate, x) = (packed(gate)?, packed(x)?);
    let from = Shared((pointer(&gate), pointer(&x)));
    Some(filled(shape, |out| {
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
    }))
}

pub(super) fn activate<const D: usize>(x: &Tensor<D>, activation: Activation) -> Option<Tensor<D>> {
    let shape = x.dims();
    count(shape);
    let x = packed(x)?;
    let from = Shared(pointer(&x));
    Some(filled(shape, |out| {
        let out = Shared(out);
        ranges(count(shape), WORTH_SHARING, 16, 2, |range| {
            let start = range.start;
            // SAFETY: the sizes are those of the tensors; ranges do not overlap.
            unsafe {
                let (x, y) = (from.get().add(start), out.get().add(start));
                rows::activate(Level::best(), range.len(), activation, x, y);
            }
        });
    }))
}

pub(super) fn rotate(x: &Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Option<Tensor<4>> {
    let shape @ [batch, heads, length, d] = x.dims();
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
    let x = with_rows(primitive(x)?);
    let (cos, sin) = (packed(cos)?, packed(sin)?);
    let from = Shared((heads_of(&x, shape), pointer(&cos), pointer(&sin)));
    Some(filled(shape, |out| {
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
    }))
}

/// A tensor whose rows lie one value after another.
pub(crate) fn with_rows(tensor: FlexTensor) -> FlexTensor {
    match tensor.layout().strides().last() {
        Some(1) => tensor,
        _ => tensor.to_contiguous(),
    }
}

pub(crate) fn heads_of(tensor: &FlexTensor, shape: [usize; 4]) -> Heads<f32> {
    Heads {
        data: match shape.contains(&0) {
            true => std::ptr::null(),
            false => pointer(tensor),
        },
        strides: strides(tensor, shape),
    }
}

/// Strides of the first three dimensions; a dimension of one repeats.
fn strides(tensor: &FlexTensor, shape: [usize; 4]) -> [isize; 3] {
    let strides = tensor.layout().strides();
    std::array::from_fn(|i| if shape[i] == 1 { 0 } else { strides[i] })
}

pub(super) fn attention(attend: Attend<'_>) -> Option<Tensor<4>> {
    let [batch, heads, queries, d] = attend.query.dims();
    let [key_batch, key_heads, keys, key_d] = attend.key.dims();
    let [value_batch, value_heads, values, d_value] = attend.value.dims();
    assert!(
        [key_batch, value_batch] == [batch; 2]
            && value_heads == key_heads
            && key_heads > 0
            && heads % key_heads == 0
            && key_d == d
            && values == keys,
        "queries, keys and values of an attention"
    );
    let fits = |shape: [usize; 4]| {
        let full = [batch, heads, queries, keys];
        (0..3).all(|i| shape[i] == 1 || shape[i] == full[i]) && shape[3] == keys
    };
    if attend.bias.is_some_and(|bias| !fits(bias.dims()))
        || attend.hidden.is_some_and(|hidden| !fits(hidden.dims()))
        || [batch, heads, queries, keys, d, d_value].contains(&0)
    {
        return None;
    }
    // The scores and what they are made of, none of which need lie in memory as such.
    count([batch, heads, queries, keys]);
    count(attend.query.dims());
    count(attend.key.dims());
    count(attend.value.dims());
    let query = with_rows(primitive(attend.query)?);
    let key = with_rows(primitive(attend.key)?);
    let value = with_rows(primitive(attend.value)?);
    let bias = match attend.bias {
        Some(bias) => Some((with_rows(primitive(bias)?), bias.dims())),
        None => None,
    };
    let hidden = match attend.hidden {
        Some(hidden) => {
            let shape = hidden.dims();
            let hidden = hidden.clone().try_into_primitive::<Flex>().ok()?;
            Some((with_rows(hidden), shape))
        }
        None => None,
    };
    let inputs = Inputs {
        query: heads_of(&query, attend.query.dims()),
        key: heads_of(&key, attend.key.dims()),
        value: heads_of(&value, attend.value.dims()),
        bias: bias.as_ref().map(|(bias, shape)| heads_of(bias, *shape)),
        hidden: hidden.as_ref().map(|(hidden, shape)| Heads {
            data: hidden.storage::<u8>()[hidden.layout().start_offset()..].as_ptr(),
            strides: strides(hidden, *shape),
        }),
        causal: attend.causal,
        scale: attend.scale as f32,
        bf16: attend.bf16,
    };
    let sizes = Sizes {
        batch,
        heads,
        key_heads,
        queries,
        keys,
        d,
        d_value,
    };
    let y = filled([batch, queries, heads, d_value], |out| {
        let out = Target { data: out, row: 0 };
        // SAFETY: the sizes are those of the tensors, which live until here.
        unsafe { attend_heads(Level::best(), sizes, inputs, out) };
    });
    Some(y.swap_dims(1, 2))
}
