//! The published converter's own results.

use clinical_deid::{Error, Normalizer, Tag, UnknownTag, replace_list_of_notes};
use serde_json::Value;

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item.as_str().expect("a string"))
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = Value> + '_ {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one JSON value a line"))
}

#[test]
fn all_golden_pairs_agree() {
    let mut seen = 0;
    for case in lines(include_str!("data/deid_golden.jsonl")) {
        seen += 1;
        if let Some(inputs) = case.get("input_list") {
            let output = replace_list_of_notes(&strings(inputs)).expect("known tags");
            assert_eq!(output, strings(&case["output_list"]));
            continue;
        }
        let input = case["input"].as_str().expect("an input");
        let output = match case["mode"].as_str().expect("a mode") {
            "mimic-iii" => replace_list_of_notes(&[input]).map(|mut notes| notes.remove(0)),
            "tag" => Ok(match Tag::from_mimic_iii(input).expect("a known tag") {
                Tag::Blank => String::new(),
                tag => tag.token().unwrap_or(input).to_owned(),
            }),
            "mimic-iv" => Normalizer::mimic_iv()
                .normalize_with_types(input, &strings(&case["entity_types"]))
                .map(String::from),
            other => panic!("mode {other}"),
        };
        match case["output"].as_str() {
            Some(expected) => assert_eq!(output.expect("it converts"), expected, "{input:?}"),
            None => {
                let error = output.expect_err("the published converter fails");
                let right = match case["mode"].as_str() {
                    Some("mimic-iv") => matches!(error, Error::UnknownEntityType { .. }),
                    _ => matches!(error, Error::UnknownTag { .. }),
                };
                assert!(right, "{input:?}: {error}");
            }
        }
    }
    assert_eq!(seen, 357);
}

#[test]
fn all_real_tag_types_convert_but_ethnicity() {
    let types: Vec<_> = include_str!("data/mimic3_tag_types.txt")
        .split_terminator('\n')
        .collect();
    assert_eq!(types.len(), 158);
    for body in types {
        let result = replace_list_of_notes(&[format!("x[**{body}**]y")]);
        assert_eq!(result.is_err(), body == "Ethnicity", "{body:?}");
    }
}

#[test]
fn random_strings_agree_with_the_python_reference() {
    let iii = Normalizer::mimic_iii();
    let mut seen = 0;
    for case in lines(include_str!("data/deid_random.jsonl")) {
        seen += 1;
        let input = case["input"].as_str().expect("an input");
        match (iii.normalize(input), case["output"].as_str()) {
            (Ok(note), Some(expected)) => assert_eq!(note.text, expected, "{input:?}"),
            (Err(Error::UnknownTag { offset, .. }), None) => {
                assert_eq!(Some(offset as u64), case["error_at"].as_u64(), "{input:?}");
            }
            (result, expected) => panic!("{input:?}: {result:?} instead of {expected:?}"),
        }
        for (unknown, key) in [(UnknownTag::Keep, "keep"), (UnknownTag::Misc, "misc")] {
            let note = iii.with_unknown(unknown).normalize(input).expect("lenient");
            assert_eq!(Some(note.text.as_str()), case[key].as_str(), "{input:?}");
            let tags: Vec<_> = note
                .spans
                .iter()
                .map(|span| vec![span.old.start as u64, span.old.end as u64])
                .collect();
            assert_eq!(serde_json::json!(tags), case["tags"], "{input:?}");
        }
        let note = Normalizer::mimic_iv().normalize_with_types(input, &["NAME", "DATE"]);
        assert_eq!(
            note.ok().map(String::from).as_deref(),
            case["mimic_iv"].as_str(),
            "{input:?}"
        );
    }
    assert_eq!(seen, 600);
}
