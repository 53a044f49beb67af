//! What holds for every model: rows do not see each other, and every stop reason comes up when it should.

mod common;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use clinical_generate::{
    Cancel, CancelFlag, EarlyStopping, EndTokens, Generation, StopReason, generate,
};
use common::{END, TableModel, prompts, run, slices, strategies};

#[test]
fn a_row_in_a_batch_is_the_row_alone() {
    for mut model in [TableModel::decoder(40), TableModel::encoder_decoder(40)] {
        model.end_bias = 1.0;
        let all = prompts(17, 40);
        for options in strategies() {
            let together = run(&model, &slices(&all), &options);
            for (row, prompt) in all.iter().enumerate() {
                let alone = run(&model, &[prompt], &options);
                let in_batch = together.iter().filter(|result| result.row == row);
                for (alone, in_batch) in alone.iter().zip(in_batch) {
                    let mut in_batch = in_batch.clone();
                    in_batch.row = 0;
                    assert_eq!(*alone, in_batch, "{options:?}");
                }
            }
            assert_eq!(together.len(), 17 * options.num_return_sequences);
        }
    }
}

#[test]
fn one_beam_is_greedy() {
    let model = TableModel::decoder(40);
    let all = prompts(10, 40);
    let greedy = run(
        &model,
        &slices(&all),
        &Generation::greedy().with_max_new_tokens(30),
    );
    let mut beam = Generation::beam(1).with_max_new_tokens(30);
    beam.early_stopping = EarlyStopping::True;
    assert_eq!(run(&model, &slices(&all), &beam), greedy);
}

#[test]
fn finished_rows_leave_the_batch() {
    let mut model = TableModel::decoder(40);
    model.end_bias = 2.0;
    let all = prompts(30, 40);
    for options in [Generation::greedy(), Generation::beam(2)] {
        model.calls.borrow_mut().clear();
        let results = run(&model, &slices(&all), &options.with_max_new_tokens(40));
        let calls = model.calls.borrow().clone();
        let longest = results.iter().map(|result| result.ids.len()).max().unwrap();
        assert!(calls.len() >= longest);
        assert_eq!(
            calls[0], 30,
            "each prompt is read once, whatever the number of beams"
        );
        assert!(
            calls[1..].windows(2).all(|pair| pair[1] <= pair[0]),
            "{calls:?}"
        );
        assert!(calls.last().unwrap() < &calls[1], "{calls:?}");
    }
    // A row costs exactly its own tokens.
    model.calls.borrow_mut().clear();
    let results = run(
        &model,
        &slices(&all),
        &Generation::greedy().with_max_new_tokens(40),
    );
    let tokens: usize = results.iter().map(|result| result.ids.len()).sum();
    assert_eq!(model.calls.borrow().iter().sum::<usize>(), tokens);
}

#[test]
fn the_same_seed_gives_the_same_tokens_and_another_seed_others() {
    let model = TableModel::decoder(40);
    let all = prompts(5, 40);
    let sample = |seed| {
        let options = Generation::sample().with_seed(seed).with_max_new_tokens(12);
        run(&model, &slices(&all), &options)
    };
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
}

#[test]
fn several_samples_differ_and_the_first_is_the_only_one() {
    let model = TableModel::decoder(40);
    let all = prompts(3, 40);
    let one = Generation::sample().with_max_new_tokens(12);
    let five = one.clone().with_num_return_sequences(5);
    let single = run(&model, &slices(&all), &one);
    let several = run(&model, &slices(&all), &five);
    for (single, several) in single.iter().zip(several.chunks(5)) {
        assert_eq!(*single, several[0]);
        let others = several.iter().filter(|result| result.ids == single.ids);
        assert_eq!(others.count(), 1);
    }
}

#[test]
fn draws_follow_the_distribution() {
    let model = TableModel::decoder(24);
    let prompt: &[u32] = &[5, 6, 7];
    let options = Generation::sample()
        .with_top_k(6)
        .with_temperature(1.5)
        .with_max_new_tokens(1);
    let end = EndTokens::new([END]);
    let logits = model.row([5, 6, 7], 0);
    let expected = clinical_generate::distribution(&options, &end, prompt, &[], &logits).unwrap();
    let draws = 4000;
    let mut counts = [0u32; 24];
    for seed in 0..draws {
        let result = run(&model, &[prompt], &options.clone().with_seed(seed));
        counts[result[0].ids[0] as usize] += 1;
    }
    for (id, (&count, &p)) in counts.iter().zip(&expected).enumerate() {
        let (mean, deviation) = (p * draws as f32, (p * (1.0 - p) * draws as f32).sqrt());
        let off = (count as f32 - mean).abs();
        assert!(
            off <= 4.0 * deviation,
            "token {id}: {count} draws for {mean}"
        );
    }
}

