//! The feed-forward sub-layer.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use clinical_nn::{Activation, Linear, RmsNorm, activate, gated};

use crate::dropout::DropAt;
use crate::half::{add, add_layer, product};
use crate::{FeedForwardKind, T5Config};

/// `x + wo(act(wi(norm(x))))`, or gated (Shazeer 2020): `x + wo(act(wi_0(norm(x))) * wi_1(norm(x)))`.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// Before the products.
    pub layer_norm: RmsNorm,
    /// `[d_model, d_ff]`; `None` if gated.
    pub wi: Option<Linear>,
    /// The gate, `[d_model, d_ff]`, if gated.
    pub wi_0: Option<Linear>,
    /// What is gated, `[d_model, d_ff]`, if gated.
    pub wi_1: Option<Linear>,
    /// `[d_ff, d_model]`.
    pub wo: Linear,
    #[module(skip)]
    activation: Activation,
}

impl FeedForward {
    pub(crate) fn new(config: &T5Config, device: &Device) -> Self {
        let (d_model, d_ff) = (config.d_model, config.d_ff);
        let std = |fan: usize| config.initializer_factor * (fan as f64).powf(-0.5);
        let wi = || Linear::new(d_model, d_ff, false, std(d_model), device);
        let FeedForwardKind { gated, activation } = config.feed_forward_proj;
        Self {
            layer_norm: RmsNorm::new(d_model, config.layer_norm_epsilon, device),
            wi: (!gated).then(wi),
            wi_0: gated.then(wi),
            wi_1: gated.then(wi),
            wo: Linear::new(d_ff, d_model, false, std(d_ff), device),
            activation,
        }
    }

    /// `[batch, length, d_model]` to the same shape.
    pub(crate) fn forward(&self, x: Tensor<3>, drop: DropAt) -> Tensor<3> {
        let normed = self.layer_norm.forward(x.clone());
        let wo = self.wo.dtype();
        // The product of gate and gated value may pass the range of f16; both factors rarely do.
        let wide = |y: Tensor<3>| {
            if wo == DType::F16 {
                y.cast(DType::F32)
            } else {
                y
            }
        };
        let inner = match (&self.wi, &self.wi_0, &self.wi_1) {
            (None, Some(wi_0), Some(wi_1)) => {
                let gate = wide(wi_0.forward(normed.clone()));
                gated(gate, wide(wi_1.forward(normed)), self.activation)
            }
            (Some(wi), ..) if wo != DType::F16 => wi.forward_with(normed, self.activation),
            (wi, ..) => {
                let inner = wi.as_ref().map_or(normed.clone(), |wi| wi.forward(normed));
                activate(wide(inner), self.activation)
            }
        };
        let inner = drop.inside(inner);
        if wo == DType::F32 {
            return add_layer(x, &self.wo, inner, drop);
        }
        let y = product(inner, wo, |inner| self.wo.forward(inner));
        add(x, drop.output(y))
    }
}
