//! The loss, and what an optimiser makes of it.

mod common;

use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::TensorData;
use clinical_nn::LossError;
use clinical_t5::{Dropout, Error, Seq2SeqBatch, T5, T5Config};
use clinical_weights::Precision;
use common::{Fixture, VARIANTS, close};

fn batch(fixture: &Fixture) -> Seq2SeqBatch {
    Seq2SeqBatch {
        input_ids: fixture.ids("loss.input_ids"),
        input_mask: fixture.mask("loss.mask"),
        labels: fixture.ids("loss.labels"),
    }
}

#[test]
fn equals_transformers() {
    for name in VARIANTS {
        let fixture = Fixture::load(name);
        let batch = batch(&fixture);
        let loss = fixture
            .model
            .loss(&batch)
            .unwrap()
            .mean
            .into_scalar::<f32>();
        close(&[loss], fixture.floats("loss.value"), 1e-5, name);

        let expected = fixture
            .floats("loss.log_probs")
            .chunks(fixture.shape("loss.log_probs")[1]);
        let found = fixture.model.log_probs(&batch).unwrap();
        let (mut sum, mut count) = (0.0, 0);
        for (found, expected) in found.iter().zip(expected) {
            close(found, &expected[..found.len()], 1e-4, name);
            sum += found.iter().sum::<f32>();
            count += found.len();
        }
        assert_eq!(count, 4 + 9 + 7);
        close(
            &[-sum / count as f32],
            fixture.floats("loss.value"),
            1e-5,
            name,
        );
    }
}

#[test]
fn gradients_equal_transformers() {
    for name in VARIANTS {
        let device = clinical_kernels::cpu().autodiff();
        let fixture = Fixture::on(name, device, Precision::F32);
        let loss = fixture.model.loss(&batch(&fixture)).unwrap();
        assert_eq!(loss.targets, 4 + 9 + 7);
        let gradients = loss.mean.backward();
        let T5 {
            shared,
            encoder,
            decoder,
            ..
        } = &fixture.model;
        let decoder = decoder.as_ref().unwrap();
        let last = decoder.block.len() - 1;
        let table = |table: &Option<clinical_nn::Embedding>| {
            let table = table.as_ref().unwrap().weight.val();
            table.grad(&gradients).unwrap()
        };
        for (key, gradient) in [
            (
                "shared.weight".to_owned(),
                shared.weight.val().grad(&gradients).unwrap(),
            ),
            (
                "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight".to_owned(),
                table(&encoder.block[0].self_attention.relative_attention_bias),
            ),
            (
                "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight".to_owned(),
                table(&decoder.block[0].self_attention.relative_attention_bias),
            ),
            (
                format!("decoder.block.{last}.layer.1.EncDecAttention.k.weight"),
                decoder.block[last]
                    .cross_attention
                    .k
                    .weight
                    .val()
                    .grad(&gradients)
                    .unwrap()
                    .transpose(),
            ),
            (
                "encoder.block.0.layer.0.SelfAttention.q.weight".to_owned(),
                encoder.block[0]
                    .self_attention
                    .q
                    .weight
                    .val()
                    .grad(&gradients)
                    .unwrap()
                    .transpose(),
            ),
        ] {
            let expected = fixture.floats(&format!("grad.{key}"));
            let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            assert!(largest > 1e-3, "{name} {key}: {largest}");
            close(
                &common::host(gradient),
                expected,
                1e-4 * largest.max(1.0),
                &format!("{name} {key}"),
            );
        }
        let norm = encoder
            .final_layer_norm
            .weight
            .val()
            .grad(&gradients)
            .unwrap();
        close(
            &common::host(norm),
            fixture.floats("grad.encoder.final_layer_norm.weight"),
            1e-4,
            name,
        );
    }
}

#[test]
fn a_few_steps_lower_it() {
    for dropout in [0.0, 0.1] {
        let device = clinical_kernels::cpu().autodiff();
        device.seed(11);
        let config = T5Config::from_json(
            br#"{"vocab_size": 40, "d_model": 24, "d_kv": 6, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 1,
                 "num_heads": 4, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false}"#,
        )
        .unwrap();
        let mut model = config.init(&device).unwrap();
        let batch = Seq2SeqBatch::from_rows(
            &[&[5, 6, 7, 1], &[8, 9, 1], &[10, 11, 12, 13, 1]],
            &[&[20, 21, 1], &[22, 1], &[23, 24, 25, 26, 1]],
            config.pad_token_id,
            &device,
        );
        let mut optimizer = AdamConfig::new().init();
        let mut losses = Vec::new();
        for step in 0..40 {
            model.set_dropout(Dropout::new(dropout, step));
            let loss = model.loss(&batch).unwrap().mean;
            losses.push(loss.clone().into_scalar::<f32>());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(3e-3, model, gradients);
        }
        let (first, last) = (losses[0], losses[39]);
        assert!(last < first * 0.5, "dropout {dropout}: {first} to {last}");
        // Dropout must change what the forward pass computes while training, and only then.
        let again = [40, 41].map(|step| {
            model.set_dropout(Dropout::new(dropout, step));
            model.loss(&batch).unwrap().mean.into_scalar::<f32>()
        });
        assert_eq!(again[0] == again[1], dropout == 0.0, "{again:?}");
    }
}

#[test]
fn labels_that_allow_no_loss() {
    let fixture = Fixture::load("v1_0");
    let vocabulary = fixture.config.vocab_size as i64;
    let mut batch = batch(&fixture);
    let shape = batch.labels.dims();
    let count = shape[0] * shape[1];
    let labels = |values: Vec<i64>| {
        burn::tensor::Tensor::from_data(TensorData::new(values, shape), &clinical_kernels::cpu())
    };
    batch.labels = labels(vec![-100; count]);
    assert!(matches!(
        fixture.model.loss(&batch),
        Err(Error::Loss(LossError::NoTargets))
    ));
    let mut values = vec![3; count];
    values[10] = vocabulary;
    batch.labels = labels(values);
    assert!(matches!(
        fixture.model.loss(&batch),
        Err(Error::Loss(LossError::LabelOutOfRange { position: 10, .. }))
    ));
    batch.labels = labels(vec![3; count]).narrow(0, 0, 1);
    assert!(matches!(
        fixture.model.loss(&batch),
        Err(Error::BatchShape { .. })
    ));
    let empty = Seq2SeqBatch::from_rows(&[], &[], 0, &clinical_kernels::cpu());
    assert!(matches!(
        fixture.model.loss(&empty),
        Err(Error::EmptyBatch { .. })
    ));
}

/// Any negative label is ignored, not only -100, and does not change its neighbours.
#[test]
fn other_negative_labels_are_ignored_too() {
    let fixture = Fixture::load("v1_1");
    let mut batch = batch(&fixture);
    let before = fixture
        .model
        .loss(&batch)
        .unwrap()
        .mean
        .into_scalar::<f32>();
    let labels: Vec<i64> = fixture
        .ints("loss.labels")
        .iter()
        .map(|&label| label.max(-1))
        .collect();
    batch.labels = burn::tensor::Tensor::from_data(
        TensorData::new(labels, batch.labels.dims()),
        &clinical_kernels::cpu(),
    );
    assert_eq!(
        fixture
            .model
            .loss(&batch)
            .unwrap()
            .mean
            .into_scalar::<f32>(),
        before
    );
}