#[test]
fn log_probs_are_the_models_own() {
    let model = TableModel::decoder(40);
    for options in strategies() {
        for result in run(&model, &[&[7, 8, 9]], &options) {
            let mut last = [7, 8, 9];
            assert_eq!(result.log_probs.len(), result.ids.len());
            for (&id, &log_prob) in result.ids.iter().zip(&result.log_probs) {
                let row = model.row(last, 0);
                let total: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                let expected = f64::from(row[id as usize]) - total.ln();
                assert!((f64::from(log_prob) - expected).abs() < 1e-5);
                last = [last[1], last[2], id];
            }
            let sum: f64 = result.log_probs.iter().map(|&p| f64::from(p)).sum();
            assert_eq!(result.log_prob(), Some(sum));
        }
    }
}

#[test]
fn the_likeliest_tokens_are_the_models_own_whichever_is_chosen() {
    let mut model = TableModel::decoder(40);
    // Many equal ones: of those the lower id comes first.
    model.grid = Some(0.5);
    for options in strategies() {
        if options.beams > 1 {
            continue;
        }
        let plain = run(&model, &[&[7, 8, 9]], &options);
        for count in [1, 5, 39, 40, 1000] {
            let options = options
                .clone()
                .with_log_probs(false)
                .with_top_log_probs(count);
            let results = run(&model, &[&[7, 8, 9]], &options);
            for (result, plain) in results.iter().zip(&plain) {
                assert_eq!(result.ids, plain.ids, "what is told changes nothing");
                assert_eq!(result.log_probs, plain.log_probs);
                assert_eq!(result.top_log_probs.len(), result.ids.len());
                let mut last = [7, 8, 9];
                for (&id, top) in result.ids.iter().zip(&result.top_log_probs) {
                    let row = model.row(last, 0);
                    let total: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
                    let mut sorted: Vec<(f32, u32)> = row.iter().copied().zip(0..).collect();
                    // The two zeros are equal.
                    sorted.sort_by(|a, b| (b.0 + 0.0).total_cmp(&(a.0 + 0.0)).then(a.1.cmp(&b.1)));
                    assert_eq!(top.len(), count.min(40));
                    for (got, (logit, id)) in top.iter().zip(sorted) {
                        assert_eq!(got.id, id);
                        let expected = f64::from(logit) - total.ln();
                        assert!((f64::from(got.log_prob) - expected).abs() < 1e-5);
                    }
                    last = [last[1], last[2], id];
                }
            }
        }
        assert!(plain.iter().all(|result| result.top_log_probs.is_empty()));
    }
    for options in [
        Generation::greedy().with_top_log_probs(1025),
        Generation::beam(2).with_top_log_probs(1),
    ] {
        let error = options.validate().unwrap_err().to_string();
        assert!(error.starts_with("top_log_probs is "), "{error}");
    }
}

