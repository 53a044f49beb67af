//! The dense layers by their paths, for adapters (LoRA). The tables take none.

use clinical_nn::linears;

use crate::{Gpt2, Gpt2Attention, Gpt2Layer, Gpt2Mlp, Gpt2Model};

linears!(Gpt2: transformer, lm_head, score, qa_outputs);
linears!(Gpt2Model: h);
linears!(Gpt2Layer: attn, mlp);
linears!(Gpt2Attention: c_attn, c_proj);
linears!(Gpt2Mlp: c_fc, c_proj);

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use burn::tensor::{Device, Tensor, TensorData, Tolerance};
    use clinical_nn::{
        Adapter, Linears, adapted_layers, dense_layers, detach_adapters, merge_adapters,
        train_adapters_only,
    };

    use super::*;
    use crate::Gpt2Config;

    fn model(device: &Device) -> Gpt2 {
        let mut config = Gpt2Config::gpt2();
        (config.vocab_size, config.n_positions) = (40, 64);
        (config.n_embd, config.n_layer, config.n_head) = (16, 2, 4);
        config.init(device).unwrap()
    }

    /// Adapters that change something, beside every layer.
    fn attach(model: &mut Gpt2, device: &Device) {
        model.linears("", &mut |path, layer| {
            let mut adapter = Adapter::new(layer, path, 3, 1.5, 1);
            let shape = adapter.b.dims();
            let wave = (0..shape[0] * shape[1]).map(|at| 0.1 * (1.7 * at as f32).sin());
            let b = TensorData::new(wave.collect::<Vec<f32>>(), shape);
            adapter.b = Param::from_tensor(Tensor::from_data(b, device));
            layer.attach(path, adapter).unwrap();
        });
    }

    const IDS: [&[u32]; 2] = [&[1, 5, 9, 30, 2], &[1, 7, 7]];

    #[test]
    fn every_dense_layer_can_be_reached() {
        let device = clinical_kernels::cpu();
        for (mut model, count) in [
            (model(&device), 8),
            (model(&device).into_classifier(&["a", "b", "c"]).unwrap(), 9),
            (model(&device).into_span_model().unwrap(), 9),
        ] {
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
        let mut model = model(&device);
        let plain = model.forward(&IDS).unwrap().into_data();
        attach(&mut model, &device);
        assert_eq!(adapted_layers(&model).len(), 8);
        let adapted = model.forward(&IDS).unwrap().into_data();
        assert!(adapted != plain);
        let mut merged = model.clone();
        assert_eq!(merge_adapters(&mut merged).unwrap(), 8);
        let found = merged.forward(&IDS).unwrap().into_data();
        found.assert_approx_eq::<f32>(&adapted, Tolerance::absolute(1e-5));
        assert_eq!(detach_adapters(&mut model).len(), 8);
        let again = model.forward(&IDS).unwrap().into_data();
        again.assert_eq(&plain, true);
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
