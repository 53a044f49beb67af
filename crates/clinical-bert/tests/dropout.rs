//! Dropout in training: where `transformers` has it, at the rates of the config, and a function of the seed.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use clinical_bert::{BertConfig, BertDropout, BertModel, Error, Family, Row, TaskHead};
use clinical_weights::{LoadOptions, load};
use serde_json::{Value, json};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn facts() -> Value {
    serde_json::from_slice(&std::fs::read(data().join("dropout.json")).unwrap()).unwrap()
}

/// A model of the tests, with other keys in its config.
fn model(name: &str, keys: &Value, device: &Device) -> BertModel {
    let dir = data().join(name);
    let text = std::fs::read(dir.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&text).unwrap();
    let keys = keys.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(keys);
    let mut model = BertConfig::from_value(config)
        .unwrap()
        .init(device)
        .unwrap();
    load(&mut model, &dir, &LoadOptions::new()).unwrap();
    model
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

/// The logits that the fixture has: those of real tokens, or of rows.
fn run(model: &BertModel, facts: &Value) -> Vec<f32> {
    let ids: Vec<Vec<u32>> = serde_json::from_value(facts["rows"].clone()).unwrap();
    let rows: Vec<Row<'_>> = ids.iter().map(|ids| Row::from(ids.as_slice())).collect();
    let of_tokens = |logits: Tensor<3>| {
        let real = |(row, ids): (usize, &Vec<u32>)| {
            values(logits.clone().narrow(0, row, 1).narrow(1, 0, ids.len()))
        };
        ids.iter().enumerate().flat_map(real).collect()
    };
    match model {
        BertModel::Encoder(model) => of_tokens(model.forward(&rows).unwrap()),
        BertModel::MaskedLanguage(model) => {
            let states = model.bert.forward(&rows).unwrap();
            values(model.next_sentence(states).unwrap())
        }
        BertModel::Sequence(model) => values(model.forward(&rows).unwrap()),
        BertModel::Token(model) => of_tokens(model.forward(&rows).unwrap()),
        BertModel::Span(model) => of_tokens(model.forward(&rows).unwrap()),
        _ => panic!("another head"),
    }
}

/// Python's training mode with the same masks: a place that were missing, moved, numbered otherwise or of another rate
/// would show.
#[test]
fn training_passes_are_those_of_transformers() {
    let facts = facts();
    let seed = facts["seed"].as_u64().unwrap();
    let device = clinical_kernels::cpu().autodiff();
    let logits = facts["logits"].as_object().unwrap();
    assert_eq!(logits.len(), 8);
    for (name, expected) in logits {
        let plain = model(name, &facts["rates"], &device);
        let without = run(&plain, &facts);
        let found = run(&plain.with_dropout(seed), &facts);
        let expected: Vec<f32> = serde_json::from_value(expected.clone()).unwrap();
        assert_eq!(found.len(), expected.len());
        let apart = |other: &[f32]| {
            let apart = other.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            apart.fold(0.0f32, f32::max)
        };
        assert!(apart(&found) < 1e-4, "{name}: {}", apart(&found));
        assert!(apart(&without) > 0.1, "{name}: {}", apart(&without));
    }
}

#[test]
fn a_pass_is_a_function_of_the_seed() {
    let facts = facts();
    let device = clinical_kernels::cpu().autodiff();
    for name in ["bert_token", "megatron_sequence", "roberta_sequence"] {
        let mut model = model(name, &facts["rates"], &device);
        let plain = run(&model, &facts);
        model.set_dropout_seed(1);
        let first = run(&model, &facts);
        device.seed(99);
        assert_eq!(run(&model, &facts), first);
        model.set_dropout_seed(2);
        let second = run(&model, &facts);
        assert!(first != second && first != plain && second != plain);
        assert_eq!(run(&model.clone().with_dropout(1), &facts), first);
        model.set_dropout_seed(None);
        assert_eq!(run(&model, &facts), plain);
    }
}

#[test]
fn nothing_is_dropped_without_gradients_or_rates() {
    let facts = facts();
    let device = clinical_kernels::cpu();
    for name in ["bert_sequence", "megatron_token", "roberta_sequence"] {
        let plain = model(name, &facts["rates"], &device);
        let expected = run(&plain, &facts);
        assert_eq!(run(&plain.with_dropout(3), &facts), expected);
        let none = json!({
            "hidden_dropout_prob": 0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": null,
        });
        let device = device.clone().autodiff();
        let plain = model(name, &none, &device);
        let expected = run(&plain, &facts);
        assert_eq!(run(&plain.with_dropout(3), &facts), expected);
    }
}

/// With dropout in front of the classifier alone the logits are linear in it.
#[test]
fn logits_are_right_on_average() {
    let facts = facts();
    let rates = json!({
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.3,
    });
    let mut model = model("bert_sequence", &rates, &clinical_kernels::cpu().autodiff());
    let exact = run(&model, &facts);
    let seeds = 400;
    let found: Vec<Vec<f32>> = (0..seeds)
        .map(|seed| {
            model.set_dropout_seed(seed);
            run(&model, &facts)
        })
        .collect();
    for (at, &exact) in exact.iter().enumerate() {
        let of_seed = || found.iter().map(|logits| f64::from(logits[at]));
        let mean = of_seed().sum::<f64>() / seeds as f64;
        let variance = of_seed().map(|logit| (logit - mean).powi(2)).sum::<f64>() / seeds as f64;
        let error = (variance / seeds as f64).sqrt();
        assert!(error > 1e-3 && error < 0.1, "{error}");
        assert!(
            (mean - f64::from(exact)).abs() < 4.5 * error,
            "{mean} {exact} {error}"
        );
    }
}

#[test]
fn rates_come_from_the_config_and_are_kept() {
    let config = |keys: Value| {
        let mut all = json!({
            "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32,
        });
        all.as_object_mut()
            .unwrap()
            .extend(keys.as_object().unwrap().clone());
        BertConfig::from_value(all)
    };
    let rates = |config: &BertConfig| {
        let BertDropout {
            hidden,
            attention,
            classifier,
            seed,
            ..
        } = BertDropout::of(config);
        assert!(seed.is_none());
        [hidden, attention, classifier]
    };
    let usual = config(json!({})).unwrap();
    assert_eq!(rates(&usual), [0.1, 0.1, 0.1]);
    let null = json!({"hidden_dropout_prob": null, "attention_probs_dropout_prob": null, "classifier_dropout": null});
    assert_eq!(rates(&config(null).unwrap()), [0.1, 0.1, 0.1]);
    let own = json!({"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0, "classifier_dropout": 0.4});
    let own = config(own).unwrap();
    assert_eq!(rates(&own), [0.2, 0.0, 0.4]);
    assert_eq!(BertConfig::from_value(own.to_value()).unwrap(), own);
    assert_eq!(own.to_value()["classifier_dropout"], 0.4);
    assert_eq!(usual.to_value()["hidden_dropout_prob"], 0.1);
    let megatron = BertConfig {
        family: Family::MegatronBert,
        ..own.clone()
    };
    assert_eq!(rates(&megatron), [0.2, 0.0, 0.2]);
    // A new head has the rates of the config that it is made by, and the seed of the encoder.
    let encoder = usual
        .init(&clinical_kernels::cpu())
        .unwrap()
        .with_dropout(7)
        .into_encoder();
    let model = BertModel::on(encoder, &own, TaskHead::Token);
    assert_eq!(
        (
            model.encoder().dropout.classifier,
            model.encoder().dropout.seed
        ),
        (0.4, Some(7))
    );
    for key in [
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "classifier_dropout",
    ] {
        for rate in [-0.1, 1.0, 1e300] {
            let refused = config(json!({ key: rate }));
            assert!(matches!(refused, Err(Error::Dropout { field, .. }) if field == key));
        }
    }
}
