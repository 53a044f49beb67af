//! Equal to `transformers`: see `scripts/generate_reference.py`.

mod common;

use std::ops::ControlFlow;

use clinical_generate::{EndTokens, distribution, generate};
use common::named::{ids, options};
use common::{TableModel, prompts, slices};
use serde_json::Value;

fn letters(ids: &[u32]) -> String {
    ids.iter().map(|&id| char::from(b'?' + id as u8)).collect()
}

fn compare(family: &str, model: &TableModel, fixture: &Value, shortlist: bool) {
    let all = prompts(fixture["prompts"].as_u64().unwrap() as usize, 32);
    let scored = fixture["scored"].as_u64().unwrap() as usize;
    let max_new_tokens = fixture["max_new_tokens"].as_u64().unwrap() as usize;
    let answers: Vec<Vec<&str>> = fixture[family]["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answers| answers.as_str().unwrap().split(' ').collect())
        .collect();
    let runs = fixture[family]["runs"].as_array().unwrap();
    assert!(runs.len() >= 80 && all.len() >= 200);
    for run in runs {
        let options = options(&run["options"])
            .with_max_new_tokens(max_new_tokens)
            .with_log_probs(true)
            .with_shortlist(shortlist);
        let end = match &run["options"]["eos_token_id"] {
            Value::Null => EndTokens::new([common::END]),
            several => EndTokens::new(ids(several)),
        };
        let results = generate(model, &slices(&all), &end, &options, |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        let copies = options.num_return_sequences;
        assert_eq!(results.len(), all.len() * copies);
        for (number, results) in results.chunks(copies).enumerate() {
            let got: Vec<String> = results.iter().map(|result| letters(&result.ids)).collect();
            let place = run["answer"][number].as_u64().unwrap() as usize;
            assert_eq!(
                got.join("|"),
                answers[number][place],
                "{family}, prompt {number}, {}",
                run["options"]
            );
            if number < scored && options.beams > 1 {
                for (result, place) in results.iter().zip(number * copies..) {
                    let (got, expected) = (
                        result.score.unwrap(),
                        run["scores"][place].as_f64().unwrap(),
                    );
                    assert!(
                        (f64::from(got) - expected).abs() < 1e-4,
                        "{got} for {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn searches_of_a_decoder() {
    let fixture: Value = serde_json::from_str(include_str!("data/search.json")).unwrap();
    let mut model = TableModel::decoder(32);
    model.end_bias = 0.5;
    // As on a CPU, and as on other devices.
    compare("decoder", &model, &fixture, false);
    compare("decoder", &model, &fixture, true);
}

#[test]
fn searches_of_an_encoder_decoder() {
    let fixture: Value = serde_json::from_str(include_str!("data/search.json")).unwrap();
    let mut model = TableModel::encoder_decoder(32);
    model.end_bias = 0.5;
    compare("encoder_decoder", &model, &fixture, false);
    compare("encoder_decoder", &model, &fixture, true);
}

#[test]
fn distributions_after_processors_and_filters() {
    let fixture: Value = serde_json::from_str(include_str!("data/processors.json")).unwrap();
    let rows: Vec<Vec<f32>> = fixture["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            row.as_array()
                .unwrap()
                .iter()
                .map(|x| x.as_f64().unwrap() as f32)
                .collect()
        })
        .collect();
    let (context, new) = (ids(&fixture["context"]), ids(&fixture["new"]));
    let end = EndTokens::new(ids(&fixture["end"]));
    let cases = fixture["cases"].as_array().unwrap();
    assert!(cases.len() > 180);
    for case in cases {
        let beams = case["beams"].as_u64().unwrap() as usize;
        let mut options = options(&case["options"]).with_beams(beams);
        options.sample = true;
        let row = &rows[case["row"].as_u64().unwrap() as usize];
        let got = distribution(&options, &end, &context, &new, row).unwrap();
        let mut expected = vec![0.0; row.len()];
        for pair in case["kept"].as_array().unwrap() {
            expected[pair[0].as_u64().unwrap() as usize] = pair[1].as_f64().unwrap();
        }
        for (id, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
            let difference = (f64::from(got) - expected).abs();
            assert!(
                difference < 1e-5 && (got > 0.0) == (expected > 0.0),
                "token {id}: {got} for {expected}; {case:.400}"
            );
        }
    }
}
