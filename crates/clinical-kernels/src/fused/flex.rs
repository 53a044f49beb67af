//! The way through the memory of Burn's Flex backend.

pub(crate) mod attention;
pub(crate) mod rows;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Tensor, TensorData};

use super::{Activation, Then};
use crate::float::attention::Heads;
use crate::float::product::{Finish, Matrix, Target, product};
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
pub(crate) fn strides(tensor: &FlexTensor, shape: [usize; 4]) -> [isize; 3] {
    let strides = tensor.layout().strides();
    std::array::from_fn(|i| if shape[i] == 1 { 0 } else { strides[i] })
}
