//! Span corruption against the published script, and what settings cannot be had.

use std::collections::HashMap;
use std::convert::Infallible;

use clinical_t5::Sentinels;
use clinical_train::DataError;
use clinical_train::objective::Pieces;
use clinical_train::objective::span_corruption::{SentinelNaming, SpanSettings};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Golden {
    Lengths {
        inputs_length: usize,
        noise_density: f64,
        mean_noise_span_length: f64,
        tokens_length: usize,
        targets_length: usize,
    },
    Corrupt {
        len_tokenizer: u32,
        ids: Vec<u32>,
        mask: Vec<u8>,
        input_ids: Vec<u32>,
        labels: Vec<u32>,
        n_noise: Option<usize>,
        n_spans: Option<usize>,
    },
}

fn top(tokens: u32) -> Sentinels {
    Sentinels::TopOfVocabulary { tokens }
}

fn settings() -> SpanSettings {
    SpanSettings::default()
}

fn runs(mask: &[bool]) -> usize {
    let starts = mask.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    starts + usize::from(mask[0])
}

#[test]
fn every_golden_row() {
    let (mut consistent, mut refused, mut refused_at_one, mut corrupted) = (0, 0, 0, 0);
    for line in include_str!("data/span_golden.jsonl").lines() {
        match serde_json::from_str(line).unwrap() {
            Golden::Lengths {
                inputs_length,
                noise_density,
                mean_noise_span_length,
                tokens_length,
                targets_length,
            } => {
                let settings = settings()
                    .with_noise_density(noise_density)
                    .with_mean_span(mean_noise_span_length)
                    .with_inputs_length(inputs_length);
                match settings.lengths() {
                    Ok(found) => {
                        assert_eq!(found, (tokens_length, targets_length), "{line}");
                        assert!(mean_noise_span_length > 1.0, "{line}");
                        consistent += 1;
                    }
                    // The helper's pair, and the inputs that the collator would count and refuse.
                    Err(DataError::InconsistentLengths {
                        inputs_length: asked,
                        tokens_length: tokens,
                        targets_length: targets,
                        inputs,
                        ..
                    }) => {
                        assert_eq!(
                            (asked, tokens, targets, inputs),
                            (
                                inputs_length,
                                tokens_length,
                                targets_length,
                                inputs_length + 1
                            ),
                            "{line}"
                        );
                        refused += 1;
                        refused_at_one += usize::from(mean_noise_span_length == 1.0);
                    }
                    Err(error) => panic!("{error}: {line}"),
                }
            }
            Golden::Corrupt {
                len_tokenizer,
                ids,
                mask,
                input_ids,
                labels,
                n_noise,
                n_spans,
            } => {
                let mask: Vec<bool> = mask.into_iter().map(|mark| mark == 1).collect();
                let spans = settings().spans(top(len_tokenizer), 1).unwrap();
                let example = spans.corrupt(&ids, &mask).unwrap();
                assert_eq!(example.input_ids, input_ids, "{line}");
                assert_eq!(example.labels, labels, "{line}");
                if let (Some(noise), Some(count)) = (n_noise, n_spans) {
                    let mut rng = ChaCha8Rng::seed_from_u64(1);
                    let own = spans.noise_mask(ids.len(), &mut rng).unwrap();
                    let marked = own.iter().filter(|&&mark| mark).count();
                    assert_eq!((marked, runs(&own)), (noise, count), "{line}");
                }
                corrupted += 1;
            }
        }
    }
    // Of those refused 19 have a mean span of 1; for two short rows the helper counts no span.
    assert_eq!(
        (consistent, refused, refused_at_one, corrupted),
        (54, 21, 19, 12)
    );
}

