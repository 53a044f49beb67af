//! A model directory, opened once: what lies in it and changes what the model is, is used, refused or reported.

use std::path::{Path, PathBuf};

use clinical_facade::{Facade, LoadOptions, ModelDir, end_ids};
use clinical_tokenizer::{OpenOptions, Tokenizer};
use clinical_weights::Error;
use serde_json::{Value, json};
use tempfile::TempDir;

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The small files of the demonstration LLaMA with a table of two values instead of its weights.
fn llama() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let demo = crates().join("asclepius/demo");
    for name in [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        std::fs::copy(demo.join(name), dir.path().join(name)).unwrap();
    }
    tensors(&dir, &["model.embed_tokens.weight"]);
    dir
}

/// Writes a weight file with these tensors of two values each.
fn tensors(dir: &TempDir, names: &[&str]) {
    let mut header = serde_json::Map::new();
    for (number, name) in names.iter().enumerate() {
        let at = 8 * number;
        let entry = json!({"dtype": "F32", "shape": [2], "data_offsets": [at, at + 8]});
        header.insert((*name).to_owned(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + 8 * names.len(), 0);
    write(dir, "model.safetensors", &file);
}

fn write(dir: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    std::fs::write(dir.path().join(name), content).unwrap();
}

fn edit(dir: &TempDir, name: &str, key: &str, value: Value) {
    let path = dir.path().join(name);
    let mut found: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    found[key] = value;
    std::fs::write(path, found.to_string()).unwrap();
}

fn open(dir: &TempDir) -> Result<ModelDir, Error> {
    ModelDir::open_as(dir.path(), Facade::Asclepius, &LoadOptions::default())
}

fn remarks(dir: &ModelDir) -> String {
    let all: Vec<String> = dir.remarks().iter().map(ToString::to_string).collect();
    all.join("\n")
}

#[test]
fn configuration_with_all_keys_weights_and_tokenizer() {
    let dir = llama();
    edit(
        &dir,
        "config.json",
        "a_key_of_tomorrow",
        json!([1, {"x": null}]),
    );
    let found = open(&dir).unwrap();
    assert_eq!(found.config()["a_key_of_tomorrow"], json!([1, {"x": null}]));
    assert_eq!(found.generation_config().unwrap()["max_new_tokens"], 64);
    assert_eq!(found.weights().tensors().count(), 1);
    assert_eq!(found.architecture().unwrap().facade, Facade::Asclepius);
    assert!(found.remarks().is_empty());
    let tokenizer = found.tokenizer(&OpenOptions::default()).unwrap();
    assert_eq!(found.end_ids(&tokenizer, 2048), [2]);
}

#[test]
fn the_wrong_facade_is_told_the_right_one() {
    let options = LoadOptions::default();
    let error = ModelDir::open_as(llama().path(), Facade::ClinicalBert, &options).unwrap_err();
    assert!(
        matches!(&error, Error::ModelType { advice, .. } if advice == "open it with Asclepius"),
        "{error}"
    );
    let dir = llama();
    edit(&dir, "config.json", "model_type", json!("megatron-bert"));
    let error = open(&dir).unwrap_err();
    assert!(
        matches!(&error, Error::ModelType { advice, .. } if advice == "open it with ClinicalBert"),
        "{error}"
    );
    // The kind is said before anything about the weights.
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    assert!(matches!(open(&dir), Err(Error::ModelType { .. })));
}

#[test]
fn end_tokens_of_the_generation_config() {
    let dir = llama();
    for (ids, expected) in [
        (json!([2, 387]), vec![2, 387]),
        (json!(387), vec![2, 387]),
        (json!([387, 387, 2048, -1]), vec![2, 387]),
        (Value::Null, vec![2]),
    ] {
        edit(&dir, "generation_config.json", "eos_token_id", ids);
        let found = open(&dir).unwrap();
        let tokenizer = found.tokenizer(&OpenOptions::default()).unwrap();
        assert_eq!(found.end_ids(&tokenizer, 2048), expected);
    }
    write(&dir, "generation_config.json", "{\"eos_token_id\": 2,");
    assert!(matches!(open(&dir), Err(Error::Json { .. })));
}

#[test]
fn end_tokens_of_gguf_files_by_name() {
    let path = crates().join("asclepius/tests/data/gguf/byte_level.gguf");
    let files = clinical_weights::CheckpointDir::open(path).unwrap();
    let whole = files.gguf().unwrap().unwrap().vocabulary().unwrap();
    for name in [
        "<|end|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "<|return|>",
        "<EOT>",
        "[EOS]",
    ] {
        let mut vocabulary = whole.clone();
        let old = std::mem::replace(&mut vocabulary.tokens[599], name.to_owned());
        vocabulary.kinds[599] = 3;
        // Merges that make the old token, or use it, have no meaning any more.
        vocabulary.merges.retain(|merge| {
            merge.replace(' ', "") != old && merge.split(' ').all(|side| side != old)
        });
        let tokenizer = Tokenizer::from_vocabulary(&vocabulary, &OpenOptions::default()).unwrap();
        assert_eq!(end_ids(&tokenizer, None, 602), [601, 599], "{name}");
        // A token without a row cannot be written.
        assert_eq!(end_ids(&tokenizer, None, 599), [0u32; 0], "{name}");
    }
}

#[test]
fn a_gguf_file_brings_everything() {
    let path = crates().join("asclepius/tests/data/gguf/byte_level.gguf");
    let options = LoadOptions::default();
    let found = ModelDir::open_as(&path, Facade::Asclepius, &options).unwrap();
    assert_eq!(found.config()["model_type"], "llama");
    let tokenizer = found.tokenizer(&OpenOptions::default()).unwrap();
    assert_eq!(found.generation_config().unwrap()["eos_token_id"], 601);
    assert_eq!(found.end_ids(&tokenizer, usize::MAX)[0], 601);
    let error = ModelDir::open_as(&path, Facade::ClinicalT5, &options).unwrap_err();
    assert!(matches!(error, Error::ModelType { .. }), "{error}");
}

#[test]
fn an_adapter_without_its_model_is_told_what_it_is() {
    let adapter =
        json!({"peft_type": "LORA", "base_model_name_or_path": "starmpcc/Asclepius-7B", "r": 8});
    let told = |dir: &TempDir| {
        let error = open(dir).unwrap_err();
        let Error::Adapter { base, .. } = &error else {
            panic!("{error}");
        };
        base.clone()
    };
    let dir = llama();
    write(&dir, "adapter_config.json", adapter.to_string());
    std::fs::rename(
        dir.path().join("model.safetensors"),
        dir.path().join("adapter_model.safetensors"),
    )
    .unwrap();
    // With a copied config.json and without one.
    assert_eq!(told(&dir), "starmpcc/Asclepius-7B");
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    assert_eq!(told(&dir), "starmpcc/Asclepius-7B");
    write(&dir, "adapter_config.json", "{}");
    assert_eq!(told(&dir), "another model");
    write(&dir, "adapter_config.json", "broken");
    assert_eq!(told(&dir), "another model");
}

#[test]
fn an_adapter_beside_its_model_is_found() {
    let dir = llama();
    assert!(!open(&dir).unwrap().has_adapter());
    write(&dir, "adapter_config.json", "{}");
    assert!(open(&dir).unwrap().has_adapter());
}

#[test]
fn packed_integers_are_refused_by_the_name_of_their_scheme() {
    for (key, config, tensor, expected) in [
        (
            "quantization_config",
            json!({"quant_method": "gptq", "bits": 4}),
            "a.qweight",
            "GPTQ, 4 bits",
        ),
        (
            "quantization_config",
            json!({"quant_method": "awq", "bits": 4}),
            "a.qweight",
            "AWQ, 4 bits",
        ),
        (
            "quantization_config",
            json!({"load_in_8bit": true}),
            "a.SCB",
            "bitsandbytes, 8 bits",
        ),
        (
            "quantization_config",
            json!({"quant_method": "fp8"}),
            "a.weight_scale_inv",
            "FP8",
        ),
        (
            "quantization_config",
            json!({"quant_method": "compressed-tensors"}),
            "a.weight_packed",
            "compressed-tensors",
        ),
        (
            "quantization",
            json!({"bits": 4, "group_size": 64}),
            "a.scales",
            "MLX, 4 bits",
        ),
        // Nothing in the configuration: the names tell.
        ("unrelated", Value::Null, "a.g_idx", "GPTQ"),
        ("unrelated", Value::Null, "a.qzeros", "GPTQ or AWQ"),
    ] {
        let dir = llama();
        edit(&dir, "config.json", key, config);
        tensors(&dir, &["model.embed_tokens.weight", tensor]);
        let error = open(&dir).unwrap_err();
        assert!(
            matches!(&error, Error::Quantised { method, .. } if method == expected),
            "{error}"
        );
    }
}

#[test]
fn weights_under_the_names_of_a_tool_are_told_by_its_settings() {
    for (file, settings, expected) in [
        (
            "quantize_config.json",
            "{\"bits\": 4, \"group_size\": 128}",
            "GPTQ, 4 bits",
        ),
        (
            "quant_config.json",
            "{\"w_bit\": 4, \"version\": \"GEMM\"}",
            "AWQ, 4 bits",
        ),
        ("quantize_config.json", "broken", "GPTQ"),
    ] {
        let dir = llama();
        let weights = dir.path().join("model.safetensors");
        std::fs::rename(weights, dir.path().join("gptq_model-4bit-128g.safetensors")).unwrap();
        write(&dir, file, settings);
        let error = open(&dir).unwrap_err();
        assert!(
            matches!(&error, Error::Quantised { method, .. } if method == expected),
            "{error}"
        );
    }
}

#[test]
fn plain_weights_with_a_word_about_quantisation_are_read() {
    let dir = llama();
    edit(
        &dir,
        "config.json",
        "quantization_config",
        json!({"load_in_4bit": true}),
    );
    let found = open(&dir).unwrap();
    assert!(
        remarks(&found).contains("bitsandbytes, 4 bits"),
        "{}",
        remarks(&found)
    );
}

#[test]
fn numbers_that_only_python_knows_are_read_as_missing() {
    let dir = llama();
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    let config = config.replacen('{', "{\"time_limit\": [0, Infinity], \"other\": NaN,", 1);
    write(&dir, "config.json", &config);
    let found = open(&dir).unwrap();
    assert_eq!(found.config()["other"], Value::Null);
    assert_eq!(found.config()["hidden_size"], 192);
    assert!(
        remarks(&found).contains("time_limit, other"),
        "{}",
        remarks(&found)
    );
    write(&dir, "config.json", config.replace("NaN", "nan"));
    assert!(matches!(open(&dir), Err(Error::Json { .. })));
}

#[test]
fn json_of_the_directory_and_of_a_folder_in_it() {
    let dir = llama();
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    write(
        &dir,
        "1_Pooling/config.json",
        "{\"pooling_mode_cls_token\": true}",
    );
    write(&dir, "modules.json", "[]");
    let found = open(&dir).unwrap();
    assert_eq!(found.json("modules.json").unwrap(), Some(json!([])));
    let pooling = found.json("1_Pooling/config.json").unwrap().unwrap();
    assert_eq!(pooling["pooling_mode_cls_token"], true);
    for name in [
        "absent.json",
        "1_Pooling/absent.json",
        "2_Dense/config.json",
        "../config.json",
    ] {
        assert_eq!(found.json(name).unwrap(), None, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn links_out_of_the_directory_are_refused_unless_allowed() {
    use std::os::unix::fs::symlink;
    let (dir, elsewhere) = (llama(), llama());
    let name = "tokenizer.json";
    std::fs::remove_file(dir.path().join(name)).unwrap();
    symlink(elsewhere.path().join(name), dir.path().join(name)).unwrap();
    assert!(matches!(open(&dir), Err(Error::OutsideDirectory { .. })));
    let options = LoadOptions::default().with_allow_links(true);
    assert!(ModelDir::open(dir.path(), &options).is_ok());

    let (dir, elsewhere) = (llama(), tempfile::tempdir().unwrap());
    write(&elsewhere, "config.json", "{}");
    symlink(elsewhere.path(), dir.path().join("1_Pooling")).unwrap();
    let found = open(&dir).unwrap();
    assert!(matches!(
        found.json("1_Pooling/config.json"),
        Err(Error::OutsideDirectory { .. })
    ));
}
