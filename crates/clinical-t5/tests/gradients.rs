//! The loss and every gradient of the tiny models against `transformers` (`scripts/gradients_reference.py`).

#[path = "../../../tests/files/gradients.rs"]
mod gradients;

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use clinical_t5::{Seq2SeqBatch, T5Config};
use clinical_weights::{LoadOptions, load};
use gradients::Expected;

/// The gradients of `transformers` in f32 are themselves up to 1.5e-5 away from those in f64.
const TOLERANCE: f64 = 5e-5;

/// Tied with ReLU; untied and gated, with unequal depths; tied and gated.
#[test]
fn losses_and_gradients_are_those_of_transformers() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for case in ["v1_0", "v1_1", "uneven"] {
        let expected = Expected::read(&data.join("gradients"), case).with_tolerance(TOLERANCE);
        let dir = data.join(case);
        let config = T5Config::from_file(dir.join("config.json")).unwrap();
        let mut model = config.init(&clinical_kernels::cpu()).unwrap();
        load(&mut model, &dir, &LoadOptions::new()).unwrap();
        let model = model.train();

        let ids = expected.real("ids", |id| id as u32);
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let targets = vec![&[][..]; ids.len()];
        let device = model.device();
        let mut batch = Seq2SeqBatch::from_rows(&ids, &targets, config.pad_token_id, &device);
        // Ignored labels stand between others as well.
        let labels = expected.rows("labels");
        let shape = [labels.len(), labels[0].len()];
        let labels: Vec<i64> = labels.concat().iter().map(|&label| label as i64).collect();
        batch.labels = Tensor::from_data(TensorData::new(labels, shape), &device);
        expected.check(&model, model.loss(&batch).unwrap());
    }
}
