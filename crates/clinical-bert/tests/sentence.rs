//! What lies in a directory beside the model and changes its vectors: the files of sentence-transformers, keys of a
//! GGUF file, and configs of models that are no encoders.

use std::fs;
use std::path::{Path, PathBuf};

use clinical_bert::{
    BertConfig, ClinicalBert, EmbedOptions, Error, LoadOptions, LowerCase, Pooling, SaveOptions,
};
use serde_json::{Value, json};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn copy_model(to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in ["config.json", "model.safetensors", "vocab.txt"] {
        fs::copy(data("bert_old").join(file), to.join(file)).unwrap();
    }
}

fn write(dir: &Path, name: &str, value: &Value) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, value.to_string()).unwrap();
}

fn module(path: &str, kind: &str) -> Value {
    let kind = format!("sentence_transformers.models.{kind}");
    json!({"idx": 0, "name": "0", "path": path, "type": kind})
}

/// A model with the steps of sentence-transformers, the second of which is in `1_Pooling`.
fn sentence(modules: &[Value], pooling: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy_model(dir.path());
    write(dir.path(), "modules.json", &json!(modules));
    write(dir.path(), "1_Pooling/config.json", pooling);
    dir
}

/// `1_Pooling/config.json` as it is published: every mode, most of them off.
fn modes(on: &[&str]) -> Value {
    let mut config = json!({"word_embedding_dimension": 16, "include_prompt": true});
    for mode in [
        "cls_token",
        "mean_tokens",
        "max_tokens",
        "mean_sqrt_len_tokens",
        "weightedmean_tokens",
        "lasttoken",
    ] {
        config[format!("pooling_mode_{mode}")] = on.contains(&mode).into();
    }
    config
}

fn usual(on: &[&str], more: &[&str]) -> tempfile::TempDir {
    let mut modules = vec![module("", "Transformer"), module("1_Pooling", "Pooling")];
    modules.extend(more.iter().map(|kind| module(&format!("2_{kind}"), kind)));
    sentence(&modules, &modes(on))
}

fn load(dir: &Path) -> ClinicalBert {
    ClinicalBert::load(dir, &LoadOptions::default()).unwrap()
}

#[track_caller]
fn vector(bert: &ClinicalBert, text: &str, pooling: impl Into<Option<Pooling>>) -> Vec<f32> {
    bert.embed(&[text], pooling).remove(0).unwrap()
}

const TEXT: &str = "The fever, pain - the ct. no pain in the arm";

#[test]
fn the_pooling_of_the_directory_is_the_default() {
    let plain = load(&data("bert_old"));
    assert_eq!(
        vector(&plain, TEXT, None),
        vector(&plain, TEXT, Pooling::Mean)
    );
    for (mode, pooling) in [
        ("cls_token", Pooling::Cls),
        ("mean_tokens", Pooling::Mean),
        ("max_tokens", Pooling::Max),
        ("mean_sqrt_len_tokens", Pooling::MeanSqrt),
    ] {
        let dir = usual(&[mode], &["Dropout"]);
        let bert = load(dir.path());
        assert_eq!(vector(&bert, TEXT, None), vector(&plain, TEXT, pooling));
        // A caller's pooling wins.
        let other = vector(&bert, TEXT, Pooling::Max);
        assert_eq!(other, vector(&plain, TEXT, Pooling::Max));
        let told = bert.remarks().iter().map(ToString::to_string);
        let told: Vec<String> = told.collect();
        let name = format!("by {pooling} pooling");
        assert!(told.iter().any(|remark| remark.contains(&name)), "{told:?}");
        let preview = ClinicalBert::preview(dir.path(), &LoadOptions::default()).unwrap();
        assert!(preview.to_string().contains(&name));
    }
    // Newer files name the mode.
    let dir = sentence(
        &[module("", "Transformer"), module("1_Pooling", "Pooling")],
        &json!({"embedding_dimension": 16, "pooling_mode": "cls"}),
    );
    let found = vector(&load(dir.path()), TEXT, None);
    assert_eq!(found, vector(&plain, TEXT, Pooling::Cls));
}

#[test]
fn vectors_are_normalised_where_the_directory_says_so() {
    let dir = usual(&["cls_token"], &["Normalize"]);
    let bert = load(dir.path());
    let length = |vector: &[f32]| vector.iter().map(|value| value * value).sum::<f32>();
    assert!((length(&vector(&bert, TEXT, None)) - 1.0).abs() < 1e-5);
    // With a pooling of the caller's nothing is done that was not asked for.
    let plain = load(&data("bert_old"));
    let found = vector(&bert, TEXT, Pooling::Cls);
    assert_eq!(found, vector(&plain, TEXT, Pooling::Cls));
    let raw = EmbedOptions::new().with_normalize(false);
    let raw = bert.embed_with(&[TEXT], &raw).remove(0).unwrap();
    assert_eq!(raw, found);
}

