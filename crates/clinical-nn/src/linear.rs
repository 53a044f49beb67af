//! The dense layer.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Device, Tensor};
use clinical_kernels::fused::{self, Then};
use clinical_kernels::{Activation, packed};

use crate::loss::of_states;
use crate::{Adapter, Loss, LossError, resize_param};

/// A dense layer: `y = x W + b`, with an [`Adapter`] `y = x W + scale (x A) B + b`.
///
/// Checkpoints hold `W` as `[d_output, d_input]`; `clinical-weights` transposes it once while loading, or packs it for
/// a reduced precision ([`clinical_kernels::Packed`]).
#[derive(Module, Debug)]
pub struct Linear {
    /// `[d_input, d_output]`.
    pub weight: Param<Tensor<2>>,
    /// `[d_output]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// `scale (x A) B`, added to the product. Most layers have none, which costs nothing.
    pub adapter: Option<Adapter>,
}

impl Linear {
    /// A layer with weights from N(0, `std`^2) and, if asked for, a bias of zeros. Nothing is allocated before first
    /// use, so a layer that is loaded from a file is never drawn.
    #[must_use]
    pub fn new(d_input: usize, d_output: usize, bias: bool, std: f64, device: &Device) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std };
        Self {
            weight: normal.init([d_input, d_output], device),
            bias: bias.then(|| Initializer::Zeros.init([d_output], device)),
            adapter: None,
        }
    }

    /// `[..., d_input]` to `[..., d_output]`.
    #[must_use]
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.forward_with(x, Activation::None)
    }

    /// `activation(x W + b)`, `[..., d_input]` to `[..., d_output]`.
    #[must_use]
    pub fn forward_with<const D: usize>(&self, x: Tensor<D>, activation: Activation) -> Tensor<D> {
        self.run(x, activation, None)
    }

    /// `residual + x W + b`, `[..., d_input]` to `[..., d_output]`.
    #[must_use]
    pub fn forward_onto<const D: usize>(&self, residual: Tensor<D>, x: Tensor<D>) -> Tensor<D> {
        self.run(x, Activation::None, Some(residual))
    }

    /// The mean cross entropy of the layer's outputs for states `[batch, length, d_input]`, as [`cross_entropy`] of
    /// [`forward`](Self::forward), in nats. On the CPU the outputs of all positions are never held at once.
    ///
    /// # Errors
    ///
    /// [`LossError`].
    ///
    /// [`cross_entropy`]: crate::cross_entropy
    pub fn cross_entropy(&self, states: Tensor<3>, labels: &[i64]) -> Result<Loss, LossError> {
        let fused = |states: &Tensor<2>, labels: &[usize]| {
            if self.adapter.is_some() {
                return None;
            }
            let bias = self.bias.as_ref().map(Param::val);
            match packed(&self.weight) {
                Some(packed) => packed.cross_entropy(states, bias.as_ref(), labels),
                None => fused::cross_entropy(states, &self.weight.val(), bias.as_ref(), labels),
            }
        };
        let outputs = self.dims()[1];
        of_states(states, labels, outputs, fused, |x| self.forward(x))
    }

    /// `residual + activation(x W + scale (x A) B + b)`.
    pub(crate) fn run<const D: usize>(
        &self,
        x: Tensor<D>,
        activation: Activation,
        residual: Option<Tensor<D>>,
    ) -> Tensor<D> {
        let [d_input, d_output] = self.dims();
        let mut shape = x.dims();
        shape[D - 1] = d_output;
        // One product over all positions: a batched product would run one small product a row.
        let x = x.reshape([-1, d_input as i64]);
        let residual = residual.map(|residual| residual.reshape([-1, d_output as i64]));
        let Some(adapter) = &self.adapter else {
            return self.dense(x, activation, residual).reshape(shape);
        };
        // What the adapter adds is a residual of the product; an activation comes after both.
        let delta = adapter.forward(x.clone());
        let y = match (activation, residual) {
            (Activation::None, None) => self.dense(x, activation, Some(delta)),
            (Activation::None, Some(residual)) => self.dense(x, activation, Some(residual + delta)),
            (_, residual) => {
                let sum = self.dense(x, Activation::None, Some(delta));
                let y = crate::activate(sum, activation);
                match residual {
                    Some(residual) => residual + y,
                    None => y,
                }
            }
        };
        y.reshape(shape)
    }

    /// `residual + activation(x W + b)` by the weights alone, `[rows, d_input]` to `[rows, d_output]`.
    fn dense(
        &self,
        x: Tensor<2>,
        activation: Activation,
        residual: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let bias = self.bias.as_ref().map(Param::val);
        let then = Then {
            bias: bias.as_ref(),
            activation,
            residual: residual.as_ref(),
        };
        let fused = match packed(&self.weight) {
            Some(packed) => packed.linear_then(&x, then),
            None => fused::linear(&x, &self.weight.val(), then),
        };
        if let Some(y) = fused {
            return y;
        }
        let y = match packed(&self.weight) {
            Some(packed) => packed.linear(x, bias),
            None => {
                let weight = self.weight.val();
                let y = fused::few_rows(&x, &weight).unwrap_or_else(|| x.matmul(weight));
                match bias {
                    Some(bias) => y + bias.unsqueeze(),
                    None => y,
                }
            }
        };
        let y = crate::activate(y, activation);
        match residual {
            Some(residual) => residual + y,
            None => y,
        }
    }

    /// Another number of outputs: those that are there stay, those beyond `outputs` go, new ones are the mean of the
    /// old ([`resize_param`](crate::resize_param)). Weights, bias and adapter change alike, so a new output is that of
    /// the mean row of both.
    pub fn resize_outputs(&mut self, outputs: usize) {
        self.weight = resize_param(self.weight.clone(), 1, outputs);
        let bias = self.bias.take();
        self.bias = bias.map(|bias| resize_param(bias, 0, outputs));
        if let Some(adapter) = &mut self.adapter {
            adapter.b = resize_param(adapter.b.clone(), 1, outputs);
        }
    }

    /// `[d_input, d_output]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 2] {
        self.weight.lazy_shape().dims()
    }

    /// Whether the weights are packed: integers with scales, or halves.
    #[must_use]
    pub fn is_packed(&self) -> bool {
        packed(&self.weight).is_some()
    }

    /// Whether the weights are integers with scales.
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        packed(&self.weight).is_some_and(|packed| packed.matrix().packing().is_integer())
    }

    /// The type that activations have: that of the weights, f32 for packed ones.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.weight.base().dtype()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clinical_kernels::{Packed, PackedMatrix, Packing};

    use super::*;

    #[test]
    fn adds_the_bias_to_every_position() {
        let device = clinical_kernels::cpu();
        let layer = Linear {
            weight: Param::from_data([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &device),
            bias: Some(Param::from_data([0.5, 0.0, -0.5], &device)),
            adapter: None,
        };
        let x = Tensor::<3>::from_floats([[[1.0, 0.0], [0.0, 1.0]]], &device);
        let y = layer.forward(x);
        assert_eq!(y.dims(), [1, 2, 3]);
        let y: Vec<f32> = y.try_into_vec_as().unwrap();
        assert_eq!(y, [1.5, 2.0, 2.5, 4.5, 5.0, 5.5]);
    }

    /// With and without gradients around, whatever the number of rows.
    #[test]
    fn the_kernel_is_burns_product() {
        use burn::tensor::activation::silu;
        use burn::tensor::{Distribution, Tolerance};
        let device = clinical_kernels::cpu();
        device.seed(4);
        let random = |shape| Tensor::<2>::random(shape, Distribution::Default, &device);
        for (rows, d_input, d_output) in [(1, 5, 3), (1, 64, 300), (4, 33, 17), (70, 300, 129)] {
            let (x, weight, bias, residual) = (
                random([rows, d_input]),
                random([d_input, d_output]),
                random([1, d_output]),
                random([d_output, rows]),
            );
            let z = x.clone().matmul(weight.clone()) + bias.clone();
            let expected =
                [silu(z.clone()), residual.clone().transpose() + z].map(Tensor::into_data);
            for device in [device.clone(), device.clone().autodiff()] {
                let on = |x: &Tensor<2>| Tensor::<2>::from_data(x.to_data(), &device);
                let layer = Linear {
                    weight: Param::from_tensor(on(&weight)),
                    bias: Some(Param::from_tensor(on(&bias).reshape([d_output]))),
                    adapter: None,
                };
                let y = layer.forward_with(on(&x), Activation::Silu);
                assert_eq!(y.dims(), [rows, d_output]);
                let onto = layer.forward_onto(on(&residual.clone().transpose()), on(&x));
                // A residual that is a view.
                let view = layer.forward_onto(on(&residual).transpose(), on(&x));
                onto.to_data().assert_eq(&view.into_data(), true);
                for (found, expected) in [y, onto].into_iter().zip(&expected) {
                    let found = found.into_data();
                    found.assert_approx_eq::<f32>(expected, Tolerance::absolute(1e-4));
                }
            }
        }
    }

    #[test]
    fn packed_weights_take_the_place_of_dense_ones() {
        let plain = clinical_kernels::cpu();
        // Where gradients flow the way is another one.
        for device in [plain.clone(), plain.autodiff()] {
            let values = [0.5f32, -1.0, 2.0, 0.25, 1.0, 1.0];
            let matrix = PackedMatrix::new(Packing::F16, 2, 3, &values);
            let mut layer = Linear::new(3, 2, true, 0.1, &device);
            layer.weight = Packed::attach(layer.weight, Arc::new(matrix), true);
            assert_eq!(layer.dims(), [3, 2]);
            assert_eq!(layer.dtype(), DType::F32);
            let x = Tensor::<3>::from_floats([[[1.0, 2.0, 3.0], [0.0, 0.0, 4.0]]], &device);
            let y = layer.forward(x.clone());
            assert_eq!(y.dims(), [1, 2, 2]);
            let y: Vec<f32> = y.try_into_vec_as().unwrap();
            assert_eq!(y, [4.5, 5.25, 8.0, 4.0]);
            let y = layer.forward_with(x.clone() - 4.0, Activation::Relu);
            let y: Vec<f32> = y.try_into_vec_as().unwrap();
            assert_eq!(y, [0.0, 0.0, 2.0, 0.0]);
            let residual = Tensor::<3>::from_floats([[[0.5, 1.0], [-8.0, 2.0]]], &device);
            let y: Vec<f32> = layer
                .forward_onto(residual, x.clone())
                .try_into_vec_as()
                .unwrap();
            assert_eq!(y, [5.0, 6.25, 0.0, 6.0]);
            // A view with strides, and the values as a tensor.
            let turned = x.clone().swap_dims(1, 2).reshape([1, 3, 2]).swap_dims(1, 2);
            let y: Vec<f32> = layer.forward(turned.clone()).try_into_vec_as().unwrap();
            let dense = turned.reshape([2, 3]).matmul(layer.weight.val());
            let dense: Vec<f32> = dense.try_into_vec_as().unwrap();
            assert_eq!(y, dense);
        }
    }
}
