//! Keys of the metadata that change the numbers of a model. Each is read, or has the one value that changes nothing, or
//! the file is refused: after the reader of llama.cpp (`llama_model::load_hparams`).

use serde_json::{Value, json};

use super::reader::Value as Found;
use super::{Gguf, llama3};
use crate::Error;
use clinical_files::shown;

/// The values under which a key changes nothing.
#[derive(Clone, Copy)]
enum Neutral {
    Zero,
    ZeroOrOne,
    One,
    No,
    Yes,
}

/// Keys that are not read, after the name of the architecture.
const NEUTRAL: [(&str, Neutral); 24] = [
    ("attention.clamp_kqv", Neutral::Zero),
    ("attention.max_alibi_bias", Neutral::Zero),
    ("attention.sliding_window_pattern", Neutral::Zero),
    ("attention.shared_kv_layers", Neutral::Zero),
    ("attention.temperature_scale", Neutral::Zero),
    ("attention.temperature_length", Neutral::Zero),
    ("attention.output_scale", Neutral::ZeroOrOne),
    ("attention.value_scale", Neutral::ZeroOrOne),
    ("attn_logit_softcapping", Neutral::Zero),
    ("router_logit_softcapping", Neutral::Zero),
    ("final_logit_softcapping", Neutral::Zero),
    ("logit_scale", Neutral::ZeroOrOne),
    ("residual_scale", Neutral::ZeroOrOne),
    ("embedding_scale", Neutral::ZeroOrOne),
    ("nextn_predict_layers", Neutral::Zero),
    ("n_deepstack_layers", Neutral::Zero),
    ("swin_norm", Neutral::No),
    ("use_parallel_residual", Neutral::No),
    ("rope.dimension_sections", Neutral::Zero),
    ("rope.scaling.attn_factor", Neutral::ZeroOrOne),
    ("rope.scaling.yarn_ext_factor", Neutral::Zero),
    ("rope.scaling.yarn_attn_factor", Neutral::One),
    ("rope.scaling.yarn_log_multiplier", Neutral::Zero),
    ("rope.scaling.alpha", Neutral::Zero),
];

/// Refuses a key with a value that would change numbers.
fn neutral(file: &Gguf, key: &str, neutral: Neutral) -> Result<(), Error> {
    let Some(value) = file.values.get(key) else {
        return Ok(());
    };
    let number = match value {
        Found::Uint(value) => Some(*value as f64),
        Found::Int(value) => Some(*value as f64),
        Found::F32(value) => Some(f64::from(*value)),
        Found::F64(value) => Some(*value),
        Found::Bool(value) => Some(f64::from(u8::from(*value))),
        Found::Array(array) => array.numbers(&file.bytes).map(|numbers| {
            numbers
                .into_iter()
                .fold(0.0, |most: f64, one| most.max(one.abs()))
        }),
        Found::Text(_) => None,
    };
    let fits = match neutral {
        Neutral::Zero | Neutral::No => number == Some(0.0),
        Neutral::One | Neutral::Yes => number == Some(1.0),
        Neutral::ZeroOrOne => number == Some(0.0) || number == Some(1.0),
    };
    match fits {
        true => Ok(()),
        false => Err(unread(key, number)),
    }
}

fn unread(key: &str, number: Option<f64>) -> Error {
    let found = number.map_or_else(String::new, |number| format!("is {number}, which "));
    Error::GgufSetting {
        key: shown(key),
        problem: format!("{found}changes how the model computes"),
    }
}

/// What is common to all architectures: nothing may be set that is not read.
pub(super) fn check(file: &Gguf, prefix: &str, causal: bool) -> Result<(), Error> {
    for (key, value) in NEUTRAL {
        neutral(file, &format!("{prefix}.{key}"), value)?;
    }
    let causal = if causal { Neutral::Yes } else { Neutral::No };
    neutral(file, &format!("{prefix}.attention.causal"), causal)
}

/// The rotary positions and heads of a LLaMA: all of a head is turned, keys and values are equally wide, products are
/// divided by the square root of that.
pub(super) fn check_heads(file: &Gguf, head_dim: u64) -> Result<(), Error> {
    for key in ["attention.value_length", "rope.dimension_count"] {
        let key = format!("llama.{key}");
        match file.number(&key) {
            Some(length) if length != head_dim => {
                return Err(Error::GgufSetting {
                    key,
                    problem: format!("is {length} and a head has {head_dim} dimensions"),
                });
            }
            None if file.values.contains_key(&key) => return Err(unread(&key, None)),
            _ => {}
        }
    }
    let key = "llama.attention.scale";
    let usual = 1.0 / (head_dim as f64).sqrt();
    match number(file, key)? {
        // The file has it in f32.
        Some(scale) if scale != 0.0 && (scale - usual).abs() > 1e-6 * usual => {
            Err(unread(key, Some(scale)))
        }
        _ => Ok(()),
    }
}

