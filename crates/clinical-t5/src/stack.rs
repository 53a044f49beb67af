//! The encoder and the decoder.

use burn::module::Module;
use burn::tensor::{Bool, DType, Device, Tensor};
use clinical_nn::{Dropout, LayerInputs, RmsNorm, recompute};

use crate::T5Config;
use crate::attention::{Attention, View};
use crate::bucket::sequence_bias;
use crate::dropout::{DropAt, Part, Stack};
use crate::feed_forward::FeedForward;

/// One encoder block.
#[derive(Module, Debug)]
pub struct EncoderBlock {
    /// Self-attention, both ways.
    pub self_attention: Attention,
    /// Feed-forward.
    pub feed_forward: FeedForward,
}

/// One decoder block.
#[derive(Module, Debug)]
pub struct DecoderBlock {
    /// Self-attention, backwards only.
    pub self_attention: Attention,
    /// Attention to the encoder's states.
    pub cross_attention: Attention,
    /// Feed-forward.
    pub feed_forward: FeedForward,
}

/// What a stack does while its model trains.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Training {
    pub dropout: Dropout,
    /// Whether a block keeps its input alone for the backward pass.
    pub recompute: bool,
}

impl EncoderBlock {
    fn forward(&self, x: Tensor<3>, view: &View, dropout: Dropout, number: usize) -> Tensor<3> {
        let at = |part| DropAt::of(dropout, Stack::Encoder, number, part);
        let x = self
            .self_attention
            .to_itself(x, view, at(Part::SelfAttention));
        self.feed_forward.forward(x, at(Part::FeedForward))
    }

    fn recomputed(&self, x: Tensor<3>, view: &View, dropout: Dropout, number: usize) -> Tensor<3> {
        let inputs = LayerInputs {
            x,
            states: None,
            bias: view.bias.clone(),
        };
        let view = View {
            bias: None,
            ..view.clone()
        };
        recompute(self, inputs, move |block, inputs| {
            let view = View {
                bias: inputs.bias,
                ..view.clone()
            };
            block.forward(inputs.x, &view, dropout, number)
        })
    }
}

impl DecoderBlock {
    fn forward(
        &self,
        x: Tensor<3>,
        states: [Tensor<3>; 2],
        [own, other]: [&View; 2],
        dropout: Dropout,
        number: usize,
    ) -> Tensor<3> {
        let at = |part| DropAt::of(dropout, Stack::Decoder, number, part);
        let x = self
            .self_attention
            .to_itself(x, own, at(Part::SelfAttention));
        let states = self.cross_attention.keys_and_values(states);
        let cross = at(Part::CrossAttention);
        let x = self.cross_attention.to_other(x, states, other, cross);
        self.feed_forward.forward(x, at(Part::FeedForward))
    }

    fn recomputed(
        &self,
        x: Tensor<3>,
        states: Tensor<3>,
        [own, other]: [&View; 2],
        dropout: Dropout,
        number: usize,
    ) -> Tensor<3> {
        let inputs = LayerInputs {
            x,
            states: Some([states.clone(), states]),
            bias: own.bias.clone(),
        };
        let own = View {
            bias: None,
            ..own.clone()
        };
        let other = other.clone();
        recompute(self, inputs, move |block, inputs| {
            let own = View {
                bias: inputs.bias,
                ..own.clone()
            };
            let Some(states) = inputs.states else {
                unreachable!("the states are given above");
            };
            block.forward(inputs.x, states, [&own, &other], dropout, number)
        })
    }
}

/// The encoder.
#[derive(Module, Debug)]
pub struct Encoder {
    /// The blocks; the first holds the bias table of all.
    pub block: Vec<EncoderBlock>,
    /// After the last block.
    pub final_layer_norm: RmsNorm,
    max_distance: usize,
}

/// The decoder.
#[derive(Module, Debug)]
pub struct Decoder {
    /// The blocks; the first holds the bias table of all.
    pub block: Vec<DecoderBlock>,
    /// After the last block.
    pub final_layer_norm: RmsNorm,
    max_distance: usize,
}

impl Encoder {
    pub(crate) fn new(config: &T5Config, device: &Device) -> Self {
        let block = |i| EncoderBlock {
            self_attention: Attention::new(config, i == 0, device),
            feed_forward: FeedForward::new(config, device),
        };
        Self {
            block: (0..config.num_layers).map(block).collect(),
            final_layer_norm: RmsNorm::new(config.d_model, config.layer_norm_epsilon, device),
            max_distance: config.relative_attention_max_distance,
        }
    }

