//! What keeps 16-bit floats from overflowing.
//!
//! The feed-forward output of a trained T5 passes 65,504, the largest f16 (transformers issue 9295); the authors only
//! ever used bfloat16. `transformers` answers by keeping `wo` in f32, which makes its residual stream f32 too, and cuts
//! what is infinite after every sub-layer. Here the residual stream is f32 at any precision, the input of `wo` is divided
//! by [`DOWN`] before and its output multiplied by it after the product, which loses nothing but the smallest of
//! values, and what still passes the range is cut.

use burn::tensor::{DType, Tensor};

/// The power of two by which an f16 feed-forward layer is scaled down.
const DOWN: f64 = 16.0;

/// The largest finite f16.
const MAX: f64 = 65_504.0;

/// `x + y` in f32, where `y` has the type of the weights.
pub(crate) fn add(x: Tensor<3>, y: Tensor<3>) -> Tensor<3> {
    let y = match y.dtype() {
        DType::F16 => y.cast(DType::F32).clamp(-MAX, MAX),
        _ => y.cast(DType::F32),
    };
    x + y
}

/// `inner` through the product `wo`, both of which may be f16. The result is f32 then.
pub(crate) fn product(inner: Tensor<3>, weights: DType, wo: impl Fn(Tensor<3>) -> Tensor<3>) -> Tensor<3> {
    match weights {
        DType::F16 => {
            let inner = inner.cast(DType::F32).div_scalar(DOWN).clamp(-MAX, MAX);
            wo(inner.cast(DType::F16))
                .cast(DType::F32)
                .clamp(-MAX, MAX)
                .mul_scalar(DOWN)
        }
        weights => wo(inner.cast(weights)),
    }
}
