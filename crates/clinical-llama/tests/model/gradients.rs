//! The loss and every gradient of the tiny models against `transformers` and `peft`
//! (`scripts/gradients_reference.py`).

#[path = "../../../../tests/files/gradients.rs"]
mod reference;

use burn::module::Module;
use clinical_llama::Llama;
use clinical_nn::{Loss, train_adapters_only};
use clinical_weights::{AdapterFiles, FromCheckpoint};
use reference::Expected;

use crate::common::{data, model};

fn loss(model: &Llama, expected: &Expected) -> Loss {
    let ids = expected.real("ids", |id| id as u32);
    let labels = expected.real("labels", |label| label as i64);
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let labels: Vec<&[i64]> = labels.iter().map(Vec::as_slice).collect();
    model.loss(&ids, &labels).unwrap()
}

/// As many key heads as query heads, fewer, one with tied embeddings, biases, a window that is shorter than the rows.
/// A prompt that is not learnt, and ignored labels between others. A start token that an attention mask hides equals a
/// row without it.
#[test]
fn losses_and_gradients_are_those_of_transformers() {
    for case in [
        "mha",
        "gqa",
        "tied",
        "bias",
        "mistral_window",
        "hidden_start",
    ] {
        let expected = Expected::read(&data().join("gradients"), case);
        let model = model(if case == "hidden_start" { "gqa" } else { case }).train();
        expected.check(&model, loss(&model, &expected));
    }
}

/// Adapters of two projections on frozen weights, neither factor zero.
#[test]
fn gradients_of_adapters_are_those_of_peft() {
    let expected = Expected::read(&data().join("gradients"), "lora");
    let mut model = model("gqa").train();
    let files = AdapterFiles::read(data().join("lora")).unwrap();
    let keys = model.key_map();
    assert_eq!(files.apply(&mut model, &keys).unwrap().len(), 4);
    let model = train_adapters_only(model);
    expected.check(&model, loss(&model, &expected));
}
