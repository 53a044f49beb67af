//! Rates are those of `transformers`, nanoT5 and the schedule that T5 is trained with.

use clinical_train::{RecipeError, Schedule, Warmup};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    config: Schedule,
    peak: f64,
    total: usize,
    rates: Vec<f64>,
}

fn schedule(json: &str) -> Schedule {
    serde_json::from_str(json).unwrap()
}

#[test]
fn rates_are_those_of_the_references() {
    let cases = include_str!("data/train/schedules.json");
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    assert_eq!(cases.len(), 16);
    for case in cases {
        assert_eq!(case.config.validate(), Ok(()));
        assert_eq!(case.rates.len(), case.total);
        for (step, &expected) in case.rates.iter().enumerate() {
            let found = case.config.rate(case.peak, step, case.total);
            let wrong = (found - expected).abs();
            assert!(
                wrong <= 1e-12 * expected.abs(),
                "{:?}, step {step}: {found} is not {expected}",
                case.config
            );
        }
    }
}

#[test]
fn the_rate_of_published_t5() {
    let t5 = schedule(r#"{"name": "inverse-sqrt"}"#);
    for step in [0, 1, 9_999, 10_000] {
        assert!((t5.rate(1.0, step, 100_000) - 0.01).abs() < 1e-15);
    }
    assert!((t5.rate(1.0, 40_000, 100_000) - 0.005).abs() < 1e-15);
    // Not infinite.
    let none = schedule(r#"{"name": "inverse-sqrt", "warmup": 0}"#);
    assert_eq!(none.rate(1.0, 0, 10), 1.0);
}

#[test]
fn a_ratio_is_rounded_up() {
    assert_eq!(Warmup::Ratio(0.06).steps(97), 6);
    assert_eq!(Warmup::Ratio(0.0).steps(97), 0);
    // 100 * 0.07 is 7.000000000000001 in f64, here as in Python.
    assert_eq!(Warmup::Ratio(0.07).steps(100), 8);
    assert_eq!(Warmup::Steps(200).steps(97), 200);
}

#[test]
fn outside_the_run_nothing_surprises() {
    let cosine = schedule(r#"{"name": "cosine", "minimum": 1e-5, "warmup": 0.1}"#);
    let linear = schedule(r#"{"name": "linear"}"#);
    for step in [100, 101, 150, usize::MAX] {
        assert!((cosine.rate(1e-3, step, 100) - 1e-5).abs() < 1e-18);
        assert_eq!(linear.rate(1e-3, step, 100), 0.0);
    }
    let longer = schedule(r#"{"name": "linear", "warmup": 10}"#);
    assert_eq!(longer.rate(1.0, 4, 5), 0.4);
    assert_eq!(longer.rate(1.0, 10, 5), 0.0);
    assert!(cosine.rate(1e-3, 0, 0).is_finite());
}

#[test]
fn a_schedule_is_checked() {
    let error = |json: &str| schedule(json).validate().unwrap_err();
    let ratio = error(r#"{"name": "linear", "warmup": 1.0}"#);
    assert_eq!(ratio, RecipeError::WarmupRatio { ratio: 1.0 });
    let ratio = error(r#"{"name": "constant", "warmup": -3}"#);
    assert_eq!(ratio, RecipeError::WarmupRatio { ratio: -3.0 });
    let minimum = error(r#"{"name": "cosine", "minimum": -1.0}"#);
    assert!(matches!(
        minimum,
        RecipeError::Negative {
            field: "minimum",
            ..
        }
    ));
    let start = error(r#"{"name": "cosine", "warmup_start": 2}"#);
    assert!(matches!(start, RecipeError::NotAPart { .. }));
    for json in [
        r#"{"name": "linear", "minimum": 0.1}"#,
        r#"{"name": "linear", "warmup": "10"}"#,
        r#"{"name": "step"}"#,
    ] {
        assert!(serde_json::from_str::<Schedule>(json).is_err(), "{json}");
    }
    let written = r#"{"name":"cosine","warmup":0.06,"minimum":0.00001,"warmup_start":0.0}"#;
    let again = serde_json::to_string(&schedule(written)).unwrap();
    assert_eq!(schedule(&again), schedule(written));
    let steps = serde_json::to_string(&schedule(r#"{"name": "linear", "warmup": 7}"#)).unwrap();
    assert_eq!(steps, r#"{"name":"linear","warmup":7}"#);
}
