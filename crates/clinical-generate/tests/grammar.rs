//! Whatever the model would like to say, the answer fits the grammar.
#![cfg(feature = "grammar")]

mod common;

use std::ops::ControlFlow;
use std::sync::Arc;

use clinical_generate::{EndTokens, Error, Generation, Grammar, StopReason, TokenBytes, generate};
use common::{END, TableModel};

/// Token 0 pads, 1 ends; then each byte of printable text, some longer pieces, and a second token for `a`.
fn vocabulary() -> Vec<Vec<u8>> {
    let mut bytes: Vec<Vec<u8>> = vec![Vec::new(), Vec::new()];
    bytes.extend((b' '..=b'~').map(|byte| vec![byte]));
    for piece in [
        "{\"", "\":", "\", \"", "true", "fever", " none", "é", "≤", "[\"", "\"]", "}", "12",
    ] {
        if !bytes.contains(&piece.as_bytes().to_vec()) {
            bytes.push(piece.as_bytes().to_vec());
        }
    }
    bytes.push(b"a".to_vec());
    bytes
}

fn answers(constraint: Grammar, size: usize) -> Vec<String> {
    let bytes = vocabulary();
    let mut model = TableModel::decoder(size);
    model.end_bias = 4.0;
    let end = EndTokens::new([END]);
    let base = Generation::greedy()
        .with_constraint(Arc::new(constraint))
        .with_max_new_tokens(300);
    let mut texts = Vec::new();
    for seed in 0..12u32 {
        let sampled = base.clone().with_sampling(true).with_seed(u64::from(seed));
        for options in [
            base.clone(),
            sampled,
            base.clone().with_beams(3).with_max_new_tokens(60),
        ] {
            let prompt: &[u32] = &[seed + 2, 5, 9 + seed];
            let results = generate(&model, &[prompt], &end, &options, |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
            if results[0].stop != StopReason::EndToken {
                // A string may go on for ever.
                assert_eq!(results[0].stop, StopReason::MaxNewTokens);
                continue;
            }
            let text: Vec<u8> = results[0]
                .content()
                .iter()
                .flat_map(|&id| bytes[id as usize].clone())
                .collect();
            texts.push(String::from_utf8(text).unwrap());
        }
    }
    assert!(
        texts.len() >= 24,
        "{} answers came to their end",
        texts.len()
    );
    texts
}

#[test]
fn json_fits_its_schema() {
    let tokens = TokenBytes::new(&vocabulary()).unwrap();
    let schema = r##"{
        "type": "object",
        "properties": {
            "finding": {"enum": ["fever", "cough", "pain"]},
            "present": {"type": "boolean"},
            "days": {"type": "array", "items": {"$ref": "#/$defs/day"}, "minItems": 1, "maxItems": 3}
        },
        "required": ["finding", "present", "days"],
        "additionalProperties": false,
        "$defs": {"day": {"type": "integer", "minimum": 0, "maximum": 99}}
    }"##;
    // Some logits have no token: models pad their vocabularies.
    for size in [vocabulary().len(), vocabulary().len() + 7] {
        for text in answers(Grammar::json_schema(&tokens, schema).unwrap(), size) {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let object = value.as_object().unwrap();
            assert_eq!(object.len(), 3, "{text}");
            assert!(["fever", "cough", "pain"].contains(&object["finding"].as_str().unwrap()));
            assert!(object["present"].is_boolean());
            let days = object["days"].as_array().unwrap();
            assert!((1..=3).contains(&days.len()));
            assert!(days.iter().all(|day| day.as_u64().unwrap() <= 99));
        }
    }
}

#[test]
fn a_regular_expression_matches_the_whole_answer() {
    let tokens = TokenBytes::new(&vocabulary()).unwrap();
    let grammar = Grammar::regex(&tokens, "(yes|no|aa), [0-9]{1,3}(\\.[0-9])? mg").unwrap();
    let all = answers(grammar, vocabulary().len());
    for text in &all {
        let rest = text.trim_start();
        let (word, dose) = rest.split_once(", ").unwrap();
        assert!(["yes", "no", "aa"].contains(&word), "{text}");
        let number = dose.strip_suffix(" mg").unwrap();
        assert!(
            number.parse::<f64>().unwrap() < 1000.0 && number.len() <= 5,
            "{text}"
        );
    }
}

#[test]
fn both_tokens_with_the_same_bytes_may_come() {
    let bytes = vocabulary();
    let tokens = TokenBytes::new(&bytes).unwrap();
    let twin = bytes.len() as u32 - 1;
    let grammar = Grammar::regex(&tokens, "a{4}").unwrap();
    let model = TableModel::decoder(bytes.len());
    let options = Generation::greedy()
        .with_constraint(Arc::new(grammar))
        .with_logit_bias(twin, 30.0);
    let end = EndTokens::new([END]);
    let results = generate(&model, &[&[5]], &end, &options, |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(results[0].content(), [twin; 4]);
    // Without an end token the answer is over when nothing can follow.
    let results = generate(&model, &[&[5]], &EndTokens::none(), &options, |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(
        (results[0].stop, results[0].ids.as_slice()),
        (StopReason::Complete, &[twin; 4][..])
    );
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let tokens = TokenBytes::new(&vocabulary()).unwrap();
    for bad in ["{", "{\"type\": \"no such type\"}"] {
        let error = Grammar::json_schema(&tokens, bad).unwrap_err();
        assert!(matches!(error, Error::Grammar(_)), "{error}");
    }
    assert!(Grammar::regex(&tokens, "(a").is_err());
    assert!(Grammar::lark(&tokens, "begin: \"a\"").is_err());
    assert!(TokenBytes::new(&[]).is_err());
    assert!(TokenBytes::new(&[vec![], vec![]]).is_err());
}
