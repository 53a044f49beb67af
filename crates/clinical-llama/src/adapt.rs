//! The dense layers by their paths, for adapters (LoRA). The embedding table takes none.

use clinical_nn::linears;

use crate::{Llama, LlamaAttention, LlamaLayer, LlamaMlp, LlamaModel};

linears!(Llama: model, lm_head);
linears!(LlamaModel: layers);
linears!(LlamaLayer: self_attn, mlp);
linears!(LlamaAttention: q_proj, k_proj, v_proj, o_proj);
linears!(LlamaMlp: gate_proj, up_proj, down_proj);

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::{Device, Distribution, Tensor, Tolerance};
    use clinical_nn::{
        Adapter, Linears, adapted_layers, dense_layers, detach_adapters, merge_adapters,
        set_adapter_dropout_seed, train_adapters_only,
    };
    use serde_json::json;

    use super::*;
    use crate::LlamaConfig;

    fn model(device: &Device) -> Llama {
        let config = json!({
            "model_type": "llama", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": false,
        });
        LlamaConfig::from_value(config)
            .unwrap()
            .init(device)
            .unwrap()
    }

    /// Adapters that change something, beside every layer.
    fn attach(model: &mut Llama, device: &Device) {
        model.linears("", &mut |path, layer| {
            let mut adapter = Adapter::new(layer, path, 3, 1.5, 1);
            let shape = adapter.b.dims();
            let b = Tensor::<2>::random(shape, Distribution::Normal(0.0, 0.1), device);
            adapter.b = Param::from_tensor(Tensor::from_data(b.into_data(), device));
            layer.attach(path, adapter).unwrap();
        });
    }

    const IDS: [&[u32]; 2] = [&[1, 5, 9, 30, 2], &[1, 7, 7]];

    #[test]
    fn every_dense_layer_can_be_reached() {
        let mut model = model(&clinical_kernels::cpu());
        let mut paths = Vec::new();
        model.linears("", &mut |path, _| paths.push(path.to_owned()));
        paths.sort();
        let mut dense = dense_layers(&model);
        dense.sort();
        assert_eq!(paths, dense);
        assert_eq!(paths.len(), 2 * 7 + 1);
    }

    #[test]
    fn a_model_with_adapters_is_the_model_they_are_merged_into() {
        let device = clinical_kernels::cpu();
        device.seed(3);
        let mut model = model(&device);
        let plain = model.forward(&IDS).unwrap().into_data();
        attach(&mut model, &device);
        assert_eq!(adapted_layers(&model).len(), 15);
        let adapted = model.forward(&IDS).unwrap().into_data();
        assert!(adapted != plain);
        let mut merged = model.clone();
        assert_eq!(merge_adapters(&mut merged).unwrap(), 15);
        let found = merged.forward(&IDS).unwrap().into_data();
        found.assert_approx_eq::<f32>(&adapted, Tolerance::absolute(1e-5));
        assert_eq!(detach_adapters(&mut model).len(), 15);
        model
            .forward(&IDS)
            .unwrap()
            .into_data()
            .assert_eq(&plain, true);
    }

    #[test]
    fn adapters_drop_their_inputs_in_training_alone() {
        let labels: [&[i64]; 2] = [&[5, 9, 30, 2, -100], &[7, 7, 2]];
        for (device, drops) in [
            (clinical_kernels::cpu(), false),
            (clinical_kernels::cpu().autodiff(), true),
        ] {
            let mut model = model(&device);
            attach(&mut model, &device);
            model.linears("", &mut |_, layer| {
                layer.adapter.as_mut().unwrap().dropout = 0.3;
            });
            let mut loss = |seed: Option<u64>| {
                set_adapter_dropout_seed(&mut model, seed);
                let loss = model.loss(&IDS, &labels).unwrap().mean;
                loss.into_scalar::<f32>()
            };
            let plain = loss(None);
            let [first, other] = [1, 2].map(|seed| loss(Some(seed)));
            assert_eq!(loss(Some(1)), first);
            assert_eq!(first != other && first != plain, drops);
            assert_eq!(loss(None), plain);
        }
    }

    #[test]
    fn adapters_learn_and_weights_do_not() {
        let device = clinical_kernels::cpu().autodiff();
        let mut model = model(&device);
        attach(&mut model, &device);
        let mut model = train_adapters_only(model);
        let labels: [&[i64]; 2] = [&[5, 9, 30, 2, -100], &[7, 7, 2]];
        let gradients = model.loss(&IDS, &labels).unwrap().mean.backward();
        model.linears("", &mut |path, layer| {
            let adapter = layer.adapter.as_ref().unwrap();
            for factor in [&adapter.a, &adapter.b] {
                assert!(factor.val().grad(&gradients).is_some(), "{path}");
            }
            assert!(layer.weight.val().grad(&gradients).is_none(), "{path}");
        });
    }
}
