//! Asclepius and Asclepius-R.

use asclepius::{AnswerOptions, Asclepius, Error, LoadOptions, Remark, TokenizerRemark};
use clinical_tokenizer::TokenizerKind;
use clinical_weights::Format;
use serde_json::{Value, json};

use crate::files::Directory;
use crate::files::state::State;
use crate::files::tokenizers::{llama_json, llama_model, llama3_json};
use crate::files::torch::{Style, zip};

const NOTE: &str = "ab had fever.";
const QUESTION: &str = "what?";
const HIDDEN: usize = 8;
const INNER: usize = 16;
const HEADS: usize = 4;

/// What differs between the releases.
pub struct Release {
    layers: usize,
    key_value_heads: usize,
    vocabulary: usize,
    /// Whether the files hold the rotary frequencies, as those written before 2023-07.
    buffers: bool,
}

const SEVEN: Release = Release {
    layers: 32,
    key_value_heads: HEADS,
    vocabulary: 32_000,
    buffers: true,
};
const THIRTEEN: Release = Release {
    layers: 40,
    ..SEVEN
};
const LLAMA2_7: Release = Release {
    buffers: false,
    ..SEVEN
};
const LLAMA2_13: Release = Release {
    buffers: false,
    ..THIRTEEN
};
const LLAMA3: Release = Release {
    key_value_heads: 1,
    vocabulary: 128_256,
    ..LLAMA2_7
};
const MISTRAL: Release = Release {
    key_value_heads: 1,
    vocabulary: 32_768,
    ..LLAMA2_7
};

impl Release {
    fn state(&self) -> State {
        let mut state = State::default();
        let head = HIDDEN / HEADS;
        let keys = self.key_value_heads * head;
        state.draw("model.embed_tokens.weight", &[self.vocabulary, HIDDEN]);
        for layer in 0..self.layers {
            let at = |name: &str| format!("model.layers.{layer}.{name}");
            state.draw(at("self_attn.q_proj.weight"), &[HIDDEN, HIDDEN]);
            state.draw(at("self_attn.k_proj.weight"), &[keys, HIDDEN]);
            state.draw(at("self_attn.v_proj.weight"), &[keys, HIDDEN]);
            state.draw(at("self_attn.o_proj.weight"), &[HIDDEN, HIDDEN]);
            if self.buffers {
                state.draw(at("self_attn.rotary_emb.inv_freq"), &[head / 2]);
            }
            state.draw(at("mlp.gate_proj.weight"), &[INNER, HIDDEN]);
            state.draw(at("mlp.up_proj.weight"), &[INNER, HIDDEN]);
            state.draw(at("mlp.down_proj.weight"), &[HIDDEN, INNER]);
            state.fill(at("input_layernorm.weight"), &[HIDDEN], 1.0);
            state.fill(at("post_attention_layernorm.weight"), &[HIDDEN], 1.0);
        }
        state.fill("model.norm.weight", &[HIDDEN], 1.0);
        state.draw("lm_head.weight", &[self.vocabulary, HIDDEN]);
        state
    }

    /// `config.json` with what this release says beside the sizes.
    fn config(&self, more: Value) -> Value {
        let mut config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": HIDDEN,
            "intermediate_size": INNER, "num_hidden_layers": self.layers, "num_attention_heads": HEADS,
            "num_key_value_heads": self.key_value_heads, "vocab_size": self.vocabulary, "initializer_range": 0.02,
            "tie_word_embeddings": false, "torch_dtype": "float32", "use_cache": true
        });
        for (name, value) in more.as_object().unwrap() {
            config[name] = value.clone();
        }
        config
    }
}

/// Shards in PyTorch's format, with their index.
fn bins(dir: &mut Directory, state: &State, count: usize, style: Style) {
    let shards = state.split(count);
    let stem = |at: usize| format!("pytorch_model-{:05}-of-{count:05}", at + 1);
    for (at, shard) in shards.iter().enumerate() {
        dir.add(stem(at) + ".bin", zip(shard, &stem(at), style));
    }
    let index = State::index(&shards, |at| stem(at) + ".bin");
    dir.json("pytorch_model.bin.index.json", &index);
}

fn safetensors(dir: &mut Directory, state: &State, count: usize) {
    let shards = state.split(count);
    let name = |at: usize| format!("model-{:05}-of-{count:05}.safetensors", at + 1);
    for (at, shard) in shards.iter().enumerate() {
        dir.add(name(at), shard.safetensors());
    }
    dir.json("model.safetensors.index.json", &State::index(&shards, name));
}

/// The ids that LLaMA-1's first converter wrote: all wrong.
fn wrong_ids() -> Value {
    json!({"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": -1})
}

fn token(content: &str) -> Value {
    json!({"__type": "AddedToken", "content": content, "lstrip": false, "normalized": true, "rstrip": false,
        "single_word": false})
}

