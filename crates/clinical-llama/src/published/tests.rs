//! Rules and spellings of `config.json`.

use clinical_nn::RopeScaling;

use crate::{Error, LlamaConfig};

/// Fields that `transformers` has no default for.
const SIZES: &str = r#""vocab_size": 320, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 8"#;

fn read(model_type: &str, more: &str) -> Result<LlamaConfig, Error> {
    LlamaConfig::from_json(format!(
        r#"{{"model_type": "{model_type}", {SIZES}{more}}}"#
    ))
}

#[test]
fn absent_fields_have_the_defaults_of_transformers() {
    let llama = read("llama", "").unwrap();
    assert_eq!((llama.num_key_value_heads, llama.head_dim), (8, 8));
    assert_eq!(
        (llama.max_position_embeddings, llama.rope_theta),
        (2048, 1e4)
    );
    assert_eq!((llama.rms_norm_eps, llama.initializer_range), (1e-6, 0.02));
    assert_eq!((llama.rope_scaling, llama.sliding_window), (None, None));
    assert!(!llama.tie_word_embeddings && !llama.attention_bias && !llama.mlp_bias);
    let mistral = read("mistral", "").unwrap();
    assert_eq!(
        (mistral.num_key_value_heads, mistral.sliding_window),
        (8, Some(4096))
    );
    assert_eq!(mistral.max_positions(), 131_072);
    let whole = read(
        "mistral",
        r#", "sliding_window": null, "attention_bias": true"#,
    )
    .unwrap();
    assert_eq!((whole.sliding_window, whole.attention_bias), (None, false));
}

