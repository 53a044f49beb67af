//! Kernels in CubeCL for what decoding does with one position of a row, where Burn's operations are several kernels or
//! none that fits, and for packed weights.
//!
//! They take part in Burn's fusion as operations that it does not look into. Units of a cube share partial results
//! through its shared memory alone, so the same code runs in any CubeCL runtime, and tests run it on the CPU (feature
//! `cube-cpu`).

mod argmax;
mod attention;
mod integers;
mod launch;
mod product;
#[cfg(test)]
mod tests;

use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
use burn::tensor::{DType, Device, FloatDType, Int, IntDType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use crate::quant::Form;

/// Rows of a product that is made one column, or one row of the weight, at a time.
const FEW_ROWS: usize = 8;

/// Whether tensors of this device go through these kernels.
pub(crate) fn apply(device: &Device) -> bool {
    crate::switch::gpu_kernels_are_on() && is_cube(device)
}

/// Whether the device belongs to a CubeCL runtime and no gradients flow.
pub(crate) fn is_cube(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Cube(_))
}

#[backend_extension(Cube, Fusion)]
pub(crate) trait Kernels: Backend {
    /// See [`first_best`].
    #[fusion(meta = |scores, int| TensorSpec::new(Shape::new([scores.shape[0]]), DType::from(*int)))]
    fn clinical_first_best(scores: FloatTensor<Self>, int: IntDType) -> IntTensor<Self>;

    /// See [`product`].
    #[fusion(dtype = x, shape = Shape::new([x[0], weight[1]]))]
    fn clinical_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`integer_rows`].
    #[fusion(meta = |x, words, _scales, _form| TensorSpec::new(Shape::new([x.shape[0], words.shape[0]]), DType::F32))]
    fn clinical_integer_rows(
        x: FloatTensor<Self>,
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        form: Form,
    ) -> FloatTensor<Self>;

    /// See [`integer_values`].
    #[fusion(meta = |words, _scales, form, to| TensorSpec::new(
        Shape::new([words.shape[0], words.shape[1] * form.inputs()]),
        DType::from(*to),
    ))]
    fn clinical_integer_values(
        words: IntTensor<Self>,
        scales: FloatTensor<Self>,
        form: Form,
        to: FloatDType,
    ) -> FloatTensor<Self>;

    /// See [`one_query`]. Without bias or mask any tensor stands in its place.
    #[fusion(dtype = query, shape = query)]
    #[allow(clippy::too_many_arguments)]
    fn clinical_one_query(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        has: [bool; 2],
        keys: usize,
        scale: f64,
    ) -> FloatTensor<Self>;
}

impl Kernels for CubeBackend {
    fn clinical_first_best(scores: CubeTensor, int: IntDType) -> CubeTensor {
        argmax::launch(scores, int.into())
    }

    fn clinical_product(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
        product::launch(x, weight)
    }

    fn clinical_integer_rows(
        x: CubeTensor,
        words: CubeTensor,
        scales: CubeTensor,
        form: Form,
    ) -> CubeTensor {
        integers::rows(x, words, scales, form)
    }

    fn clinical_integer_values(
        words: CubeTensor,
        scales: CubeTensor,
        form: Form,
        to: FloatDType,
    ) -> CubeTensor {
        integers::values(words, scales, form, to.into())
    }

    fn clinical_one_query(
        query: CubeTensor,
        key: CubeTensor,
        value: CubeTensor,
        bias: CubeTensor,
        mask: CubeTensor,
        has: [bool; 2],
        keys: usize,
        scale: f64,
    ) -> CubeTensor {
        let [has_bias, has_mask] = has;
        let inputs = attention::Inputs {
            query,
            key,
            value,
            bias: has_bias.then_some(bias),
            mask: has_mask.then_some(mask),
        };
        attention::launch(inputs, keys, scale as f32)
    }
}

/// The index of the first of the largest numbers of each row of `[rows, n]`, `[rows]`; `n` where one is not finite.
pub(crate) fn first_best(scores: Tensor<2>) -> Tensor<1, Int> {
    let int = scores.device().settings().int_dtype;
    Tensor::from_dispatch(Dispatch::clinical_first_best(scores.into_dispatch(), int))
}