#[test]
fn each_stop_reason() {
    let model = TableModel::decoder(40);
    let prompt: &[u32] = &[7, 8, 9];
    let long = Generation::greedy()
        .with_suppress([END])
        .with_max_new_tokens(30);
    let free = run(&model, &[prompt], &long);
    assert_eq!(free[0].stop, StopReason::MaxNewTokens);
    assert_eq!(free[0].ids.len(), 30);
    assert!(!free[0].stop.is_complete());
    let fifth = free[0].ids[4];
    assert!(!free[0].ids[..4].contains(&fifth), "the fifth token is new");

    let end = EndTokens::new([END, fifth]);
    let results = generate(
        &model,
        &[prompt],
        &end,
        &long,
        |_| ControlFlow::Continue(()),
    )
    .unwrap();
    assert_eq!(results[0].stop, StopReason::EndToken);
    assert_eq!(results[0].ids, free[0].ids[..5]);
    assert_eq!(results[0].content(), &free[0].ids[..4]);

    let stop = long
        .clone()
        .with_stop_sequences([free[0].ids[3..6].to_vec(), vec![free[0].ids[5]]]);
    let result = &run(&model, &[prompt], &stop)[0];
    assert_eq!(result.stop, StopReason::StopSequence);
    assert_eq!(result.ids, free[0].ids[..6]);
    assert_eq!(
        result.content(),
        &free[0].ids[..3],
        "the longest sequence counts"
    );

    let answers = Generation::greedy().with_allowed([vec![5, 6], vec![7]]);
    let end = EndTokens::none();
    let results = generate(&model, &[prompt], &end, &answers, |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(results[0].stop, StopReason::Complete);
    assert!([&[5, 6][..], &[7]].contains(&results[0].ids.as_slice()));

    let passed = long.clone().with_deadline(Instant::now());
    for options in [passed.clone(), passed.with_beams(3)] {
        let result = &run(&model, &[prompt], &options)[0];
        assert_eq!(result.stop, StopReason::Deadline);
        assert_eq!(result.ids.len(), 1);
    }
    let later = long
        .clone()
        .with_deadline(Instant::now() + Duration::from_secs(3600));
    assert_eq!(run(&model, &[prompt], &later), free);

    let flag = CancelFlag::new();
    let options = long.clone().with_cancel(flag.clone());
    assert_eq!(run(&model, &[prompt], &options), free);
    flag.cancel();
    for options in [options.clone(), options.with_beams(3)] {
        let result = &run(&model, &[prompt], &options)[0];
        assert_eq!((result.stop, result.ids.len()), (StopReason::Cancelled, 1));
    }
}

#[test]
fn a_closure_cancels_one_row_or_all() {
    let model = TableModel::decoder(40);
    let all = prompts(4, 40);
    let end = EndTokens::new([END]);
    let options = Generation::greedy()
        .with_suppress([END])
        .with_max_new_tokens(9);
    let free = run(&model, &slices(&all), &options);
    let results = generate(&model, &slices(&all), &end, &options, |step| {
        if step.row == 2 && step.index == 3 {
            return ControlFlow::Break(Cancel::Row);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    for (row, (result, free)) in results.iter().zip(&free).enumerate() {
        if row == 2 {
            assert_eq!(result.stop, StopReason::Cancelled);
            assert_eq!(result.ids, free.ids[..4]);
        } else {
            assert_eq!(result, free);
        }
    }
    let mut calls = 0;
    let results = generate(&model, &slices(&all), &end, &options, |step| {
        calls += 1;
        if step.row == 1 && step.index == 2 {
            return ControlFlow::Break(Cancel::All);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let lengths: Vec<usize> = results.iter().map(|result| result.ids.len()).collect();
    assert_eq!(lengths, [3, 3, 2, 2]);
    assert_eq!(calls, 10, "no call after the cancelling one");
    assert!(
        results
            .iter()
            .all(|result| result.stop == StopReason::Cancelled)
    );
}

#[test]
fn beams_give_their_steps_at_the_end_and_can_be_cancelled_there() {
    let mut model = TableModel::decoder(40);
    model.end_bias = 1.0;
    let all = prompts(6, 40);
    let end = EndTokens::new([END]);
    let options = Generation::beam(3)
        .with_num_return_sequences(2)
        .with_max_new_tokens(15);
    let free = run(&model, &slices(&all), &options);
    let mut seen: Vec<(usize, usize, Vec<u32>)> = Vec::new();
    generate(&model, &slices(&all), &end, &options, |step| {
        if step.index == 0 {
            seen.push((step.row, step.sequence, Vec::new()));
        }
        seen.last_mut().unwrap().2.push(step.id);
        ControlFlow::Continue(())
    })
    .unwrap();
    seen.sort();
    for (result, (row, sequence, ids)) in free.iter().zip(&seen) {
        assert_eq!(
            (result.row, result.sequence, &result.ids),
            (*row, *sequence, ids)
        );
    }
    let mut calls = 0;
    let results = generate(&model, &slices(&all), &end, &options, |_| {
        calls += 1;
        ControlFlow::Break(Cancel::All)
    })
    .unwrap();
    assert_eq!(calls, 1);
    assert!(
        results
            .iter()
            .any(|result| result.stop == StopReason::Cancelled)
    );
    for row in 0..6 {
        assert!(
            results.iter().any(|result| result.row == row),
            "every prompt gives something"
        );
    }
}