fn tokenizer_config(bos: &str, eos: &str, unk: &str, more: Value) -> Value {
    let mut config = json!({"add_bos_token": true, "add_eos_token": false, "bos_token": token(bos),
        "eos_token": token(eos), "unk_token": token(unk), "pad_token": null, "clean_up_tokenization_spaces": false,
        "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer"});
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

/// Asclepius-7B, and Asclepius-R-7B, which was made with the same scripts.
pub fn seven() -> Directory {
    let mut dir = Directory::default();
    let mut more = wrong_ids();
    for (name, value) in
        json!({"_name_or_path": "decapoda-research/llama-7b-hf", "max_position_embeddings": 2048,
        "max_sequence_length": 2048, "rms_norm_eps": 1e-06, "transformers_version": "4.28.1"})
        .as_object()
        .unwrap()
    {
        more[name] = value.clone();
    }
    let mut config = SEVEN.config(more);
    config
        .as_object_mut()
        .unwrap()
        .remove("num_key_value_heads");
    dir.json("config.json", &config);
    dir.json("generation_config.json", &wrong_ids());
    bins(&mut dir, &SEVEN.state(), 3, Style::Fsdp);
    dir.add("tokenizer.model", llama_model(32_000, &[]).to_bytes());
    dir.json(
        "tokenizer_config.json",
        &tokenizer_config("", "", "", json!({"model_max_length": 2048})),
    );
    dir.json(
        "trainer_state.json",
        &json!({"epoch": 3.0, "global_step": 1}),
    );
    dir
}

/// Asclepius-13B, and Asclepius-R-13B.
pub fn thirteen() -> Directory {
    let mut dir = Directory::default();
    let mut more = wrong_ids();
    more["max_position_embeddings"] = 2048.into();
    more["max_sequence_length"] = 2048.into();
    more["rms_norm_eps"] = 1e-6.into();
    dir.json("config.json", &THIRTEEN.config(more));
    dir.json("generation_config.json", &wrong_ids());
    bins(&mut dir, &THIRTEEN.state(), 6, Style::Plain);
    dir.add("tokenizer.model", llama_model(32_000, &[]).to_bytes());
    dir.json(
        "special_tokens_map.json",
        &json!({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<s>", "unk_token": "<unk>"}),
    );
    dir.json(
        "tokenizer_config.json",
        &tokenizer_config("<s>", "</s>", "<unk>", json!({"model_max_length": 2048})),
    );
    dir
}

fn llama2(release: &Release, shards: usize) -> Directory {
    let mut dir = Directory::default();
    dir.json("config.json", &release.config(json!({"_name_or_path": "meta-llama/Llama-2-7b-hf", "bos_token_id": 1,
        "eos_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 4096, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
        "rope_scaling": null})));
    dir.json(
        "generation_config.json",
        &json!({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "max_length": 4096}),
    );
    bins(&mut dir, &release.state(), shards, Style::Fsdp);
    dir.add("tokenizer.model", llama_model(32_000, &[]).to_bytes());
    dir.json(
        "special_tokens_map.json",
        &json!({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    );
    dir.json(
        "tokenizer_config.json",
        &tokenizer_config(
            "<s>",
            "</s>",
            "<unk>",
            json!({"legacy": false, "model_max_length": 4096}),
        ),
    );
    dir
}

pub fn llama2_seven() -> Directory {
    llama2(&LLAMA2_7, 3)
}

pub fn llama2_thirteen() -> Directory {
    llama2(&LLAMA2_13, 6)
}

/// The Pretraining-Only releases have both tokenizer files; the one of 13B has a padding token outside the embedding.
pub fn pretraining_only(thirteen: bool) -> Directory {
    let mut dir = if thirteen {
        llama2_thirteen()
    } else {
        llama2_seven()
    };
    let pad = [(32_000, "<pad>")];
    let model = llama_model(32_000, &[]);
    dir.add(
        "tokenizer.json",
        llama_json(&model, if thirteen { &pad } else { &[] }).to_string(),
    );
    if thirteen {
        dir.add("added_tokens.json", "{\n  \"<pad>\": 32000\n}\n");
    }
    dir
}

pub fn llama3() -> Directory {
    let mut dir = Directory::default();
    dir.json("config.json", &LLAMA3.config(json!({"_name_or_path": "meta-llama/Meta-Llama-3-8B", "bos_token_id": 128_000,
        "eos_token_id": 128_001, "max_position_embeddings": 8192, "rms_norm_eps": 1e-05, "rope_theta": 500_000.0,
        "rope_scaling": null, "attention_bias": false})));
    dir.json(
        "generation_config.json",
        &json!({"bos_token_id": 128_000, "eos_token_id": 128_001}),
    );
    safetensors(&mut dir, &LLAMA3.state(), 7);
    dir.add("tokenizer.json", llama3_json().to_string());
    dir.json(
        "special_tokens_map.json",
        &json!({"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}),
    );
    dir.json("tokenizer_config.json", &json!({"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>",
        "clean_up_tokenization_spaces": true, "model_max_length": 8192, "tokenizer_class": "PreTrainedTokenizerFast"}));
    dir
}

pub fn mistral() -> Directory {
    let mut dir = Directory::default();
    let mut config = MISTRAL.config(json!({"_name_or_path": "mistralai/Mistral-7B-v0.3", "bos_token_id": 1,
        "eos_token_id": 2, "max_position_embeddings": 32_768, "rms_norm_eps": 1e-05, "rope_theta": 1_000_000.0,
        "sliding_window": null}));
    config["model_type"] = "mistral".into();
    config["architectures"] = json!(["MistralForCausalLM"]);
    dir.json("config.json", &config);
    safetensors(&mut dir, &MISTRAL.state(), 6);
    let controls: Vec<String> = (0..768)
        .map(|number| match number {
            0 => "[INST]".to_owned(),
            1 => "[/INST]".to_owned(),
            number => format!("[control_{number}]"),
        })
        .collect();
    let controls: Vec<&str> = controls.iter().map(String::as_str).collect();
    dir.add("tokenizer.model", llama_model(32_768, &controls).to_bytes());
    dir.json(
        "special_tokens_map.json",
        &json!({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    );
    dir.json(
        "tokenizer_config.json",
        &tokenizer_config("<s>", "</s>", "<unk>", json!({"legacy": false})),
    );
    dir
}

/// Opens a release under its name, and the same weights as one safetensors file: both must give the same answer.
fn open(name: &str, files: &Directory, release: &Release) -> Asclepius {
    let (_root, path) = files.write(name);
    let model = Asclepius::load(&path, &LoadOptions::new())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(
        model.model().config().vocab_size,
        release.vocabulary,
        "{name}"
    );
    assert_eq!(
        model.report().applied.len(),
        9 * release.layers + 3,
        "{name}"
    );
    assert_eq!(
        model.report().ignored.len(),
        if release.buffers { release.layers } else { 0 }
    );
    for note in model.remarks() {
        assert!(
            model.report().to_string().contains(&note.to_string()),
            "{note}"
        );
    }

    let plain = path.join("plain");
    std::fs::create_dir(&plain).unwrap();
    for (name, content) in &files.0 {
        if !name.ends_with(".bin")
            && !name.ends_with(".safetensors")
            && !name.ends_with(".index.json")
        {
            std::fs::write(plain.join(name), content).unwrap();
        }
    }
    std::fs::write(
        plain.join("model.safetensors"),
        release.state().safetensors(),
    )
    .unwrap();
    let again = Asclepius::load(&plain, &LoadOptions::new()).unwrap();
    let options = AnswerOptions::new().with_max_new_tokens(3);
    let ask = |model: &Asclepius| {
        let answers = model.answer_batch(&[(NOTE, QUESTION), ("fever", QUESTION)], &options);
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.unwrap_or_else(|error| panic!("{name}: {error}")))
            .collect::<Vec<_>>()
    };
    assert_eq!(ask(&model), ask(&again), "{name}");
    model
}

fn special(model: &Asclepius) -> (Option<u32>, &[u32], Option<u32>, Option<u32>) {
    let special = model.tokenizer().special();
    (special.bos, model.end_ids(), special.pad, special.unk)
}

/// The remarks about the tokenizer. The only other one tells the prompt, which is Asclepius' own for all of these.
fn remarks(model: &Asclepius) -> Vec<TokenizerRemark> {
    let [others @ .., Remark::Model(style)] = model.remarks() else {
        panic!("{:?}", model.remarks());
    };
    assert!(style.contains("the published Asclepius prompt"), "{style}");
    let tokenizer = others.iter().map(|remark| match remark {
        Remark::Tokenizer(remark) => remark.clone(),
        other => panic!("{other}"),
    });
    tokenizer.collect()
}

fn wrong(role: &'static str, config: i64, tokenizer: u32) -> TokenizerRemark {
    TokenizerRemark::WrongIdInConfig {
        role,
        config,
        tokenizer,
    }
}

fn empty(role: &'static str, used: &str, id: u32) -> TokenizerRemark {
    TokenizerRemark::EmptySpecialToken {
        role,
        used: Some((used.to_owned(), id)),
    }
}

#[test]
fn asclepius_7b_has_wrong_ids_and_empty_tokens() {
    for name in ["Asclepius-7B", "Asclepius-R-7B", "Ascleipus-R-7B"] {
        let model = open(name, &seven(), &SEVEN);
        // With the published eos_token_id 1 an answer would never end: the model writes 2.
        assert_eq!(special(&model), (Some(1), &[2][..], None, Some(0)));
        let remarks = remarks(&model);
        for expected in [
            empty("bos", "<s>", 1),
            empty("eos", "</s>", 2),
            empty("unk", "<unk>", 0),
            wrong("bos", 0, 1),
            wrong("eos", 1, 2),
        ] {
            assert!(remarks.contains(&expected), "{expected:?} in {remarks:?}");
        }
        assert_eq!(
            model.tokenizer().resolution().kind(),
            TokenizerKind::LlamaSentencePiece
        );
        assert_eq!(model.report().files.len(), 3);
        assert_eq!(model.report().files[0].1, Format::TorchZip);
        let ids = model.tokenizer().encode("ab", true).unwrap().into_ids();
        assert_eq!(ids[0], 1);
        assert_eq!(model.model().config().max_positions(), 2048);
    }
}

#[test]
fn asclepius_13b_pads_with_its_start() {
    for name in [
        "Asclepius-13B",
        "Asclepius-R-13B",
        "Asclepius-R-13B-Pretrained-Only",
    ] {
        let model = open(name, &thirteen(), &THIRTEEN);
        assert_eq!(special(&model), (Some(1), &[2][..], Some(1), Some(0)));
        assert_eq!(
            remarks(&model),
            [wrong("bos", 0, 1), wrong("eos", 1, 2), wrong("pad", -1, 1)]
        );
        assert_eq!(model.report().files.len(), 6);
    }
}

#[test]
fn asclepius_llama2_needs_no_correction() {
    for (name, files, release, shards) in [
        ("Asclepius-Llama2-7B", llama2_seven(), LLAMA2_7, 3),
        ("Asclepius-Llama2-13B", llama2_thirteen(), LLAMA2_13, 6),
    ] {
        let model = open(name, &files, &release);
        assert_eq!(special(&model), (Some(1), &[2][..], None, Some(0)));
        assert_eq!(remarks(&model), []);
        assert_eq!(model.report().files.len(), shards);
        assert_eq!(model.model().config().max_positions(), 4096);
    }
}

#[test]
fn pretraining_only_has_two_tokenizers_and_a_token_without_a_row() {
    let seven = open(
        "Asclepius-Llama2-7B-Pretraining-Only",
        &pretraining_only(false),
        &LLAMA2_7,
    );
    assert_eq!(remarks(&seven), []);
    assert_eq!(seven.tokenizer().resolution().file(), "tokenizer.json");
    let also = TokenizerRemark::AlsoPresent {
        file: "tokenizer.model".to_owned(),
    };
    assert!(seven.tokenizer().resolution().remarks().contains(&also));

    let name = "Asclepius-Llama2-13B-Pretraining-Only";
    let model = open(name, &pretraining_only(true), &LLAMA2_13);
    let beyond = TokenizerRemark::WithoutRow {
        token: "<pad>".to_owned(),
        id: 32_000,
        count: 1,
        rows: 32_000,
    };
    assert_eq!(remarks(&model), [beyond]);
    assert_eq!(special(&model).0, Some(1));
    // A note that spells the token is refused before it reaches the embedding; with markers escaped it is plain text.
    let error = model.answer("a <pad> b", QUESTION).unwrap_err();
    assert!(
        matches!(&error, Error::SpecialToken { token, .. } if token == "<pad>"),
        "{error}"
    );
}

#[test]
fn asclepius_llama3_has_only_a_tokenizer_json() {
    let model = open("Asclepius-Llama3-8B", &llama3(), &LLAMA3);
    // The end of a turn ends an answer too.
    assert_eq!(
        special(&model),
        (Some(128_000), &[128_001, 128_009][..], None, None)
    );
    assert_eq!(remarks(&model), []);
    assert_eq!(model.report().files.len(), 7);
    assert_eq!(model.report().files[0].1, Format::Safetensors);
    assert_eq!(
        model.tokenizer().encode("ab", true).unwrap().ids()[0],
        128_000
    );
    assert_eq!(model.model().config().num_key_value_heads, 1);
}

#[test]
fn asclepius_mistral_has_no_window() {
    let model = open("Asclepius-Mistral-7B-v0.3", &mistral(), &MISTRAL);
    assert_eq!(special(&model), (Some(1), &[2][..], None, Some(0)));
    assert_eq!(remarks(&model), []);
    assert_eq!(model.model().config().sliding_window, None);
    assert_eq!(model.model().config().max_positions(), 32_768);
    // A control token of the vocabulary is never found in a note.
    let ids = model
        .tokenizer()
        .encode("[INST]", false)
        .unwrap()
        .into_ids();
    assert!(!ids.contains(&3), "{ids:?}");
}
