//! What keeps 16-bit floats from overflowing.
//!
//! The feed-forward output of a trained T5 passes 65,504, the largest f16 (transformers issue 9295); the authors only
//! ever used bfloat16. `transformers` answers by keeping `wo` in f32, which makes its residual stream f32 too, and cuts
//! what is infinite after every sub-layer. Here the residual stream is f32 at any precision, the input of `wo` is
//! divided by [`DOWN`] before and its output multiplied by it after the product, which loses nothing but the smallest
//! of values, and what still passes the range is cut.

use burn::tensor::{DType, Tensor};
use clinical_nn::Linear;

use crate::dropout::DropAt;

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

/// `x + drop.output(layer(y))` in f32, one operation where nothing has to happen in between.
pub(crate) fn add_layer(x: Tensor<3>, layer: &Linear, y: Tensor<3>, drop: DropAt) -> Tensor<3> {
    if layer.dtype() == DType::F32 && !drop.acts_on(&x) {
        return layer.forward_onto(x, y);
    }
    add(x, drop.output(layer.forward(y)))
}

/// `inner` through the product `wo`, both of which may be f16. The result is f32 then.
pub(crate) fn product(
    inner: Tensor<3>,
    weights: DType,
    wo: impl Fn(Tensor<3>) -> Tensor<3>,
) -> Tensor<3> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    fn half(values: &[f32]) -> Tensor<3> {
        let device = clinical_kernels::cpu();
        let data = TensorData::new(values.to_vec(), [1, 1, values.len()]);
        Tensor::<3>::from_data(data, &device).cast(DType::F16)
    }

    fn values(x: Tensor<3>) -> Vec<f32> {
        assert_eq!(x.dtype(), DType::F32);
        x.into_data().iter::<f32>().collect()
    }

    #[test]
    fn outputs_beyond_the_range_are_finite_and_right() {
        // A column of 20s: 2 * 3000 * 20 = 120,000 is infinite in f16.
        let wo = |x: Tensor<3>| x.matmul(half(&[20.0, 20.0]).reshape([1, 2, 1]));
        assert!(values(wo(half(&[3000.0, 3000.0])).cast(DType::F32))[0].is_infinite());
        assert_eq!(
            values(product(half(&[3000.0, 3000.0]), DType::F16, wo)),
            [120_000.0]
        );
        // Small values lose nothing that matters.
        let small = values(product(half(&[1e-3, 2e-3]), DType::F16, wo))[0];
        assert!((small - 0.06).abs() < 1e-4, "{small}");
        // Beyond sixteen times the range the value is cut, not infinite.
        let cut = values(product(half(&[60_000.0, 60_000.0]), DType::F16, wo))[0];
        assert_eq!(cut, 16.0 * 65_504.0);
    }

    #[test]
    fn sums_are_finite() {
        let x = half(&[1.0, 1.0]).cast(DType::F32);
        assert_eq!(
            values(add(x.clone(), half(&[f32::INFINITY, -2.0]))),
            [65_505.0, -1.0]
        );
        let wide = half(&[1.0, 1.0]).cast(DType::F32).mul_scalar(1e6);
        assert_eq!(values(add(x, wide)), [1_000_001.0, 1_000_001.0]);
    }
}
