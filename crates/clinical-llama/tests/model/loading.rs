//! Published directories, as they are and damaged.

use std::fs;
use std::path::Path;

use clinical_generate::StepModel;
use clinical_llama::{Error, Llama, LlamaConfig};
use clinical_weights::{LoadOptions, save_safetensors};
use tempfile::TempDir;

use crate::common::{argmax, data, distance, expected, values};

/// A copy of a variant's directory, to be changed.
fn copy(variant: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(data().join(variant).join(name), dir.path().join(name)).unwrap();
    }
    dir
}

fn edit_config(dir: &Path, edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let path = dir.join("config.json");
    let mut json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    edit(json.as_object_mut().unwrap());
    fs::write(path, json.to_string()).unwrap();
}

fn load(dir: &Path) -> Result<Llama, Error> {
    Llama::load(dir, &LoadOptions::default()).map(|(model, _)| model)
}

/// The error of a load that must fail.
fn refusal(dir: &Path) -> Error {
    load(dir).expect_err("the directory was loaded")
}

#[test]
fn old_buffers_are_left_out_and_the_report_is_complete() {
    let (model, report) = Llama::load(data().join("mha"), &LoadOptions::default()).unwrap();
    assert_eq!(report.applied.len(), 21);
    assert_eq!(report.ignored.len(), 2);
    assert_eq!(report.values, model.config().parameters().unwrap());
    assert!(report.missing.is_empty() && report.unexpected.is_empty());
}

/// A checkpoint of the decoder alone has no prefix; with tied weights nothing is missing in it.
#[test]
fn the_prefix_may_be_absent_and_a_tied_projection_may_be_doubled() {
    let reference = load(&data().join("tied")).unwrap();
    let ids = expected("tied").ids;
    let logits = values(reference.forward(&[&ids[..20]]).unwrap());
    let bytes = fs::read(data().join("tied/model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let write = |rename: &dyn Fn(&str) -> Vec<String>| {
        let dir = copy("tied");
        let renamed: Vec<_> = tensors
            .iter()
            .flat_map(|(name, view)| {
                rename(name)
                    .into_iter()
                    .map(move |name| (name, view.clone()))
            })
            .collect();
        safetensors::serialize_to_file(renamed, None, &dir.path().join("model.safetensors"))
            .unwrap();
        dir
    };
    let without_prefix = write(&|name| vec![name.strip_prefix("model.").unwrap().to_owned()]);
    let doubled = write(&|name| match name {
        "model.embed_tokens.weight" => vec![name.to_owned(), "lm_head.weight".to_owned()],
        name => vec![name.to_owned()],
    });
    let projection_alone = write(&|name| match name {
        "model.embed_tokens.weight" => vec!["lm_head.weight".to_owned()],
        name => vec![name.to_owned()],
    });
    for dir in [without_prefix, doubled, projection_alone] {
        let model = load(dir.path()).unwrap();
        assert!(model.lm_head.is_none());
        let same = values(model.forward(&[&ids[..20]]).unwrap());
        assert_eq!(distance(&same, &logits), 0.0);
    }
}

#[test]
fn what_is_saved_is_what_was_loaded() {
    for variant in ["gqa", "tied", "bias"] {
        let model = load(&data().join(variant)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join("config.json"),
            model.config().to_value().to_string(),
        )
        .unwrap();
        save_safetensors(&model, dir.path().join("model.safetensors")).unwrap();
        let again = load(dir.path()).unwrap();
        assert_eq!(again.config(), model.config());
        let ids = expected(variant).ids;
        let logits = |model: &Llama| values(model.forward(&[&ids[..30]]).unwrap());
        assert_eq!(distance(&logits(&again), &logits(&model)), 0.0, "{variant}");
    }
}

#[test]
fn another_architecture_is_refused_by_name() {
    let dir = copy("mha");
    edit_config(dir.path(), |config| {
        config.insert("model_type".into(), "t5".into());
    });
    let message = refusal(dir.path()).to_string();
    assert!(message.contains("t5"), "{message}");
}

#[test]
fn shapes_that_differ_from_the_configuration_are_refused() {
    let dir = copy("gqa");
    edit_config(dir.path(), |config| {
        config.insert("num_key_value_heads".into(), 4.into());
    });
    let message = refusal(dir.path()).to_string();
    assert!(message.contains("k_proj"), "{message}");
    // A table with more rows than the configuration says.
    let dir = copy("gqa");
    edit_config(dir.path(), |config| {
        config.insert("vocab_size".into(), 95.into());
    });
    assert!(matches!(refusal(dir.path()), Error::Weights(_)));
}

/// A configuration may ask for any size: it must be refused before memory is taken for it.
#[test]
fn a_huge_configuration_is_refused_before_it_is_allocated() {
    let dir = copy("gqa");
    edit_config(dir.path(), |config| {
        config.insert("hidden_size".into(), 131_072.into());
        config.insert("intermediate_size".into(), 131_072.into());
        config.insert("num_hidden_layers".into(), 1024.into());
        config.insert("vocab_size".into(), 2_000_000.into());
    });
    assert!(matches!(refusal(dir.path()), Error::Weights(_)));
    assert!(clinical_kernels::peak_rss_bytes().is_none_or(|bytes| bytes < 8 << 30));
}

#[test]
fn missing_and_broken_files_say_what_to_do() {
    assert!(matches!(
        refusal(Path::new("/there/is/no/such/directory")),
        Error::Weights(clinical_weights::Error::DirectoryMissing { .. })
    ));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        refusal(empty.path()),
        Error::Weights(clinical_weights::Error::FileMissing { .. })
    ));
    let dir = copy("gqa");
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

