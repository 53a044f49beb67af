//! `config.json`: every number is checked before memory is taken for it.

use clinical_weights::LoadOptions;
use serde_json::{Value, json};

use super::{FACADES, Facade};

fn edited(facade: Facade, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let dir = facade.copy();
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(&path, config.to_string()).unwrap();
    dir
}

/// The names of the same field in the three configurations: width, inner width, layers, heads, vocabulary.
fn names(facade: Facade) -> [&'static str; 5] {
    match facade {
        Facade::T5 => ["d_model", "d_ff", "num_layers", "num_heads", "vocab_size"],
        _ => [
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "vocab_size",
        ],
    }
}

#[test]
fn sizes_that_no_model_has() {
    for facade in FACADES {
        for field in names(facade) {
            for (value, expected) in [
                (json!(0), "Zero|OutOfRange"),
                (json!(1u64 << 40), "TooBig|AboveLimit|OutOfRange"),
                (json!(u64::MAX), "TooBig|AboveLimit|OutOfRange"),
                (json!(-1), "Json|Config|ConfigJson"),
                (json!(1.5), "Json|Config|ConfigJson"),
                (json!(1e300), "Json|Config|ConfigJson"),
                (json!("many"), "Json|Config|ConfigJson"),
                (json!([1]), "Json|Config|ConfigJson"),
                (json!({}), "Json|Config|ConfigJson"),
                (Value::Null, "Json|Config|ConfigJson"),
            ] {
                let dir = edited(facade, |config| config[field] = value.clone());
                facade.refuses(dir.path(), expected, &format!("{field} {value}"));
            }
        }
    }
}

#[test]
fn shapes_that_contradict_themselves() {
    for (facade, field, value, expected) in [
        (
            Facade::Asclepius,
            "num_attention_heads",
            json!(7),
            "KeyValueHeads|HeadSize",
        ),
        (Facade::Asclepius, "num_key_value_heads", json!(0), "Zero"),
        (
            Facade::Asclepius,
            "num_key_value_heads",
            json!(4),
            "KeyValueHeads",
        ),
        (Facade::Asclepius, "head_dim", json!(31), "Rope"),
        (Facade::Asclepius, "head_dim", json!(1u64 << 40), "TooBig"),
        (Facade::Asclepius, "rms_norm_eps", json!(0.0), "NotPositive"),
        (
            Facade::Asclepius,
            "rms_norm_eps",
            json!(-1e-6),
            "NotPositive",
        ),
        (Facade::Asclepius, "rope_theta", json!(-1.0), "Rope"),
        (
            Facade::Asclepius,
            "max_position_embeddings",
            json!(1u64 << 60),
            "TooBig",
        ),
        (
            Facade::Asclepius,
            "rope_scaling",
            json!({"type": "linear", "factor": 0.0}),
            "Rope",
        ),
        (
            Facade::Asclepius,
            "rope_scaling",
            json!({"type": "linear", "factor": -1e308}),
            "Rope",
        ),
        (Facade::Asclepius, "model_type", json!("t5"), "ModelType"),
        (Facade::T5, "d_kv", json!(1u64 << 62), "AboveLimit"),
        (Facade::T5, "d_kv", json!(0), "Zero"),
        (
            Facade::T5,
            "relative_attention_num_buckets",
            json!(1u64 << 40),
            "AboveLimit",
        ),
        (
            Facade::T5,
            "relative_attention_num_buckets",
            json!(1),
            "Buckets",
        ),
        (
            Facade::T5,
            "relative_attention_max_distance",
            json!(0),
            "MaxDistance",
        ),
        (Facade::T5, "layer_norm_epsilon", json!(0.0), "Epsilon"),
        (Facade::T5, "dropout_rate", json!(2.0), "Dropout"),
        (Facade::T5, "pad_token_id", json!(-1), "Config"),
        (Facade::T5, "eos_token_id", json!([]), "NoEndToken"),
        (
            Facade::T5,
            "decoder_start_token_id",
            json!(4_000_000_000u32),
            "IdOutsideVocabulary",
        ),
        (
            Facade::T5,
            "feed_forward_proj",
            json!("\u{1b}[2J"),
            "Config|FeedForward",
        ),
        (
            Facade::T5,
            "num_decoder_layers",
            json!(1u64 << 40),
            "AboveLimit",
        ),
        (Facade::T5, "model_type", json!("bert"), "ModelType"),
        (
            Facade::Bert,
            "num_attention_heads",
            json!(3),
            "AttentionHeads",
        ),
        (Facade::Bert, "layer_norm_eps", json!(0.0), "Epsilon"),
        (Facade::Bert, "hidden_dropout_prob", json!(1.0), "Dropout"),
        (Facade::Bert, "classifier_dropout", json!(-0.5), "Dropout"),
        (
            Facade::Bert,
            "attention_probs_dropout_prob",
            json!("0.1"),
            "ConfigJson",
        ),
        (
            Facade::Bert,
            "max_position_embeddings",
            json!(1u64 << 40),
            "OutOfRange",
        ),
        (
            Facade::Bert,
            "type_vocab_size",
            json!(1u64 << 40),
            "OutOfRange",
        ),
        (Facade::Bert, "pad_token_id", json!(-1), "ConfigJson"),
        (Facade::Bert, "hidden_act", json!("quick"), "Activation"),
        (Facade::Bert, "model_type", json!("llama"), "ModelType"),
    ] {
        let dir = edited(facade, |config| config[field] = value.clone());
        facade.refuses(dir.path(), expected, &format!("{field} {value}"));
    }
}

