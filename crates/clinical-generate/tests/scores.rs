//! Scores of given continuations, prefixes that are read once, and many prompts through few slots.

mod common;

use std::ops::ControlFlow;
use std::time::Instant;

use clinical_generate::{
    Cancel, EndTokens, Error, Generation, ModelError, Prefix, Step, StopReason, generate,
    generate_many, score, score_batch, score_candidates,
};
use common::{END, TableModel, prompts, slices};

/// Token by token from the table.
fn expected(model: &TableModel, prompt: &[u32], continuation: &[u32]) -> Vec<f32> {
    let mut all = [&[0; 3], prompt].concat();
    let mut log_probs = Vec::new();
    for &id in continuation {
        let last = [all[all.len() - 3], all[all.len() - 2], all[all.len() - 1]];
        let row = model.row(last, 0);
        let total: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        log_probs.push((f64::from(row[id as usize]) - total.ln()) as f32);
        all.push(id);
    }
    log_probs
}

fn close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-5, "{got} for {expected}");
    }
}

#[test]
fn a_score_is_the_sum_over_the_table() {
    let model = TableModel::decoder(40);
    let got = score(&model, &[5, 6], &[7, 8, 9, END]).unwrap();
    close(&got.log_probs, &expected(&model, &[5, 6], &[7, 8, 9, END]));
    assert!((got.total() - got.mean() * 4.0).abs() < 1e-9);
    assert!((got.perplexity() - (-got.mean()).exp()).abs() < 1e-9);
    let nothing = score(&model, &[5], &[]).unwrap();
    assert_eq!((nothing.total(), nothing.mean()), (0.0, 0.0));
}

#[test]
fn shared_prefixes_are_read_once_and_change_nothing() {
    let model = TableModel::decoder(40);
    let candidates: Vec<Vec<u32>> = vec![
        vec![7, 8, 9, 10, 11, 12],
        vec![7, 8, 9, 10],
        vec![7, 8, 20, 21],
        vec![],
        vec![7, 8, 9, 10, 11, 12],
        vec![30],
        vec![31, 7, 8, 9],
    ];
    let scores = score_candidates(&model, &[5, 6, 4], &slices(&candidates)).unwrap();
    let rows: usize = model.calls.borrow().iter().sum();
    for (score, candidate) in scores.iter().zip(&candidates) {
        close(&score.log_probs, &expected(&model, &[5, 6, 4], candidate));
    }
    // The prompt, and one row for each different prefix that another token follows.
    let mut prefixes: Vec<&[u32]> = Vec::new();
    for candidate in &candidates {
        prefixes.extend((1..candidate.len()).map(|end| &candidate[..end]));
    }
    prefixes.sort();
    prefixes.dedup();
    assert_eq!(rows, 1 + prefixes.len());
}

#[test]
fn a_batch_of_pairs_is_the_pairs_alone() {
    let model = TableModel::decoder(40);
    let texts = prompts(24, 40);
    let pairs: Vec<(&[u32], &[u32])> = (0..24)
        .map(|i| (texts[i % 5].as_slice(), texts[i].as_slice()))
        .collect();
    let together = score_batch(&model, &pairs).unwrap();
    for (score, &(prompt, continuation)) in together.iter().zip(&pairs) {
        assert_eq!(
            *score,
            clinical_generate::score(&model, prompt, continuation).unwrap()
        );
        close(&score.log_probs, &expected(&model, prompt, continuation));
    }
    assert!(score_batch(&model, &[]).unwrap().is_empty());
}

