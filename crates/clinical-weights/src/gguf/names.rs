//! What llama.cpp's converter has done to a published model, the other way round: names, order of rows, configuration.

use serde_json::{Map, Value, json};

use super::{Gguf, kind, settings};
use crate::Error;
use clinical_files::shown;

/// The architectures whose conversion is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Architecture {
    Llama,
    Bert,
    Gpt2,
}

/// Tensors of a layer: the middle of the name in the file, and what stands there in the checkpoint.
const LLAMA_LAYER: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];
const LLAMA: [(&str, &str); 3] = [
    ("token_embd", "model.embed_tokens"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
];
const BERT_LAYER: [(&str, &str); 8] = [
    ("attn_q", "attention.self.query"),
    ("attn_k", "attention.self.key"),
    ("attn_v", "attention.self.value"),
    ("attn_output", "attention.output.dense"),
    ("attn_output_norm", "attention.output.LayerNorm"),
    ("ffn_up", "intermediate.dense"),
    ("ffn_down", "output.dense"),
    ("layer_output_norm", "output.LayerNorm"),
];
const BERT: [(&str, &str); 4] = [
    ("token_embd", "embeddings.word_embeddings"),
    ("position_embd", "embeddings.position_embeddings"),
    ("token_types", "embeddings.token_type_embeddings"),
    ("token_embd_norm", "embeddings.LayerNorm"),
];

const GPT2_LAYER: [(&str, &str); 6] = [
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];
const GPT2: [(&str, &str); 4] = [
    ("token_embd", "transformer.wte"),
    ("position_embd", "transformer.wpe"),
    ("output_norm", "transformer.ln_f"),
    ("output", "lm_head"),
];

impl Architecture {
    /// # Errors
    ///
    /// [`Error::Adapter`], [`Error::GgufNoModel`], [`Error::GgufArchitecture`].
    pub(super) fn of(file: &Gguf) -> Result<Self, Error> {
        kind::check(file)?;
        let refuse = |found: String| Error::GgufArchitecture {
            path: file.path.clone(),
            found,
            read: crate::Architecture::all_gguf(),
        };
        match file.architecture()? {
            "llama" => match file.number("llama.expert_count") {
                None | Some(0) => Ok(Self::Llama),
                Some(_) => Err(refuse("llama with experts".to_owned())),
            },
            "bert" => Ok(Self::Bert),
            "gpt2" => Ok(Self::Gpt2),
            other => Err(refuse(shown(other))),
        }
    }

    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Bert => "bert",
            Self::Gpt2 => "gpt2",
        }
    }

    /// The published name, `None` for what is no parameter.
    pub(super) fn published(self, name: &str) -> Option<String> {
        // Factors of the rotary frequencies: they are in the configuration.
        if name == "rope_freqs.weight" {
            return None;
        }
        let (layers, tensors, before) = match self {
            Self::Llama => (&LLAMA_LAYER[..], &LLAMA[..], "model.layers"),
            Self::Bert => (&BERT_LAYER[..], &BERT[..], "encoder.layer"),
            Self::Gpt2 => (&GPT2_LAYER[..], &GPT2[..], "transformer.h"),
        };
        let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
        let find = |list: &[(&str, &'static str)], stem: &str| {
            list.iter()
                .find(|(own, _)| *own == stem)
                .map(|(_, published)| *published)
        };
        let found = match stem
            .strip_prefix("blk.")
            .and_then(|rest| rest.split_once('.'))
        {
            Some((layer, stem)) => {
                find(layers, stem).map(|middle| format!("{before}.{layer}.{middle}.{end}"))
            }
            None => find(tensors, stem).map(|published| format!("{published}.{end}")),
        };
        // An unknown tensor keeps its name, so that the report shows it.
        Some(found.unwrap_or_else(|| name.to_owned()))
    }

    /// Whether the published checkpoint holds the transpose of this matrix: those of GPT-2's `Conv1D`.
    pub(super) fn is_turned(self, published: &str) -> bool {
        let dense = [".c_attn.weight", ".c_proj.weight", ".c_fc.weight"];
        self == Self::Gpt2 && dense.iter().any(|end| published.ends_with(end))
    }

    /// How many heads have their rows in llama.cpp's order, if this tensor has any.
    pub(super) fn permuted_heads(self, file: &Gguf, name: &str) -> Result<Option<usize>, Error> {
        if self != Self::Llama {
            return Ok(None);
        }
        let heads = if name.contains(".self_attn.q_proj.") {
            self.need(file, "attention.head_count")?
        } else if name.contains(".self_attn.k_proj.") {
            self.key_value_heads(file)?
        } else {
            return Ok(None);
        };
        // A number that is no head count fails where the rows are split.
        Ok(Some(usize::try_from(heads).unwrap_or(0)))
    }

    fn need(self, file: &Gguf, key: &str) -> Result<u64, Error> {
        let key = format!("{}.{key}", self.prefix());
        file.need(&key, "a whole number", Gguf::number)
    }

    /// Absent where each query head has its own.
    fn key_value_heads(self, file: &Gguf) -> Result<u64, Error> {
        let key = format!("{}.attention.head_count_kv", self.prefix());
        match file.values.contains_key(&key) {
            true => file.need(&key, "a whole number", Gguf::number),
            false => self.need(file, "attention.head_count"),
        }
    }

    pub(super) fn config(self, file: &Gguf) -> Result<Value, Error> {
        kind::check_weights(file)?;
        settings::check(file, self.prefix(), self != Self::Bert)?;
        let mut config = match self {
            Self::Llama => self.llama(file)?,
            Self::Bert => self.bert(file)?,
            Self::Gpt2 => self.gpt2(file)?,
        };
        for (role, key) in [
            ("bos_token_id", "tokenizer.ggml.bos_token_id"),
            ("eos_token_id", "tokenizer.ggml.eos_token_id"),
            ("pad_token_id", "tokenizer.ggml.padding_token_id"),
        ] {
            if let Some(id) = file.number(key) {
                config.insert(role.to_owned(), json!(id));
            }
        }
        if let Some(name) = file.text("general.name") {
            config.insert("_name_or_path".to_owned(), json!(name));
        }
        Ok(Value::Object(config))
    }

    fn llama(self, file: &Gguf) -> Result<Map<String, Value>, Error> {
        let heads = self.need(file, "attention.head_count")?;
        let hidden = self.need(file, "embedding_length")?;
        let head_dim = match file.number("llama.attention.key_length") {
            Some(length) => length,
            None if heads > 0 => hidden / heads,
            None => 0,
        };
        let (theta, window) = (settings::theta(file)?, settings::window(file)?);
        settings::check_heads(file, head_dim)?;
        // A window is what sets Mistral apart.
        let (model_type, class) = match window {
            None => ("llama", "LlamaForCausalLM"),
            Some(_) => ("mistral", "MistralForCausalLM"),
        };
        let mut config = json!({
            "model_type": model_type,
            "architectures": [class],
            "vocab_size": file.rows("token_embd.weight")?,
            "hidden_size": hidden,
            "intermediate_size": self.need(file, "feed_forward_length")?,
            "num_hidden_layers": self.need(file, "block_count")?,
            "num_attention_heads": heads,
            "num_key_value_heads": self.key_value_heads(file)?,
            "head_dim": head_dim,
            "max_position_embeddings": self.need(file, "context_length")?,
            "hidden_act": "silu",
            "rms_norm_eps": file.need("llama.attention.layer_norm_rms_epsilon", "a float", Gguf::float)?,
            "rope_theta": theta,
            "rope_scaling": settings::scaling(file, theta, head_dim)?,
            "tie_word_embeddings": !file.has_tensor("output.weight"),
            "attention_bias": file.has_tensor("blk.0.attn_q.bias"),
            "mlp_bias": file.has_tensor("blk.0.ffn_up.bias"),
        });
        if let Some(window) = window {
            config["sliding_window"] = json!(window);
        }
        Ok(object(config))
    }

    fn bert(self, file: &Gguf) -> Result<Map<String, Value>, Error> {
        let config = json!({
            "model_type": "bert",
            "architectures": ["BertModel"],
            "vocab_size": file.rows("token_embd.weight")?,
            "hidden_size": self.need(file, "embedding_length")?,
            "intermediate_size": self.need(file, "feed_forward_length")?,
            "num_hidden_layers": self.need(file, "block_count")?,
            "num_attention_heads": self.need(file, "attention.head_count")?,
            "max_position_embeddings": file.rows("position_embd.weight")?,
            "type_vocab_size": file.rows("token_types.weight")?,
            "hidden_act": "gelu",
            "layer_norm_eps": file.need("bert.attention.layer_norm_epsilon", "a float", Gguf::float)?,
        });
        let mut config = object(config);
        if let Some(kind) = file.number("bert.pooling_type") {
            config.insert("pooling_type".to_owned(), kind.into());
        }
        Ok(config)
    }

    /// The format cannot say `scale_attn_by_inverse_layer_idx`, and llama.cpp does not compute it.
    fn gpt2(self, file: &Gguf) -> Result<Map<String, Value>, Error> {
        let heads = self.need(file, "attention.head_count")?;
        let width = self.need(file, "embedding_length")?;
        settings::check_plain_heads(file, self.prefix(), heads, width)?;
        Ok(object(json!({
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": file.rows("token_embd.weight")?,
            "n_positions": file.rows("position_embd.weight")?,
            "n_embd": width,
            "n_layer": self.need(file, "block_count")?,
            "n_head": heads,
            "n_inner": self.need(file, "feed_forward_length")?,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": file.need("gpt2.attention.layer_norm_epsilon", "a float", Gguf::float)?,
            "tie_word_embeddings": !file.has_tensor("output.weight"),
        })))
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
