//! Hostile and damaged `tokenizer.json` files: each is a named error and never panics.

mod common;
#[path = "../../../tests/files/memory.rs"]
#[allow(dead_code)]
mod memory;

use std::fs;

use clinical_tokenizer::limits::MAX_UNIGRAM_PIECE_BYTES;
use clinical_tokenizer::{Error, Tokenizer};
use common::{data, exercise};
use memory::{Counting, LIMIT, measure};
use proptest::prelude::*;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_json_file_that_is_cut_off_is_refused() {
    for name in ["fast_t5", "fast_bpe", "fast_llama", "fast_bert", "bare_t5"] {
        let bytes = fs::read(data().join("models").join(name).join("tokenizer.json")).unwrap();
        for i in 0..64 {
            let cut = bytes.len() * i / 64;
            assert!(
                matches!(
                    Tokenizer::from_bytes(&bytes[..cut], None),
                    Err(Error::Json { .. })
                ),
                "{name} cut at {cut}"
            );
        }
    }
}

/// A small `tokenizer.json` with one part replaced.
fn broken(part: &str, value: Value) -> Option<Error> {
    let text = fs::read(data().join("models/fast_llama/tokenizer.json")).unwrap();
    let mut file: Value = serde_json::from_slice(&text).unwrap();
    let mut at = &mut file;
    for key in part.split('/') {
        at = match at {
            Value::Object(map) => map.entry(key).or_insert(Value::Null),
            Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
            _ => panic!("{part}"),
        };
    }
    *at = value;
    let text = file.to_string();
    let (result, cost) = measure(|| Tokenizer::from_bytes(text.as_bytes(), None));
    assert!(cost.time < LIMIT, "{part}: {:?}", cost.time);
    result.err()
}

#[test]
fn every_rule_of_a_json_file_has_its_error() {
    let refused = |part: &str, value: Value| {
        broken(part, value).unwrap_or_else(|| panic!("{part} was accepted"))
    };
    assert!(broken("version", json!("1.0")).is_none());
    assert!(matches!(
        refused("model/merges/0", json!(["▁", "no such piece"])),
        Error::MergeOutOfVocabulary { index: 0 }
    ));
    assert!(matches!(
        refused("model/merges/0", json!("a b c")),
        Error::MergeLine { line: 1 }
    ));
    assert!(matches!(
        refused("model/merges/0", json!(["a", "b", "c"])),
        Error::Json { .. }
    ));
    assert!(matches!(
        refused("model/continuing_subword_prefix", json!("▁▁▁▁▁▁")),
        Error::MergeOutOfVocabulary { .. }
    ));
    assert!(matches!(
        refused("model/vocab/x", json!(4_000_000)),
        Error::TokenId { id: 4_000_000, .. }
    ));
    assert!(matches!(
        refused("model/vocab/x", json!(5)),
        Error::SharedTokenId { id: 5 }
    ));
    assert!(matches!(
        refused("model/vocab", json!({})),
        Error::VocabularySize { found: 0, .. }
    ));
    assert!(matches!(
        refused("added_tokens/3/id", json!(900)),
        Error::AddedTokenId {
            declared: 900,
            given: 800,
            ..
        }
    ));
    assert!(matches!(
        refused("added_tokens/3/content", json!("x".repeat(600))),
        Error::AddedTokens { .. }
    ));
    let template = |single: Value, tokens: Value| json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": tokens});
    let missing = template(
        json!([{"SpecialToken": {"id": "<none>", "type_id": 0}}]),
        json!({}),
    );
    assert!(matches!(
        refused("post_processor", missing.clone()),
        Error::Component {
            part: "post_processor",
            ..
        }
    ));
    assert!(matches!(
        refused(
            "post_processor",
            json!({"type": "Sequence", "processors": [missing]})
        ),
        Error::Component { .. }
    ));
    let second = template(json!([{"Sequence": {"id": "B", "type_id": 0}}]), json!({}));
    assert!(matches!(
        refused("post_processor", second),
        Error::Component {
            part: "post_processor",
            ..
        }
    ));
    let uneven = template(
        json!([]),
        json!({"x": {"id": "x", "ids": [1, 2], "tokens": ["x"]}}),
    );
    assert!(matches!(
        refused("post_processor", uneven),
        Error::Component {
            part: "post_processor",
            ..
        }
    ));
    assert!(matches!(
        refused("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        Error::Component {
            part: "pre_tokenizer",
            ..
        }
    ));
    let grow = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"});
    assert!(matches!(
        refused(
            "decoder",
            json!({"type": "Sequence", "decoders": vec![grow.clone(); 30]})
        ),
        Error::DecoderGrowth { .. }
    ));
    let empty = json!({"type": "Replace", "pattern": {"String": ""}, "content": "a"});
    for part in ["normalizer", "decoder"] {
        assert!(matches!(
            refused(part, empty.clone()),
            Error::Component { part: found, .. } if found == part
        ));
    }
    assert!(matches!(
        refused(
            "normalizer",
            json!({"type": "Sequence", "normalizers": vec![grow; 30]})
        ),
        Error::NormalizerGrowth { .. }
    ));
    let empty = json!({"type": "Replace", "pattern": {"String": ""}, "content": "a"});
    assert!(matches!(
        refused("normalizer", empty),
        Error::Component {
            part: "normalizer",
            ..
        }
    ));
    for text in ["AAAA", "!!!!", "AAQAAA=="] {
        let rules = json!({"type": "Precompiled", "precompiled_charsmap": text});
        assert!(
            matches!(refused("normalizer", rules), Error::Charsmap { .. }),
            "{text}"
        );
    }
    assert!(matches!(
        refused("decoder", json!({"type": "NoSuchDecoder"})),
        Error::Engine { .. }
    ));
    assert!(matches!(
        refused("model", json!({"type": "Unigram", "vocab": [["a", 0.0]]})),
        Error::Component { part: "model", .. }
    ));
    assert!(matches!(
        refused(
            "model",
            json!({"type": "Unigram", "vocab": {"a": 0}, "unk_id": 0})
        ),
        Error::Component { part: "model", .. }
    ));
    assert!(matches!(
        refused(
            "model",
            json!({"type": "WordPiece", "vocab": {"a": 0}, "max_input_chars_per_word": 1_000_000_000_u64})
        ),
        Error::Component { .. }
    ));
    assert!(matches!(refused("model", Value::Null), Error::Json { .. }));
}