#[test]
fn the_score_of_an_answer_is_what_generation_reports() {
    let model = TableModel::encoder_decoder(40);
    let options = Generation::beam(3)
        .with_log_probs(true)
        .with_max_new_tokens(15);
    let end = EndTokens::new([END]);
    let results = generate(&model, &[&[8, 9]], &end, &options, |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    let again = score(&model, &[8, 9], &results[0].ids).unwrap();
    assert_eq!(again.log_probs, results[0].log_probs);
}

#[test]
fn scores_refuse_what_cannot_be_scored() {
    let mut model = TableModel::decoder(40);
    model.limit = Some(5);
    assert!(score(&model, &[2, 3], &[4, 5, 6]).is_ok());
    let long = score(&model, &[2, 3], &[4, 5, 6, 7]);
    assert!(matches!(
        long,
        Err(Error::Model(ModelError::TooLong {
            positions: 6,
            limit: 5
        }))
    ));
    let empty = score(&model, &[], &[4]);
    assert!(matches!(
        empty,
        Err(Error::Model(ModelError::EmptyPrompt { row: 0 }))
    ));
    let unknown = score(&model, &[2], &[40]);
    assert!(matches!(
        unknown,
        Err(Error::Model(ModelError::TokenOutOfRange { id: 40, .. }))
    ));
    model.broken = Some((2, f32::NAN));
    let broken = score(&model, &[2], &[3, 4, 5]);
    assert!(matches!(
        broken,
        Err(Error::NonFinite {
            row: 0,
            step: 2,
            ..
        })
    ));
}

#[test]
fn a_prefix_read_once_gives_the_answers_of_the_whole_prompt() {
    let model = TableModel::decoder(40);
    let end = EndTokens::new([END]);
    let note = [5, 6, 7, 8];
    let prefix = Prefix::read(&model, &note).unwrap();
    for question in [&[9, 10, 11][..], &[12], &[]] {
        for options in [
            Generation::greedy(),
            Generation::sample(),
            Generation::beam(3),
        ] {
            let options = options.with_max_new_tokens(10);
            let whole = [&note, question].concat();
            let expected = generate(&model, &[&whole], &end, &options, |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
            let got = prefix.generate(&model, question, &end, &options, |_| {
                ControlFlow::Continue(())
            });
            assert_eq!(got.unwrap(), expected);
        }
    }
    let questions = prompts(9, 40);
    let whole: Vec<Vec<u32>> = questions
        .iter()
        .map(|question| [&note, question.as_slice()].concat())
        .collect();
    let options = Generation::sample().with_max_new_tokens(10);
    let expected = generate(&model, &slices(&whole), &end, &options, |_| {
        ControlFlow::Continue(())
    });
    let expected = expected.unwrap();
    for slots in [3, 20] {
        let got = prefix.generate_many(&model, &slices(&questions), &end, &options, slots, |_| {
            ControlFlow::Continue(())
        });
        assert_eq!(got.unwrap(), expected);
    }
    let answers = [&[4, 5, 6][..], &[4, 7]];
    for continuation in [&[9, 10][..], &[]] {
        let whole = [&note, continuation].concat();
        let expected = score_candidates(&model, &whole, &answers).unwrap();
        let got = prefix.score_candidates(&model, continuation, &answers);
        assert_eq!(got.unwrap(), expected);
    }
    let mut short = TableModel::decoder(40);
    short.limit = Some(5);
    let options = Generation::greedy();
    let full = prefix.generate(&short, &[9], &end, &options, |_| ControlFlow::Continue(()));
    assert!(matches!(
        full,
        Err(Error::PromptTooLong {
            tokens: 5,
            limit: 5,
            ..
        })
    ));
    let t5 = TableModel::encoder_decoder(40);
    let prefix = Prefix::read(&t5, &note).unwrap();
    let more = prefix.generate(&t5, &[9], &end, &options, |_| ControlFlow::Continue(()));
    assert!(matches!(more, Err(Error::PromptIsWhole)));
    assert!(
        prefix
            .generate(&t5, &[], &end, &options, |_| ControlFlow::Continue(()))
            .is_ok()
    );
}

#[test]
fn many_prompts_give_what_they_give_alone() {
    let all = prompts(41, 40);
    let end = EndTokens::new([END]);
    for merges in [false, true] {
        let mut model = TableModel::decoder(40);
        model.end_bias = 1.0;
        model.merges = merges;
        for options in [
            Generation::greedy(),
            Generation::sample().with_num_return_sequences(2),
            Generation::beam(3).with_num_return_sequences(2),
        ] {
            let options = options.with_max_new_tokens(25);
            let expected = generate(&model, &slices(&all), &end, &options, |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
            for slots in [1, 6, 8, 200] {
                model.calls.borrow_mut().clear();
                let mut seen = vec![0; all.len()];
                let got = generate_many(&model, &slices(&all), &end, &options, slots, |step| {
                    seen[step.row] += 1;
                    ControlFlow::Continue(())
                });
                let got = got.unwrap();
                assert_eq!(got, expected, "{slots} slots");
                for (row, &seen) in seen.iter().enumerate() {
                    let tokens = got
                        .iter()
                        .filter(|result| result.row == row)
                        .map(|result| result.ids.len());
                    assert_eq!(seen, tokens.sum::<usize>());
                }
                let most = slots.max(options.beams).max(options.num_return_sequences);
                assert!(model.calls.borrow().iter().all(|&rows| rows <= most));
            }
        }
    }
}

#[test]
fn rows_that_join_while_others_run_keep_the_batch_full() {
    let all = prompts(200, 40);
    let end = EndTokens::new([END]);
    let options = Generation::greedy().with_max_new_tokens(60);
    let mut passes = Vec::new();
    for merges in [false, true] {
        let mut model = TableModel::decoder(40);
        model.merges = merges;
        generate_many(&model, &slices(&all), &end, &options, 16, |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        passes.push(model.calls.borrow().len());
    }
    assert!(
        passes[1] * 4 < passes[0] * 3,
        "passes through the model: {passes:?}"
    );
}

#[test]
fn searches_that_join_while_others_run_keep_the_batch_full() {
    let all = prompts(60, 40);
    let end = EndTokens::new([END]);
    let options = Generation::beam(3).with_max_new_tokens(60);
    let mut passes = Vec::new();
    let mut answers = Vec::new();
    for merges in [false, true] {
        let mut model = TableModel::decoder(40);
        model.merges = merges;
        // Searches end after 3 to 60 tokens.
        model.end_bias = 1.0;
        let silent = |_: Step<'_>| ControlFlow::Continue(());
        answers.push(generate_many(&model, &slices(&all), &end, &options, 24, silent).unwrap());
        passes.push(model.calls.borrow().len());
    }
    assert_eq!(answers[0], answers[1]);
    assert!(
        passes[1] * 5 < passes[0] * 4,
        "passes through the model: {passes:?}"
    );
}

#[test]
fn what_all_prompts_begin_with_is_read_once() {
    let shared: Vec<u32> = (0..100).map(|i| 2 + i * 7 % 38).collect();
    let ends = prompts(30, 40);
    let all: Vec<Vec<u32>> = ends.iter().map(|end| [&shared[..], end].concat()).collect();
    let own: usize = ends.iter().map(Vec::len).sum();
    let end = EndTokens::new([END]);
    let silent = |_: Step<'_>| ControlFlow::Continue(());
    for options in [Generation::greedy(), Generation::beam(2)] {
        let options = options.with_max_new_tokens(20);
        let mut model = TableModel::decoder(40);
        model.merges = true;
        let expected = generate_many(&model, &slices(&all), &end, &options, 6, silent).unwrap();
        assert_eq!(model.read.take(), 30 * 100 + own);
        model.shares = true;
        let found = generate_many(&model, &slices(&all), &end, &options, 6, silent).unwrap();
        assert_eq!(found, expected);
        assert!(model.read.take() <= 100 + own);
        let found = generate(&model, &slices(&all), &end, &options, silent).unwrap();
        assert_eq!(found, expected);
        assert!(model.read.take() <= 100 + own);
        // The same after what was read before.
        let prefix = Prefix::read(&model, &shared[..40]).unwrap();
        let rest: Vec<&[u32]> = all.iter().map(|prompt| &prompt[40..]).collect();
        let found = prefix
            .generate_many(&model, &rest, &end, &options, 6, silent)
            .unwrap();
        assert_eq!(found, expected);
        assert!(model.read.take() <= 100 + own);
        // One prompt, or too little to be worth it.
        let _ = generate(&model, &slices(&all)[..1], &end, &options, silent).unwrap();
        assert_eq!(model.read.take(), all[0].len());
        let _ = generate(&model, &[&[5, 6, 7], &[5, 6, 8]], &end, &options, silent).unwrap();
        assert_eq!(model.read.take(), 6);
        // A prompt that is a prefix of all others; equal prompts.
        let mut some = slices(&all)[..5].to_vec();
        some.push(&shared);
        some.push(&shared);
        let found = generate(&model, &some, &end, &options, silent).unwrap();
        model.shares = false;
        assert_eq!(
            found,
            generate(&model, &some, &end, &options, silent).unwrap()
        );
    }
}

/// A cache in one piece takes its room at once, so a caller who allows a million tokens must not ask for a million.
#[test]
fn no_way_of_reading_makes_room_for_more_than_it_may() {
    let shared: Vec<u32> = (0..100).map(|i| 2 + i * 7 % 38).collect();
    let all: Vec<Vec<u32>> = prompts(4, 40)
        .iter()
        .map(|end| [&shared[..], end].concat())
        .collect();
    let end = EndTokens::new([END]);
    let silent = |_: Step<'_>| ControlFlow::Continue(());
    for beams in [1, 2] {
        let options = Generation::greedy()
            .with_beams(beams)
            .with_max_new_tokens(1_000_000);
        for shares in [false, true] {
            let mut model = TableModel::decoder(40);
            model.shares = shares;
            // Nearly every answer ends at once.
            model.end_bias = 8.0;
            generate(&model, &slices(&all), &end, &options, silent).unwrap();
            assert_eq!(model.reserved.take(), 256, "generate, {shares}");
            generate_many(&model, &slices(&all), &end, &options, 2, silent).unwrap();
            assert_eq!(model.reserved.take(), 256, "generate_many, {shares}");
            let prefix = Prefix::read(&model, &shared[..40]).unwrap();
            let rest: Vec<&[u32]> = all.iter().map(|prompt| &prompt[40..]).collect();
            prefix
                .generate_many(&model, &rest, &end, &options, 4, silent)
                .unwrap();
            assert_eq!(model.reserved.take(), 256, "after a prefix, {shares}");
            // Room for what is known to come.
            let short = options.clone().with_max_new_tokens(9);
            generate(&model, &slices(&all), &end, &short, silent).unwrap();
            assert_eq!(model.reserved.take(), 9, "a short answer, {shares}");
            let long = [3; 1000];
            score_candidates(&model, &all[0], &[&long, &long[..9]]).unwrap();
            assert_eq!(model.reserved.take(), 256, "score_candidates, {shares}");
        }
    }
}

#[test]
fn what_ends_everything_ends_the_prompts_that_wait() {
    let all = prompts(20, 40);
    let end = EndTokens::new([END]);
    for merges in [false, true] {
        let mut model = TableModel::decoder(40);
        model.merges = merges;
        for beams in [1, 2] {
            let options = Generation::greedy()
                .with_beams(beams)
                .with_max_new_tokens(10);
            let mut calls = 0;
            let results = generate_many(&model, &slices(&all), &end, &options, 4, |_| {
                calls += 1;
                if calls == 3 {
                    return ControlFlow::Break(Cancel::All);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(calls, 3);
            assert_eq!(results.len(), 20, "each prompt has a result");
            let unread = results.iter().filter(|result| result.ids.is_empty());
            assert!(unread.clone().count() >= 12);
            assert!(
                unread
                    .clone()
                    .all(|result| result.stop == StopReason::Cancelled)
            );
            let options = options.with_deadline(Instant::now());
            let results = generate_many(&model, &slices(&all), &end, &options, 4, |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
            assert!(
                results
                    .iter()
                    .all(|result| result.stop == StopReason::Deadline)
            );
            assert_eq!(results.len(), 20);
        }
    }
    let model = TableModel::decoder(40);
    let none = generate_many(&model, &[], &end, &Generation::greedy(), 4, |_| {
        ControlFlow::Continue(())
    });
    assert!(none.unwrap().is_empty());
}
