//! Self-attention with one projection for queries, keys and values.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clinical_nn::{AttentionOptions, KvCache, Linear, Pass};

use crate::dropout::Place;
use crate::{Gpt2Config, Gpt2Dropout};

/// What all layers share in one pass.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Whether a layer keeps its input alone for a backward pass.
    pub recompute: bool,
    pub dropout: Gpt2Dropout,
}

/// What one layer sees of a cache in one pass.
pub(crate) struct Cached<'a> {
    pub cache: &'a mut KvCache,
    pub pass: &'a Pass,
}

/// Causal self-attention: `softmax(q k^T * scale) v`. The scale of a layer is `1 / sqrt(d)`, divided by the layer's
/// number counted from 1 where the config has `scale_attn_by_inverse_layer_idx`.
#[derive(Module, Debug)]
pub struct Gpt2Attention {
    /// `[n_embd, 3 * n_embd]`: queries, keys, values.
    pub c_attn: Linear,
    /// `[n_embd, n_embd]`.
    pub c_proj: Linear,
    heads: usize,
    layer: usize,
    scale: f64,
}

impl Gpt2Attention {
    pub(crate) fn new(config: &Gpt2Config, layer: usize, device: &Device) -> Self {
        let (width, std) = (config.n_embd, config.initializer_range);
        Self {
            c_attn: Linear::new(width, 3 * width, true, std, device),
            c_proj: Linear::new(width, width, true, std_of_residual(config), device),
            heads: config.n_head,
            layer,
            scale: config.scale(layer),
        }
    }

    /// `residual + attention(x)`, both `[batch, length, n_embd]`. With a cache it is `[1, positions, n_embd]`: the new
    /// positions of all rows, each of which follows those that the cache holds of its row.
    pub(crate) fn forward_onto(
        &self,
        residual: Tensor<3>,
        x: Tensor<3>,
        context: &Context,
        cached: Option<Cached<'_>>,
    ) -> Tensor<3> {
        let [query, key, value] = self.project(x);
        let seen = match cached {
            Some(Cached { cache, pass }) => {
                cache.append(self.layer, pass, key, value);
                cache.attend(self.layer, pass, query, None, self.scale)
            }
            None => {
                let options = AttentionOptions {
                    causal: true,
                    ..AttentionOptions::scaled(self.scale)
                };
                let dropout = context.dropout;
                dropout.attend(self.layer, [query, key, value], options)
            }
        };
        let [batch, heads, length, d] = seen.dims();
        let seen = seen.swap_dims(1, 2).reshape([batch, length, heads * d]);
        let place = Place::Attention(self.layer);
        match context.dropout.acts_on(place, &seen) {
            true => residual + context.dropout.apply(place, self.c_proj.forward(seen)),
            false => self.c_proj.forward_onto(residual, seen),
        }
    }

    /// Queries, keys and values of `[batch, length, n_embd]`, each `[batch, heads, length, d]`.
    fn project(&self, x: Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, length, width] = x.dims();
        let all = self.c_attn.forward(x);
        [0, 1, 2].map(|part| {
            all.clone()
                .narrow(2, part * width, width)
                .reshape([batch, length, self.heads, width / self.heads])
                .swap_dims(1, 2)
        })
    }
}

/// Projections onto the residual stream begin smaller, so that it does not grow with the depth (Radford et al. 2019):
/// `initializer_range / sqrt(2 * n_layer)`.
pub(crate) fn std_of_residual(config: &Gpt2Config) -> f64 {
    config.initializer_range / (2.0 * config.n_layer as f64).sqrt()
}