/// Half precision is for the caller to choose; the same greedy tokens come out where the leads are wide.
#[test]
fn half_precision_runs_with_a_cache_of_its_own_type() {
    let options = LoadOptions::new().with_precision(clinical_weights::Precision::F16);
    let (model, _) = Llama::load(data().join("mha"), &options).unwrap();
    let expected = expected("mha");
    let case = &expected.logits[4];
    let (mut cache, last) = model.prefill(&[&expected.ids[..case.length]], 4).unwrap();
    let worst = distance(&values(last.clone()), case.values.last().unwrap());
    assert!(worst < 0.05, "{worst}");
    let next = model.step(&[argmax(&values(last))], &mut cache).unwrap();
    assert!(values(next).iter().all(|logit| logit.is_finite()));
}

#[test]
fn inputs_that_cannot_be_read_are_refused() {
    use clinical_generate::ModelError;
    let model = load(&data().join("gqa")).unwrap();
    let long = vec![1; 513];
    assert!(matches!(model.prefill(&[], 1), Err(ModelError::NoRows)));
    assert!(matches!(
        model.prefill(&[&[1], &[]], 1),
        Err(ModelError::EmptyPrompt { row: 1 })
    ));
    assert!(matches!(
        model.forward(&[&[1, 96]]),
        Err(ModelError::TokenOutOfRange {
            id: 96,
            row: 0,
            vocabulary: 96
        })
    ));
    assert!(matches!(
        model.prefill(&[&long], 1),
        Err(ModelError::TooLong {
            positions: 513,
            limit: 512
        })
    ));
    // At the limit a prompt is read, and nothing can follow it.
    let (mut cache, _) = model.prefill(&[&long[..512]], usize::MAX).unwrap();
    assert!(matches!(
        model.step(&[1], &mut cache),
        Err(ModelError::TooLong { positions: 513, .. })
    ));
    let (mut cache, _) = model.prefill(&[&[1], &[2]], 1).unwrap();
    assert!(matches!(
        model.step(&[1], &mut cache),
        Err(ModelError::RowMismatch { ids: 1, rows: 2 })
    ));
    assert!(matches!(
        model.step(&[1, 4_000_000_000], &mut cache),
        Err(ModelError::TokenOutOfRange { row: 1, .. })
    ));
    assert!(matches!(
        model.extend(&[&[1, 2], &[1]], true, &mut cache),
        Err(ModelError::UnevenRows { row: 1, .. })
    ));
    assert!(matches!(
        model.extend(&[&long, &long], true, &mut cache),
        Err(ModelError::TooLong { .. })
    ));
    // A refused step leaves the cache as it was.
    assert_eq!(cache.lengths(), [1, 1]);
    // Every row has ended.
    model.select(&mut cache, &[]);
    assert!(matches!(
        model.step(&[], &mut cache),
        Err(ModelError::NoRows)
    ));
    // An empty cache takes new rows.
    let (other, _) = model.prefill(&[&[1, 2]], 1).unwrap();
    model.merge(&mut cache, other).unwrap();
    assert_eq!(cache.lengths(), [2]);
    assert!(model.step(&[1], &mut cache).is_ok());
}

#[test]
fn presets_have_the_published_sizes() {
    assert_eq!(LlamaConfig::llama_7b().parameters().unwrap(), 6_738_415_616);
    assert_eq!(
        LlamaConfig::llama_13b().parameters().unwrap(),
        13_015_864_320
    );
    assert_eq!(LlamaConfig::llama_1b().parameters().unwrap(), 1_261_529_088);
}
