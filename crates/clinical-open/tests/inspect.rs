//! What an inspection tells, of good directories and of those that a facade refuses.

use std::path::{Path, PathBuf};

use clinical_open::{Facade, Inspection, LoadOptions, inspect};
use clinical_weights::Precision;
use serde_json::{Value, json};
use tempfile::TempDir;

fn crates(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn look(path: impl AsRef<Path>) -> Inspection {
    inspect(path, &LoadOptions::default()).unwrap()
}

/// A directory with the files of another.
fn copy(from: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(crates(from)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn edit(dir: &TempDir, name: &str, key: &str, value: Value) {
    let path = dir.path().join(name);
    let mut found: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    found[key] = value;
    std::fs::write(path, found.to_string()).unwrap();
}

#[test]
fn each_kind_would_load() {
    for (path, facade, parts) in [
        (
            "asclepius/demo",
            Facade::Asclepius,
            &["model_type llama", "ends       2", "(Asclepius)"][..],
        ),
        (
            "asclepius/tests/data/gguf/byte_level.gguf",
            Facade::Asclepius,
            &["GGUF", "model_type llama"],
        ),
        (
            "clinical-t5/demo",
            Facade::ClinicalT5,
            &["model_type t5", "(ClinicalT5)", "safetensors"],
        ),
        (
            "clinical-bert/tests/data/bert_old",
            Facade::ClinicalBert,
            &["an encoder without a head", "vocab.txt"],
        ),
    ] {
        let found = look(crates(path));
        assert_eq!(
            (found.facade, &found.refused),
            (Some(facade), &None),
            "{path}"
        );
        let fit = found.fit.as_ref().unwrap();
        assert!(fit.report.fits() && fit.parameters > 0, "{path}");
        assert!(found.tokenizer.is_some(), "{path}");
        let text = found.to_string();
        for part in parts.iter().chain(&["each has its tensor"]) {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.lines().count() < 30, "{text}");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["facade"], json!(facade));
    }
}

#[test]
fn weights_are_counted() {
    let found = look(crates("clinical-weights/tests/data/bin_sharded"));
    let weights = found.weights.as_ref().unwrap();
    assert_eq!((weights.files.len(), weights.tensors.len()), (3, 10));
    assert_eq!(weights.values(), 28 + 2 * (24 + 6 + 4) + 28 + 1 + 5);
    assert_eq!(weights.memory(Precision::F32), 4 * (weights.values() - 5));
    let text = found.to_string();
    for part in [
        "model_type t5",
        "PyTorch (zip)",
        "F32        9 tensors, 125 values",
        "no tokenizer files",
        "IT WOULD NOT LOAD",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn an_adapter_alone() {
    let dir = tempfile::tempdir().unwrap();
    let adapter = json!({
        "peft_type": "LORA", "base_model_name_or_path": "Asclepius-7B", "r": 8, "target_modules": ["q_proj", "v_proj"],
    });
    std::fs::write(dir.path().join("adapter_config.json"), adapter.to_string()).unwrap();
    let found = look(dir.path());
    assert!(
        found
            .refused
            .as_ref()
            .unwrap()
            .contains("LoRA adapter for Asclepius-7B")
    );
    let text = found.to_string();
    assert!(
        text.contains("adapter    LORA for Asclepius-7B, rank 8, on q_proj, v_proj"),
        "{text}"
    );
    assert!(
        text.contains("weights    none that can be opened"),
        "{text}"
    );
}

#[test]
fn quantised_weights() {
    let dir = copy("clinical-weights/tests/data/safetensors_f32");
    edit(
        &dir,
        "config.json",
        "quantization_config",
        json!({"quant_method": "gptq", "bits": 4}),
    );
    assert!(
        look(dir.path())
            .to_string()
            .contains("quantised  GPTQ, 4 bits")
    );
}

#[test]
fn modules_of_sentence_transformers_and_decoders() {
    let dir = copy("clinical-bert/tests/data/bert_old");
    let modules = json!([
        {"idx": 0, "type": "sentence_transformers.models.Transformer", "path": ""},
        {"idx": 1, "type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    ]);
    std::fs::write(dir.path().join("modules.json"), modules.to_string()).unwrap();
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    let pooling = json!({"word_embedding_dimension": 8, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false});
    std::fs::write(
        dir.path().join("1_Pooling/config.json"),
        pooling.to_string(),
    )
    .unwrap();
    edit(&dir, "config.json", "is_decoder", json!(true));
    let found = look(dir.path());
    assert_eq!(found.modules, ["Transformer", "Pooling"]);
    assert_eq!(found.pooling, ["cls_token"]);
    assert!(found.is_decoder);
    let text = found.to_string();
    assert!(
        text.contains("modules    Transformer, Pooling; pooling by cls_token"),
        "{text}"
    );
    assert!(text.contains("is_decoder"), "{text}");
}

#[test]
fn what_does_not_fit_is_listed() {
    let dir = copy("asclepius/demo");
    edit(&dir, "config.json", "num_hidden_layers", json!(5));
    let found = look(dir.path());
    assert!(!found.fit.as_ref().unwrap().report.fits());
    let text = found.to_string();
    assert!(
        text.contains("IT WOULD NOT LOAD") && text.contains("MISSING (9)"),
        "{text}"
    );
}

#[test]
fn another_kind_of_model_and_no_directory() {
    let dir = copy("asclepius/demo");
    edit(&dir, "config.json", "model_type", json!("gpt_neox"));
    let found = look(dir.path());
    assert_eq!(
        found.refused.as_deref(),
        Some("this library has no model of that kind")
    );
    assert!(inspect(dir.path().join("absent"), &LoadOptions::default()).is_err());
}

#[test]
fn names_from_files_cannot_forge_lines() {
    let dir = tempfile::tempdir().unwrap();
    let evil = "\u{1b}[2Jall is right\n";
    let header = json!({evil: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend([0; 4]);
    std::fs::write(dir.path().join("model.safetensors"), file).unwrap();
    let config = json!({
        "model_type": evil, "architectures": [evil], "quantization_config": {"quant_method": evil}, "hidden_act": evil,
    });
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let adapter =
        json!({"peft_type": evil, "base_model_name_or_path": evil, "target_modules": [evil]});
    std::fs::write(dir.path().join("adapter_config.json"), adapter.to_string()).unwrap();
    std::fs::write(
        dir.path().join("modules.json"),
        json!([{"type": evil}]).to_string(),
    )
    .unwrap();
    let text = look(dir.path()).to_string();
    assert!(
        !text.contains('\u{1b}') && !text.contains("\nall is"),
        "{text:?}"
    );
}

#[cfg(unix)]
#[test]
fn links_are_refused_as_by_the_facades() {
    let dir = copy("clinical-t5/demo");
    let link = dir.path().join("tokenizer.json");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(crates("clinical-t5/demo/tokenizer.json"), &link).unwrap();
    let refused = look(dir.path()).refused.unwrap();
    assert!(refused.contains("link that leaves"), "{refused}");
    let options = LoadOptions::default().with_allow_links(true);
    assert_eq!(inspect(dir.path(), &options).unwrap().refused, None);
}
