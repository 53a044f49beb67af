//! The attention sub-layers.

use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use clinical_nn::{AttentionOptions, Embedding, KvCache, Linear, Pass, RmsNorm};

use crate::T5Config;
use crate::dropout::DropAt;
use crate::half::add_layer;

/// Multi-head attention with its norm before and the residual around it: `x + o(attend(norm(x)))`.
///
/// Scores are not scaled by `1 / sqrt(d_kv)`; the initialisation of `q` accounts for that. Self-attention adds a bias
/// by relative position, whose table only the first block of a stack has; cross-attention has none.
#[derive(Module, Debug)]
pub struct Attention {
    /// Before the projections; in cross-attention for the queries only.
    pub layer_norm: RmsNorm,
    /// Queries, `[d_model, heads * d_kv]`.
    pub q: Linear,
    /// Keys, `[d_model, heads * d_kv]`.
    pub k: Linear,
    /// Values, `[d_model, heads * d_kv]`.
    pub v: Linear,
    /// Output, `[heads * d_kv, d_model]`.
    pub o: Linear,
    /// `[buckets, heads]`, in the self-attention of block 0 alone.
    pub relative_attention_bias: Option<Embedding>,
    heads: usize,
}

/// What the queries of one pass may look at; the same for all blocks of a stack.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// `[batch, 1, 1, key]`, `true` where no query may look.
    pub hidden: Option<Tensor<4, Bool>>,
    /// `[1, heads, query, key]`, added to the scores.
    pub bias: Option<Tensor<4>>,
    /// Whether a query sees no later key.
    pub causal: bool,
}

/// What one block sees of a cache in one step.
pub(crate) struct Cached<'a> {
    pub cache: &'a mut KvCache,
    pub pass: &'a Pass,
    pub layer: usize,
}

impl Attention {
    pub(crate) fn new(config: &T5Config, with_bias: bool, device: &Device) -> Self {
        let (d_model, inner) = (config.d_model, config.inner_dim());
        let factor = config.initializer_factor;
        // Mesh TensorFlow's initialisation, as `T5PreTrainedModel._init_weights`.
        let std = |fan: usize| factor * (fan as f64).powf(-0.5);
        let linear = |from, to, std| Linear::new(from, to, false, std, device);
        Self {
            layer_norm: RmsNorm::new(d_model, config.layer_norm_epsilon, device),
            q: linear(d_model, inner, std(d_model.saturating_mul(config.d_kv))),
            k: linear(d_model, inner, std(d_model)),
            v: linear(d_model, inner, std(d_model)),
            o: linear(inner, d_model, std(inner)),
            relative_attention_bias: with_bias.then(|| {
                let buckets = config.relative_attention_num_buckets;
                Embedding::new(buckets, config.num_heads, std(d_model), device)
            }),
            heads: config.num_heads,
        }
    }

    /// The number of heads, and the values of each.
    pub(crate) fn heads(&self) -> [usize; 2] {
        [self.heads, self.k.dims()[1] / self.heads.max(1)]
    }

    /// Attention of a whole sequence to itself, `[batch, length, d_model]`.
    pub(crate) fn to_itself(&self, x: Tensor<3>, view: &View, drop: DropAt) -> Tensor<3> {
        let normed = self.layer_norm.forward(x.clone());
        let (key, value) = self.keys_values(normed.clone());
        let y = self.attend(normed, key, value, view, drop);
        add_layer(x, &self.o, y, drop)
    }

    /// Attention of a whole sequence to another one, given its [`Self::keys_values`].
    pub(crate) fn to_other(
        &self,
        x: Tensor<3>,
        (key, value): (Tensor<4>, Tensor<4>),
        view: &View,
        drop: DropAt,
    ) -> Tensor<3> {
        let normed = self.layer_norm.forward(x.clone());
        let y = self.attend(normed, key, value, view, drop);
        add_layer(x, &self.o, y, drop)
    }

    /// Attention of one new position of each row to the cached ones and itself, `[1, rows, d_model]`.
    pub(crate) fn step(
        &self,
        x: Tensor<3>,
        bias: Option<&Tensor<4>>,
        cached: Cached<'_>,
    ) -> Tensor<3> {
        let Cached { cache, pass, layer } = cached;
        let normed = self.layer_norm.forward(x.clone());
        let (key, value) = self.keys_values(normed.clone());
        cache.append(layer, pass, key, value);
        let query = self.split(self.q.forward(normed));
        let y = cache.attend(layer, pass, query, bias, 1.0);
        add_layer(x, &self.o, merge(y), DropAt::NONE)
    }

    /// Attention of one new position of each row to its prompt, `[1, rows, d_model]`; rows after one another may share
    /// a prompt, as the pass says.
    pub(crate) fn step_to_other(&self, x: Tensor<3>, prompts: Cached<'_>) -> Tensor<3> {
        let Cached { cache, pass, layer } = prompts;
        let query = self.split(self.q.forward(self.layer_norm.forward(x.clone())));
        let y = cache.attend(layer, pass, query, None, 1.0);
        add_layer(x, &self.o, merge(y), DropAt::NONE)
    }

    /// Keys and values of normed (self) or encoder (cross) states, `[batch, heads, length, d_kv]` each.
    pub(crate) fn keys_values(&self, states: Tensor<3>) -> (Tensor<4>, Tensor<4>) {
        self.keys_and_values([states.clone(), states])
    }

    /// The same, of states that are given once for each.
    pub(crate) fn keys_and_values(&self, [keys, values]: [Tensor<3>; 2]) -> (Tensor<4>, Tensor<4>) {
        let key = self.split(self.k.forward(keys));
        (key, self.split(self.v.forward(values)))
    }

    /// What the output projection takes, `[batch, length, heads * d_kv]`.
    fn attend(
        &self,
        normed: Tensor<3>,
        key: Tensor<4>,
        value: Tensor<4>,
        view: &View,
        drop: DropAt,
    ) -> Tensor<3> {
        let query = self.split(self.q.forward(normed));
        let View {
            hidden,
            bias,
            causal,
        } = view.clone();
        let options = AttentionOptions {
            hidden,
            bias,
            causal,
            scale: 1.0,
            bf16: self.q.is_quantised(),
        };
        let y = drop.attention(query, key, value, options);
        merge(y)
    }

    /// `[batch, length, heads * d_kv]` to `[batch, heads, length, d_kv]`.
    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, length, inner] = x.dims();
        x.reshape([batch, length, self.heads, inner / self.heads])
            .swap_dims(1, 2)
    }
}

/// `[batch, heads, length, d_kv]` to `[batch, length, heads * d_kv]`.
fn merge(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, length, d_kv] = x.dims();
    x.swap_dims(1, 2).reshape([batch, length, heads * d_kv])
}
