//! One layer, and the stack of them.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clinical_nn::{Embedding, KvCache, RmsNorm};

use crate::LlamaConfig;
use crate::attention::{Context, LlamaAttention};
use crate::mlp::LlamaMlp;

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Module, Debug)]
pub struct LlamaLayer {
    /// Norm before attention.
    pub input_layernorm: RmsNorm,
    /// Attention.
    pub self_attn: LlamaAttention,
    /// Norm before the feed-forward layer.
    pub post_attention_layernorm: RmsNorm,
    /// Feed-forward layer.
    pub mlp: LlamaMlp,
}

impl LlamaLayer {
    fn new(config: &LlamaConfig, device: &Device) -> Self {
        let norm = || RmsNorm::new(config.hidden_size, config.rms_norm_eps, device);
        Self {
            input_layernorm: norm(),
            self_attn: LlamaAttention::new(config, device),
            post_attention_layernorm: norm(),
            mlp: LlamaMlp::new(config, device),
        }
    }

    fn forward(&self, x: Tensor<3>, context: &Context, cache: Option<&mut KvCache>) -> Tensor<3> {
        let attention =
            self.self_attn
                .forward(self.input_layernorm.forward(x.clone()), context, cache);
        let x = x + attention;
        let mlp = self
            .mlp
            .forward(self.post_attention_layernorm.forward(x.clone()));
        x + mlp
    }
}

/// The decoder without its output projection; `model` in the names of a checkpoint.
#[derive(Module, Debug)]
pub struct LlamaModel {
    /// `[vocabulary, hidden]`.
    pub embed_tokens: Embedding,
    /// The layers, the first next to the embeddings.
    pub layers: Vec<LlamaLayer>,
    /// Norm before the output projection.
    pub norm: RmsNorm,
}

impl LlamaModel {
    pub(crate) fn new(config: &LlamaConfig, device: &Device) -> Self {
        let std = config.initializer_range;
        Self {
            embed_tokens: Embedding::new(config.vocab_size, config.hidden_size, std, device),
            layers: (0..config.num_hidden_layers)
                .map(|_| LlamaLayer::new(config, device))
                .collect(),
            norm: RmsNorm::new(config.hidden_size, config.rms_norm_eps, device),
        }
    }

    /// Runs the layers over embedded tokens `[batch, length, hidden]`, without the last norm: while reading a prompt only
    /// the last position needs it. `caches` holds one cache a layer, or nothing.
    pub(crate) fn layers(
        &self,
        mut x: Tensor<3>,
        context: &Context,
        caches: &mut [KvCache],
    ) -> Tensor<3> {
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, context, caches.get_mut(i));
        }
        x
    }
}
