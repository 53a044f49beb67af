//! Published directories, as they are and damaged.

use std::fs;
use std::path::Path;

use clinical_generate::{ModelError, StepModel};
use clinical_gpt2::{Error, Gpt2, Gpt2Head};
use clinical_weights::{LoadOptions, Precision, save_safetensors};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

use crate::common::{data, distance, expected, model, values};

/// A copy of a variant's directory, to be changed.
fn copy(variant: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(data().join(variant).join(name), dir.path().join(name)).unwrap();
    }
    dir
}

fn edit_config(dir: &Path, key: &str, value: serde_json::Value) {
    let path = dir.join("config.json");
    let mut json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    json[key] = value;
    fs::write(path, json.to_string()).unwrap();
}

/// A copy with other tensors; `change` gives the names that a tensor gets, and may turn it.
fn rewritten<'a>(
    bytes: &'a [u8],
    variant: &str,
    change: impl Fn(&str, &TensorView<'a>) -> Vec<(String, TensorView<'a>)>,
) -> TempDir {
    let dir = copy(variant);
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let all = tensors.iter().flat_map(|(name, view)| change(name, &view));
    let all: Vec<_> = all.collect();
    safetensors::serialize_to_file(all, None, &dir.path().join("model.safetensors")).unwrap();
    dir
}

fn load(dir: &Path) -> Result<Gpt2, Error> {
    Gpt2::load(dir, &LoadOptions::default()).map(|(model, _)| model)
}

/// The error of a load that must fail.
fn refusal(dir: &Path) -> Error {
    load(dir).expect_err("the directory was loaded")
}

fn logits(model: &Gpt2) -> Vec<f32> {
    values(model.forward(&[&expected("plain").ids[..20]]).unwrap())
}

#[test]
fn what_is_saved_is_the_file_of_transformers() {
    for variant in ["plain", "odd", "classes", "spans"] {
        let (model, report) = Gpt2::load(data().join(variant), &LoadOptions::default()).unwrap();
        assert!(report.fits(), "{report}");
        assert_eq!(
            report.values,
            model.config().parameters().unwrap(),
            "{variant}"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.safetensors");
        save_safetensors(&model, &file).unwrap();
        let [ours, theirs] = [file, data().join(variant).join("model.safetensors")]
            .map(|path| fs::read(path).unwrap());
        let [one, two] = [&ours, &theirs].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
        assert_eq!(one.len(), two.len());
        for (name, view) in two.iter() {
            let own = one.tensor(name).unwrap();
            assert_eq!(
                (own.shape(), own.data()),
                (view.shape(), view.data()),
                "{variant}: {name}"
            );
        }
        assert_eq!(ours.len(), theirs.len(), "{variant}");
    }
}

/// `pytorch_model.bin` with masks, fills and the doubled table, under the configuration of BioMedLM.
#[test]
fn the_published_directory() {
    let (model, report) = Gpt2::load(data().join("published"), &LoadOptions::default()).unwrap();
    assert!(report.fits(), "{report}");
    assert_eq!(report.ignored.len(), 4, "{report}");
    assert!(model.lm_head.is_none());
    let config = model.config();
    assert!(config.scale_attn_by_inverse_layer_idx && !config.reorder_and_upcast_attn);
    assert_eq!(config.other["n_ctx"], 96);
    assert_eq!(config.other["summary_type"], "cls_index");
}

/// A checkpoint of the decoder alone has no prefix, as `gpt2` itself; with tied weights nothing is missing in it.
#[test]
fn the_prefix_may_be_absent_and_the_tied_projection_doubled_or_alone() {
    let reference = logits(&model("plain"));
    let bytes = fs::read(data().join("plain/model.safetensors")).unwrap();
    fn same<'a>(name: &str, view: &TensorView<'a>) -> (String, TensorView<'a>) {
        (name.to_owned(), view.clone())
    }
    let table = "transformer.wte.weight";
    for dir in [
        rewritten(&bytes, "plain", |name, view| {
            vec![same(name.strip_prefix("transformer.").unwrap(), view)]
        }),
        rewritten(&bytes, "plain", |name, view| match name == table {
            true => vec![same(name, view), same("lm_head.weight", view)],
            false => vec![same(name, view)],
        }),
        rewritten(&bytes, "plain", |name, view| match name == table {
            true => vec![same("lm_head.weight", view)],
            false => vec![same(name, view)],
        }),
        rewritten(&bytes, "plain", |name, view| {
            vec![same(&format!("module.{name}"), view)]
        }),
    ] {
        let model = load(dir.path()).unwrap();
        assert!(model.lm_head.is_none());
        assert_eq!(distance(&logits(&model), &reference), 0.0);
    }
}