#[test]
fn settings_of_the_transformer_are_used() {
    let dir = usual(&["mean_tokens"], &[]);
    let settings = json!({"max_seq_length": 8, "do_lower_case": true});
    write(dir.path(), "sentence_bert_config.json", &settings);
    let bert = load(dir.path());
    assert_eq!(bert.max_tokens(), 8);
    let plain = load(&data("bert_old"));
    assert_eq!(plain.max_tokens(), 40);
    let upper = vector(&bert, "The fever", None);
    assert_eq!(upper, vector(&plain, "the fever", None));
    assert_ne!(upper, vector(&plain, "The fever", None));
    // Windows of 8 tokens, unless the caller allows what the model reads.
    let lower = TEXT.to_lowercase();
    let all = EmbedOptions::new().with_max_tokens(1000);
    let all = bert.embed_with(&[&lower], &all).remove(0).unwrap();
    assert_eq!(all, vector(&plain, &lower, None));
    assert_ne!(all, vector(&bert, &lower, None));
}

#[test]
fn steps_that_are_not_computed_are_told_and_never_left_out_silently() {
    for dir in [
        usual(&["mean_tokens"], &["Dense"]),
        usual(&["lasttoken"], &[]),
        usual(&["cls_token", "mean_tokens"], &[]),
        usual(&[], &[]),
    ] {
        let bert = load(dir.path());
        let found = bert.embed(&[TEXT], None).remove(0);
        assert!(matches!(found, Err(Error::VectorModule { .. })));
        let told = bert.remarks().iter().map(ToString::to_string);
        assert!(
            told.into_iter()
                .any(|remark| remark.contains("not computed"))
        );
        assert!(bert.embed(&[TEXT], Pooling::Mean).remove(0).is_ok());
    }
    let dir = usual(&["mean_tokens"], &[]);
    let prompts = json!({"prompts": {"query": "query: "}, "default_prompt_name": "query"});
    write(dir.path(), "config_sentence_transformers.json", &prompts);
    let bert = load(dir.path());
    let mut told = bert.remarks().iter().map(ToString::to_string);
    assert!(told.any(|remark| remark.contains("`query: `")));
}

#[test]
fn folders_outside_of_the_directory_are_refused() {
    for path in ["../1_Pooling", "/etc", "a/b", ""] {
        let dir = sentence(
            &[module("", "Transformer"), module(path, "Pooling")],
            &modes(&["cls_token"]),
        );
        let error = ClinicalBert::load(dir.path(), &LoadOptions::default()).unwrap_err();
        let Error::Weights(error) = error else {
            panic!("{error}");
        };
        assert!(
            matches!(error, clinical_weights::Error::NoFolder { .. }),
            "{error}"
        );
    }
}

/// Directories of 2019 and 2020 have the model in a folder of its own.
#[test]
fn the_transformer_may_be_in_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    copy_model(&dir.path().join("0_BERT"));
    let modules = json!([module("0_BERT", "BERT"), module("1_Pooling", "Pooling")]);
    write(dir.path(), "modules.json", &modules);
    write(dir.path(), "1_Pooling/config.json", &modes(&["cls_token"]));
    let plain = load(&data("bert_old"));
    let found = vector(&load(dir.path()), TEXT, None);
    assert_eq!(found, vector(&plain, TEXT, Pooling::Cls));
}

#[test]
fn saving_keeps_what_the_directory_says_about_vectors() {
    let dir = usual(&["max_tokens"], &["Normalize"]);
    let settings = json!({"max_seq_length": 12, "do_lower_case": false});
    write(dir.path(), "sentence_bert_config.json", &settings);
    let bert = load(dir.path());
    let saved = dir.path().join("saved");
    // Twice: over nothing, and over itself.
    for _ in 0..2 {
        bert.save(&saved, &SaveOptions::new()).unwrap();
        let again = load(&saved);
        assert_eq!(again.config().sentence, bert.config().sentence);
        assert_eq!(vector(&again, TEXT, None), vector(&bert, TEXT, None));
    }
    // Through parts, too.
    let expected = vector(&bert, TEXT, None);
    let again = ClinicalBert::from_parts(bert.into_parts()).unwrap();
    assert_eq!(vector(&again, TEXT, None), expected);
    // A model that says nothing leaves nothing behind in the folder.
    load(&data("bert_old"))
        .save(&saved, &SaveOptions::new())
        .unwrap();
    assert_eq!(load(&saved).config().sentence, None);
}

/// The file with `bert.pooling_type`, and a key of the right length to keep the tensors aligned.
fn gguf(pooling_type: u32) -> Vec<u8> {
    let file = fs::read(data("gguf/bert.gguf")).unwrap();
    let (header, rest) = file.split_at(24);
    let keys = u64::from_le_bytes(header[16..].try_into().unwrap());
    let mut out = header[..16].to_vec();
    out.extend((keys + 2).to_le_bytes());
    for (key, kind, value) in [
        (
            "bert.pooling_type",
            4u32,
            pooling_type.to_le_bytes().to_vec(),
        ),
        ("general.url", 8, 0u64.to_le_bytes().to_vec()),
    ] {
        out.extend((key.len() as u64).to_le_bytes());
        out.extend(key.as_bytes());
        out.extend(kind.to_le_bytes());
        out.extend(value);
    }
    out.extend(rest);
    out
}

