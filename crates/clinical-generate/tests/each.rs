//! A result for each prompt: one that cannot be answered costs nobody else anything.

mod common;

use std::ops::ControlFlow;
use std::time::Instant;

use clinical_generate::{
    CancelFlag, Each, EndTokens, Error, Generation, ModelError, Prefix, Processor, StopReason,
    generate_each, generate_many,
};
use common::{END, TableModel, prompts, slices, strategies};

/// Good prompts with bad ones between them, and the numbers of the good.
fn mixed(count: usize) -> (Vec<Vec<u32>>, Vec<usize>) {
    let mut all = prompts(count, 40);
    all.insert(3, Vec::new());
    all.insert(5, vec![5, 40]);
    all.insert(7, vec![5; 100]);
    let good = (0..all.len())
        .filter(|row| ![3, 5, 7].contains(row))
        .collect();
    (all, good)
}

#[test]
fn a_bad_prompt_costs_only_itself() {
    let (all, good) = mixed(20);
    let end = EndTokens::new([END]);
    for options in strategies() {
        for merges in [true, false] {
            let mut model = TableModel::decoder(40);
            model.end_bias = 1.0;
            model.limit = Some(90);
            model.merges = merges;
            model.shares = merges;
            let rows: Vec<&[u32]> = good.iter().map(|&row| &all[row][..]).collect();
            let expected = generate_many(&model, &rows, &end, &options, 6, |_| {
                ControlFlow::Continue(())
            });
            let expected = expected.unwrap();
            let mut done = Vec::new();
            let each = generate_each(&model, &slices(&all), &end, &options, 6, |row, result| {
                done.push((row, result.is_ok()));
            });
            let copies = expected.len() / good.len();
            for (expected, &row) in expected.chunks(copies).zip(&good) {
                let found = each[row].as_ref().unwrap();
                for (found, expected) in found.iter().zip(expected) {
                    assert_eq!((found.row, &found.ids), (row, &expected.ids));
                    assert_eq!(found.log_probs, expected.log_probs);
                }
                assert_eq!(found.len(), expected.len());
            }
            check_bad(&each);
            // Each is reported once.
            done.sort();
            let told: Vec<(usize, bool)> = (0..all.len())
                .map(|row| (row, good.contains(&row)))
                .collect();
            assert_eq!(done, told);
        }
    }
}

fn check_bad(each: &[Each]) {
    let empty = each[3].as_ref().unwrap_err();
    assert!(
        matches!(empty, Error::Model(ModelError::EmptyPrompt { row: 3 })),
        "{empty}"
    );
    let unknown = each[5].as_ref().unwrap_err();
    let is_unknown = |error: &Error| {
        matches!(
            error,
            Error::Model(ModelError::TokenOutOfRange { id: 40, row: 5, .. })
        )
    };
    assert!(is_unknown(unknown), "{unknown}");
    let long = each[7].as_ref().unwrap_err();
    assert!(
        matches!(
            long,
            Error::PromptTooLong {
                row: 7,
                tokens: 100,
                limit: 90
            }
        ),
        "{long}"
    );
}

#[test]
fn continuations_of_a_prefix_too() {
    let (all, good) = mixed(12);
    let end = EndTokens::new([END]);
    let options = Generation::greedy().with_max_new_tokens(12);
    for shares in [true, false] {
        let mut model = TableModel::decoder(40);
        model.limit = Some(90);
        model.merges = true;
        model.shares = shares;
        let prefix = Prefix::read(&model, &[4, 5, 6]).unwrap();
        let silent = |_: usize, _: &Each| ();
        let each = prefix.generate_each(&model, &slices(&all), &end, &options, 4, silent);
        for &row in &good {
            let next = |_: clinical_generate::Step<'_>| ControlFlow::Continue(());
            let alone = prefix
                .generate(&model, &all[row], &end, &options, next)
                .unwrap();
            assert_eq!(each[row].as_ref().unwrap()[0].ids, alone[0].ids);
        }
        // An empty continuation is the prefix itself.
        assert!(each[3].is_ok() && each[5].is_err() && each[7].is_err());
    }
}

#[test]
fn logits_that_are_not_finite_and_panics_cost_only_their_prompt() {
    let model = TableModel::decoder(40);
    let all = prompts(9, 40);
    let end = EndTokens::new([END]);
    let bad = all[4].clone();
    for fails in ["nothing is left", "panic"] {
        let processor = Processor::new({
            let bad = bad.clone();
            move |context, new, scores| {
                if context == bad && new.len() == 2 {
                    assert_ne!(fails, "panic", "on purpose");
                    scores.fill(f32::NEG_INFINITY);
                }
            }
        });
        let options = Generation::greedy()
            .with_suppress([END])
            .with_max_new_tokens(6);
        let free = generate_each(&model, &slices(&all), &end, &options, 3, |_, _| ());
        let options = options.with_processor(processor);
        let each = generate_each(&model, &slices(&all), &end, &options, 3, |_, _| ());
        for (row, (found, free)) in each.iter().zip(&free).enumerate() {
            match (row, found) {
                (4, Err(Error::NothingAllowed { row: 4, step: 3 })) => {
                    assert_eq!(fails, "nothing is left");
                }
                (4, Err(Error::Panicked)) => assert_eq!(fails, "panic"),
                (_, found) => assert_eq!(found.as_ref().unwrap(), free.as_ref().unwrap()),
            }
        }
    }
}

#[test]
fn options_flags_and_deadlines() {
    let model = TableModel::decoder(40);
    let all = prompts(5, 40);
    let end = EndTokens::new([END]);
    let run =
        |options: &Generation| generate_each(&model, &slices(&all), &end, options, 0, |_, _| ());
    let refused = run(&Generation::greedy().with_top_k(4));
    assert_eq!(refused.len(), 5);
    let needs = |each: &Each| matches!(each, Err(Error::NeedsSampling { field: "top_k" }));
    assert!(refused.iter().all(needs));
    let flag = CancelFlag::new();
    flag.cancel();
    let greedy = Generation::greedy().with_suppress([END]);
    for (options, stop) in [
        (greedy.clone().with_cancel(flag), StopReason::Cancelled),
        (greedy.with_deadline(Instant::now()), StopReason::Deadline),
    ] {
        // The first is read in any case.
        let each = run(&options);
        let tokens = |each: &Each| each.as_ref().unwrap()[0].ids.len();
        assert_eq!(each.iter().map(tokens).sum::<usize>(), 1);
        assert!(
            each.iter()
                .all(|each| each.as_ref().unwrap()[0].stop == stop)
        );
    }
    let none = generate_each(&model, &[], &end, &Generation::greedy(), 4, |_, _| ());
    assert!(none.is_empty());
}