/// The fields of Asclepius-7B that are odd: two names for the length, ids that are wrong.
#[test]
fn asclepius_7b() {
    let config = read(
        "llama",
        r#", "architectures": ["LlamaForCausalLM"], "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": -1,
        "max_position_embeddings": 2048, "max_sequence_length": 2048, "rms_norm_eps": 1e-06, "torch_dtype": "float32",
        "hidden_act": "silu", "tie_word_embeddings": false, "transformers_version": "4.28.1", "use_cache": true"#,
    )
    .unwrap();
    assert_eq!(
        (config.bos_token_id, config.pad_token_id),
        (Some(0), Some(-1))
    );
    assert_eq!(config.eos_token_id, [1]);
    let only_old = read("llama", r#", "max_sequence_length": 300"#).unwrap();
    assert_eq!(only_old.max_positions(), 300);
    let list = read("llama", r#", "eos_token_id": [128001, 128009]"#).unwrap();
    assert_eq!(list.eos_token_id, [128_001, 128_009]);
}

#[test]
fn scaling_in_every_spelling() {
    let scaling = |json: &str| read("llama", json).map(|config| config.rope_scaling);
    let linear = Some(RopeScaling::Linear { factor: 2.0 });
    for json in [
        r#", "rope_scaling": {"type": "linear", "factor": 2.0}"#,
        r#", "rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 2}"#,
        r#", "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 9.0}"#,
    ] {
        assert_eq!(scaling(json).unwrap(), linear, "{json}");
    }
    assert_eq!(scaling(r#", "rope_scaling": null"#).unwrap(), None);
    assert_eq!(
        scaling(r#", "rope_scaling": {"rope_type": "default"}"#).unwrap(),
        None
    );
    let nested = r#", "rope_theta": 1.0, "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}"#;
    assert_eq!(read("llama", nested).unwrap().rope_theta, 5e5);
    let dynamic =
        r#", "max_position_embeddings": 100, "rope_scaling": {"type": "dynamic", "factor": 4}"#;
    assert_eq!(read("llama", dynamic).unwrap().max_positions(), 400);
    assert!(matches!(
        scaling(r#", "rope_scaling": {"rope_type": "yarn", "factor": 2.0}"#),
        Err(Error::RopeType { found }) if found == "yarn"
    ));
    assert!(matches!(
        scaling(r#", "rope_scaling": {"type": "linear"}"#),
        Err(Error::RopeField {
            kind: "linear",
            field: "factor"
        })
    ));
    assert!(matches!(
        scaling(
            r#", "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}"#
        ),
        Err(Error::RopeField { kind: "llama3", .. })
    ));
    assert!(matches!(
        scaling(r#", "rope_scaling": {"type": "linear", "factor": -2.0}"#),
        Err(Error::Rope(_))
    ));
}

#[test]
fn what_is_not_supported_or_makes_no_sense_is_refused() {
    let refusal = |json: &str| read("llama", json).unwrap_err();
    let sizes = |json: &str| {
        let fields = SIZES.replace(json.split(':').next().unwrap_or_default(), r#""was""#);
        LlamaConfig::from_json(format!(r#"{{"model_type": "llama", {fields}, {json}}}"#))
            .unwrap_err()
    };
    assert!(matches!(read("gpt2", "").unwrap_err(), Error::ModelType { found } if found == "gpt2"));
    assert!(matches!(
        LlamaConfig::from_json(format!("{{{SIZES}}}")),
        Err(Error::ModelType { .. })
    ));
    assert!(matches!(LlamaConfig::from_json("{}"), Err(Error::Json(_))));
    assert!(matches!(
        LlamaConfig::from_json("<html>"),
        Err(Error::Json(_))
    ));
    assert!(matches!(
        refusal(r#", "hidden_act": "gelu""#),
        Error::Activation { .. }
    ));
    assert!(matches!(
        refusal(r#", "partial_rotary_factor": 0.5"#),
        Error::PartialRotary { .. }
    ));
    assert!(matches!(
        sizes(r#""num_hidden_layers": 1099511627776"#),
        Error::TooBig {
            field: "num_hidden_layers",
            ..
        }
    ));
    assert!(matches!(
        sizes(r#""vocab_size": 2000001"#),
        Error::TooBig {
            field: "vocab_size",
            ..
        }
    ));
    assert!(matches!(
        sizes(r#""num_attention_heads": 0"#),
        Error::Zero {
            field: "num_attention_heads"
        }
    ));
    assert!(matches!(
        sizes(r#""num_attention_heads": -1"#),
        Error::Json(_)
    ));
    assert!(matches!(
        sizes(r#""num_attention_heads": 7"#),
        Error::HeadSize {
            hidden: 64,
            heads: 7
        }
    ));
    assert!(matches!(
        refusal(r#", "num_key_value_heads": 3"#),
        Error::KeyValueHeads {
            heads: 8,
            key_value_heads: 3
        }
    ));
    assert!(matches!(refusal(r#", "head_dim": 7"#), Error::Rope(_)));
    assert!(matches!(
        refusal(r#", "head_dim": 131072"#),
        Error::TooBig {
            field: "num_attention_heads * head_dim",
            ..
        }
    ));
    assert!(matches!(
        refusal(r#", "rms_norm_eps": 0.0"#),
        Error::NotPositive {
            field: "rms_norm_eps",
            ..
        }
    ));
    assert!(matches!(
        refusal(r#", "max_position_embeddings": 99999999"#),
        Error::TooBig { .. }
    ));
    assert!(matches!(
        read("mistral", r#", "sliding_window": 0"#),
        Err(Error::Zero {
            field: "sliding_window"
        })
    ));
    assert!(
        refusal(r#", "rope_theta": 0"#)
            .to_string()
            .contains("rope_theta")
    );
}

#[test]
fn a_config_changed_by_hand_is_checked_before_a_model_is_made() {
    let mut config = LlamaConfig::llama_1b();
    config.num_key_value_heads = 5;
    let device = clinical_kernels::cpu();
    assert!(matches!(
        config.init(&device),
        Err(Error::KeyValueHeads { .. })
    ));
    config.num_key_value_heads = 0;
    assert!(matches!(config.init(&device), Err(Error::Zero { .. })));
}

#[test]
fn the_published_form_reads_back() {
    for json in [
        r#", "eos_token_id": [1, 2], "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#,
        r#", "rope_scaling": {"type": "dynamic", "factor": 3.0}, "tie_word_embeddings": true, "bos_token_id": 1"#,
        r#", "rope_scaling": {"type": "linear", "factor": 3.0}, "attention_bias": true, "mlp_bias": true"#,
    ] {
        for model_type in ["llama", "mistral"] {
            let config = read(model_type, json).unwrap();
            assert_eq!(LlamaConfig::from_value(config.to_value()).unwrap(), config);
        }
    }
}

#[test]
fn a_class_names_the_type_where_nothing_else_does() {
    let json = |class: &str| format!(r#"{{"architectures": ["{class}"], {SIZES}}}"#);
    let old = LlamaConfig::from_json(json("LLaMAForCausalLM")).unwrap();
    assert_eq!(old.model_type, "llama");
    let mistral = LlamaConfig::from_json(json("MistralForCausalLM")).unwrap();
    assert_eq!(mistral.sliding_window, Some(4096));
    let other = LlamaConfig::from_json(json("T5ForConditionalGeneration"));
    assert!(matches!(other, Err(Error::ModelType { found }) if found == "t5"));
}

#[test]
fn keys_that_are_not_known_are_kept() {
    let config = read(
        "llama",
        r#", "pretraining_tp": 2, "id2label": {"0": "A"}, "torch_dtype": "float16", "dtype": "float16""#,
    )
    .unwrap();
    let value = config.to_value();
    assert_eq!(value["pretraining_tp"], 2);
    assert_eq!(value["id2label"]["0"], "A");
    assert_eq!(value["architectures"][0], "LlamaForCausalLM");
    // The type of the weights is the files', and a save writes it.
    assert_eq!((value.get("torch_dtype"), value.get("dtype")), (None, None));
    assert_eq!(LlamaConfig::from_value(value).unwrap(), config);
}

#[test]
fn a_file_that_is_missing_or_too_large_is_named() {
    let missing = LlamaConfig::from_file("/there/is/no/config.json").unwrap_err();
    assert!(missing.to_string().contains("/there/is/no"), "{missing}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, vec![b' '; 2 << 20]).unwrap();
    let refused = LlamaConfig::from_file(&path).unwrap_err();
    assert!(matches!(
        refused,
        Error::Weights(clinical_weights::Error::FileTooLarge { .. })
    ));
}