#[test]
fn the_pooling_of_a_gguf_file_is_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let plain = load(&data("gguf/bert.gguf"));
    for (kind, pooling) in [(0, Pooling::Mean), (1, Pooling::Mean), (2, Pooling::Cls)] {
        fs::write(&path, gguf(kind)).unwrap();
        let found = vector(&load(&path), TEXT, None);
        assert_eq!(found, vector(&plain, TEXT, pooling), "{kind}");
    }
    for kind in [3, 4] {
        fs::write(&path, gguf(kind)).unwrap();
        let found = load(&path).embed(&[TEXT], None).remove(0);
        assert!(matches!(found, Err(Error::VectorModule { .. })), "{kind}");
    }
}

fn changed(key: &str, value: Value) -> Result<ClinicalBert, Error> {
    let dir = tempfile::tempdir().unwrap();
    copy_model(dir.path());
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config[key] = value;
    write(dir.path(), "config.json", &config);
    ClinicalBert::load(dir.path(), &LoadOptions::default())
}

#[test]
fn decoders_and_pruned_models_are_refused() {
    for key in ["is_decoder", "is_encoder_decoder", "add_cross_attention"] {
        for on in [json!(true), json!(1), json!("true")] {
            let found = changed(key, on);
            assert!(matches!(found, Err(Error::Decoder { key: found }) if found == key));
        }
        for off in [json!(false), json!(null)] {
            assert!(changed(key, off).is_ok());
        }
    }
    for found in ["relative_key", "relative_key_query"] {
        let error = changed("position_embedding_type", json!(found)).unwrap_err();
        assert!(matches!(error, Error::Positions { .. }));
    }
    let pruned = changed("pruned_heads", json!({"0": [1]}));
    assert!(matches!(pruned, Err(Error::PrunedHeads)));
    assert!(changed("pruned_heads", json!({})).is_ok());
}

#[test]
fn every_key_of_a_config_is_kept() {
    let written = json!({
        "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "hidden_dropout_prob": 0.25, "classifier_dropout": null,
        "task_specific_params": {"ner": {"lower": false}}, "architectures": null,
        "id2label": {"10": "k", "0": "a", "1": 1, "2": "c", "3": "d", "4": "e", "5": "f",
                     "6": "g", "7": "h", "8": "i", "9": "j"},
    });
    let config = BertConfig::from_value(written.clone()).unwrap();
    assert_eq!(config.labels[..3], ["a", "1", "c"]);
    assert_eq!(config.labels[10], "k");
    let value = config.to_value();
    for key in [
        "hidden_dropout_prob",
        "classifier_dropout",
        "task_specific_params",
    ] {
        assert_eq!(value[key], written[key], "{key}");
    }
    assert_eq!(value["label2id"]["k"], 10);
    assert_eq!(value["model_type"], "bert");
    assert_eq!(BertConfig::from_value(value).unwrap().labels, config.labels);
    // Other names take the old ones out in both directions.
    let named = config.with_labels(["no", "yes"]).to_value();
    assert_eq!(named["label2id"], json!({"no": 0, "yes": 1}));
    assert_eq!(named["id2label"], json!({"0": "no", "1": "yes"}));
}

#[test]
fn class_names_must_be_counted_from_0() {
    for names in [
        json!({"1": "a", "2": "b"}),
        json!({"x": "a"}),
        json!({"0": "a", "00": "b"}),
    ] {
        let found = changed("id2label", names);
        assert!(matches!(found, Err(Error::ConfigJson(_))));
    }
}

#[test]
fn the_family_is_known_by_the_class_where_no_type_is_named() {
    let config = json!({
        "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "pad_token_id": 1, "architectures": ["RobertaForMaskedLM"],
    });
    let config = BertConfig::from_value(config).unwrap();
    assert_eq!(config.position_offset(), 2);
    let device = LoadOptions::default().device;
    assert_eq!(config.init(&device).unwrap().head(), config.head());
}

/// The tokenizer's own lower-casing is not touched by what the caller chooses for a directory without such files.
#[test]
fn a_caller_may_lower_case_a_plain_directory() {
    let options = clinical_bert::BertOptions::new().with_lower_case(LowerCase::Always);
    let lower =
        ClinicalBert::load_with(data("bert_old"), &LoadOptions::default(), &options).unwrap();
    let plain = load(&data("bert_old"));
    let found = vector(&lower, "The fever", None);
    assert_eq!(found, vector(&plain, "the fever", None));
}
