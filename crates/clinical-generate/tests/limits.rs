//! Limits, constraints and errors: nothing that a caller may ask for panics, and every refusal says why.

mod common;

use std::ops::ControlFlow;

use clinical_generate::{
    EndTokens, Error, Generation, ModelError, Processor, StopReason, generate,
};
use common::{END, TableModel, prompts, run, slices, strategies};
use proptest::prelude::*;

fn error(model: &TableModel, prompts: &[&[u32]], options: &Generation) -> Error {
    let end = EndTokens::new([END]);
    generate(model, prompts, &end, options, |_| ControlFlow::Continue(())).unwrap_err()
}

#[test]
fn the_last_position_is_kept() {
    let mut model = TableModel::decoder(40);
    model.limit = Some(8);
    let options = Generation::greedy()
        .with_suppress([END])
        .with_max_new_tokens(5);
    let prompt = [5; 9];
    for (length, new, stop) in [
        (3, 5, StopReason::MaxNewTokens),
        (4, 4, StopReason::MaxPositions),
        (7, 1, StopReason::MaxPositions),
    ] {
        for beams in [1, 3] {
            let options = options.clone().with_beams(beams);
            let result = &run(&model, &[&prompt[..length]], &options)[0];
            assert_eq!(
                (result.ids.len(), result.stop),
                (new, stop),
                "{length} tokens"
            );
        }
    }
    for length in [8, 9] {
        for beams in [1, 3] {
            let error = error(
                &model,
                &[&[5, 6], &prompt[..length]],
                &options.clone().with_beams(beams),
            );
            let Error::PromptTooLong {
                row: 1,
                tokens,
                limit: 8,
            } = error
            else {
                panic!("{error}")
            };
            assert_eq!(tokens, length);
            assert!(error.to_string().contains("to 7 tokens"), "{error}");
        }
    }
    // An encoder-decoder's prompt does not count.
    let mut model = TableModel::encoder_decoder(40);
    model.limit = Some(4);
    let result = &run(&model, &[&prompt], &options)[0];
    assert_eq!(
        (result.ids.len(), result.stop),
        (4, StopReason::MaxPositions)
    );
}

#[test]
fn rows_without_end_are_refused_before_memory_is_taken() {
    let model = TableModel::decoder(40);
    for (field, options) in [
        ("beams", Generation::beam(usize::MAX)),
        ("beams", Generation::beam(65_537)),
        (
            "num_return_sequences",
            Generation::sample().with_num_return_sequences(usize::MAX),
        ),
    ] {
        let refused = error(&model, &[&[4, 5]], &options);
        assert!(
            matches!(refused, Error::OutOfRange { field: found, .. } if found == field),
            "{refused}"
        );
    }
}

#[test]
fn inputs_that_cannot_be_read_are_typed_errors() {
    let model = TableModel::decoder(40);
    for options in [Generation::greedy(), Generation::beam(2)] {
        let nothing = error(&model, &[], &options);
        assert!(matches!(nothing, Error::Model(ModelError::NoRows)));
        let empty = error(&model, &[&[4], &[]], &options);
        assert!(matches!(
            empty,
            Error::Model(ModelError::EmptyPrompt { row: 1 })
        ));
        let unknown = error(&model, &[&[40]], &options);
        assert!(matches!(
            unknown,
            Error::Model(ModelError::TokenOutOfRange { id: 40, .. })
        ));
    }
}

#[test]
fn a_logit_that_is_not_finite_is_an_error() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for options in strategies() {
            let mut model = TableModel::decoder(40);
            model.broken = Some((3, value));
            let options = options.with_suppress([END]);
            let error = error(&model, &[&[4, 5], &[6, 7]], &options);
            let Error::NonFinite { layer, row, step } = &error else {
                panic!("{error}");
            };
            assert_eq!((*row, *step), (0, 3));
            assert_eq!(layer, "table after 2 and 2 tokens");
            assert!(error.to_string().contains(layer), "{error}");
        }
    }
}

#[test]
fn options_that_forbid_everything_are_an_error() {
    let model = TableModel::decoder(5);
    for options in [
        Generation::greedy(),
        Generation::sample(),
        Generation::beam(2),
    ] {
        let all = error(&model, &[&[2]], &options.clone().with_suppress(0..5));
        assert!(matches!(all, Error::NothingAllowed { row: 0, step: 1 }));
        // One answer of two tokens, and an end that is not allowed before five.
        let options = options.with_allowed([vec![2, 3]]).with_min_new_tokens(5);
        let late = error(&model, &[&[2]], &options);
        assert!(
            matches!(late, Error::NothingAllowed { row: 0, step: 3 }),
            "{late}"
        );
    }
}