/// All paths in a JSON value.
fn places(value: &Value, path: &str, out: &mut Vec<String>) {
    out.push(path.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            places(
                value,
                &format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")),
                out,
            )
        }),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(i, value)| places(value, &format!("{path}/{i}"), out)),
        _ => {}
    }
}

/// A value of another type.
fn odd(seed: u32) -> Value {
    let values = [
        json!(null),
        json!(-1),
        json!(1_000_000_007_u64),
        json!(1e300),
        json!("x"),
        json!([]),
        json!({}),
        json!(true),
        json!([["a", 1.5]]),
        json!({"type": "Sequence"}),
    ];
    values[seed as usize % values.len()].clone()
}

/// Another value of the same type.
fn alike(value: &Value, seed: u32) -> Value {
    let texts = [
        "", " ", "x", "▁", "##", "isolated", "removed", "never", "always", "first", "é", "(a+)+$",
        "\\s+", "Fuse", "NFC",
    ];
    match value {
        Value::Bool(_) => json!(seed.is_multiple_of(2)),
        Value::Number(_) => json!(seed % 12),
        Value::String(_) => json!(texts[seed as usize % texts.len()]),
        Value::Array(list) => Value::Array(list[..list.len() * (seed as usize % 4) / 4].to_vec()),
        Value::Object(map) => {
            // One key less.
            let gone = seed as usize % map.len().max(1);
            let kept = map.iter().enumerate().filter(|(i, _)| *i != gone);
            Value::Object(
                kept.map(|(_, (key, value))| (key.clone(), value.clone()))
                    .collect(),
            )
        }
        Value::Null => json!(seed.is_multiple_of(2)),
    }
}

#[test]
fn json_files_with_odd_values_never_panic() {
    for name in ["fast_llama", "fast_t5", "fast_bert", "fast_bpe"] {
        let opened = std::cell::Cell::new(0);
        // A runner counts its cases over all runs, so each file gets its own.
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            cases: 400,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let text = fs::read(data().join("models").join(name).join("tokenizer.json")).unwrap();
        let file: Value = serde_json::from_slice(&text).unwrap();
        let (mut rest, mut all) = (Vec::new(), Vec::new());
        places(&file, "", &mut all);
        // Most paths are in the vocabulary; the others are where the structure is.
        let vocabulary = ["/model/vocab", "/model/merges", "/added_tokens"];
        let in_structure = |path: &&String| !vocabulary.iter().any(|start| path.starts_with(start));
        rest.extend(all.iter().filter(in_structure).cloned());
        let edit = (any::<prop::sample::Index>(), any::<u32>(), 0u8..10);
        runner
            .run(&prop::collection::vec(edit, 1..4), |edits| {
                let mut changed = file.clone();
                for (index, seed, choice) in edits {
                    let list = if choice == 0 { &all } else { &rest };
                    let path = &list[index.index(list.len())];
                    if let Some(place) = changed.pointer_mut(path) {
                        *place = if choice < 2 {
                            odd(seed)
                        } else {
                            alike(place, seed)
                        };
                    }
                }
                if let Ok(tokenizer) = Tokenizer::from_bytes(changed.to_string().as_bytes(), None) {
                    opened.set(opened.get() + 1);
                    exercise(&tokenizer);
                }
                Ok(())
            })
            .unwrap();
        // Enough of them must open, or their use would not be tested.
        assert!(
            opened.get() > 30,
            "{name}: only {} of 400 opened",
            opened.get()
        );
    }
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(
        Tokenizer::from_bytes(deep.as_bytes(), None),
        Err(Error::Json { .. })
    ));
    assert!(matches!(
        Tokenizer::from_bytes(b"{}", Some(deep.as_bytes())),
        Err(Error::Json { .. })
    ));
}

/// Every run of `a` is a piece: each position of the text has as many matches as a piece may have bytes.
#[test]
fn hostile_unigram_pieces_take_little_time() {
    let runs = (1..=MAX_UNIGRAM_PIECE_BYTES).map(|n| json!(["a".repeat(n), -(n as f64)]));
    let pieces: Vec<Value> = std::iter::once(json!(["<unk>", 0.0])).chain(runs).collect();
    let file = json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": null, "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": pieces},
    });
    let (tokenizer, cost) = measure(|| Tokenizer::from_bytes(file.to_string().as_bytes(), None));
    assert!(cost.time < LIMIT, "{:?}", cost.time);
    let tokenizer = tokenizer.unwrap();
    let text = "a".repeat(50_000);
    let (count, cost) = measure(|| tokenizer.count(&text).unwrap());
    assert!(count > 0);
    assert!(cost.time < LIMIT, "{:?}", cost.time);
}
