//! The dense layers by their paths, for adapters (LoRA). Embedding tables, that of positions too, take none.

use clinical_nn::linears;

use crate::{Attention, Decoder, DecoderBlock, Encoder, EncoderBlock, FeedForward, T5};

linears!(T5: encoder, decoder, lm_head);
linears!(Encoder: block);
linears!(Decoder: block);
linears!(EncoderBlock: self_attention, feed_forward);
linears!(DecoderBlock: self_attention, cross_attention, feed_forward);
linears!(Attention: q, k, v, o);
linears!(FeedForward: wi, wi_0, wi_1, wo);

#[cfg(test)]
mod tests {
    use burn::tensor::{Bool, Distribution, Int, Tensor, Tolerance};
    use clinical_nn::{Adapter, Linears, adapted_layers, dense_layers, merge_adapters};
    use serde_json::{Value, json};

    use super::*;
    use crate::T5Config;

    fn model(config: Value) -> T5 {
        let mut all = json!({
            "model_type": "t5", "vocab_size": 40, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4,
            "decoder_start_token_id": 0,
        });
        let config = config.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(config);
        let config = T5Config::from_value(all).unwrap();
        config.init(&clinical_kernels::cpu()).unwrap()
    }

    #[test]
    fn every_dense_layer_can_be_reached() {
        for (config, count) in [
            (
                json!({"tie_word_embeddings": false, "feed_forward_proj": "gated-gelu"}),
                2 * 7 + 2 * 11 + 1,
            ),
            (json!({"feed_forward_proj": "relu"}), 2 * 6 + 2 * 10),
        ] {
            let mut model = model(config);
            let mut paths = Vec::new();
            model.linears("", &mut |path, _| paths.push(path.to_owned()));
            paths.sort();
            let mut dense = dense_layers(&model);
            dense.sort();
            assert_eq!(paths, dense);
            assert_eq!(paths.len(), count);
        }
    }

    #[test]
    fn a_model_with_adapters_is_the_model_they_are_merged_into() {
        let device = clinical_kernels::cpu();
        device.seed(3);
        for kind in ["gated-gelu", "relu"] {
            let mut model = model(json!({"feed_forward_proj": kind}));
            let run = |model: &T5| {
                let inputs = Tensor::<2, Int>::from_ints([[5, 9, 30, 1], [7, 1, 0, 0]], &device);
                let mask = [[true; 4], [true, true, false, false]];
                let mask = Tensor::<2, Bool>::from_data(mask, &device);
                let decoder = Tensor::<2, Int>::from_ints([[0, 8, 3], [0, 2, 2]], &device);
                model.forward(&inputs, &mask, &decoder).unwrap().into_data()
            };
            let plain = run(&model);
            model.linears("", &mut |path, layer| {
                let mut adapter = Adapter::new(layer, path, 3, 1.5, 1);
                let shape = adapter.b.dims();
                let b = Tensor::random(shape, Distribution::Normal(0.0, 0.1), &device);
                adapter.b = adapter.b.map(|_| b);
                layer.attach(path, adapter).unwrap();
            });
            let adapted = run(&model);
            assert!(adapted != plain);
            let count = adapted_layers(&model).len();
            assert_eq!(merge_adapters(&mut model).unwrap(), count);
            let near = Tolerance::absolute(1e-5);
            run(&model).assert_approx_eq::<f32>(&adapted, near);
        }
    }
}