#[test]
fn missing_and_wrong_tensors_are_named() {
    let bytes = fs::read(data().join("plain/model.safetensors")).unwrap();
    let dir = rewritten(&bytes, "plain", |name, view| match name {
        "transformer.h.1.mlp.c_fc.bias" => Vec::new(),
        name => vec![(name.to_owned(), view.clone())],
    });
    let message = refusal(dir.path()).to_string();
    assert!(
        message.contains("transformer.h.1.mlp.c_fc.bias"),
        "{message}"
    );
    // The layout of other dense layers: outputs first.
    let dir = rewritten(&bytes, "plain", |name, view| {
        let mut shape = view.shape().to_vec();
        if name.ends_with("c_fc.weight") {
            shape.reverse();
        }
        let view = TensorView::new(view.dtype(), shape, view.data()).unwrap();
        vec![(name.to_owned(), view)]
    });
    let message = refusal(dir.path()).to_string();
    assert!(
        message.contains("c_fc.weight") && message.contains("[16, 64]"),
        "{message}"
    );
    // A table of other positions and one of other tokens than the configuration says.
    for key in ["n_positions", "vocab_size", "n_layer"] {
        let dir = copy("plain");
        edit_config(dir.path(), key, 2.into());
        assert!(matches!(refusal(dir.path()), Error::Weights(_)), "{key}");
    }
    let dir = copy("odd");
    edit_config(dir.path(), "n_inner", serde_json::Value::Null);
    assert!(refusal(dir.path()).to_string().contains("c_fc"));
}

#[test]
fn another_architecture_is_refused_by_name() {
    let dir = copy("plain");
    edit_config(dir.path(), "model_type", "bert".into());
    let message = refusal(dir.path()).to_string();
    assert!(
        message.contains("`bert`") && message.contains("ClinicalBert"),
        "{message}"
    );
}

/// The weights decide about the head, whatever the class is called.
#[test]
fn files_decide_about_the_head() {
    let dir = copy("classes");
    edit_config(
        dir.path(),
        "architectures",
        serde_json::json!(["GPT2LMHeadModel"]),
    );
    assert_eq!(
        load(dir.path()).unwrap().config().head,
        Gpt2Head::Classes(3)
    );
    let dir = copy("plain");
    edit_config(
        dir.path(),
        "architectures",
        serde_json::json!(["GPT2ForQuestionAnswering"]),
    );
    assert_eq!(load(dir.path()).unwrap().config().head, Gpt2Head::Language);
}

/// A configuration may ask for any size: it must be refused before memory is taken for it.
#[test]
fn a_huge_configuration_is_refused_before_it_is_allocated() {
    let dir = copy("plain");
    for (key, value) in [
        ("n_embd", 131_072),
        ("n_layer", 1024),
        ("vocab_size", 2_000_000),
    ] {
        edit_config(dir.path(), key, value.into());
    }
    assert!(matches!(refusal(dir.path()), Error::Weights(_)));
    let dir = copy("plain");
    edit_config(dir.path(), "n_positions", (1u64 << 33).into());
    assert!(matches!(
        refusal(dir.path()),
        Error::TooBig {
            field: "n_positions",
            ..
        }
    ));
    assert!(clinical_kernels::peak_rss_bytes().is_none_or(|bytes| bytes < 8 << 30));
}

