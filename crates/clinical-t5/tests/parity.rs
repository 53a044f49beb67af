//! The same numbers as Python `transformers` 4.57.6, in f32.

mod common;

use std::ops::ControlFlow;

use clinical_generate::{EndTokens, Generation, StepModel, generate};
use clinical_t5::Pooling;
use common::{Fixture, VARIANTS, argmax, close, host, slices};

/// The bound of the project for logits, absolute.
const TOLERANCE: f32 = 1e-4;

#[test]
fn parameters_are_counted() {
    for name in VARIANTS {
        let fixture = Fixture::load(name);
        assert_eq!(
            fixture.facts["parameters"],
            fixture.config.parameters().unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_padded_batch() {
    for name in VARIANTS {
        let fixture = Fixture::load(name);
        let model = &fixture.model;
        let (ids, mask) = (fixture.ids("batch.input_ids"), fixture.mask("batch.mask"));
        let logits = model
            .forward(&ids, &mask, &fixture.ids("batch.decoder_ids"))
            .unwrap();
        let logits = host(logits);
        close(&logits, fixture.floats("batch.logits"), TOLERANCE, name);
        // The fixture would not find much if all positions agreed.
        let vocabulary = model.vocabulary();
        let mut best: Vec<usize> = logits.chunks(vocabulary).map(argmax).collect();
        best.sort_unstable();
        best.dedup();
        assert!(best.len() > 10, "{name}: {best:?}");

        let rows = fixture.rows("batch.input_ids", "batch.mask");
        let encoded = model.encode(&slices(&rows)).unwrap();
        let (states, expected) = (host(encoded.states.clone()), fixture.floats("batch.states"));
        let [_, longest, d_model] = encoded.states.dims();
        for (row, &length) in encoded.lengths.iter().enumerate() {
            let of_row = row * longest * d_model..(row * longest + length) * d_model;
            close(&states[of_row.clone()], &expected[of_row], TOLERANCE, name);
        }
        for (pooling, key) in [(Pooling::Mean, "batch.mean"), (Pooling::Max, "batch.max")] {
            close(
                &host(encoded.pool(pooling)),
                fixture.floats(key),
                TOLERANCE,
                key,
            );
        }
        let first: Vec<f32> = expected
            .chunks(longest * d_model)
            .flat_map(|row| &row[..d_model])
            .copied()
            .collect();
        close(
            &host(encoded.pool(Pooling::Cls)),
            &first,
            TOLERANCE,
            "first",
        );
    }
}

#[test]
fn a_row_of_a_batch_is_the_row_alone() {
    for name in VARIANTS {
        let fixture = Fixture::load(name);
        let model = &fixture.model;
        let rows = fixture.rows("batch.input_ids", "batch.mask");
        let rows = slices(&rows);
        let pooled = host(model.embed(&rows, Pooling::Mean).unwrap());
        let (mut together, mut batch) = {
            let (cache, logits) = model.prefill(&rows, 4).unwrap();
            (cache, vec![host(logits)])
        };
        for id in [5, 9, 2] {
            batch.push(host(
                model.step(&vec![id; rows.len()], &mut together).unwrap(),
            ));
        }
        for (i, row) in rows.iter().enumerate() {
            let alone = host(model.embed(&[row], Pooling::Mean).unwrap());
            let width = alone.len();
            close(&pooled[i * width..(i + 1) * width], &alone, 1e-5, name);
            let (mut cache, logits) = model.prefill(&[row], 4).unwrap();
            let mut singles = vec![host(logits)];
            for id in [5, 9, 2] {
                singles.push(host(model.step(&[id], &mut cache).unwrap()));
            }
            for (batch, single) in batch.iter().zip(&singles) {
                let width = single.len();
                // A single row and several are added up in another order.
                close(&batch[i * width..(i + 1) * width], single, 1e-4, name);
            }
        }
    }
}

#[test]
fn long_decoder_inputs_without_a_cache() {
    for name in VARIANTS {
        let fixture = Fixture::load(name);
        let vocabulary = fixture.model.vocabulary();
        let expected = fixture.floats("long.logits").chunks(vocabulary);
        let (ids, mask) = (
            fixture.ids("long.input_ids"),
            fixture.all_visible("long.input_ids"),
        );
        for (&length, expected) in fixture.ints("long.lengths").iter().zip(expected) {
            let decoder = fixture
                .ids("long.decoder_ids")
                .narrow(1, 0, length as usize);
            let logits = host(fixture.model.forward(&ids, &mask, &decoder).unwrap());
            let last = &logits[logits.len() - vocabulary..];
            close(
                last,
                expected,
                TOLERANCE,
                &format!("{name} at length {length}"),
            );
        }
    }
}

#[test]
fn long_decoder_inputs_step_by_step() {
    for name in VARIANTS {
        let fixture = Fixture::load(name);
        let model = &fixture.model;
        let vocabulary = model.vocabulary();
        let prompt: Vec<u32> = fixture
            .ints("long.input_ids")
            .iter()
            .map(|&id| id as u32)
            .collect();
        let decoder: Vec<u32> = fixture
            .ints("long.decoder_ids")
            .iter()
            .map(|&id| id as u32)
            .collect();
        // Little is reserved, so that the cache and the line of biases have to grow.
        let (mut cache, mut logits) = model.prefill(&[&prompt], 3).unwrap();
        let expected = fixture.floats("long.logits").chunks(vocabulary);
        let mut expected = fixture.ints("long.lengths").iter().zip(expected).peekable();
        for length in 1..=300 {
            assert_eq!(cache.lengths(), [length]);
            if let Some((_, expected)) = expected.next_if(|&(&at, _)| at == length as i64) {
                close(
                    &host(logits.clone()),
                    expected,
                    TOLERANCE,
                    &format!("{name} at length {length}"),
                );
            }
            if let Some(&id) = decoder.get(length).filter(|_| length < 300) {
                logits = model.step(&[id], &mut cache).unwrap();
            }
        }
        assert!(expected.next().is_none());
    }
}

#[test]
fn a_long_encoder_input() {
    for name in VARIANTS {
        let fixture = Fixture::load(name);
        let prompt: Vec<u32> = fixture
            .ints("encoder.input_ids")
            .iter()
            .map(|&id| id as u32)
            .collect();
        let states = host(fixture.model.encode(&[&prompt]).unwrap().states);
        let kept: Vec<f32> = fixture
            .ints("encoder.positions")
            .iter()
            .flat_map(|&at| {
                &states[at as usize * fixture.config.d_model..][..fixture.config.d_model]
            })
            .copied()
            .collect();
        close(&kept, fixture.floats("encoder.states"), TOLERANCE, name);
    }
}

#[test]
fn greedy_tokens() {
    for name in VARIANTS {
        let fixture = Fixture::load(name);
        let facts = &fixture.facts["greedy"];
        let prompts: Vec<Vec<u32>> = serde_json::from_value(facts["prompts"].clone()).unwrap();
        let expected: Vec<Vec<u32>> = serde_json::from_value(facts["ids"].clone()).unwrap();
        let options = Generation::greedy().with_max_new_tokens(40);
        let end = EndTokens::new(fixture.config.eos_token_ids.clone());
        let found = generate(&fixture.model, &slices(&prompts), &end, &options, |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        let found: Vec<Vec<u32>> = found.into_iter().map(|generated| generated.ids).collect();
        assert_eq!(found, expected, "{name}");
    }
}

/// Rows taken twice, dropped and exchanged, as beams and finished rows do: each goes on as if nothing had happened.
#[test]
fn rows_are_selected_with_all_they_remember() {
    for name in VARIANTS {
        let fixture = Fixture::load(name);
        let model = &fixture.model;
        let prompts: [&[u32]; 3] = [&[5, 6, 7, 8, 9, 10, 1], &[11, 1], &[12, 13, 14, 1]];
        // For each running row: its prompt, and the tokens it was fed.
        let mut rows: Vec<(usize, Vec<u32>)> = (0..3).map(|prompt| (prompt, Vec::new())).collect();
        let (mut cache, _) = model.prefill(&prompts, 8).unwrap();
        let mut next = 20;
        for selection in [
            vec![0, 0, 1, 1, 2, 2],
            vec![1, 0, 3, 3, 4, 5],
            vec![5, 4, 0, 1],
            vec![2, 0, 1],
            vec![0, 0, 0, 0, 1, 1],
            vec![3, 2, 1, 0],
            vec![0],
        ] {
            rows = selection.iter().map(|&row| rows[row].clone()).collect();
            model.select(&mut cache, &selection);
            assert_eq!(cache.rows(), rows.len());
            for (_, fed) in &mut rows {
                next += 1;
                fed.push(next);
            }
            let ids: Vec<u32> = rows.iter().map(|(_, fed)| fed[fed.len() - 1]).collect();
            let together = host(model.step(&ids, &mut cache).unwrap());
            for ((prompt, fed), together) in rows.iter().zip(together.chunks(model.vocabulary())) {
                let (mut own, mut logits) = model.prefill(&[prompts[*prompt]], 8).unwrap();
                for &id in fed {
                    logits = model.step(&[id], &mut own).unwrap();
                }
                close(together, &host(logits), 1e-4, name);
            }
        }
    }
}

#[test]
fn mistakes_are_errors() {
    let fixture = Fixture::load("v1_0");
    let model = &fixture.model;
    let outside = fixture.config.vocab_size as u32;
    assert!(model.encode(&[]).is_err());
    assert!(model.encode(&[&[3], &[]]).is_err());
    assert!(model.encode(&[&[3], &[outside]]).is_err());
    let (mut cache, _) = model.prefill(&[&[3]], 1).unwrap();
    assert!(model.step(&[1, 2], &mut cache).is_err());
    assert!(model.step(&[outside], &mut cache).is_err());
    assert!(model.step(&[1], &mut cache).is_ok());
}
