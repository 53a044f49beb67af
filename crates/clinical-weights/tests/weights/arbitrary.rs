//! Arbitrary and nearly right bytes through every parser: an error or a result, never a panic.

use clinical_weights::{Checkpoint, CheckpointDir, KeyMap, LoadOptions, load};
use proptest::prelude::*;

use crate::files::{directory, safetensors, torch_zip};
use crate::model::{Tiny, data};

/// Everything that reads the directory. What it returns does not matter.
fn read_all(files: &[(&str, &[u8])]) {
    let dir = directory(files);
    if let Err(error) = load(
        &mut Tiny::new(false),
        dir.path(),
        &LoadOptions::new().with_strict(false),
    ) {
        assert!(error.to_string().len() < 4000);
        let _ = error.report().map(ToString::to_string);
    }
    let _ = CheckpointDir::open(dir.path()).and_then(|dir| dir.config());
}

/// A fixture's file with a few bytes changed and its end cut.
fn spoiled(fixture: &'static str, name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let whole = std::fs::read(data(fixture).join(name)).unwrap();
    let length = whole.len();
    (
        prop::collection::vec((0..length, any::<u8>()), 1..6),
        0..8usize,
    )
        .prop_map(move |(changes, cut)| {
            let mut bytes = whole.clone();
            for (at, value) in changes {
                bytes[at] = value;
            }
            bytes.truncate(length - if cut > 5 { cut * 7 % length } else { 0 });
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for name in [
            "model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "config.json", "model.gguf",
            "flax_model.msgpack",
        ] {
            read_all(&[(name, &bytes)]);
        }
        let _ = Checkpoint::from_bytes(bytes);
    }

    #[test]
    fn arbitrary_pickles(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let pickle = [b"\x80\x02".as_slice(), &bytes].concat();
        read_all(&[("pytorch_model.bin", &pickle)]);
        read_all(&[("pytorch_model.bin", &torch_zip(&pickle, &[("0", &[0; 16])]))]);
    }

    #[test]
    fn arbitrary_headers(
        dtype in prop::sample::select(vec!["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "F4", "X"]),
        shape in prop::collection::vec(any::<u64>().prop_map(|n| n >> (n % 64)), 0..5),
        from in 0u64..64,
        to in 0u64..64,
        values in 0usize..64,
    ) {
        let header = serde_json::json!({"scale": {"dtype": dtype, "shape": shape, "data_offsets": [from, to]}});
        read_all(&[("model.safetensors", &safetensors(&header.to_string(), values))]);
    }

    #[test]
    fn spoiled_safetensors(bytes in spoiled("safetensors_f32", "model.safetensors")) {
        read_all(&[("model.safetensors", &bytes)]);
    }

    #[test]
    fn spoiled_torch_files(zip in spoiled("bin_f32", "pytorch_model.bin"), legacy in spoiled("bin_legacy", "pytorch_model.bin")) {
        read_all(&[("pytorch_model.bin", &zip)]);
        read_all(&[("pytorch_model.bin", &legacy)]);
    }

    #[test]
    fn spoiled_gguf_files(
        types in spoiled("gguf", "types.gguf"),
        model in spoiled("../../../asclepius/tests/data/gguf", "sentencepiece.gguf"),
    ) {
        for bytes in [types, model] {
            read_all(&[("model.gguf", &bytes)]);
            let dir = directory(&[("model.gguf", &bytes)]);
            if let Ok(Some(file)) = CheckpointDir::open(dir.path()).and_then(|dir| dir.gguf()) {
                let _ = file.config();
                let _ = file.vocabulary();
            }
        }
    }

    #[test]
    fn spoiled_flax_files(bytes in spoiled("../../../clinical-t5/tests/data/flax_v1_1", "flax_model.msgpack")) {
        read_all(&[("flax_model.msgpack", &bytes)]);
    }

    #[test]
    fn spoiled_indexes(bytes in spoiled("safetensors_sharded", "model.safetensors.index.json")) {
        let shard = std::fs::read(data("safetensors_f32").join("model.safetensors")).unwrap();
        read_all(&[("model.safetensors.index.json", &bytes), ("model-00001-of-00003.safetensors", &shard)]);
    }

    #[test]
    fn any_name_goes_through_any_rule(name in ".{0,80}", left in "[a*.]{1,8}", right in "[a*.]{1,8}") {
        let keys = KeyMap::new().rename(&left, &right).ignore(&left);
        let _ = keys.module_name(&name);
        let _ = keys.checkpoint_name(&name);
    }
}
