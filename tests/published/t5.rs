//! Clinical-T5: Base, Sci, Scratch and Large.

use clinical_generate::Generation;
use clinical_t5::ClinicalT5;
use clinical_weights::{Format, LoadOptions};
use serde_json::{Map, Value, json};

use crate::files::Directory;
use crate::files::state::State;
use crate::files::tokenizers::{TAGS, t5_json};
use crate::files::torch::{Style, zip};

const WIDTH: usize = 16;
const INNER: usize = 32;

pub struct Release {
    layers: usize,
    heads: usize,
    /// `<extra_id_0>` is the last sentinel, as in t5-base, or the first, as where a fast tokenizer made them.
    first_last: bool,
    lower_case: bool,
}

pub const BASE: Release = Release {
    layers: 12,
    heads: 4,
    first_last: true,
    lower_case: false,
};
pub const SCRATCH: Release = Release {
    first_last: false,
    lower_case: true,
    ..BASE
};
pub const LARGE: Release = Release {
    layers: 24,
    first_last: false,
    ..BASE
};

const ROWS: usize = 32_115;

impl Release {
    fn state(&self) -> State {
        let inner = self.heads * 4;
        let mut state = State::default();
        state.draw("shared.weight", &[ROWS, WIDTH]);
        for stack in ["encoder", "decoder"] {
            state.share(&format!("{stack}.embed_tokens.weight"), "shared.weight");
            for block in 0..self.layers {
                let mut layer = 0;
                let mut parts = vec!["SelfAttention"];
                if stack == "decoder" {
                    parts.push("EncDecAttention");
                }
                for part in parts {
                    let at = format!("{stack}.block.{block}.layer.{layer}");
                    for name in ["q", "k", "v"] {
                        state.draw(format!("{at}.{part}.{name}.weight"), &[inner, WIDTH]);
                    }
                    state.draw(format!("{at}.{part}.o.weight"), &[WIDTH, inner]);
                    // Old files have the unused one of the cross-attention as well.
                    if block == 0 && (part == "SelfAttention" || self.first_last) {
                        state.draw(
                            format!("{at}.{part}.relative_attention_bias.weight"),
                            &[32, self.heads],
                        );
                    }
                    state.fill(format!("{at}.layer_norm.weight"), &[WIDTH], 1.0);
                    layer += 1;
                }
                let at = format!("{stack}.block.{block}.layer.{layer}");
                state.draw(format!("{at}.DenseReluDense.wi.weight"), &[INNER, WIDTH]);
                state.draw(format!("{at}.DenseReluDense.wo.weight"), &[WIDTH, INNER]);
                state.fill(format!("{at}.layer_norm.weight"), &[WIDTH], 1.0);
            }
            state.fill(format!("{stack}.final_layer_norm.weight"), &[WIDTH], 1.0);
        }
        state.share("lm_head.weight", "shared.weight");
        state
    }

    /// What PhysioNet lists: weights of PyTorch, a `tokenizer.json`, no SentencePiece model.
    pub fn files(&self) -> Directory {
        let mut dir = Directory::default();
        dir.json("config.json", &json!({
            "_name_or_path": "t5-base", "architectures": ["T5ForConditionalGeneration"], "model_type": "t5",
            "d_model": WIDTH, "d_kv": 4, "d_ff": INNER, "num_layers": self.layers, "num_decoder_layers": self.layers,
            "num_heads": self.heads, "relative_attention_num_buckets": 32, "dropout_rate": 0.1,
            "layer_norm_epsilon": 1e-06, "feed_forward_proj": "relu", "is_encoder_decoder": true, "n_positions": 512,
            "initializer_factor": 1.0, "decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
            "output_past": true, "vocab_size": ROWS, "torch_dtype": "float32", "transformers_version": "4.22.1",
            "task_specific_params": {"summarization": {"early_stopping": true, "length_penalty": 2.0,
                "max_length": 200, "min_length": 30, "no_repeat_ngram_size": 3, "num_beams": 4, "prefix": "summarize: "}}
        }));
        dir.add(
            "pytorch_model.bin",
            zip(&self.state(), "archive", Style::Plain),
        );
        dir.add(
            "tokenizer.json",
            t5_json(self.lower_case, self.first_last, true).to_string(),
        );
        let mut tags: Vec<(usize, &str)> = TAGS
            .iter()
            .enumerate()
            .map(|(at, tag)| (32_100 + at, *tag))
            .collect();
        tags.sort_by_key(|(_, tag)| *tag);
        let added: Map<String, Value> = tags
            .iter()
            .map(|(id, tag)| ((*tag).to_owned(), (*id).into()))
            .collect();
        dir.json("added_tokens.json", &Value::Object(added));
        let sentinels: Vec<String> = (0..100)
            .map(|number| format!("<extra_id_{number}>"))
            .collect();
        dir.json(
            "special_tokens_map.json",
            &json!({"additional_special_tokens": sentinels, "eos_token": "</s>",
            "pad_token": "<pad>", "unk_token": "<unk>"}),
        );
        dir.json("tokenizer_config.json", &json!({"additional_special_tokens": sentinels, "eos_token": "</s>",
            "extra_ids": 100, "model_max_length": 512, "name_or_path": "t5-base", "pad_token": "<pad>",
            "special_tokens_map_file": null, "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>"}));
        dir
    }
}

