//! Tokens chosen from a short list, which the device makes, and from all logits, as on a CPU: the same, whatever the
//! options.

mod common;

use std::ops::ControlFlow;

use clinical_generate::{
    Cancel, EndTokens, Error, Generated, Generation, Prefix, generate, generate_many,
};
use common::{END, TableModel, prompts, slices, strategies};
use proptest::prelude::*;

type Results = Result<Vec<Generated>, Error>;

/// Scores are summed in another order; everything else is the same.
fn assert_same(found: &Results, expected: &Results, options: &Generation) {
    let (found, expected) = match (found, expected) {
        (Ok(found), Ok(expected)) => (found, expected),
        _ => {
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{options:?}");
            return;
        }
    };
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let near = |a: f32, b: f32| (a - b).abs() < 1e-4;
        let log_probs = found.log_probs.iter().zip(&expected.log_probs);
        assert!(
            log_probs.clone().all(|(&a, &b)| near(a, b))
                && found.log_probs.len() == expected.log_probs.len()
                && near(found.score.unwrap_or(0.0), expected.score.unwrap_or(0.0)),
            "{found:?} {expected:?} {options:?}"
        );
        let top = |result: &Generated| result.top_log_probs.concat();
        assert_eq!(top(found).len(), top(expected).len(), "{options:?}");
        for (found, expected) in top(found).iter().zip(top(expected)) {
            assert_eq!(found.id, expected.id, "{options:?}");
            assert!(near(found.log_prob, expected.log_prob), "{options:?}");
        }
        let mut same = expected.clone();
        same.log_probs.clone_from(&found.log_probs);
        same.top_log_probs.clone_from(&found.top_log_probs);
        same.score = found.score;
        assert_eq!(*found, same, "{options:?}");
    }
}

fn both(model: &TableModel, prompts: &[&[u32]], end: &[u32], options: &Generation) -> [Results; 2] {
    [true, false].map(|shortlist| {
        let options = options.clone().with_shortlist(shortlist);
        let end = EndTokens::new(end.to_vec());
        generate(
            model,
            prompts,
            &end,
            &options,
            |_| ControlFlow::Continue(()),
        )
    })
}

/// One of the four strategies with filters.
fn strategy() -> impl Strategy<Value = Generation> {
    let filters = (
        prop_oneof![Just(0usize), Just(1), Just(3), Just(20)],
        prop_oneof![3 => Just(1.0f64), 1 => 0.3f64..1.0],
        prop_oneof![3 => Just(0.0f64), 1 => 0.0f64..0.3],
        prop_oneof![3 => Just(1.0f64), 1 => 0.3f64..1.0],
        prop_oneof![1 => Just(1.0f64), 1 => 0.5f64..2.0],
    );
    let told = (
        any::<bool>(),
        prop_oneof![2 => Just(0usize), 1 => 1usize..6],
    );
    (0usize..4, 1usize..5, filters, told, any::<u64>()).prop_map(
        |(kind, beams, (k, p, min, typical, temperature), (log_probs, top), seed)| {
            let beams = if kind < 2 { 1 } else { beams };
            let copies = if kind == 0 { 1 } else { beams };
            let options = Generation::beam(beams)
                .with_num_return_sequences(copies)
                .with_max_new_tokens(12)
                .with_log_probs(log_probs)
                .with_top_log_probs(if beams == 1 { top } else { 0 });
            match kind {
                1 | 3 => options
                    .with_sampling(true)
                    .with_seed(seed)
                    .with_temperature(temperature)
                    .with_top_k(k)
                    .with_top_p(p)
                    .with_min_p(min)
                    .with_typical_p(typical),
                _ => options,
            }
        },
    )
}

/// What forbids tokens, and sometimes what changes their logits.
fn changed(options: Generation, bits: u32, id: u32) -> Generation {
    let on = |bit: u32| bits >> bit & 1 == 1;
    let mut options = options;
    if on(0) {
        options = options.with_suppress([id, id + 1]);
    }
    if on(1) {
        options = options.with_bad_words([vec![id + 2], vec![id, id + 3]]);
    }
    if on(2) {
        options = options.with_no_repeat_ngram(1 + id as usize % 3);
    }
    if on(3) {
        options = options.with_min_new_tokens(4);
    }
    if on(4) && on(5) {
        options = options.with_forced_first(id);
    }
    if on(5) && on(6) {
        options = options.with_forced_last(END);
    }
    if on(7) && on(8) {
        options = options.with_allowed([vec![id, 5], vec![id, 5, 6], vec![7, 8, 9, 10], vec![3]]);
    }
    if on(9) && on(10) {
        options = options.with_repetition_penalty(1.3);
    }
    if on(11) && on(12) {
        options = options.with_logit_bias(id, 2.0);
    }
    options
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn all_options(
        options in strategy(),
        bits in prop_oneof![1 => Just(0u32), 3 => any::<u32>()],
        id in 2u32..50,
        encoder in any::<bool>(),
        grid in prop_oneof![Just(None), Just(Some(0.25f32)), Just(Some(2.0))],
        two_ends in any::<bool>(),
        broken in prop::option::weighted(0.2, (1usize..6, 0usize..3)),
        rows in 1usize..5,
    ) {
        let mut model = if encoder { TableModel::encoder_decoder(60) } else { TableModel::decoder(60) };
        model.end_bias = 1.0;
        model.grid = grid;
        model.broken = broken.map(|(step, kind)| (step, [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][kind]));
        let all = prompts(rows, 60);
        let options = changed(options, bits, id);
        let end: &[u32] = if two_ends { &[END, 59] } else { &[END] };
        let [found, expected] = both(&model, &slices(&all), end, &options);
        assert_same(&found, &expected, &options);
    }
}

#[test]
fn queues_prefixes_and_closures() {
    let mut model = TableModel::decoder(80);
    model.end_bias = 1.5;
    model.merges = true;
    model.shares = true;
    let all = prompts(25, 80);
    let end = EndTokens::new([END]);
    for options in strategies() {
        let results = [true, false].map(|shortlist| {
            let options = options.clone().with_shortlist(shortlist);
            let mut steps = Vec::new();
            let listen = |step: clinical_generate::Step<'_>| {
                steps.push((step.row, step.sequence, step.index, step.id, step.stop));
                match step.row == 3 && step.index == 2 {
                    true => ControlFlow::Break(Cancel::Row),
                    false => ControlFlow::Continue(()),
                }
            };
            let many = generate_many(&model, &slices(&all), &end, &options, 7, listen);
            let prefix = Prefix::read(&model, &[4, 5, 6]).unwrap();
            let next = |_: clinical_generate::Step<'_>| ControlFlow::Continue(());
            let after = prefix.generate_many(&model, &slices(&all), &end, &options, 9, next);
            let same = prefix.generate(&model, &[], &end, &options, next);
            (steps, [many, after, same])
        });
        let [(found_steps, found), (expected_steps, expected)] = results;
        assert_eq!(found_steps, expected_steps, "{options:?}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!(expected.is_ok());
            assert_same(found, expected, &options);
        }
    }
}