/// Attention without rotary positions, in which all heads are alike and see everything before them: keys that would say
/// another thing.
pub(super) fn check_plain_heads(
    file: &Gguf,
    prefix: &str,
    heads: u64,
    width: u64,
) -> Result<(), Error> {
    let head_dim = width.checked_div(heads).unwrap_or(0);
    for (key, usual) in [
        ("attention.head_count_kv", heads),
        ("attention.key_length", head_dim),
        ("attention.value_length", head_dim),
        ("attention.sliding_window", 0),
    ] {
        let key = format!("{prefix}.{key}");
        if file.values.contains_key(&key) && file.number(&key) != Some(usual) {
            return Err(unread(&key, file.number(&key).map(|number| number as f64)));
        }
    }
    let key = format!("{prefix}.attention.scale");
    let usual = 1.0 / (head_dim as f64).sqrt();
    match number(file, &key)? {
        // The file has it in f32.
        Some(scale) if scale != 0.0 && (scale - usual).abs() > 1e-6 * usual => {
            Err(unread(&key, Some(scale)))
        }
        _ => Ok(()),
    }
}

/// A float that need not be there.
fn number(file: &Gguf, key: &str) -> Result<Option<f64>, Error> {
    match file.values.contains_key(key) {
        true => file.need(key, "a float", Gguf::float).map(Some),
        false => Ok(None),
    }
}

/// The window of attention, as Mistral has one.
pub(super) fn window(file: &Gguf) -> Result<Option<u64>, Error> {
    let key = "llama.attention.sliding_window";
    if !file.values.contains_key(key) {
        return Ok(None);
    }
    let window = file.need(key, "a whole number", Gguf::number)?;
    Ok(Some(window).filter(|window| *window > 0))
}

/// The base of the rotary frequencies.
pub(super) fn theta(file: &Gguf) -> Result<f64, Error> {
    let theta = number(file, "llama.rope.freq_base")?.unwrap_or(10_000.0);
    let key = "llama.rope.freq_base_swa";
    match number(file, key)? {
        Some(other) if other != theta => Err(unread(key, Some(other))),
        _ => Ok(theta),
    }
}

/// `rope_scaling`: linear from the metadata, `llama3` from the tensor of factors. As in llama.cpp a factor without a
/// kind is linear, one of 0 is none, and `rope.scale_linear` is its older name.
pub(super) fn scaling(file: &Gguf, theta: f64, head_dim: u64) -> Result<Value, Error> {
    let key = "llama.rope.scaling.type";
    let kind = match file.values.contains_key(key) {
        true => file.need(key, "a text", Gguf::text)?,
        false => "linear",
    };
    let factor = match number(file, "llama.rope.scaling.factor")? {
        Some(factor) => factor,
        None => number(file, "llama.rope.scale_linear")?.unwrap_or(0.0),
    };
    let linear = match kind {
        "none" => None,
        "linear" => Some(factor).filter(|factor| *factor != 0.0 && *factor != 1.0),
        other => {
            return Err(Error::GgufSetting {
                key: key.to_owned(),
                problem: format!(
                    "is `{}`, and only linear and llama3 scaling is read",
                    shown(other)
                ),
            });
        }
    };
    let llama3 = match file.has_tensor("rope_freqs.weight") {
        true => llama3::scaling(file, theta, head_dim)?,
        false => Value::Null,
    };
    match (linear, llama3) {
        (None, found) => Ok(found),
        (Some(factor), Value::Null) => Ok(json!({ "rope_type": "linear", "factor": factor })),
        (Some(factor), _) => Err(unread("llama.rope.scaling.factor", Some(factor))),
    }
}

/// Keys of the architecture that neither change numbers nor are read.
const HARMLESS: [&str; 12] = [
    "vocab_size",
    "tensor_data_layout",
    "expert_count",
    "expert_used_count",
    "leading_dense_block_count",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "attention.group_norm_epsilon",
    "attention.layer_norm_epsilon",
    "pooling_type",
];

/// Keys that are read.
const READ: [&str; 17] = [
    "attention.causal",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.scale",
    "attention.sliding_window",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.factor",
];

/// Keys of the architecture that this library has never heard of.
pub(super) fn unknown<'a>(file: &'a Gguf, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    file.keys().filter(move |key| {
        let Some(name) = key
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('.'))
        else {
            return false;
        };
        name != "rope.scaling.type"
            && !READ.contains(&name)
            && !HARMLESS.contains(&name)
            && !NEUTRAL.iter().any(|(known, _)| *known == name)
    })
}
