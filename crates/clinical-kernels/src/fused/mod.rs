//! Layers as single operations on f32 tensors of the CPU.
//!
//! [`few_rows`] and [`one_query`] are for GPUs instead, where kernels of this crate are turned on ([`gpu_kernels`]).
//!
//! Gradients flow through them, with kernels of their own that keep little between the two passes: no scores of an
//! attention, no mask of dropout.
//!
//! Each function gives `None` where it does not apply: on another device or type. The caller then composes the same of
//! Burn's operations, which work everywhere. Shapes that do not fit each other panic, as they do in Burn.

#[cfg(feature = "flex")]
pub(crate) mod flex;

use burn::tensor::{Bool, Device, Tensor};

use crate::DropMask;
pub use crate::float::Activation;

/// Whether f32 tensors of this device go through these kernels: on the CPU backend, where no gradients flow. Weights
/// may then lie either way, and are best left as a file has them.
#[must_use]
pub fn applies(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return *device == Device::flex() && !device.is_autodiff();
    #[cfg(not(feature = "flex"))]
    return nothing::<_, ()>(device).is_some();
}

/// What is done with a product.
#[derive(Debug, Clone, Copy, Default)]
pub struct Then<'a> {
    /// `[d_output]`, added to each row.
    pub bias: Option<&'a Tensor<1>>,
    /// Of the sum.
    pub activation: Activation,
    /// `[rows, d_output]`, added at the end.
    pub residual: Option<&'a Tensor<2>>,
}

/// `residual + activation(x W + bias)` for `x` of `[rows, d_input]` and a weight of `[d_input, d_output]`, which may be
/// a transposed view: a tied embedding table is read as it lies.
#[must_use]
pub fn linear(x: &Tensor<2>, weight: &Tensor<2>, then: Then<'_>) -> Option<Tensor<2>> {
    #[cfg(feature = "flex")]
    return flex::linear(x, weight, then);
    #[cfg(not(feature = "flex"))]
    return nothing((x, weight, then));
}

/// The mean over rows of the cross entropy of `softmax(x W + bias)` with one label a row, `[1]`, for `x` of `[rows,
/// d_input]`, a weight of `[d_input, vocabulary]`, which may be a transposed view, and a bias of `[vocabulary]`.
///
/// The logits of some rows at a time are made and used; those of all rows are never held. Where gradients flow, they are
/// computed along with the loss, since the logits are at hand.
///
/// # Panics
///
/// Without a row, or when a label is not below the vocabulary.
#[must_use]
pub fn cross_entropy(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
    labels: &[usize],
) -> Option<Tensor<1>> {
    #[cfg(feature = "flex")]
    return crate::autodiff::loss::cross_entropy(x, weight, bias, labels);
    #[cfg(not(feature = "flex"))]
    return nothing((x, weight, bias, labels));
}

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension.
#[must_use]
pub fn rms_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    #[cfg(feature = "flex")]
    return flex::rows::norm(x, weight, None, epsilon);
    #[cfg(not(feature = "flex"))]
    return nothing((x, weight, epsilon));
}

/// `(x - mean) / sqrt(var + epsilon) * weight + bias` over the last dimension.
#[must_use]
pub fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    epsilon: f64,
) -> Option<Tensor<D>> {
    #[cfg(feature = "flex")]
    return flex::rows::norm(x, weight, Some(bias), epsilon);
    #[cfg(not(feature = "flex"))]
    return nothing((x, weight, bias, epsilon));
}

/// `activation(gate) * x`, value by value.
#[must_use]
pub fn gated<const D: usize>(
    gate: &Tensor<D>,
    x: &Tensor<D>,
    activation: Activation,
) -> Option<Tensor<D>> {
    #[cfg(feature = "flex")]
    return flex::rows::gated(gate, x, activation);
    #[cfg(not(feature = "flex"))]
    return nothing((gate, x, activation));
}

/// `activation(x)`, value by value.
#[must_use]
pub fn activate<const D: usize>(x: &Tensor<D>, activation: Activation) -> Option<Tensor<D>> {
    #[cfg(feature = "flex")]
    return flex::rows::activate(x, activation);
    #[cfg(not(feature = "flex"))]
    return nothing((x, activation));
}

/// `x` times the factors of a mask, value by value, on devices with gradients.
#[must_use]
pub fn dropout<const D: usize>(x: &Tensor<D>, mask: DropMask) -> Option<Tensor<D>> {
    #[cfg(feature = "flex")]
    return crate::autodiff::rows::dropout(x, mask);
    #[cfg(not(feature = "flex"))]
    return nothing((x, mask));
}