/// `x W` in the type of `x` for a few rows `[rows, d_input]` and a weight `[d_input, d_output]` that may be a
/// transposed view; sums are in f32. `None` for more rows.
pub(crate) fn product(x: &Tensor<2>, weight: &Tensor<2>) -> Option<Tensor<2>> {
    let ([rows, depth], [d_input, n]) = (x.dims(), weight.dims());
    let fits = (1..=FEW_ROWS).contains(&rows) && depth == d_input && depth * n > 0;
    if !fits || !has_kernel(x.dtype()) || !has_kernel(weight.dtype()) {
        return None;
    }
    let (x, weight) = (x.clone().into_dispatch(), weight.clone().into_dispatch());
    Some(Tensor::from_dispatch(Dispatch::clinical_product(x, weight)))
}

/// `x W^T` in f32 for a few rows `[rows, whole blocks]` and integers with scales, `[outputs, words]` and
/// `[outputs, blocks * numbers]`; sums are in f32. `None` for more rows.
pub(crate) fn integer_rows(
    x: &Tensor<2>,
    words: &Tensor<2, Int>,
    scales: &Tensor<2>,
    form: Form,
) -> Option<Tensor<2>> {
    let ([rows, depth], [_, count]) = (x.dims(), words.dims());
    let fits = (1..=FEW_ROWS).contains(&rows) && depth == count * form.inputs();
    if !fits || !has_kernel(x.dtype()) || words.dtype() != DType::I32 {
        return None;
    }
    let (x, words) = (x.clone().into_dispatch(), words.clone().into_dispatch());
    let scales = scales.clone().into_dispatch();
    Some(Tensor::from_dispatch(Dispatch::clinical_integer_rows(
        x, words, scales, form,
    )))
}

/// The values of integers with scales in a float type, `[outputs, whole blocks]`. `None` for a type without a kernel.
pub(crate) fn integer_values(
    words: &Tensor<2, Int>,
    scales: &Tensor<2>,
    form: Form,
    to: DType,
) -> Option<Tensor<2>> {
    if !has_kernel(to) || words.dtype() != DType::I32 {
        return None;
    }
    let (words, scales) = (
        words.clone().into_dispatch(),
        scales.clone().into_dispatch(),
    );
    let values = Dispatch::clinical_integer_values(words, scales, form, to.into());
    Some(Tensor::from_dispatch(values))
}

/// `softmax(q k^T * scale + bias + mask) v` with the first `keys` of `key` and `value` `[rows, key heads, capacity, d]`
/// for one `query` of each row, `[rows, heads, 1, d]` to the same shape; the softmax is in f32. `bias` is
/// `[rows or 1, heads, 1, n]`, of which the last `keys` count, `mask` `[rows, keys]` with minus infinity where a query
/// must not look. `None` where the kernel does not apply.
pub(crate) fn one_query(
    query: &Tensor<4>,
    [key, value]: [&Tensor<4>; 2],
    keys: usize,
    bias: Option<&Tensor<4>>,
    mask: Option<&Tensor<2>>,
    scale: f64,
) -> Option<Tensor<4>> {
    let [rows, heads, queries, d] = query.dims();
    let [key_rows, key_heads, capacity, key_d] = key.dims();
    let fits = [queries, key_rows, key_d] == [1, rows, d]
        && key.dims() == value.dims()
        && (1..=capacity).contains(&keys)
        && heads % key_heads.max(1) == 0
        && heads / key_heads.max(1) <= attention::LARGEST_GROUP
        && d <= attention::LARGEST_HEAD
        && bias.is_none_or(|bias| {
            let [of, all, one, len] = bias.dims();
            (of == 1 || of == rows) && [all, one] == [heads, 1] && len >= keys
        })
        && mask.is_none_or(|mask| mask.dims() == [rows, keys]);
    let dtype = query.dtype();
    let types = [key.dtype(), value.dtype()];
    if !fits || rows * heads * d == 0 || !has_kernel(dtype) || types != [dtype; 2] {
        return None;
    }
    let in_f32 = |tensor: &Tensor<4>| tensor.clone().cast(FloatDType::F32).into_dispatch();
    let query = query.clone().into_dispatch();
    let has = [bias.is_some(), mask.is_some()];
    let bias = bias.map_or_else(|| query.clone(), in_f32);
    let mask = mask.map_or_else(
        || query.clone(),
        |mask| mask.clone().cast(FloatDType::F32).into_dispatch(),
    );
    let (key, value) = (key.clone().into_dispatch(), value.clone().into_dispatch());
    Some(Tensor::from_dispatch(Dispatch::clinical_one_query(
        query, key, value, bias, mask, has, keys, scale,
    )))
}

fn has_kernel(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}
