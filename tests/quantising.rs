//! A checkpoint that is quantised while it is loaded needs the memory of the packed model and, at most, of one tensor
//! beside it, whatever its files are. Measured with an allocator that counts; the file map is the system's and is not
//! counted.

use std::path::Path;

use clinical_llama::Llama;
use clinical_weights::{LoadOptions, Precision};
use serde_json::json;

mod files;

use files::Directory;
use files::flax;
use files::process::{Counting, forget_peak, live, peak};
use files::state::State;
use files::torch::{self, Style};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const HIDDEN: usize = 512;
const INTERMEDIATE: usize = 1408;
const VOCABULARY: usize = 6000;
const LAYERS: usize = 4;

/// The largest tensor in f32.
const TENSOR: usize = 4 * VOCABULARY * HIDDEN;

/// Buffers of the threads, names, the module itself.
const SMALL: usize = 1 << 20;

fn state() -> State {
    let mut state = State::default();
    state.draw("model.embed_tokens.weight", &[VOCABULARY, HIDDEN]);
    for layer in 0..LAYERS {
        let layer = format!("model.layers.{layer}");
        for name in ["q", "k", "v", "o"] {
            let name = format!("{layer}.self_attn.{name}_proj.weight");
            state.draw(name, &[HIDDEN, HIDDEN]);
        }
        for name in ["gate", "up"] {
            let name = format!("{layer}.mlp.{name}_proj.weight");
            state.draw(name, &[INTERMEDIATE, HIDDEN]);
        }
        let name = format!("{layer}.mlp.down_proj.weight");
        state.draw(name, &[HIDDEN, INTERMEDIATE]);
        state.fill(format!("{layer}.input_layernorm.weight"), &[HIDDEN], 1.0);
        let name = format!("{layer}.post_attention_layernorm.weight");
        state.fill(name, &[HIDDEN], 1.0);
    }
    state.fill("model.norm.weight", &[HIDDEN], 1.0);
    state.draw("lm_head.weight", &[VOCABULARY, HIDDEN]);
    state
}

fn directory() -> Directory {
    let mut directory = Directory::default();
    directory.json(
        "config.json",
        &json!({
            "model_type": "llama",
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 8,
            "max_position_embeddings": 128,
            "rms_norm_eps": 1e-5,
        }),
    );
    directory
}

/// The memory of the loaded model and the most that was held meanwhile.
fn load(dir: &Path, precision: Precision) -> (usize, usize) {
    let options = LoadOptions::default().with_precision(precision);
    let before = live();
    forget_peak();
    let (model, report) = Llama::load(dir, &options).unwrap();
    let held = live() - before;
    let bytes = usize::try_from(report.bytes).unwrap();
    assert!(held < bytes + SMALL, "{held} held by a model of {bytes}");
    drop(model);
    (bytes, peak() - before)
}

/// One test alone, so that nothing else is counted.
#[test]
fn a_quantised_load_holds_the_packed_model_and_at_most_one_tensor() {
    let shards = state().split(3);
    let stem = |at: usize, end: &str| format!("model-0000{}-of-00003.{end}", at + 1);
    let full: usize = shards.iter().map(|shard| 4 * shard.values() as usize).sum();
    let mut directories = Vec::new();
    for end in ["safetensors", "bin"] {
        let mut files = directory();
        for (at, shard) in shards.iter().enumerate() {
            let content = match end {
                "bin" => torch::zip(shard, "archive", Style::Plain),
                _ => shard.safetensors(),
            };
            files.add(stem(at, end), content);
        }
        let index = State::index(&shards, |at| stem(at, end));
        let name = match end {
            "bin" => "pytorch_model.bin.index.json",
            _ => "model.safetensors.index.json",
        };
        files.json(name, &index);
        directories.push((end, files.write("model")));
    }
    let mut files = directory();
    files.add("flax_model.msgpack", flax::msgpack(&state()));
    directories.push(("msgpack", files.write("model")));
    drop((files, shards));
    for (end, (_root, dir)) in &directories {
        // What the first load makes once and keeps: threads and their buffers.
        load(dir, Precision::Int8);
        for precision in [Precision::Int8, Precision::Int4, Precision::StoredF16] {
            let (bytes, peak) = load(dir, precision);
            assert!(
                bytes < full * 11 / 20,
                "{end} {precision}: {bytes} of {full}"
            );
            // Safetensors are read from the map panel by panel, what a pickle describes one tensor at a time; a kernel
            // of Flax is turned first.
            let tensor = if *end == "safetensors" { 0 } else { TENSOR };
            let most = bytes + tensor + SMALL;
            assert!(peak < most, "{end} {precision}: {peak} for {bytes}");
        }
    }
}