fn open(name: &str, release: &Release) -> ClinicalT5 {
    let files = release.files();
    let (_root, path) = files.write(name);
    let t5 = ClinicalT5::load(&path, &LoadOptions::new())
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(t5.config().vocab_size, ROWS);
    assert!(t5.config().tie_word_embeddings && t5.config().scales_logits());
    assert_eq!(t5.config().decoder_layers(), release.layers);
    assert_eq!(t5.report().values, t5.config().parameters().unwrap());
    assert_eq!(
        t5.report().files,
        [("pytorch_model.bin".to_owned(), Format::TorchZip)]
    );
    assert_eq!(t5.report().aliases.len(), 1, "one table under four names");
    assert_eq!(t5.remarks(), []);
    assert_eq!(t5.max_tokens(), 512);
    assert_eq!(t5.end_ids()[0], 1);
    assert_eq!(t5.tokenizer().vocab_size(), ROWS);

    // The tags have the ids of the files, are one token each, and have rows.
    for (at, tag) in TAGS.iter().enumerate() {
        assert_eq!(
            t5.tokenizer().token_to_id(tag),
            Some(32_100 + at as u32),
            "{tag}"
        );
        let ids = t5.tokenizer().encode(tag, false).unwrap().into_ids();
        assert!(ids.contains(&(32_100 + at as u32)), "{tag}: {ids:?}");
    }
    let options = Generation::greedy().with_max_new_tokens(4);
    t5.generate("[Name] was seen at [Company].", &options)
        .unwrap();

    // The same weights as safetensors, where the table has one name only.
    let score = t5.score("[Name] has fever", &["fever"]).unwrap();
    std::fs::remove_file(path.join("pytorch_model.bin")).unwrap();
    std::fs::write(
        path.join("model.safetensors"),
        release.state().safetensors(),
    )
    .unwrap();
    let again = ClinicalT5::load(&path, &LoadOptions::new()).unwrap();
    assert_eq!(again.score("[Name] has fever", &["fever"]).unwrap(), score);
    t5
}

#[test]
fn base_and_sci_have_the_sentinels_of_t5() {
    for name in ["Clinical-T5-Base", "Clinical-T5-Sci"] {
        let t5 = open(name, &BASE);
        let sentinel = |number| t5.tokenizer().sentinel(number);
        assert_eq!(
            (sentinel(0), sentinel(99), sentinel(100)),
            (Some(32_099), Some(32_000), None)
        );
        // Cased.
        let ids = |text: &str| t5.tokenizer().encode(text, false).unwrap().into_ids();
        assert_ne!(ids("Fever"), ids("fever"));
        assert_eq!(
            t5.report().ignored.len(),
            1,
            "the cross-attention's unused table"
        );
    }
}

#[test]
fn scratch_lower_cases_and_counts_its_sentinels_upwards() {
    let t5 = open("Clinical-T5-Scratch", &SCRATCH);
    let sentinel = |number| t5.tokenizer().sentinel(number);
    assert_eq!((sentinel(0), sentinel(99)), (Some(32_000), Some(32_099)));
    let ids = |text: &str| t5.tokenizer().encode(text, false).unwrap().into_ids();
    assert_eq!(ids("Fever"), ids("fever"));
    // The tag is found in lower case too, and comes back as it is written.
    assert_eq!(ids("[Name]"), ids("[name]"));
    assert!(
        t5.tokenizer()
            .decode(&ids("[name]"), false)
            .unwrap()
            .contains("[Name]")
    );
}

#[test]
fn large_is_cased_and_deeper() {
    let t5 = open("Clinical-T5-Large", &LARGE);
    assert_eq!(t5.tokenizer().sentinel(0), Some(32_000));
    let ids = |text: &str| t5.tokenizer().encode(text, false).unwrap().into_ids();
    assert_ne!(ids("Fever"), ids("fever"));
}