#[test]
fn broken_files_are_refused() {
    let dir = copy("plain");
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    for sixteenth in 0..16 {
        fs::write(&path, &bytes[..bytes.len() * sixteenth / 16]).unwrap();
        assert!(matches!(refusal(dir.path()), Error::Weights(_)));
    }
    fs::remove_file(path).unwrap();
    assert!(matches!(
        refusal(dir.path()),
        Error::Weights(clinical_weights::Error::NoWeights { .. })
    ));
}

#[test]
fn inputs_that_cannot_be_read_are_refused() {
    let model = model("plain");
    let long = vec![1; 129];
    assert!(matches!(model.prefill(&[], 1), Err(ModelError::NoRows)));
    assert!(matches!(
        model.prefill(&[&[1], &[]], 1),
        Err(ModelError::EmptyPrompt { row: 1 })
    ));
    assert!(matches!(
        model.forward(&[&[1, 64]]),
        Err(ModelError::TokenOutOfRange {
            id: 64,
            row: 0,
            vocabulary: 64
        })
    ));
    for refused in [
        model.prefill(&[&long], 1).map(drop),
        model.forward(&[&[1], &long]).map(drop),
    ] {
        assert!(matches!(
            refused,
            Err(ModelError::TooLong {
                positions: 129,
                limit: 128
            })
        ));
    }
    let labels = vec![1i64; 129];
    assert!(matches!(
        model.loss(&[&long], &[&labels]),
        Err(Error::Model(ModelError::TooLong {
            positions: 129,
            limit: 128
        }))
    ));
    // At the limit a prompt is read, and nothing can follow it.
    let (mut cache, _) = model.prefill(&[&long[..128]], usize::MAX).unwrap();
    assert!(matches!(
        model.step(&[1], &mut cache),
        Err(ModelError::TooLong {
            positions: 129,
            limit: 128
        })
    ));
    assert_eq!(cache.lengths(), [128]);
    let (mut cache, _) = model.prefill(&[&[1], &[2]], 1).unwrap();
    assert!(matches!(
        model.step(&[1], &mut cache),
        Err(ModelError::RowMismatch { ids: 1, rows: 2 })
    ));
    let other = crate::common::model("odd");
    assert!(matches!(
        other.step(&[1, 2], &mut cache),
        Err(ModelError::OtherModel)
    ));
    assert!(matches!(
        model.loss(&[&[1, 2]], &[&[1]]),
        Err(Error::LabelCount {
            row: 0,
            labels: 1,
            ids: 2
        })
    ));
    assert!(matches!(
        model.loss(&[&[1, 2]], &[&[1, -100]]),
        Err(Error::Loss(_))
    ));
}

#[test]
fn the_vocabulary_can_be_resized() {
    let mut model = model("plain");
    let before = logits(&model);
    model.resize_embeddings(70).unwrap();
    let after = logits(&model);
    for (before, after) in before.chunks(64).zip(after.chunks(70)) {
        assert!(distance(before, &after[..64]) < 1e-5);
    }
    assert!(model.forward(&[&[69]]).is_ok() && model.forward(&[&[70]]).is_err());
    assert!(matches!(
        model.resize_embeddings(0),
        Err(Error::Zero {
            field: "vocab_size"
        })
    ));
    assert!(matches!(
        model.resize_embeddings(usize::MAX),
        Err(Error::TooBig {
            field: "vocab_size",
            ..
        })
    ));
}

/// Half precision is for the caller to choose; positions stay f32.
#[test]
fn half_precision_runs_with_a_cache_of_its_own_type() {
    let options = LoadOptions::new().with_precision(Precision::F16);
    let (model, _) = Gpt2::load(data().join("plain"), &options).unwrap();
    let expected = expected("plain");
    let case = &expected.logits[4];
    let (mut cache, last) = model.prefill(&[&expected.ids[..case.length]], 4).unwrap();
    let worst = distance(&values(last), case.values.last().unwrap());
    assert!(worst < 0.05, "{worst}");
    let next = model.step(&[5], &mut cache).unwrap();
    assert!(values(next).iter().all(|logit| logit.is_finite()));
}
