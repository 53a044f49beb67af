//! Rules and spellings of `config.json`.

use serde_json::json;

use super::*;

fn read(more: Value) -> Result<Gpt2Config> {
    let mut config =
        json!({"model_type": "gpt2", "n_embd": 64, "n_head": 8, "n_layer": 2, "vocab_size": 320});
    if let (Some(config), Value::Object(more)) = (config.as_object_mut(), more) {
        config.extend(more);
    }
    Gpt2Config::from_value(config)
}

#[test]
fn absent_fields_have_the_defaults_of_transformers() {
    let config = Gpt2Config::from_value(json!({"model_type": "gpt2"})).unwrap();
    assert_eq!((config.vocab_size, config.n_positions), (50_257, 1024));
    assert_eq!(
        (config.n_embd, config.n_layer, config.n_head),
        (768, 12, 12)
    );
    assert_eq!((config.n_inner, config.inner()), (None, 3072));
    assert_eq!(config.activation_function, "gelu_new");
    assert_eq!(
        (config.resid_pdrop, config.embd_pdrop, config.attn_pdrop),
        (0.1, 0.1, 0.1)
    );
    assert_eq!(
        (config.layer_norm_epsilon, config.initializer_range),
        (1e-5, 0.02)
    );
    assert!(config.scale_attn_weights && config.tie_word_embeddings);
    assert!(!config.scale_attn_by_inverse_layer_idx && !config.reorder_and_upcast_attn);
    assert_eq!(config.head, Gpt2Head::Language);
    assert_eq!(config.parameters().unwrap(), 124_439_808);
}

#[test]
fn biomedlm() {
    let config = Gpt2Config::biomedlm();
    assert_eq!(config.parameters().unwrap(), 2_594_247_680);
    let again = Gpt2Config::from_value(config.to_value()).unwrap();
    assert_eq!(again, config);
    // The scores of each layer are divided by its number.
    let usual = 1.0 / 128f64.sqrt();
    assert_eq!((config.scale(0), config.scale(3)), (usual, usual / 4.0));
    let plain = Gpt2Config {
        scale_attn_weights: false,
        ..config
    };
    assert_eq!((plain.scale(0), plain.scale(3)), (1.0, 0.25));
}

#[test]
fn keys_that_are_not_known_come_back() {
    let config =
        read(json!({"n_ctx": 1024, "summary_type": "cls_index", "torch_dtype": "float32"}))
            .unwrap();
    let value = config.to_value();
    assert_eq!(
        (&value["n_ctx"], &value["summary_type"]),
        (&json!(1024), &json!("cls_index"))
    );
    assert_eq!(value.get("torch_dtype"), None);
    assert_eq!(value["architectures"], json!(["GPT2LMHeadModel"]));
}

#[test]
fn heads_by_their_class() {
    let class = |class: &str, more: Value| {
        let mut all = json!({"architectures": [class]});
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        read(all)
    };
    let names = json!({"0": "no", "1": "maybe", "2": "yes"});
    let found = class("GPT2ForSequenceClassification", json!({"id2label": names})).unwrap();
    assert_eq!(found.head, Gpt2Head::Classes(3));
    assert_eq!(found.labels, ["no", "maybe", "yes"]);
    assert_eq!(found.to_value()["id2label"], names);
    assert_eq!(
        found.to_value()["label2id"],
        json!({"no": 0, "maybe": 1, "yes": 2})
    );
    let found = class("GPT2ForSequenceClassification", json!({})).unwrap();
    assert_eq!(found.head, Gpt2Head::Classes(2));
    assert_eq!(
        found.to_value()["id2label"],
        json!({"0": "LABEL_0", "1": "LABEL_1"})
    );
    for name in ["GPT2ForQuestionAnswering", "GPT2ModelForQuestionAnswering"] {
        let found = class(name, json!({})).unwrap();
        assert_eq!(found.head, Gpt2Head::Spans);
        assert_eq!(
            found.to_value()["architectures"],
            json!(["GPT2ForQuestionAnswering"])
        );
    }
    assert_eq!(
        class("GPT2Model", json!({})).unwrap().head,
        Gpt2Head::Language
    );
    let contradiction = class(
        "GPT2ForSequenceClassification",
        json!({"id2label": names, "num_labels": 2}),
    );
    assert!(matches!(
        contradiction,
        Err(Error::ClassCount { said: 2, named: 3 })
    ));
    let none = class("GPT2ForSequenceClassification", json!({"num_labels": 0}));
    assert!(matches!(
        none,
        Err(Error::Zero {
            field: "num_labels"
        })
    ));
    let many = class(
        "GPT2ForSequenceClassification",
        json!({"num_labels": 1u64 << 40}),
    );
    assert!(matches!(
        many,
        Err(Error::TooBig {
            field: "num_labels",
            ..
        })
    ));
}

#[test]
fn what_is_not_supported_or_makes_no_sense_is_refused() {
    let refusal = |more: Value| read(more).unwrap_err();
    assert!(matches!(
        Gpt2Config::from_value(json!({"model_type": "llama", "n_embd": "wide"})),
        Err(Error::ModelType { found }) if found == "llama"
    ));
    assert!(matches!(
        Gpt2Config::from_json("{}"),
        Err(Error::ModelType { .. })
    ));
    assert!(matches!(
        Gpt2Config::from_json("<html>"),
        Err(Error::Json(_))
    ));
    assert!(matches!(
        refusal(json!({"activation_function": "tanh"})),
        Error::Activation { .. }
    ));
    assert!(matches!(
        refusal(json!({"add_cross_attention": true})),
        Error::CrossAttention
    ));
    assert!(matches!(
        refusal(json!({"n_head": 7})),
        Error::HeadSize {
            width: 64,
            heads: 7
        }
    ));
    assert!(matches!(refusal(json!({"n_head": -1})), Error::Json(_)));
    for field in [
        "n_head",
        "n_embd",
        "n_layer",
        "n_positions",
        "vocab_size",
        "n_inner",
    ] {
        let zero = refusal(json!({field: 0}));
        assert!(
            matches!(zero, Error::Zero { field: found } if found == field),
            "{zero}"
        );
        let huge = refusal(json!({field: 1u64 << 40}));
        assert!(
            matches!(huge, Error::TooBig { field: found, .. } if found == field),
            "{huge}"
        );
    }
    for (field, value) in [("layer_norm_epsilon", 0.0), ("initializer_range", -1.0)] {
        assert!(matches!(
            refusal(json!({field: value})),
            Error::NotPositive { .. }
        ));
    }
    for field in ["resid_pdrop", "embd_pdrop", "attn_pdrop"] {
        assert!(matches!(
            refusal(json!({field: 1.0})),
            Error::Dropout { .. }
        ));
        assert!(matches!(
            refusal(json!({field: -0.1})),
            Error::Dropout { .. }
        ));
    }
}
