//! The feed-forward layer.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clinical_nn::{Activation, Linear};

use crate::attention::{Context, std_of_residual};
use crate::dropout::Place;
use crate::{Gpt2Config, Result};

/// `c_proj(activation(c_fc(x)))`, with the tanh form of GELU in every published model.
#[derive(Module, Debug)]
pub struct Gpt2Mlp {
    /// `[n_embd, n_inner]`.
    pub c_fc: Linear,
    /// `[n_inner, n_embd]`.
    pub c_proj: Linear,
    #[module(skip)]
    activation: Activation,
    layer: usize,
}

impl Gpt2Mlp {
    pub(crate) fn new(config: &Gpt2Config, layer: usize, device: &Device) -> Result<Self> {
        let (width, inner) = (config.n_embd, config.inner());
        Ok(Self {
            c_fc: Linear::new(width, inner, true, config.initializer_range, device),
            c_proj: Linear::new(inner, width, true, std_of_residual(config), device),
            activation: config.activation()?,
            layer,
        })
    }

    /// `residual + mlp(x)`, both `[batch, length, n_embd]`.
    pub(crate) fn forward_onto(
        &self,
        residual: Tensor<3>,
        x: Tensor<3>,
        context: &Context,
    ) -> Tensor<3> {
        let inner = self.c_fc.forward_with(x, self.activation);
        let place = Place::FeedForward(self.layer);
        match context.dropout.acts_on(place, &inner) {
            true => residual + context.dropout.apply(place, self.c_proj.forward(inner)),
            false => self.c_proj.forward_onto(residual, inner),
        }
    }
}
