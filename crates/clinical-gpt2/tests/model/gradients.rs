//! The loss and every gradient of the tiny models against `transformers` and `peft` (`scripts/gpt2_reference.py`).

#[path = "../../../../tests/files/gradients.rs"]
mod reference;

use burn::module::Module;
use clinical_gpt2::Gpt2;
use clinical_nn::{Loss, train_adapters_only};
use clinical_weights::{AdapterFiles, FromCheckpoint};
use reference::Expected;

use crate::common::{VARIANTS, data, model};

fn read(case: &str) -> Expected {
    Expected::read(&data().join("gradients"), case)
}

fn loss(model: &Gpt2, expected: &Expected) -> Loss {
    let ids = expected.real("ids", |id| id as u32);
    let labels = expected.real("labels", |label| label as i64);
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let labels: Vec<&[i64]> = labels.iter().map(Vec::as_slice).collect();
    model.loss(&ids, &labels).unwrap()
}

#[test]
fn losses_and_gradients_are_those_of_transformers() {
    for variant in VARIANTS {
        let expected = read(variant);
        let mut model = model(variant).train();
        expected.check(&model, loss(&model, &expected));
        // Layers that are computed again give the same.
        model.set_recompute(true);
        expected.check(&model, loss(&model, &expected));
    }
}

#[test]
fn gradients_of_heads_are_those_of_transformers() {
    let rows = |expected: &Expected| expected.real("ids", |id| id as u32);
    fn slices(rows: &[Vec<u32>]) -> Vec<&[u32]> {
        rows.iter().map(Vec::as_slice).collect()
    }
    let classes = model("classes").train();
    let expected = read("classes");
    let ids = rows(&expected);
    let labels: Vec<i64> = expected.flat("classes").iter().map(|&x| x as i64).collect();
    expected.check(
        &classes,
        classes.class_loss(&slices(&ids), &labels).unwrap(),
    );
    let expected = read("class_sets");
    let sets = expected.rows("class_sets").into_iter();
    let sets: Vec<Vec<f32>> = sets
        .map(|row| row.iter().map(|&x| x as f32).collect())
        .collect();
    expected.check(
        &classes,
        classes.class_set_loss(&slices(&ids), &sets).unwrap(),
    );
    // A bias that all tokens of a softmax share changes nothing.
    let expected = read("spans").with_zeros(&["ln_f.bias", "qa_outputs.bias"]);
    let spans = model("spans").train();
    let ids = rows(&expected);
    let span = |row: Vec<f64>| (row[0] >= 0.0).then(|| (row[0] as usize, row[1] as usize));
    let wanted: Vec<_> = expected.rows("spans").into_iter().map(span).collect();
    expected.check(&spans, spans.span_loss(&slices(&ids), &wanted).unwrap());
}

/// Adapters of two projections on frozen weights, neither factor zero.
#[test]
fn gradients_of_adapters_are_those_of_peft() {
    let expected = read("lora");
    let mut model = model("inverse").train();
    let files = AdapterFiles::read(data().join("lora")).unwrap();
    let keys = model.key_map();
    assert_eq!(files.apply(&mut model, &keys).unwrap().len(), 6);
    let model = train_adapters_only(model);
    expected.check(&model, loss(&model, &expected));
}
