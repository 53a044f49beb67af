//! Normalisation over the last dimension.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor};
use clinical_kernels::fused;

/// `y = x / sqrt(mean(x^2) + epsilon) * weight`, the mean and the division in f32.
///
/// Burn's own RMS norm rounds the root to the input's type before it divides; `transformers` divides in f32
/// (`LlamaRMSNorm`, `T5LayerNorm`), so this does too.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[d_model]`.
    pub weight: Param<Tensor<1>>,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl RmsNorm {
    /// A norm with weights of one.
    #[must_use]
    pub fn new(d_model: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([d_model], device),
            epsilon,
        }
    }

    /// `[..., d_model]` to the same shape, in the type of the weight.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        if let Some(y) = fused::rms_norm(&x, &weight, self.epsilon) {
            return y;
        }
        self.composed(x)
    }

    /// [`forward`](Self::forward) of Burn's operations.
    fn composed<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let x = x.cast(DType::F32);
        let scale = (x.clone().square().mean_dim(D - 1) + self.epsilon)
            .sqrt()
            .recip();
        (x * scale).cast(weight.dtype()) * weight.unsqueeze()
    }
}

/// `y = (x - mean) / sqrt(var + epsilon) * weight + bias`, mean and variance in f32.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[d_model]`.
    pub weight: Param<Tensor<1>>,
    /// `[d_model]`.
    pub bias: Param<Tensor<1>>,
    /// Added to the variance.
    pub epsilon: f64,
}

impl LayerNorm {
    /// A norm with weights of one and a bias of zeros.
    #[must_use]
    pub fn new(d_model: usize, epsilon: f64, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([d_model], device),
            bias: Initializer::Zeros.init([d_model], device),
            epsilon,
        }
    }

    /// `[..., d_model]` to the same shape.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if let Some(y) = fused::layer_norm(&x, &self.weight.val(), &self.bias.val(), self.epsilon) {
            return y;
        }
        self.composed(x)
    }

    /// [`forward`](Self::forward) of Burn's operations.
    fn composed<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let centred = x.clone() - x.mean_dim(D - 1);
        let scale = (centred.clone().square().mean_dim(D - 1) + self.epsilon)
            .sqrt()
            .recip();
        (centred * scale).cast(dtype) * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(x: Tensor<2>) -> Vec<f32> {
        x.try_into_vec_as().unwrap()
    }

    #[test]
    fn rms_norm_keeps_the_mean() {
        let device = clinical_kernels::cpu();
        let norm = RmsNorm {
            weight: Param::from_data([1.0, 2.0], &device),
            epsilon: 0.0,
        };
        let y = values(norm.forward(Tensor::from_floats([[3.0, 4.0]], &device)));
        let rms = 12.5f32.sqrt();
        assert!((y[0] - 3.0 / rms).abs() < 1e-6 && (y[1] - 8.0 / rms).abs() < 1e-6);
    }

    /// Kernels and Burn's operations must agree, on odd sizes and on views.
    #[test]
    fn the_kernels_are_the_composed_norms() {
        use burn::tensor::{Distribution, Tolerance};
        let device = clinical_kernels::cpu();
        device.seed(5);
        for (rows, n) in [(1, 1), (3, 17), (70, 768), (5, 33)] {
            let random =
                |shape| Tensor::<2>::random(shape, Distribution::Normal(0.5, 2.0), &device);
            let (x, weight, bias) = (
                random([n, rows]).transpose(),
                random([1, n]),
                random([1, n]),
            );
            let param = |x: &Tensor<2>| Param::from_tensor(x.clone().reshape([n]));
            let rms = RmsNorm {
                weight: param(&weight),
                epsilon: 1e-6,
            };
            let layer = LayerNorm {
                weight: param(&weight),
                bias: param(&bias),
                epsilon: 1e-5,
            };
            for (found, expected) in [
                (rms.forward(x.clone()), rms.composed(x.clone())),
                (layer.forward(x.clone()), layer.composed(x.clone())),
            ] {
                let tolerance = Tolerance::absolute(1e-4);
                found
                    .into_data()
                    .assert_approx_eq::<f32>(&expected.into_data(), tolerance);
            }
        }
    }

    #[test]
    fn layer_norm_of_a_constant_row_is_the_bias() {
        let device = clinical_kernels::cpu();
        let norm = LayerNorm {
            weight: Param::from_data([1.0, 1.0], &device),
            bias: Param::from_data([0.25, -0.5], &device),
            epsilon: 1e-12,
        };
        let y = values(norm.forward(Tensor::from_floats([[7.0, 7.0], [1.0, 3.0]], &device)));
        assert_eq!(&y[..2], [0.25, -0.5]);
        assert!((y[2] + 0.75).abs() < 1e-6 && (y[3] - 0.5).abs() < 1e-6);
    }
}
