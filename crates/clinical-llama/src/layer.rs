//! One layer, and the stack of them.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clinical_nn::{Embedding, KvCache, LayerInputs, Pass, RmsNorm, recompute};

use crate::LlamaConfig;
use crate::attention::{Cached, Context, LlamaAttention};
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

    fn attend(&self, x: Tensor<3>, context: &Context, cached: Option<Cached<'_>>) -> Tensor<3> {
        let normed = self.input_layernorm.forward(x.clone());
        self.self_attn.forward_onto(x, normed, context, cached)
    }

    /// [`LlamaAttention::forward_after`] with its norm.
    pub(crate) fn attend_after(
        &self,
        x: Tensor<3>,
        context: &Context,
        before: Option<[Tensor<4>; 2]>,
    ) -> (Tensor<3>, [Tensor<4>; 2]) {
        let normed = self.input_layernorm.forward(x.clone());
        self.self_attn.forward_after(x, normed, context, before)
    }

    /// The keys and values of `[batch, length, hidden]` alone.
    pub(crate) fn keys_and_values(&self, x: Tensor<3>, context: &Context) -> [Tensor<4>; 2] {
        let normed = self.input_layernorm.forward(x);
        let [_, key, value] = self.self_attn.project(normed, &context.rope);
        [key, value]
    }

    pub(crate) fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        let normed = self.post_attention_layernorm.forward(x.clone());
        self.mlp.forward_onto(x, normed)
    }

    fn recomputed(&self, x: Tensor<3>, context: &Context) -> Tensor<3> {
        let inputs = LayerInputs {
            x,
            states: None,
            bias: None,
        };
        let context = context.clone();
        recompute(self, inputs, move |layer, inputs| {
            layer.feed_forward(layer.attend(inputs.x, &context, None))
        })
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
    /// Whether the weights of its layers are integers with scales.
    pub(crate) fn is_quantised(&self) -> bool {
        let first = self.layers.first();
        first.is_some_and(|layer| layer.self_attn.q_proj.is_quantised())
    }

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

    /// Runs the layers over embedded tokens `[batch, length, hidden]`, without the last norm: while reading a prompt
    /// only the last position needs it. With a cache they are `[1, positions, hidden]`, the new ones of a pass.
    pub(crate) fn layers(
        &self,
        x: Tensor<3>,
        context: &Context,
        cached: Option<(&mut KvCache, &Pass)>,
    ) -> Tensor<3> {
        self.layers_watched(x, context, cached, |_, _, _| ())
    }

    /// [`layers`](Self::layers) with a look at what comes out of each part, which has a kind and the number of its
    /// layer. What is computed again is not looked at.
    pub(crate) fn layers_watched(
        &self,
        mut x: Tensor<3>,
        context: &Context,
        mut cached: Option<(&mut KvCache, &Pass)>,
        mut watch: impl FnMut(&'static str, usize, &Tensor<3>),
    ) -> Tensor<3> {
        for (i, layer) in self.layers.iter().enumerate() {
            if context.recompute && cached.is_none() {
                x = layer.recomputed(x, context);
                continue;
            }
            let cached = cached.as_mut().map(|(cache, pass)| Cached {
                cache,
                pass,
                layer: i,
            });
            x = layer.attend(x, context, cached);
            watch("attention", i, &x);
            x = layer.feed_forward(x);
            watch("feed-forward", i, &x);
        }
        x
    }
}