/// Names from the file are quoted in messages, but cannot steer a terminal.
#[test]
fn names_that_steer_a_terminal() {
    let name = json!("\u{1b}[2J\nall is well");
    for facade in FACADES {
        let dir = edited(facade, |config| config["model_type"] = name.clone());
        facade.refuses(dir.path(), "ModelType", "a name with control characters");
        let field = match facade {
            Facade::Asclepius | Facade::Bert => "hidden_act",
            Facade::T5 => "feed_forward_proj",
        };
        let dir = edited(facade, |config| config[field] = name.clone());
        facade.refuses(dir.path(), "Activation|FeedForward|Config", field);
        let dir = edited(facade, |config| config[name.as_str().unwrap()] = 1.into());
        facade.load(dir.path(), &LoadOptions::new()).0.unwrap();
    }
}

/// The largest shape that passes every single limit has about 10^14 parameters.
#[test]
fn a_giant_model_over_a_tiny_file_is_refused_before_it_is_built() {
    for facade in FACADES {
        let dir = edited(facade, |config| {
            let [width, inner, layers, heads, vocabulary] = names(facade);
            config[width] = (1 << 17).into();
            config[inner] = (1 << 17).into();
            config[layers] = 1024.into();
            config[heads] = 128.into();
            config[vocabulary] = 2_000_000.into();
            match facade {
                Facade::Asclepius => {
                    config["num_key_value_heads"] = 128.into();
                    config["head_dim"] = 1024.into();
                }
                Facade::T5 => {
                    config["d_kv"] = 1024.into();
                    config["num_decoder_layers"] = 1024.into();
                }
                Facade::Bert => {}
            }
        });
        facade.refuses(dir.path(), "LargerThanFiles", "a giant");
        for lenient in [true, false] {
            let options = LoadOptions::new().with_strict(!lenient);
            let (result, cost) = facade.load(dir.path(), &options);
            assert!(result.unwrap_err().0.ends_with("LargerThanFiles"));
            // Nothing at all was built: not even the shapes of 1024 layers.
            assert!(cost.bytes < 1 << 20, "{facade:?}: {} bytes", cost.bytes);
        }
    }
}

#[test]
fn the_callers_cap_comes_before_the_model() {
    for facade in FACADES {
        let dir = facade.copy();
        let load = |bytes| {
            facade
                .load(dir.path(), &LoadOptions::new().with_max_bytes(bytes))
                .0
        };
        let (variant, message) = load(1000).unwrap_err();
        assert!(variant.ends_with("TooLarge"), "{variant}: {message}");
        load(1 << 30).unwrap();
    }
}

#[test]
fn files_that_are_no_configuration() {
    let deep = "[".repeat(100_000);
    for facade in FACADES {
        for (what, content, expected) in [
            ("nothing", b"".as_slice(), "EmptyFile"),
            (
                "a pointer",
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
                "LfsPointer",
            ),
            ("a web page", b"<!DOCTYPE html><html></html>", "WebPage"),
            ("no object", b"[1, 2]", "Json|Config|ConfigJson|ModelType"),
            ("a number", b"17", "Json|Config|ConfigJson|ModelType"),
            ("an empty object", b"{}", "Json|Config|ConfigJson|ModelType"),
            ("half of one", b"{\"model_type\": \"ll", "Json"),
            ("not UTF-8", b"{\"model_type\": \"\xff\"}", "Json"),
            // A number that only Python writes is read as missing, like all that this file does not say.
            (
                "NaN",
                b"{\"layer_norm_eps\": NaN}",
                "Json|Config|ConfigJson|ModelType",
            ),
            ("deep nesting", deep.as_bytes(), "Json"),
        ] {
            let dir = facade.copy();
            std::fs::write(dir.path().join("config.json"), content).unwrap();
            facade.refuses(dir.path(), expected, what);
        }
        let dir = facade.copy();
        std::fs::write(dir.path().join("config.json"), " ".repeat(2 << 20)).unwrap();
        facade.refuses(dir.path(), "FileTooLarge", "two megabytes of blanks");
        let dir = facade.copy();
        std::fs::remove_file(dir.path().join("config.json")).unwrap();
        facade.refuses(dir.path(), "FileMissing", "no config.json");
    }
}

/// Cut anywhere, the JSON is no JSON; a whole one stays whole.
#[test]
fn truncated_at_64_places() {
    for facade in FACADES {
        let dir = facade.copy();
        let path = dir.path().join("config.json");
        let whole = std::fs::read(&path).unwrap();
        let end = whole.trim_ascii_end().len();
        for place in 0..64 {
            std::fs::write(&path, &whole[..end * place / 64]).unwrap();
            facade.refuses(dir.path(), "EmptyFile|Json", &format!("{place}/64"));
        }
    }
}