#[test]
fn published_lengths() {
    let spans = settings().spans(top(32_100), 1).unwrap();
    assert_eq!(
        (
            spans.tokens_length(),
            spans.inputs_length(),
            spans.targets_length()
        ),
        (568, 512, 114)
    );
    let mask = spans
        .noise_mask(568, &mut ChaCha8Rng::seed_from_u64(3))
        .unwrap();
    assert_eq!(
        (mask.iter().filter(|&&mark| mark).count(), runs(&mask)),
        (85, 28)
    );
    assert!(!mask[0] && mask[567]);
}

#[test]
fn sentinels_by_name_and_from_the_top() {
    let named: Vec<u32> = (0..100).map(|k| 32_099 - k).collect();
    let ids = [10, 11, 12, 13, 14];
    let mask = [false, true, false, true, true];
    let inputs = |naming: SentinelNaming, named: &[u32], tokens| {
        let sentinels = naming.sentinels(named.to_vec(), tokens);
        let spans = settings().spans(sentinels, 1).unwrap();
        spans.corrupt(&ids, &mask).unwrap().input_ids
    };
    let plain = [10, 32_099, 12, 32_098, 1];
    assert_eq!(inputs(SentinelNaming::ByName, &named, 32_100), plain);
    assert_eq!(
        inputs(SentinelNaming::TopOfVocabulary, &named, 32_100),
        plain
    );
    // Fifteen added tokens: the names stay, the top moves.
    assert_eq!(inputs(SentinelNaming::ByName, &named, 32_115), plain);
    assert_eq!(
        inputs(SentinelNaming::TopOfVocabulary, &named, 32_115),
        [10, 32_114, 12, 32_113, 1]
    );
    // A row of 568 tokens has 28 spans.
    assert!(
        settings()
            .spans(Sentinels::ByName(named[..28].to_vec()), 1)
            .is_ok()
    );
    assert!(matches!(
        settings().spans(Sentinels::ByName(named[..27].to_vec()), 1),
        Err(DataError::Spans(error)) if matches!(*error, clinical_t5::Error::SentinelsUsedUp { limit: 27 })
    ));
}

