//! The parts of the encoder: embeddings, self-attention, feed-forward, and one layer, post-norm or pre-norm.

use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor};
use clinical_nn::{
    Activation, AttentionOptions, Embedding, LayerInputs, LayerNorm, Linear, recompute,
};

use crate::config::{BertConfig, Family};
use crate::dropout::{BertDropout, Place};

/// Standard deviation of freshly drawn weights (`initializer_range`).
pub(crate) const STD: f64 = 0.02;

/// Token, position and type vectors, summed (and normalised, except in Megatron's layout).
#[derive(Module, Debug)]
pub struct Embeddings {
    /// `[vocabulary, hidden]`.
    pub word_embeddings: Embedding,
    /// `[positions, hidden]`.
    pub position_embeddings: Embedding,
    /// `[types, hidden]`.
    pub token_type_embeddings: Embedding,
    /// Absent in Megatron's layout.
    pub norm: Option<LayerNorm>,
}

impl Embeddings {
    pub(crate) fn new(config: &BertConfig, device: &Device) -> Self {
        let width = config.hidden_size;
        let table = |rows| Embedding::new(rows, width, STD, device);
        let norm = || LayerNorm::new(width, config.layer_norm_eps, device);
        Self {
            word_embeddings: table(config.vocab_size),
            position_embeddings: table(config.max_position_embeddings),
            token_type_embeddings: table(config.type_vocab_size),
            norm: (config.family != Family::MegatronBert).then(norm),
        }
    }
}

/// What all layers of one pass have in common.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    /// `[batch, 1, 1, length]`, `true` for padding keys.
    pub hidden: Option<Tensor<4, Bool>>,
    pub activation: Activation,
    pub dropout: BertDropout,
    /// Whether a layer keeps its input alone for a backward pass.
    pub recompute: bool,
}

impl Pass {
    /// `residual + dropout(dense(x))`, one operation where nothing is dropped.
    fn add(&self, residual: Tensor<3>, dense: &Linear, x: Tensor<3>, place: Place) -> Tensor<3> {
        match self.dropout.acts_on(&x) {
            true => residual + self.dropout.apply(place, dense.forward(x)),
            false => dense.forward_onto(residual, x),
        }
    }
}

/// Multi-head self-attention: `softmax(q k^T / sqrt(d)) v`, then an output layer.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// `[hidden, hidden]`.
    pub query: Linear,
    /// `[hidden, hidden]`.
    pub key: Linear,
    /// `[hidden, hidden]`.
    pub value: Linear,
    /// `attention.output.dense`: `[hidden, hidden]`.
    pub output: Linear,
    /// After the residual sum (post-norm: `attention.output.LayerNorm`) or before the attention (pre-norm:
    /// `attention.ln`).
    pub norm: LayerNorm,
    /// Number of heads.
    pub heads: usize,
}

impl SelfAttention {
    fn new(config: &BertConfig, device: &Device) -> Self {
        let width = config.hidden_size;
        let dense = || Linear::new(width, width, true, STD, device);
        Self {
            query: dense(),
            key: dense(),
            value: dense(),
            output: dense(),
            norm: LayerNorm::new(width, config.layer_norm_eps, device),
            heads: config.num_attention_heads,
        }
    }

    /// `residual + attention(x)`.
    fn attend_onto(
        &self,
        residual: Tensor<3>,
        x: Tensor<3>,
        pass: &Pass,
        layer: usize,
    ) -> Tensor<3> {
        let [batch, length, width] = x.dims();
        let d = width / self.heads;
        let split = |x: Tensor<3>| x.reshape([batch, length, self.heads, d]).swap_dims(1, 2);
        let options = AttentionOptions {
            hidden: pass.hidden.clone(),
            bf16: self.query.is_quantised(),
            ..AttentionOptions::scaled((d as f64).powf(-0.5))
        };
        let heads =
            [&self.query, &self.key, &self.value].map(|dense| split(dense.forward(x.clone())));
        let context = pass.dropout.attend(layer, heads, options);
        let context = context.swap_dims(1, 2).reshape([batch, length, width]);
        pass.add(residual, &self.output, context, Place::Attention(layer))
    }
}

/// The feed-forward part: `W2 act(W1 x)`.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// `intermediate.dense`: `[hidden, intermediate]`.
    pub intermediate: Linear,
    /// `output.dense`: `[intermediate, hidden]`.
    pub output: Linear,
    /// After the residual sum (post-norm: `output.LayerNorm`) or before the part (pre-norm: `ln`).
    pub norm: LayerNorm,
}

/// One layer. Post-norm (BERT, RoBERTa): `x = norm(x + f(x))`; pre-norm (Megatron): `x = x + f(norm(x))`.
#[derive(Module, Debug)]
pub struct Layer {
    /// Self-attention.
    pub attention: SelfAttention,
    /// Feed-forward.
    pub feed_forward: FeedForward,
    /// Where the norms stand.
    pub pre_norm: bool,
}

impl Layer {
    pub(crate) fn new(config: &BertConfig, device: &Device) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            attention: SelfAttention::new(config, device),
            feed_forward: FeedForward {
                intermediate: Linear::new(width, inner, true, STD, device),
                output: Linear::new(inner, width, true, STD, device),
                norm: LayerNorm::new(width, config.layer_norm_eps, device),
            },
            pre_norm: config.family == Family::MegatronBert,
        }
    }

    /// `[batch, length, hidden]` to the same shape; `number` is that of the layer.
    pub(crate) fn forward(&self, x: Tensor<3>, pass: &Pass, number: usize) -> Tensor<3> {
        if !pass.recompute {
            return self.run(x, pass, number);
        }
        let inputs = LayerInputs {
            x,
            states: None,
            bias: None,
        };
        let pass = pass.clone();
        recompute(self, inputs, move |layer, inputs| {
            layer.run(inputs.x, &pass, number)
        })
    }

    fn run(&self, x: Tensor<3>, pass: &Pass, number: usize) -> Tensor<3> {
        let mlp_onto = |residual: Tensor<3>, x: Tensor<3>| {
            let feed_forward = &self.feed_forward;
            let inner = feed_forward.intermediate.forward_with(x, pass.activation);
            let place = Place::FeedForward(number);
            pass.add(residual, &feed_forward.output, inner, place)
        };
        let (attention_norm, norm) = (&self.attention.norm, &self.feed_forward.norm);
        if self.pre_norm {
            let normed = attention_norm.forward(x.clone());
            let x = self.attention.attend_onto(x, normed, pass, number);
            mlp_onto(x.clone(), norm.forward(x))
        } else {
            let x = self.attention.attend_onto(x.clone(), x, pass, number);
            let x = attention_norm.forward(x);
            norm.forward(mlp_onto(x.clone(), x))
        }
    }
}
