//! The dense layer.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

/// A dense layer: `y = x W + b`.
///
/// Checkpoints hold `W` as `[d_output, d_input]`; `clinical-weights` transposes it once while loading.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[d_input, d_output]`.
    pub weight: Param<Tensor<2>>,
    /// `[d_output]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer with weights from N(0, `std`^2) and, if asked for, a bias of zeros. Nothing is allocated before first use,
    /// so a layer that is loaded from a file is never drawn.
    #[must_use]
    pub fn new(d_input: usize, d_output: usize, bias: bool, std: f64, device: &Device) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std };
        Self {
            weight: normal.init([d_input, d_output], device),
            bias: bias.then(|| Initializer::Zeros.init([d_output], device)),
        }
    }

    /// `[..., d_input]` to `[..., d_output]`.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let [d_input, d_output] = weight.dims();
        let mut shape = x.dims();
        shape[D - 1] = d_output;
        // One product over all positions: a batched product would run one small product a row.
        let y = x.reshape([-1, d_input as i64]).matmul(weight);
        let y = match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        };
        y.reshape(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_the_bias_to_every_position() {
        let device = clinical_kernels::cpu();
        let layer = Linear {
            weight: Param::from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &device),
            bias: Some(Param::from_data([0.5, 0.0, -0.5], &device)),
        };
        let x = Tensor::<3>::from_floats([[[1.0, 0.0], [0.0, 1.0]]], &device);
        let y = layer.forward(x);
        assert_eq!(y.dims(), [1, 2, 3]);
        let y: Vec<f32> = y.try_into_vec_as().unwrap();
        assert_eq!(y, [1.5, 2.0, 2.5, 4.5, 5.0, 5.5]);
    }
}