#[test]
fn constrained_answers_come_from_the_list() {
    let labels = [vec![9, 3], vec![9, 3, 12], vec![20], vec![21, 22, 23, 24]];
    for options in strategies() {
        let options = options.with_allowed(labels.clone());
        for model in [TableModel::decoder(40), TableModel::encoder_decoder(40)] {
            let all = prompts(12, 40);
            let plain = options.clone();
            let mut unpenalised = plain.clone();
            unpenalised.no_repeat_ngram = 0;
            for result in run(&model, &slices(&all), &unpenalised) {
                assert_eq!(result.stop, StopReason::EndToken);
                assert!(
                    labels.iter().any(|label| label == result.content()),
                    "{result:?}"
                );
            }
        }
    }
    // More beams than answers: each answer once.
    let options = Generation::beam(6)
        .with_num_return_sequences(6)
        .with_allowed(labels.clone());
    let results = run(&TableModel::decoder(40), &[&[5, 6, 7]], &options);
    let mut found: Vec<Vec<u32>> = results
        .iter()
        .map(|result| result.content().to_vec())
        .collect();
    found.sort();
    let mut expected = labels.to_vec();
    expected.sort();
    assert_eq!(found, expected);
    assert!(
        results
            .windows(2)
            .all(|pair| pair[0].score >= pair[1].score)
    );
}

#[test]
fn forced_and_forbidden_tokens() {
    let model = TableModel::decoder(40);
    let all = prompts(8, 40);
    for options in strategies() {
        let mut options = options
            .with_max_new_tokens(8)
            .with_forced_first(30)
            .with_forced_last(31)
            .with_suppress([END, 7])
            .with_bad_words([vec![8], vec![9, 10]])
            .with_processor(Processor::new(|_, new, scores| {
                if new.len() == 2 {
                    scores.fill(f32::NEG_INFINITY);
                    scores[33] = 0.0;
                }
            }));
        options.no_repeat_ngram = 0;
        for result in run(&model, &slices(&all), &options) {
            assert_eq!((result.ids[0], result.ids[2], result.ids[7]), (30, 33, 31));
            assert!(!result.ids.iter().any(|id| [END, 7, 8].contains(id)));
            assert!(!result.ids.windows(2).any(|pair| pair == [9, 10]));
        }
    }
}

#[test]
fn a_vocabulary_of_one_token() {
    let model = TableModel::decoder(1);
    let end = EndTokens::none();
    for options in strategies() {
        let mut options = options.with_max_new_tokens(4);
        options.num_return_sequences = 1;
        options.no_repeat_ngram = 0;
        let results = generate(&model, &[&[0]], &end, &options, |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(results[0].ids, [0; 4]);
        assert_eq!(results[0].log_prob(), Some(0.0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any options either break a rule or give answers within their limits.
    #[test]
    fn any_options_work_or_are_refused(
        vocabulary in 1usize..30,
        beams in 0usize..5,
        sample: bool,
        copies in 0usize..4,
        lengths in (0usize..10, 0usize..10),
        numbers in (-0.5f64..3.0, -0.5f64..1.5, -0.5f64..1.5, -0.5f64..1.5, -0.5f64..3.0, -3f64..3.0),
        top_k in 0usize..40,
        ngram in 0usize..4,
        words in prop::collection::vec(prop::collection::vec(0u32..32, 0..3), 0..3),
        ends in prop::collection::vec(0u32..30, 0..3),
        rows in prop::collection::vec(prop::collection::vec(0u32..30, 0..6), 0..4),
        limit in prop::option::of(1usize..12),
    ) {
        let mut model = TableModel::decoder(vocabulary);
        model.limit = limit;
        let mut options = Generation::greedy();
        options.beams = beams;
        options.sample = sample;
        options.num_return_sequences = copies;
        options.max_new_tokens = lengths.0;
        options.min_new_tokens = lengths.1;
        options.repetition_penalty = numbers.0;
        options.length_penalty = numbers.5;
        if sample {
            (options.top_p, options.min_p, options.typical_p) = (numbers.1, numbers.2, numbers.3);
            options.temperature = numbers.4;
            options.top_k = top_k;
        }
        options.no_repeat_ngram = ngram;
        options.bad_words = words.clone();
        options.stop_sequences = words;
        let end = EndTokens::new(ends);
        let prompts = slices(&rows);
        match generate(&model, &prompts, &end, &options, |_| ControlFlow::Continue(())) {
            Err(error) => prop_assert!(!error.to_string().is_empty()),
            Ok(results) => {
                prop_assert!(results.len() <= rows.len() * copies);
                prop_assert!(results.len() >= rows.len());
                for result in results {
                    prop_assert!(!result.ids.is_empty() && result.ids.len() <= options.max_new_tokens);
                    prop_assert!(result.ids.iter().all(|&id| (id as usize) < vocabulary));
                    if let Some(limit) = limit {
                        prop_assert!(rows[result.row].len() + result.ids.len() <= limit);
                    }
                    if result.stop == StopReason::EndToken {
                        prop_assert!(result.ids.len() > options.min_new_tokens);
                    }
                }
            }
        }
    }
}
