//! Dropout in training: where `transformers` has it, and a function of the seed.

mod common;

use burn::module::Module;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use clinical_t5::{Dropout, T5, T5Config};
use clinical_weights::{LoadOptions, load};
use serde_json::Value;

fn facts() -> Value {
    let path = common::folder("dropout.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn model(name: &str, device: &Device) -> T5 {
    let dir = common::folder(name);
    let config = T5Config::from_file(dir.join("config.json")).unwrap();
    let mut model = config.init(device).unwrap();
    load(&mut model, &dir, &LoadOptions::new()).unwrap();
    model
}

fn ids(value: &Value) -> Vec<Vec<i64>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn run(model: &T5, facts: &Value) -> Vec<f32> {
    let device = model.device();
    let tensor = |rows: Vec<Vec<i64>>| {
        let shape = [rows.len(), rows[0].len()];
        Tensor::<2, Int>::from_data(TensorData::new(rows.concat(), shape), &device)
    };
    let inputs = ids(&facts["inputs"]);
    let shape = [inputs.len(), inputs[0].len()];
    let mask: Vec<bool> = inputs.concat().iter().map(|&id| id != 0).collect();
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, shape), &device);
    let decoder = tensor(ids(&facts["decoder"]));
    let logits = model.forward(&tensor(inputs), &mask, &decoder).unwrap();
    logits.into_data().try_to_vec().unwrap()
}

/// Python's training mode with the same masks: a place that were missing, moved or numbered otherwise would show.
#[test]
fn training_passes_are_those_of_transformers() {
    let facts = facts();
    let (rate, seed) = (
        facts["rate"].as_f64().unwrap(),
        facts["seed"].as_u64().unwrap(),
    );
    let device = clinical_kernels::cpu().autodiff();
    for name in common::VARIANTS {
        let plain = model(name, &device);
        let without = run(&plain, &facts);
        let found = run(&plain.with_dropout(Dropout::new(rate, seed)), &facts);
        let expected: Vec<f32> = serde_json::from_value(facts[name].clone()).unwrap();
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
    let mut model = model("v1_1", &device);
    let plain = run(&model, &facts);
    model.set_dropout(Dropout::new(0.2, 1));
    let first = run(&model, &facts);
    device.seed(99);
    assert_eq!(run(&model, &facts), first);
    model.set_dropout(Dropout::new(0.2, 2));
    let second = run(&model, &facts);
    assert!(first != second && first != plain && second != plain);
    let other = model.clone().with_dropout(Dropout::new(0.2, 1));
    assert_eq!(run(&other, &facts), first);
    assert_eq!(run(&model.with_dropout(Dropout::NONE), &facts), plain);
}

#[test]
fn replicas_drop_the_same_side_by_side() {
    let facts = facts();
    let device = clinical_kernels::cpu().autodiff();
    let model = model("v1_0", &device);
    let seeds = [3, 4, 5, 6];
    let with = |seed| model.clone().with_dropout(Dropout::new(0.3, seed));
    let alone = seeds.map(|seed| run(&with(seed), &facts));
    let together = std::thread::scope(|scope| {
        let run = |model: T5| scope.spawn(|| run(&model.fork(&device), &facts));
        seeds
            .map(|seed| run(with(seed)))
            .map(|thread| thread.join().unwrap())
    });
    assert!(alone == together);
    assert!(alone[0] != alone[1]);
}

#[test]
fn nothing_is_dropped_without_gradients() {
    let facts = facts();
    let device = clinical_kernels::cpu();
    for name in common::VARIANTS {
        let model = model(name, &device);
        let plain = run(&model, &facts);
        let states = model.encode(&[&[5, 9, 1]]).unwrap().states.into_data();
        let model = model.with_dropout(Dropout::new(0.5, 1));
        assert_eq!(run(&model, &facts), plain);
        let again = model.encode(&[&[5, 9, 1]]).unwrap().states.into_data();
        again.assert_eq(&states, true);
    }
}
