//! One layer, and the stack of them.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use clinical_nn::{Embedding, KvCache, LayerInputs, LayerNorm, Pass, recompute};

use crate::attention::{Cached, Context, Gpt2Attention};
use crate::mlp::Gpt2Mlp;
use crate::{Gpt2Config, Result};

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Module, Debug)]
pub struct Gpt2Layer {
    /// Norm before attention.
    pub ln_1: LayerNorm,
    /// Attention.
    pub attn: Gpt2Attention,
    /// Norm before the feed-forward layer.
    pub ln_2: LayerNorm,
    /// Feed-forward layer.
    pub mlp: Gpt2Mlp,
}

impl Gpt2Layer {
    fn new(config: &Gpt2Config, layer: usize, device: &Device) -> Result<Self> {
        let norm = || LayerNorm::new(config.n_embd, config.layer_norm_epsilon, device);
        Ok(Self {
            ln_1: norm(),
            attn: Gpt2Attention::new(config, layer, device),
            ln_2: norm(),
            mlp: Gpt2Mlp::new(config, layer, device)?,
        })
    }

    fn attend(&self, x: Tensor<3>, context: &Context, cached: Option<Cached<'_>>) -> Tensor<3> {
        let normed = self.ln_1.forward(x.clone());
        self.attn.forward_onto(x, normed, context, cached)
    }

    fn feed_forward(&self, x: Tensor<3>, context: &Context) -> Tensor<3> {
        let normed = self.ln_2.forward(x.clone());
        self.mlp.forward_onto(x, normed, context)
    }

    fn recomputed(&self, x: Tensor<3>, context: &Context) -> Tensor<3> {
        let inputs = LayerInputs {
            x,
            states: None,
            bias: None,
        };
        let context = context.clone();
        recompute(self, inputs, move |layer, inputs| {
            layer.feed_forward(layer.attend(inputs.x, &context, None), &context)
        })
    }
}

/// The decoder without its head; `transformer` in the names of a checkpoint.
#[derive(Module, Debug)]
pub struct Gpt2Model {
    /// `[vocabulary, n_embd]`.
    pub wte: Embedding,
    /// `[positions, n_embd]`.
    pub wpe: Embedding,
    /// The layers, the first next to the embeddings.
    pub h: Vec<Gpt2Layer>,
    /// Norm before the head.
    pub ln_f: LayerNorm,
}

impl Gpt2Model {
    pub(crate) fn new(config: &Gpt2Config, device: &Device) -> Result<Self> {
        let (width, std) = (config.n_embd, config.initializer_range);
        let layers = (0..config.n_layer).map(|layer| Gpt2Layer::new(config, layer, device));
        Ok(Self {
            wte: Embedding::new(config.vocab_size, width, std, device),
            wpe: Embedding::new(config.n_positions, width, std, device),
            h: layers.collect::<Result<_>>()?,
            ln_f: LayerNorm::new(width, config.layer_norm_epsilon, device),
        })
    }

    /// Whether the weights of its layers are integers with scales.
    pub(crate) fn is_quantised(&self) -> bool {
        let first = self.h.first();
        first.is_some_and(|layer| layer.attn.c_attn.is_quantised())
    }

    /// Tokens `[batch, length]` at positions `[1 or batch, length]` as vectors `[batch, length, n_embd]`.
    pub(crate) fn embed(&self, ids: Tensor<2, Int>, positions: Tensor<2, Int>) -> Tensor<3> {
        let tokens = self.wte.forward(ids);
        // The table of positions stays f32 at any precision.
        let positions = self.wpe.forward(positions).cast(tokens.dtype());
        tokens + positions
    }

    /// Runs the layers over embedded tokens `[batch, length, n_embd]`, without the last norm: while reading a prompt
    /// only the last position needs it. With a cache they are `[1, positions, n_embd]`, the new ones of a pass.
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
        for (i, layer) in self.h.iter().enumerate() {
            if context.recompute && cached.is_none() {
                x = layer.recomputed(x, context);
                continue;
            }
            let cached = cached.as_mut().map(|(cache, pass)| Cached { cache, pass });
            x = layer.attend(x, context, cached);
            watch("attention", i, &x);
            x = layer.feed_forward(x, context);
            watch("feed-forward", i, &x);
        }
        x
    }
}