#[test]
fn masks_are_uniform_compositions() {
    // 8 tokens, 4 of them noise in 2 spans: 3 times 3 masks.
    let spans = settings()
        .with_noise_density(0.5)
        .with_mean_span(2.0)
        .spans(top(32_100), 1)
        .unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut counts: HashMap<Vec<bool>, u32> = HashMap::new();
    for _ in 0..9_000 {
        *counts
            .entry(spans.noise_mask(8, &mut rng).unwrap())
            .or_default() += 1;
    }
    assert_eq!(counts.len(), 9);
    // 1000 each, give or take five deviations of 30.
    assert!(
        counts.values().all(|count| (850..=1150).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn an_example_is_a_function_of_seed_epoch_and_row() {
    let spans = settings().spans(top(32_100), 1).unwrap();
    let row: Vec<u32> = (100..668).collect();
    let example = |seed, epoch, index| spans.example(&row, seed, epoch, index).unwrap();
    let first = example(1, 2, 3);
    assert_eq!(first, example(1, 2, 3));
    for other in [
        example(0, 2, 3),
        example(1, 3, 3),
        example(1, 2, 4),
        example(2, 1, 3),
    ] {
        assert_ne!(first, other);
    }
}

#[test]
fn what_cannot_be_had_is_an_error() {
    for settings in [
        settings().with_noise_density(0.0),
        settings().with_noise_density(f64::NAN),
        settings().with_noise_density(1.0),
        settings().with_mean_span(0.5),
        settings().with_mean_span(f64::INFINITY),
        settings().with_inputs_length(0),
        settings().with_inputs_length(1),
        settings().with_inputs_length(usize::MAX),
    ] {
        assert!(
            matches!(settings.lengths(), Err(DataError::Spans(_))),
            "{settings:?}"
        );
    }
    let one = settings().with_mean_span(1.0);
    assert!(matches!(
        one.spans(top(32_100), 1),
        Err(DataError::InconsistentLengths {
            tokens_length: 512,
            targets_length: 155,
            inputs: 513,
            ..
        })
    ));
    let spans = settings().spans(top(32_100), 1).unwrap();
    for row in [&[][..], &[5]] {
        assert!(matches!(
            spans.example(row, 0, 0, 0),
            Err(DataError::Spans(_))
        ));
    }
    assert!(matches!(
        spans.corrupt(&[5, 6], &[true]),
        Err(DataError::Spans(_))
    ));
}

#[test]
fn settings_read_what_a_recipe_says() {
    let read = |text: &str| serde_json::from_str::<SpanSettings>(text);
    assert_eq!(read("{}").unwrap(), settings());
    let other = read(r#"{"mean_span": 4.0, "sentinels": "top_of_vocabulary"}"#).unwrap();
    let expected = settings()
        .with_mean_span(4.0)
        .with_sentinels(SentinelNaming::TopOfVocabulary);
    assert_eq!(other, expected);
    assert_eq!(
        read(&serde_json::to_string(&other).unwrap()).unwrap(),
        other
    );
    assert!(read(r#"{"mean_spam": 4.0}"#).is_err());
}

#[test]
fn notes_become_rows_group_by_group() {
    let notes = || (0..5_u32).map(|note| Ok::<_, Infallible>(vec![10 + note, 20 + note, 1]));
    let mut all = Pieces::new(notes(), 4).unwrap();
    let rows: Vec<Vec<u32>> = all.by_ref().map(Result::unwrap).collect();
    assert_eq!(rows, [[10, 20, 1, 11], [21, 1, 12, 22], [1, 13, 23, 1]]);
    assert_eq!((all.notes(), all.dropped_tokens()), (5, 3));
    // After every second note the rest is dropped, as the published script does after 1000.
    let mut groups = Pieces::new(notes(), 4).unwrap().with_group(2).unwrap();
    let rows: Vec<Vec<u32>> = groups.by_ref().map(Result::unwrap).collect();
    assert_eq!(rows, [[10, 20, 1, 11], [12, 22, 1, 13]]);
    assert_eq!((groups.notes(), groups.dropped_tokens()), (5, 7));

    assert!(matches!(
        Pieces::new(notes(), 1),
        Err(DataError::TooFewTokens { tokens: 1, .. })
    ));
    let pieces = Pieces::new(notes(), 4).unwrap();
    assert!(matches!(pieces.with_group(0), Err(DataError::Zero { .. })));
    // An error takes nothing with it.
    let broken = [Ok(vec![1, 2, 3]), Err("unreadable"), Ok(vec![4])];
    let rows: Vec<_> = Pieces::new(broken, 4).unwrap().collect();
    assert_eq!(rows, [Err("unreadable"), Ok(vec![1, 2, 3, 4])]);
}

proptest! {
    /// Inputs and labels together hold every token once, and have the lengths that the settings promise.
    #[test]
    fn nothing_is_lost(inputs in 8_usize..700, density in 0.05_f64..0.5, mean in 1.5_f64..8.0, seed: u64) {
        let settings = settings()
            .with_inputs_length(inputs)
            .with_noise_density(density)
            .with_mean_span(mean);
        let spans = match settings.spans(top(1_000_000), 1) {
            Ok(spans) => spans,
            Err(DataError::InconsistentLengths { .. }) => return Err(TestCaseError::reject("no such lengths")),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let row: Vec<u32> = (10..10 + spans.tokens_length() as u32).collect();
        let example = spans.example(&row, seed, 0, 0).unwrap();
        prop_assert_eq!(example.input_ids.len(), inputs);
        prop_assert_eq!(example.labels.len(), spans.targets_length());
        let mut found = [example.input_ids, example.labels].concat();
        prop_assert_eq!(found.iter().filter(|&&id| id == 1).count(), 2);
        found.retain(|&id| (10..500_000).contains(&id));
        found.sort_unstable();
        prop_assert_eq!(found, row);
    }
}