    /// Token vectors `[batch, length, d_model]` to states of the same shape, in the type of the weights. `hidden` is
    /// `[batch, 1, 1, length]`, `true` for padding.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        hidden: Option<Tensor<4, Bool>>,
        training: Training,
    ) -> Tensor<3> {
        self.forward_watched(x, hidden, training, |_, _, _| ())
    }

    /// [`forward`](Self::forward) with a look at what comes out of each part, which has a kind and the number of its
    /// block. What is computed again is not looked at.
    pub(crate) fn forward_watched(
        &self,
        x: Tensor<3>,
        hidden: Option<Tensor<4, Bool>>,
        training: Training,
        mut watch: impl FnMut(&'static str, usize, &Tensor<3>),
    ) -> Tensor<3> {
        let view = View {
            hidden,
            bias: bias(
                self.block.first().map(|block| &block.self_attention),
                &x,
                true,
                self.max_distance,
            ),
            causal: false,
        };
        let Training { dropout, recompute } = training;
        let at = |block, part| DropAt::of(dropout, Stack::Encoder, block, part);
        let ends = at(0, Part::Ends);
        let mut x = ends.inside(x.cast(DType::F32));
        for (i, block) in self.block.iter().enumerate() {
            if recompute {
                x = block.recomputed(x, &view, dropout, i);
                continue;
            }
            x = block
                .self_attention
                .to_itself(x, &view, at(i, Part::SelfAttention));
            watch("self-attention", i, &x);
            x = block.feed_forward.forward(x, at(i, Part::FeedForward));
            watch("feed-forward", i, &x);
        }
        ends.output(self.final_layer_norm.forward(x))
    }
}

impl Decoder {
    pub(crate) fn new(config: &T5Config, device: &Device) -> Self {
        let block = |i| DecoderBlock {
            self_attention: Attention::new(config, i == 0, device),
            cross_attention: Attention::new(config, false, device),
            feed_forward: FeedForward::new(config, device),
        };
        Self {
            block: (0..config.decoder_layers()).map(block).collect(),
            final_layer_norm: RmsNorm::new(config.d_model, config.layer_norm_epsilon, device),
            max_distance: config.relative_attention_max_distance,
        }
    }

    /// Token vectors `[batch, length, d_model]` and encoder states `[batch, input, d_model]` to decoder states
    /// `[batch, length, d_model]`, all positions at once. `hidden` is `[batch, 1, 1, input]`, `true` for padding.
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        states: Tensor<3>,
        hidden: Option<Tensor<4, Bool>>,
        training: Training,
    ) -> Tensor<3> {
        self.forward_watched(x, states, hidden, training, |_, _, _| ())
    }

    /// [`forward`](Self::forward) with a look at what comes out of each part, which has a kind and the number of its
    /// block. What is computed again is not looked at.
    pub(crate) fn forward_watched(
        &self,
        x: Tensor<3>,
        states: Tensor<3>,
        hidden: Option<Tensor<4, Bool>>,
        training: Training,
        mut watch: impl FnMut(&'static str, usize, &Tensor<3>),
    ) -> Tensor<3> {
        let own = View {
            hidden: None,
            bias: bias(
                self.block.first().map(|block| &block.self_attention),
                &x,
                false,
                self.max_distance,
            ),
            causal: true,
        };
        let other = View {
            hidden,
            ..View::default()
        };
        let Training { dropout, recompute } = training;
        let at = |block, part| DropAt::of(dropout, Stack::Decoder, block, part);
        let ends = at(0, Part::Ends);
        let mut x = ends.inside(x.cast(DType::F32));
        for (i, block) in self.block.iter().enumerate() {
            if recompute {
                x = block.recomputed(x, states.clone(), [&own, &other], dropout, i);
                continue;
            }
            x = block
                .self_attention
                .to_itself(x, &own, at(i, Part::SelfAttention));
            watch("self-attention", i, &x);
            let states = block.cross_attention.keys_values(states.clone());
            let cross = at(i, Part::CrossAttention);
            x = block.cross_attention.to_other(x, states, &other, cross);
            watch("cross-attention", i, &x);
            x = block.feed_forward.forward(x, at(i, Part::FeedForward));
            watch("feed-forward", i, &x);
        }
        ends.output(self.final_layer_norm.forward(x))
    }

    pub(crate) fn max_distance(&self) -> usize {
        self.max_distance
    }
}

fn bias(
    first: Option<&Attention>,
    x: &Tensor<3>,
    bidirectional: bool,
    max_distance: usize,
) -> Option<Tensor<4>> {
    let table = first?.relative_attention_bias.as_ref()?;
    Some(sequence_bias(
        table,
        x.dims()[1],
        bidirectional,
        max_distance,
    ))
}
