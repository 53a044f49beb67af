//! Activations.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, gelu_approximate, relu, silu};
use clinical_kernels::{Activation, fused};

/// `activation(x)`, value by value.
#[must_use]
pub fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    if activation == Activation::None {
        return x;
    }
    if let Some(y) = fused::activate(&x, activation) {
        return y;
    }
    composed(x, activation)
}

/// [`activate`] of Burn's operations.
fn composed<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::Relu => relu(x),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_approximate(x),
        Activation::Silu => silu(x),
        _ => x,
    }
}

/// `activation(gate) * x`, value by value.
#[must_use]
pub fn gated<const D: usize>(gate: Tensor<D>, x: Tensor<D>, activation: Activation) -> Tensor<D> {
    fused::gated(&gate, &x, activation).unwrap_or_else(|| activate(gate, activation) * x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};

    #[test]
    fn the_kernels_are_burns_functions() {
        let device = clinical_kernels::cpu();
        device.seed(3);
        let x = Tensor::<2>::random([7, 37], Distribution::Normal(0.0, 4.0), &device);
        let y = Tensor::<2>::random([7, 37], Distribution::Normal(0.0, 1.0), &device);
        for kind in [
            Activation::None,
            Activation::Relu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Silu,
        ] {
            let tolerance = Tolerance::absolute(2e-5);
            activate(x.clone(), kind)
                .into_data()
                .assert_approx_eq::<f32>(&composed(x.clone(), kind).into_data(), tolerance);
            // Views, too.
            let found = gated(x.clone().transpose(), y.clone().transpose(), kind);
            let expected = (composed(x.clone(), kind) * y.clone()).transpose();
            found
                .into_data()
                .assert_approx_eq::<f32>(&expected.into_data(), tolerance);
        }
    }
}
