//! Gradients and refusals of the loss.

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use clinical_llama::{Error, Llama, LlamaConfig};
use clinical_nn::{IGNORED, LossError};

fn tiny(change: impl FnOnce(&mut LlamaConfig)) -> LlamaConfig {
    let mut config = LlamaConfig::llama_1b();
    config.vocab_size = 40;
    config.hidden_size = 24;
    config.intermediate_size = 48;
    config.num_hidden_layers = 2;
    config.num_attention_heads = 4;
    config.num_key_value_heads = 2;
    config.head_dim = 6;
    config.initializer_range = 0.1;
    change(&mut config);
    config
}

/// A few steps of Adam must teach a fresh model two short answers, and leave no parameter behind.
#[test]
fn optimizer_steps_lower_the_loss() {
    for tied in [false, true] {
        let device = clinical_kernels::cpu().autodiff();
        device.seed(3);
        let mut model = tiny(|config| config.tie_word_embeddings = tied)
            .init(&device)
            .unwrap();
        let ids: [&[u32]; 2] = [&[1, 7, 9, 20, 21, 22, 2], &[1, 8, 30, 31, 2]];
        let labels = ids.map(|row| Llama::labels_after(row, 3));
        let labels = labels.each_ref().map(Vec::as_slice);
        let before = model.clone();
        let mut optimizer = AdamWConfig::new().init();
        let mut losses = Vec::new();
        for _ in 0..30 {
            let loss = model.loss(&ids, &labels).unwrap().mean;
            losses.push(loss.clone().into_scalar::<f32>());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(1e-2, model, gradients);
        }
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(last < 0.2 * first, "tied {tied}: {losses:?}");
        let moved = |old: &clinical_nn::Linear, new: &clinical_nn::Linear| {
            let difference = old.weight.val() - new.weight.val();
            difference.abs().max().into_scalar::<f32>() > 1e-4
        };
        for (old, new) in before.model.layers.iter().zip(&model.model.layers) {
            assert!(moved(&old.self_attn.q_proj, &new.self_attn.q_proj));
            assert!(moved(&old.self_attn.k_proj, &new.self_attn.k_proj));
            assert!(moved(&old.self_attn.v_proj, &new.self_attn.v_proj));
            assert!(moved(&old.self_attn.o_proj, &new.self_attn.o_proj));
            assert!(moved(&old.mlp.gate_proj, &new.mlp.gate_proj));
            assert!(moved(&old.mlp.up_proj, &new.mlp.up_proj));
            assert!(moved(&old.mlp.down_proj, &new.mlp.down_proj));
        }
        // Training leaves a model that runs without autodiff.
        let model = model.valid();
        assert!(!model.device().is_autodiff());
        assert!(model.loss(&ids, &labels).unwrap().mean.into_scalar::<f32>() < first);
    }
}

/// One gradient against the difference quotient.
#[test]
fn a_gradient_is_the_slope_of_the_loss() {
    let expected = crate::common::expected("gqa");
    let ids: Vec<&[u32]> = expected.loss.ids.iter().map(Vec::as_slice).collect();
    let labels: Vec<&[i64]> = expected.loss.labels.iter().map(Vec::as_slice).collect();
    let model = crate::common::model("gqa").train();
    let weight = |model: &Llama| model.model.layers[0].self_attn.k_proj.weight.clone();
    let loss = model.loss(&ids, &labels).unwrap();
    let counted = labels
        .iter()
        .flat_map(|row| &row[1..])
        .filter(|&&label| label >= 0);
    assert_eq!(loss.targets, counted.count());
    let gradients = loss.mean.backward();
    let gradient = weight(&model).val().grad(&gradients).unwrap();
    let gradient = crate::common::values(gradient);
    let place = (0..gradient.len())
        .max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()))
        .unwrap();
    let shifted = |by: f32| {
        let mut model = crate::common::model("gqa");
        let old = weight(&model);
        let mut data = crate::common::values(old.val());
        data[place] += by;
        let shape = old.lazy_shape();
        let device = model.device();
        model.model.layers[0].self_attn.k_proj.weight = old.map(|_| {
            burn::tensor::Tensor::from_data(burn::tensor::TensorData::new(data, shape), &device)
        });
        model.loss(&ids, &labels).unwrap().mean.into_scalar::<f32>()
    };
    let slope = (shifted(0.01) - shifted(-0.01)) / 0.02;
    let difference = (slope - gradient[place]).abs();
    assert!(
        difference < 0.02 * gradient[place].abs(),
        "{slope} and {}",
        gradient[place]
    );
}

#[test]
fn refuses_labels_that_teach_nothing_or_do_not_fit() {
    let model = tiny(|_| {}).init(&clinical_kernels::cpu()).unwrap();
    let ids: [&[u32]; 1] = [&[1, 2, 3]];
    let loss = |labels: &[&[i64]]| model.loss(&ids, labels);
    // The first label foretells nothing.
    assert!(matches!(
        loss(&[&[1, IGNORED, -1]]),
        Err(Error::Loss(LossError::NoTargets))
    ));
    assert!(matches!(
        loss(&[&[0, 40, 1]]),
        Err(Error::Loss(LossError::LabelOutOfRange { label: 40, .. }))
    ));
    assert!(matches!(
        loss(&[&[0, 1]]),
        Err(Error::LabelCount {
            row: 0,
            labels: 2,
            ids: 3
        })
    ));
    assert!(matches!(loss(&[]), Err(Error::Model(_))));
}
