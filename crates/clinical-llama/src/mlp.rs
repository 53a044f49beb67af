//! The gated feed-forward layer.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clinical_nn::{Activation, Linear, gated};

use crate::LlamaConfig;

/// `down(silu(gate(x)) * up(x))` (SwiGLU, Shazeer 2020).
#[derive(Module, Debug)]
pub struct LlamaMlp {
    /// `[hidden, intermediate]`.
    pub gate_proj: Linear,
    /// `[hidden, intermediate]`.
    pub up_proj: Linear,
    /// `[intermediate, hidden]`.
    pub down_proj: Linear,
}

impl LlamaMlp {
    pub(crate) fn new(config: &LlamaConfig, device: &Device) -> Self {
        let linear = |d_input, d_output| {
            Linear::new(
                d_input,
                d_output,
                config.mlp_bias,
                config.initializer_range,
                device,
            )
        };
        Self {
            gate_proj: linear(config.hidden_size, config.intermediate_size),
            up_proj: linear(config.hidden_size, config.intermediate_size),
            down_proj: linear(config.intermediate_size, config.hidden_size),
        }
    }

    /// `residual + mlp(x)`, both `[batch, length, hidden]`.
    pub(crate) fn forward_onto(&self, residual: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
        let gate = self.gate_proj.forward(x.clone());
        let up = self.up_proj.forward(x);
        self.down_proj
            .forward_onto(residual, gated(gate, up, Activation::Silu))
    }
}
