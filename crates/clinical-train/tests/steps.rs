//! Ten steps of each optimiser on whole models are those of Python (`scripts/steps_reference.py`).

#[path = "../../../tests/files/gradients.rs"]
mod reference;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use clinical_bert::{BertConfig, BertModel, Row, Targets};
use clinical_llama::{Llama, LlamaConfig};
use clinical_nn::Loss;
use clinical_t5::{Seq2SeqBatch, T5, T5Config};
use clinical_train::{OptimizerConfig, Schedule, Warmup};
use clinical_weights::{FromCheckpoint, LoadOptions, load};
use reference::{Expected, parameters};

/// Of the largest value of a parameter.
const TOLERANCE: f64 = 1e-4;

/// Elements of a parameter that the fixtures have, about.
const KEPT: usize = 64;

/// Name, configuration, rate.
const OPTIMIZERS: [(&str, &str, f64); 4] = [
    ("adafactor-hf", r#"{"name": "adafactor"}"#, 1e-3),
    (
        "adafactor-optax",
        r#"{"name": "adafactor", "flavour": "optax"}"#,
        2e-2,
    ),
    ("adamw", r#"{"name": "adamw"}"#, 1e-3),
    ("adamw-rms", r#"{"name": "adamw-rms"}"#, 2e-2),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `free`: ends of the names of parameters that change nothing, whose gradients are rounding.
fn check<M: FromCheckpoint + Clone>(
    kind: &str,
    model: &M,
    free: &[&str],
    loss: impl Fn(&M) -> Loss,
) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/steps");
    let expected = Expected::read(&data, kind);
    let before = parameters(model);
    for (name, config, rate) in OPTIMIZERS {
        let config: OptimizerConfig = serde_json::from_str(config).unwrap();
        let mut optimizer = config.build().unwrap();
        let schedule = match name {
            "adafactor-optax" => Schedule::InverseSqrt {
                warmup: Warmup::Steps(4),
            },
            _ => Schedule::Constant {
                warmup: Warmup::default(),
            },
        };
        let mut model = model.clone();
        for (step, wanted) in expected
            .values(&format!("{name}.loss"))
            .unwrap()
            .iter()
            .enumerate()
        {
            let mean = loss(&model).mean;
            let found = f64::from(mean.clone().into_scalar::<f32>());
            let error = (found - wanted).abs() / wanted;
            assert!(
                error < TOLERANCE,
                "{kind} {name}: loss {found} for {wanted} at {step}"
            );
            let gradients = GradientsParams::from_grads(mean.backward(), &model);
            model = optimizer.step(schedule.rate(rate, step, 10), model, gradients);
        }
        for (path, found) in parameters(&model) {
            if free.iter().any(|end| path.ends_with(end)) {
                continue;
            }
            let stride = (found.len() / KEPT).max(1);
            let part = |values: &[f64]| values.iter().copied().step_by(stride).collect::<Vec<_>>();
            let (found, before) = (part(&found), part(&before[&path]));
            let wanted = expected.values(&format!("{name}.{path}")).unwrap();
            let far = |other: &[f64]| {
                assert_eq!(other.len(), wanted.len());
                let differences = other.iter().zip(wanted).map(|(a, b)| (a - b).abs());
                differences.fold(0.0, f64::max)
            };
            let largest = wanted.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
            let (error, way) = (far(&found) / largest, far(&before) / largest);
            assert!(way > 0.0, "{kind} {name}: {path} did not move");
            assert!(
                error < TOLERANCE,
                "{kind} {name}: {path} is off by {error:e} after {way:e}"
            );
        }
    }
}

#[test]
fn t5_moves_as_in_python() {
    let dir = crates().join("clinical-t5/tests/data");
    let batch = Expected::read(&dir.join("gradients"), "v1_0");
    let config = T5Config::from_file(dir.join("v1_0/config.json")).unwrap();
    let mut model: T5 = config.init(&clinical_kernels::cpu()).unwrap();
    load(&mut model, dir.join("v1_0"), &LoadOptions::new()).unwrap();
    let model = model.train();
    let ids = batch.real("ids", |id| id as u32);
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let labels = batch.rows("labels");
    let shape = [labels.len(), labels[0].len()];
    let labels: Vec<i64> = labels.concat().iter().map(|&label| label as i64).collect();
    check("t5", &model, &[], |model| {
        let device = model.device();
        let targets = vec![&[][..]; ids.len()];
        let mut batch = Seq2SeqBatch::from_rows(&ids, &targets, config.pad_token_id, &device);
        batch.labels = Tensor::from_data(TensorData::new(labels.clone(), shape), &device);
        model.loss(&batch).unwrap()
    });
}

#[test]
fn llama_moves_as_in_python() {
    let dir = crates().join("clinical-llama/tests/data");
    let batch = Expected::read(&dir.join("gradients"), "gqa");
    let config = LlamaConfig::from_file(dir.join("gqa/config.json")).unwrap();
    let mut model: Llama = config.init(&clinical_kernels::cpu()).unwrap();
    load(&mut model, dir.join("gqa"), &LoadOptions::new()).unwrap();
    let ids = batch.real("ids", |id| id as u32);
    let labels = batch.real("labels", |label| label as i64);
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let labels: Vec<&[i64]> = labels.iter().map(Vec::as_slice).collect();
    check("llama", &model.train(), &[], |model| {
        model.loss(&ids, &labels).unwrap()
    });
}

#[test]
fn bert_moves_as_in_python() {
    let dir = crates().join("clinical-bert/tests/data");
    let batch = Expected::read(&dir.join("gradients"), "bert_pretraining");
    let config = BertConfig::from_file(dir.join("bert_pretraining/config.json")).unwrap();
    let mut model: BertModel = config.init(&clinical_kernels::cpu()).unwrap();
    load(
        &mut model,
        dir.join("bert_pretraining"),
        &LoadOptions::new(),
    )
    .unwrap();
    let ids = batch.real("ids", |id| id as u32);
    let types = match batch.has("types") {
        true => batch.real("types", |kind| kind as u32),
        false => vec![Vec::new(); ids.len()],
    };
    let rows = ids
        .iter()
        .zip(&types)
        .map(|(ids, types)| Row { ids, types });
    let rows: Vec<Row<'_>> = rows.collect();
    let tokens = batch.real("tokens", |label| label as i64);
    let next: Vec<bool> = batch
        .flat("is_random_next")
        .iter()
        .map(|&next| next == 1.0)
        .collect();
    // A constant that is added to all scores of a softmax changes nothing.
    check(
        "bert",
        &model.train(),
        &["attention.self.key.bias"],
        |model| {
            let targets = Targets::Pretraining {
                tokens: &tokens,
                is_random_next: &next,
            };
            model.loss(&rows, targets).unwrap()
        },
    );
}