/// Rotates `[batch, heads, length, d]` by `cos` and `sin` of `[batch or 1, 1, length, d / 2]`: the first half of a row
/// with the second.
#[must_use]
pub fn rotate(x: &Tensor<4>, cos: &Tensor<4>, sin: &Tensor<4>) -> Option<Tensor<4>> {
    #[cfg(feature = "flex")]
    return flex::rows::rotate(x, cos, sin);
    #[cfg(not(feature = "flex"))]
    return nothing((x, cos, sin));
}

/// What is attended to, and how.
#[derive(Debug, Clone, Copy)]
pub struct Attend<'a> {
    /// `[batch, heads, query, d]`.
    pub query: &'a Tensor<4>,
    /// `[batch, key heads, key, d]`; `heads` is a multiple of `key heads`.
    pub key: &'a Tensor<4>,
    /// `[batch, key heads, key, d]`.
    pub value: &'a Tensor<4>,
    /// `[batch or 1, heads or 1, query or 1, key]`, `true` where a query must not look.
    pub hidden: Option<&'a Tensor<4, Bool>>,
    /// `[batch or 1, heads or 1, query or 1, key]`, added to the scaled scores.
    pub bias: Option<&'a Tensor<4>>,
    /// The last query sees every key, the one before it all but the last, and so on.
    pub causal: bool,
    /// Factor of the scores.
    pub scale: f64,
    /// Whether queries, keys, values and the softmax may be rounded to bf16 (sums stay f32), where the processor is
    /// faster at that: for models whose weights are rounded to less. Where gradients flow they are not.
    pub bf16: bool,
    /// Of the weights, `[batch, heads, query, key]`, where gradients flow; it does not apply elsewhere. With it a query
    /// that may look nowhere looks everywhere alike, as in `transformers`.
    pub dropout: Option<DropMask>,
}

/// `softmax(q k^T * scale + bias) v`, `[batch, heads, query, d]`; zeros where a query may look nowhere. The result lies
/// in memory as `[batch, query, heads, d]`, so that merging the heads is a view.
#[must_use]
pub fn attention(attend: Attend<'_>) -> Option<Tensor<4>> {
    #[cfg(feature = "flex")]
    return flex::attention::attention(attend);
    #[cfg(not(feature = "flex"))]
    return nothing(attend);
}

/// Whether kernels of this crate take the place of Burn's operations on this device, in decoding: on GPUs, where they
/// are turned on by [`set_gpu_kernels`](crate::set_gpu_kernels) or [`KERNELS_VARIABLE`](crate::KERNELS_VARIABLE), and
/// no gradients flow.
#[must_use]
pub fn gpu_kernels(device: &Device) -> bool {
    #[cfg(feature = "cube")]
    return crate::cube::apply(device);
    #[cfg(not(feature = "cube"))]
    return nothing::<_, ()>(device).is_some();
}

/// `x W` for at most eight rows `[rows, d_input]` by a weight `[d_input, d_output]`, which may be a transposed view, in
/// the type of `x` with sums in f32. On GPUs only ([`gpu_kernels`]).
#[must_use]
pub fn few_rows(x: &Tensor<2>, weight: &Tensor<2>) -> Option<Tensor<2>> {
    #[cfg(feature = "cube")]
    return gpu_kernels(&x.device())
        .then(|| crate::cube::product(x, weight))
        .flatten();
    #[cfg(not(feature = "cube"))]
    return nothing((x, weight));
}

/// `softmax(q k^T * scale + bias + mask) v` of one `query` of each row, `[rows, heads, 1, d]` to the same shape, with
/// the first `keys` positions of `cache`: keys and values `[rows, key heads, capacity, d]`. On GPUs only
/// ([`gpu_kernels`]).
///
/// `bias` is `[rows or 1, heads, 1, n]`, of which the last `keys` count; `mask` is `[rows, keys]`, minus infinity where
/// a query must not look. Zeros where it may look nowhere.
#[must_use]
pub fn one_query(
    query: &Tensor<4>,
    cache: [&Tensor<4>; 2],
    keys: usize,
    bias: Option<&Tensor<4>>,
    mask: Option<&Tensor<2>>,
    scale: f64,
) -> Option<Tensor<4>> {
    #[cfg(feature = "cube")]
    return gpu_kernels(&query.device())
        .then(|| crate::cube::one_query(query, cache, keys, bias, mask, scale))
        .flatten();
    #[cfg(not(feature = "cube"))]
    return nothing((query, cache, keys, bias, mask, scale));
}

#[cfg(not(all(feature = "flex", feature = "cube")))]
fn nothing<T, R>(_: T) -> Option<R> {
    None
}
