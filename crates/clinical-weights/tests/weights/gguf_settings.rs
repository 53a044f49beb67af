//! Keys of GGUF files that change the numbers of a model are read or refused.

use clinical_weights::Error;
use serde_json::{Value, json};

use crate::gguf_file::{Builder, config, metadata, whole_bert, whole_llama};

fn setting(file: &Builder) -> String {
    match config(file) {
        Err(Error::GgufSetting { key, .. }) => key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_settings_nothing_is_scaled() {
    let found = config(&whole_llama()).unwrap();
    assert_eq!(found["model_type"], "llama");
    assert_eq!(
        (&found["rope_scaling"], &found["rope_theta"]),
        (&Value::Null, &json!(10_000.0))
    );
    assert_eq!(
        (&found["head_dim"], &found["num_key_value_heads"]),
        (&json!(4), &json!(2))
    );
    assert!(found.get("sliding_window").is_none());
    assert!(config(&whole_bert()).is_ok());
}

#[test]
fn linear_scaling_by_its_old_and_its_new_name() {
    let linear = json!({"rope_type": "linear", "factor": 2.0});
    let kind = "llama.rope.scaling.type";
    let factor = "llama.rope.scaling.factor";
    for file in [
        whole_llama().float("llama.rope.scale_linear", 2.0),
        whole_llama().text(kind, "linear").float(factor, 2.0),
        whole_llama().float(factor, 2.0),
        // The new name counts.
        whole_llama()
            .float(factor, 2.0)
            .float("llama.rope.scale_linear", 4.0),
    ] {
        assert_eq!(config(&file).unwrap()["rope_scaling"], linear);
    }
    for file in [
        whole_llama().text(kind, "none").float(factor, 2.0),
        whole_llama().text(kind, "linear"),
        whole_llama().float(factor, 0.0),
        whole_llama().float(factor, 1.0),
    ] {
        assert_eq!(config(&file).unwrap()["rope_scaling"], Value::Null);
    }
}

#[test]
fn other_scalings_are_refused() {
    for kind in ["yarn", "longrope", "x"] {
        let file = whole_llama().text("llama.rope.scaling.type", kind);
        assert_eq!(setting(&file), "llama.rope.scaling.type");
    }
    for key in [
        "attn_factor",
        "yarn_ext_factor",
        "yarn_attn_factor",
        "yarn_log_multiplier",
    ] {
        let key = format!("llama.rope.scaling.{key}");
        assert_eq!(setting(&whole_llama().float(&key, 1.5)), key);
    }
    assert!(config(&whole_llama().float("llama.rope.scaling.attn_factor", 1.0)).is_ok());
}

#[test]
fn a_window_makes_a_mistral() {
    let found = config(&whole_llama().number("llama.attention.sliding_window", 32)).unwrap();
    assert_eq!(
        (&found["model_type"], &found["sliding_window"]),
        (&json!("mistral"), &json!(32))
    );
    let found = config(&whole_llama().number("llama.attention.sliding_window", 0)).unwrap();
    assert_eq!(found["model_type"], "llama");
    assert!(config(&whole_llama().float("llama.attention.sliding_window", 32.0)).is_err());
}

#[test]
fn keys_that_scale_cap_or_bias_are_refused() {
    for key in [
        "attention.clamp_kqv",
        "attention.max_alibi_bias",
        "attention.temperature_scale",
        "attention.output_scale",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "logit_scale",
        "residual_scale",
        "embedding_scale",
    ] {
        let key = format!("llama.{key}");
        assert_eq!(setting(&whole_llama().float(&key, 30.0)), key);
        assert!(config(&whole_llama().float(&key, 0.0)).is_ok(), "{key}");
        let key = key.replace("llama.", "bert.");
        assert_eq!(setting(&whole_bert().float(&key, 30.0)), key);
    }
    assert_eq!(
        setting(&whole_llama().flag("llama.use_parallel_residual", true)),
        "llama.use_parallel_residual"
    );
}

#[test]
fn attention_of_another_kind_is_refused() {
    assert_eq!(
        setting(&whole_llama().flag("llama.attention.causal", false)),
        "llama.attention.causal"
    );
    assert_eq!(
        setting(&whole_bert().flag("bert.attention.causal", true)),
        "bert.attention.causal"
    );
    assert!(config(&whole_bert().flag("bert.attention.causal", false)).is_ok());
    assert_eq!(
        setting(&whole_llama().float("llama.attention.scale", 0.1)),
        "llama.attention.scale"
    );
    assert!(
        config(&whole_llama().float("llama.attention.scale", 0.5)).is_ok(),
        "the root of 4"
    );
}

#[test]
fn heads_that_are_turned_or_read_in_part_are_refused() {
    for key in ["llama.attention.value_length", "llama.rope.dimension_count"] {
        assert_eq!(setting(&whole_llama().number(key, 2)), key);
        assert!(config(&whole_llama().number(key, 4)).is_ok(), "{key}");
        assert_eq!(setting(&whole_llama().float(key, 4.0)), key);
    }
    let found = config(&whole_llama().number("llama.attention.key_length", 6)).unwrap();
    assert_eq!(found["head_dim"], 6);
}

#[test]
fn a_second_base_of_frequencies_is_refused() {
    let file = whole_llama().float("llama.rope.freq_base", 5e5);
    assert_eq!(config(&file).unwrap()["rope_theta"], 500_000.0);
    let other = file.float("llama.rope.freq_base_swa", 1e4);
    assert_eq!(setting(&other), "llama.rope.freq_base_swa");
}

#[test]
fn unknown_keys_are_named() {
    let file = whole_llama()
        .float("llama.attention.new_thing", 3.0)
        .number("llama.vocab_size", 12)
        .number("general.file_type", 1);
    let found = metadata(&file.build()).unknown_settings().unwrap();
    assert_eq!(found, ["llama.attention.new_thing"]);
}

#[test]
fn a_vocabulary_without_weights_is_told_so() {
    let error = config(&crate::gguf_file::llama()).unwrap_err();
    assert!(
        error.to_string().contains("a vocabulary and no weights"),
        "{error}"
    );
}

#[test]
fn end_tokens_of_the_metadata() {
    let file = whole_llama()
        .number("tokenizer.ggml.eos_token_id", 2)
        .number("tokenizer.ggml.eot_token_id", 7)
        .number("tokenizer.ggml.eom_token_id", 2)
        .number("tokenizer.ggml.fim_pad_token_id", 9);
    assert_eq!(metadata(&file.build()).end_ids(), [2, 7, 9]);
}
