//! Whatever a directory is, it opens; and what it is stays so through a save.

use std::path::{Path, PathBuf};

use clinical_llama::Llama;
use clinical_open::{AnyModel, Error, Facade, LoadOptions, SaveOptions, open};
use serde_json::{Value, json};
use tempfile::TempDir;

fn crates(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn opened(path: impl AsRef<Path>) -> AnyModel {
    open(path, &LoadOptions::default()).unwrap()
}

fn copy(from: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(crates(from)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn read(dir: impl AsRef<Path>, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(dir.as_ref().join(name)).unwrap()).unwrap()
}

#[test]
fn every_kind_opens_and_has_what_all_have() {
    for (path, facade) in [
        ("asclepius/demo", Facade::Asclepius),
        (
            "asclepius/tests/data/gguf/sentencepiece.gguf",
            Facade::Asclepius,
        ),
        ("clinical-t5/demo", Facade::ClinicalT5),
        ("clinical-bert/tests/data/bert_old", Facade::ClinicalBert),
        (
            "clinical-bert/tests/data/roberta_facade",
            Facade::ClinicalBert,
        ),
        (
            "clinical-bert/tests/data/gguf/bert.gguf",
            Facade::ClinicalBert,
        ),
        ("clinical-gpt2/tests/data/published", Facade::ClinicalGpt2),
        (
            "clinical-gpt2/tests/data/gguf/published.gguf",
            Facade::ClinicalGpt2,
        ),
    ] {
        let model = opened(crates(path));
        assert_eq!(model.facade(), facade, "{path}");
        assert!(model.report().fits() && model.max_tokens() > 0, "{path}");
        assert!(
            model.tokenizer().vocab_size() > 0 && model.config().is_object(),
            "{path}"
        );
        let _ = (model.device(), model.remarks());
    }
}

#[test]
fn another_kind_is_refused_with_all_that_are_known() {
    let dir = copy("asclepius/demo");
    let mut config = read(dir.path(), "config.json");
    config["model_type"] = json!("gpt_neox");
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let error = open(dir.path(), &LoadOptions::default()).unwrap_err();
    assert!(matches!(error, Error::UnknownKind { .. }), "{error}");
    for part in [
        "`gpt_neox`",
        "llama, mistral, t5, mt5, bert, roberta, megatron-bert",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

/// Keys that this library does not know, and the end tokens of `generation_config.json`.
#[test]
fn a_save_keeps_what_it_does_not_know() {
    for from in [
        "asclepius/demo",
        "clinical-t5/demo",
        "clinical-bert/tests/data/bert_old",
        "clinical-gpt2/tests/data/published",
    ] {
        let dir = copy(from);
        let mut config = read(dir.path(), "config.json");
        config["a_key_of_tomorrow"] = json!({"deep": [1, "two"]});
        std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
        let generation = json!({"eos_token_id": [2, 5], "a_key": null, "top_p": 0.5});
        std::fs::write(
            dir.path().join("generation_config.json"),
            generation.to_string(),
        )
        .unwrap();
        let model = opened(dir.path());
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("saved");
        model.save(&out, &SaveOptions::default()).unwrap();
        let saved = read(&out, "config.json");
        assert_eq!(
            saved["a_key_of_tomorrow"], config["a_key_of_tomorrow"],
            "{from}"
        );
        assert_eq!(read(&out, "generation_config.json"), generation, "{from}");
        let again = opened(&out);
        assert_eq!(again.facade(), model.facade());
        match (&model, &again) {
            (AnyModel::Asclepius(one), AnyModel::Asclepius(two)) => {
                assert_eq!((one.end_ids(), two.end_ids()), (&[2, 5][..], &[2, 5][..]));
            }
            (AnyModel::T5(one), AnyModel::T5(two)) => {
                assert_eq!(one.end_ids(), two.end_ids());
                assert!(two.end_ids().contains(&5));
            }
            _ => {}
        }
    }
}

/// A copy of a GGUF file with one more key. What is added is a multiple of 32 bytes, so that tensors stay aligned.
fn with_float(path: &Path, key: &str, value: f32) -> TempDir {
    let mut file = std::fs::read(path).unwrap();
    let entry = |key: &str, kind: u32, value: &[u8]| {
        let length = (key.len() as u64).to_le_bytes();
        [&length[..], key.as_bytes(), &kind.to_le_bytes(), value].concat()
    };
    let mut added = entry(key, 6, &value.to_le_bytes());
    let filler = entry("filler", 8, &0u64.to_le_bytes());
    let rest = (added.len() + filler.len()).next_multiple_of(32) - added.len() - filler.len();
    let text = [&(rest as u64).to_le_bytes()[..], &vec![b' '; rest]].concat();
    added.extend(entry("filler", 8, &text));
    let count = u64::from_le_bytes(file[16..24].try_into().unwrap()) + 2;
    file[16..24].copy_from_slice(&count.to_le_bytes());
    file.splice(24..24, added);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model.gguf"), file).unwrap();
    dir
}

/// The old key for linear scaling means what the new one means.
#[test]
fn scaled_positions_by_the_old_and_the_new_key() {
    const IDS: [u32; 14] = [600, 5, 9, 30, 41, 77, 100, 200, 311, 5, 9, 30, 41, 77];
    let path = crates("asclepius/tests/data/gguf/byte_level.gguf");
    let logits = |path: &Path| -> Vec<f32> {
        let (model, _) = Llama::load(path, &LoadOptions::default()).unwrap();
        let all: Vec<f32> = model.forward(&[&IDS]).unwrap().into_data().iter().collect();
        all[(IDS.len() - 1) * model.config().vocab_size..].to_vec()
    };
    let old = logits(with_float(&path, "llama.rope.scale_linear", 2.0).path());
    let new = logits(with_float(&path, "llama.rope.scaling.factor", 2.0).path());
    assert_eq!(old, new);
    for (found, (scaled, plain)) in old.iter().zip([
        (0.99738, 0.98492),
        (1.90546, 0.74492),
        (0.07523, 0.68062),
        (2.37470, 1.89964),
    ]) {
        assert!((found - scaled).abs() < 1e-4, "{found} is not {scaled}");
        assert!((found - plain).abs() > 1e-3);
    }
    let refused = with_float(&path, "llama.final_logit_softcapping", 30.0);
    let error = open(refused.path(), &LoadOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("llama.final_logit_softcapping"),
        "{error}"
    );
}

/// A model of sentence-transformers that lies in a folder of its own.
#[test]
fn a_model_in_the_folder_of_its_module() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("0_Transformer");
    let from = copy("clinical-bert/tests/data/bert_old");
    std::fs::create_dir(&inner).unwrap();
    for entry in std::fs::read_dir(from.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), inner.join(entry.file_name())).unwrap();
    }
    let modules = json!([{"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]);
    std::fs::write(dir.path().join("modules.json"), modules.to_string()).unwrap();
    assert_eq!(opened(dir.path()).facade(), Facade::ClinicalBert);
    let found = clinical_open::inspect(dir.path(), &LoadOptions::default()).unwrap();
    assert_eq!(
        (found.facade, found.refused),
        (Some(Facade::ClinicalBert), None)
    );
    assert_eq!(found.modules, ["Transformer"]);
}
