//! Streaming: parts concatenate to the whole, come in time, and cost linear time.

mod common;

use clinical_tokenizer::Tokenizer;
use common::{case, cases};
use proptest::prelude::*;

fn stream(tokenizer: &Tokenizer, ids: &[u32], skip: bool) -> (Vec<String>, Option<String>) {
    let mut stream = tokenizer.decode_stream(skip);
    let parts = ids
        .iter()
        .filter_map(|&id| stream.push(id).unwrap())
        .collect();
    (parts, stream.finish())
}

fn tokenizers() -> Vec<(String, Tokenizer)> {
    cases()
        .iter()
        .map(|case| (case.name.clone(), case.open()))
        .collect()
}

#[test]
fn parts_of_any_ids_concatenate_to_the_whole() {
    let tokenizers = tokenizers();
    let ids = prop::collection::vec(
        prop_oneof![4 => 0u32..900, 2 => 0u32..300, 1 => 180u32..260, 1 => any::<u32>()],
        0..60,
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&(ids, any::<bool>()), |(ids, skip)| {
            for (name, tokenizer) in &tokenizers {
                let (mut parts, last) = stream(tokenizer, &ids, skip);
                prop_assert!(
                    parts.iter().all(|part| !part.is_empty()),
                    "{name}: an empty part"
                );
                parts.extend(last);
                prop_assert_eq!(
                    parts.concat(),
                    tokenizer.decode(&ids, skip).unwrap(),
                    "{}",
                    name
                );
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_part_waits_longer_than_it_must() {
    for (name, tokenizer) in tokenizers() {
        let text =
            "The patient was admitted with pneumonia and received vancomycin. She recovered well.";
        let ids = tokenizer.encode(text, true).unwrap().into_ids();
        let (parts, last) = stream(&tokenizer, &ids, true);
        let late = last.map_or(0, |last| last.len());
        assert!(
            parts.len() > 10 && late <= 2,
            "{name}: {parts:?} and {late} bytes at the end"
        );
    }
}

#[test]
fn characters_are_never_split() {
    for name in ["llama_legacy", "odd_unigram_new", "fast_llama", "fast_bpe"] {
        let tokenizer = case(name).open();
        let ids = tokenizer.encode("a 😀 你 é", false).unwrap().into_ids();
        let (mut parts, last) = stream(&tokenizer, &ids, true);
        parts.extend(last);
        assert!(
            !parts.concat().contains('\u{fffd}') && parts.concat().contains('😀'),
            "{name}: {parts:?}"
        );
        // Cut off inside the emoji, the rest is marked, not invented.
        let cut = ids
            .iter()
            .position(|&id| tokenizer.decode(&[id], true).unwrap().contains('\u{fffd}'))
            .unwrap();
        let (mut parts, last) = stream(&tokenizer, &ids[..=cut], true);
        parts.extend(last);
        assert!(parts.concat().ends_with('\u{fffd}'), "{name}: {parts:?}");
    }
}

#[test]
fn the_cost_is_linear() {
    for name in [
        "t5_legacy",
        "llama_legacy",
        "bert_cased",
        "fast_llama",
        "fast_bpe",
    ] {
        let tokenizer = case(name).open();
        let ids: Vec<u32> = (0..200_000u32).map(|i| i * 7 % 500).collect();
        let start = std::time::Instant::now();
        let text = tokenizer.decode(&ids, false).unwrap();
        assert!(
            text.len() > 100_000 && start.elapsed().as_secs() < 10,
            "{name} took {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn a_finished_stream_begins_anew() {
    let tokenizer = case("llama_new").open();
    let ids = tokenizer
        .encode("fever and chills", false)
        .unwrap()
        .into_ids();
    let mut stream = tokenizer.decode_stream(true);
    for _ in 0..2 {
        let mut text: String = ids
            .iter()
            .filter_map(|&id| stream.push(id).unwrap())
            .collect();
        text.extend(stream.finish());
        assert_eq!(text, "fever and chills");
    }
    assert_eq!(stream.finish(), None);
}
