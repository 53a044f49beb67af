//! Self-attention with rotary positions.

use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use clinical_nn::{AttentionOptions, KvCache, Linear, Pass, RopeTables, attention};

use crate::LlamaConfig;

/// What all layers share in one pass.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Cosines and sines of the positions that are read.
    pub rope: RopeTables,
    /// Without a cache: `[batch or 1, 1, query, key]`, true where a query must not look although the order of positions
    /// would let it.
    pub hidden: Option<Tensor<4, Bool>>,
    /// Whether a layer keeps its input alone for a backward pass.
    pub recompute: bool,
}

/// What one layer sees of a cache in one pass.
pub(crate) struct Cached<'a> {
    pub cache: &'a mut KvCache,
    pub pass: &'a Pass,
    pub layer: usize,
}

/// Causal self-attention: `softmax(q k^T / sqrt(head_dim)) v`, queries and keys rotated by their positions, each key
/// and value head shared by `num_attention_heads / num_key_value_heads` query heads.
#[derive(Module, Debug)]
pub struct LlamaAttention {
    /// `[hidden, heads * head_dim]`.
    pub q_proj: Linear,
    /// `[hidden, key/value heads * head_dim]`.
    pub k_proj: Linear,
    /// `[hidden, key/value heads * head_dim]`.
    pub v_proj: Linear,
    /// `[heads * head_dim, hidden]`.
    pub o_proj: Linear,
    heads: usize,
    key_value_heads: usize,
    head_dim: usize,
}

impl LlamaAttention {
    pub(crate) fn new(config: &LlamaConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let linear = |d_input, d_output| {
            Linear::new(
                d_input,
                d_output,
                config.attention_bias,
                config.initializer_range,
                device,
            )
        };
        Self {
            q_proj: linear(hidden, queries),
            k_proj: linear(hidden, keys),
            v_proj: linear(hidden, keys),
            o_proj: linear(queries, hidden),
            heads: config.num_attention_heads,
            key_value_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        }
    }

    /// `residual + attention(x)`, both `[batch, length, hidden]`. With a cache it is `[1, positions, hidden]`: the new
    /// positions of all rows, each of which follows those that the cache holds of its row.
    pub(crate) fn forward_onto(
        &self,
        residual: Tensor<3>,
        x: Tensor<3>,
        context: &Context,
        cached: Option<Cached<'_>>,
    ) -> Tensor<3> {
        let [query, key, value] = self.project(x, &context.rope);
        let scale = (self.head_dim as f64).sqrt().recip();
        let seen = match cached {
            Some(Cached { cache, pass, layer }) => {
                cache.append(layer, pass, key, value);
                cache.attend(layer, pass, query, None, scale)
            }
            None => {
                let options = AttentionOptions {
                    hidden: context.hidden.clone(),
                    causal: true,
                    ..AttentionOptions::scaled(scale)
                };
                attention(query, key, value, options)
            }
        };
        self.merge_onto(residual, seen)
    }

    /// [`forward_onto`](Self::forward_onto) for rows that stand behind others: `before` has the keys and values of what
    /// each row follows, `[batch, key/value heads, before, head_dim]`, and the mask of the context is over them and the
    /// row. Without `before` it gives them: the residual, and the keys and values of these rows.
    pub(crate) fn forward_after(
        &self,
        residual: Tensor<3>,
        x: Tensor<3>,
        context: &Context,
        before: Option<[Tensor<4>; 2]>,
    ) -> (Tensor<3>, [Tensor<4>; 2]) {
        let [query, key, value] = self.project(x, &context.rope);
        let [keys, values] = match before {
            Some([keys, values]) => [
                Tensor::cat(vec![keys, key], 2),
                Tensor::cat(vec![values, value], 2),
            ],
            None => [key, value],
        };
        let options = AttentionOptions {
            hidden: context.hidden.clone(),
            causal: true,
            ..AttentionOptions::scaled((self.head_dim as f64).sqrt().recip())
        };
        let seen = attention(query, keys.clone(), values.clone(), options);
        (self.merge_onto(residual, seen), [keys, values])
    }

    /// Queries, keys and values of `[batch, length, hidden]`, `[batch, heads, length, head_dim]`, the first two turned by
    /// their positions.
    pub(crate) fn project(&self, x: Tensor<3>, rope: &RopeTables) -> [Tensor<4>; 3] {
        let [batch, length, _] = x.dims();
        let split = |y: Tensor<3>, heads| {
            y.reshape([batch, length, heads, self.head_dim])
                .swap_dims(1, 2)
        };
        let query = rope.apply(split(self.q_proj.forward(x.clone()), self.heads));
        let key = rope.apply(split(self.k_proj.forward(x.clone()), self.key_value_heads));
        let value = split(self.v_proj.forward(x), self.key_value_heads);
        [query, key, value]
    }

    fn merge_onto(&self, residual: Tensor<3>, seen: Tensor<4>) -> Tensor<3> {
        let [batch, heads, length, head_dim] = seen.dims();
        let seen = seen
            .swap_dims(1, 2)
            .reshape([batch, length, heads * head_dim]);
        self.o_proj.forward_onto(residual, seen)
    }
}
