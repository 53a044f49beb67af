//! Rules and spellings of `config.json`.

use clinical_nn::Activation;
use serde_json::json;

use crate::{Error, FeedForwardKind, T5Config};

fn parse(change: impl FnOnce(&mut serde_json::Value)) -> Result<T5Config, Error> {
    let mut value = json!({
        "vocab_size": 100, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4
    });
    change(&mut value);
    T5Config::from_json(value.to_string().as_bytes())
}

#[test]
fn published_sizes() {
    assert_eq!(T5Config::t5_base().parameters().unwrap(), 222_903_552);
    assert_eq!(
        T5Config::clinical_t5_base().parameters().unwrap(),
        222_893_568
    );
    assert_eq!(T5Config::t5_large().parameters().unwrap(), 737_668_096);
}

#[test]
fn old_files_lack_keys() {
    let config = parse(|_| ()).unwrap();
    assert_eq!(config.relative_attention_max_distance, 128);
    assert_eq!(config.feed_forward_proj, FeedForwardKind::default());
    assert!(config.tie_word_embeddings && config.scales_logits());
    assert_eq!(config.decoder_layers(), 2);
    assert_eq!((config.decoder_start(), config.pad_token_id), (0, 0));
    assert_eq!(config.eos_token_ids, [1]);
}

#[test]
fn newer_files_have_more() {
    let config = parse(|value| {
        value["num_decoder_layers"] = json!(3);
        value["feed_forward_proj"] = json!("gated-gelu");
        value["tie_word_embeddings"] = json!(true);
        value["scale_decoder_outputs"] = json!(false);
        value["eos_token_id"] = json!([1, 7]);
        value["decoder_start_token_id"] = json!(5);
        value["pad_token_id"] = json!(null);
        value["some_new_key"] = json!({});
    })
    .unwrap();
    assert_eq!(config.decoder_layers(), 3);
    assert!(config.feed_forward_proj.gated && !config.scales_logits());
    assert_eq!(config.feed_forward_proj.activation, Activation::GeluTanh);
    assert_eq!(config.eos_token_ids, [1, 7]);
    assert_eq!((config.decoder_start(), config.pad_token_id), (5, 0));
    let value = config.to_value();
    assert_eq!(value["some_new_key"], json!({}));
    assert_eq!(value["architectures"][0], "T5ForConditionalGeneration");
    assert_eq!(T5Config::from_value(value).unwrap(), config);
}

#[test]
fn every_rule_has_its_error() {
    macro_rules! refused {
        ($key:literal, $value:expr, $error:pat) => {
            let result = parse(|value| value[$key] = json!($value));
            assert!(matches!(result, Err($error)), "{}: {result:?}", $key);
        };
    }
    refused!("num_heads", 0, Error::Zero { field: "num_heads" });
    refused!("num_decoder_layers", 0, Error::Zero { .. });
    refused!(
        "num_layers",
        1u64 << 40,
        Error::AboveLimit {
            field: "num_layers",
            ..
        }
    );
    refused!(
        "d_kv",
        131_072,
        Error::AboveLimit {
            field: "num_heads * d_kv",
            ..
        }
    );
    refused!(
        "d_model",
        u64::MAX,
        Error::AboveLimit {
            field: "d_model",
            ..
        }
    );
    refused!("relative_attention_num_buckets", 3, Error::Buckets { .. });
    refused!(
        "relative_attention_max_distance",
        16,
        Error::MaxDistance { .. }
    );
    refused!("layer_norm_epsilon", 0.0, Error::Epsilon { .. });
    refused!("dropout_rate", 1.0, Error::Dropout { .. });
    refused!("initializer_factor", -1.0, Error::InitializerFactor { .. });
    refused!("eos_token_id", json!([]), Error::NoEndToken);
    refused!(
        "eos_token_id",
        100,
        Error::IdOutsideVocabulary {
            field: "eos_token_id",
            ..
        }
    );
    refused!("pad_token_id", 100, Error::IdOutsideVocabulary { .. });
    refused!("pad_token_id", -1, Error::Config(_));
    refused!("feed_forward_proj", "gated-tanh", Error::Config(_));
    refused!("d_ff", "64", Error::Config(_));
    refused!(
        "model_type",
        "llama",
        Error::Weights(clinical_weights::Error::ModelType { .. })
    );
    let nan = T5Config {
        layer_norm_epsilon: f64::NAN,
        ..T5Config::t5_base()
    };
    assert!(matches!(nan.validate(), Err(Error::Epsilon { .. })));
}

#[test]
fn names_of_feed_forward_layers() {
    for name in [
        "relu",
        "gelu",
        "gelu_new",
        "silu",
        "gated-relu",
        "gated-gelu",
        "gated-silu",
    ] {
        let kind = FeedForwardKind::try_from(name.to_owned()).unwrap();
        assert_eq!(String::from(kind), name);
    }
    let same = |a: &str, b: &str| {
        FeedForwardKind::try_from(a.to_owned()).unwrap()
            == FeedForwardKind::try_from(b.to_owned()).unwrap()
    };
    assert!(same("gated-gelu_new", "gated-gelu") && !same("gelu", "gelu_new"));
}

#[test]
fn an_encoder_is_told_by_its_class() {
    let config = parse(|value| {
        value["architectures"] = json!(["T5EncoderModel"]);
        value["num_decoder_layers"] = json!(2);
        value["torch_dtype"] = json!("float16");
    })
    .unwrap();
    assert!(config.encoder_only && config.decoder_layers() == 0);
    // 100 * 32 of the table, 2 * (4 * 32 * 32 + 32 + 2 * 32 * 64 + 32) of the blocks, 32 * 4 of the positions and a
    // norm.
    assert_eq!(config.parameters().unwrap(), 3200 + 16_512 + 128 + 32);
    let value = config.to_value();
    assert_eq!(value["architectures"][0], "T5EncoderModel");
    assert_eq!(value.get("torch_dtype"), None);
    assert_eq!(T5Config::from_value(value).unwrap(), config);
}
