//! Tiny seeded models against `transformers` (`scripts/gpt2_reference.py`), f32.

use std::ops::ControlFlow;

use clinical_generate::{EndTokens, Generated, Generation, StepModel, generate};
use clinical_gpt2::{Gpt2, Gpt2Config};

use crate::common::{VARIANTS, distance, expected, model, model_with, values};

/// The limit of the project for f32 logits.
const TOLERANCE: f32 = 1e-4;

/// Logits of the next token after each row, computed without a cache.
fn uncached(model: &Gpt2, row: &[u32]) -> Vec<f32> {
    let logits = model.forward(&[row]).unwrap();
    values(logits.narrow(1, row.len() - 1, 1))
}

fn written(model: &Gpt2, rows: &[&[u32]], generation: Generation) -> Vec<Generated> {
    let end = EndTokens::new([]);
    generate(
        model,
        rows,
        &end,
        &generation,
        |_| ControlFlow::Continue(()),
    )
    .unwrap()
}

#[test]
fn logits_at_every_length() {
    for variant in VARIANTS {
        let (model, expected) = (model(variant), expected(variant));
        let vocabulary = model.vocabulary();
        for case in &expected.logits {
            let ids = &expected.ids[..case.length];
            let logits = values(model.forward(&[ids]).unwrap());
            for (&position, reference) in case.positions.iter().zip(&case.values) {
                let ours = &logits[position * vocabulary..(position + 1) * vocabulary];
                let worst = distance(ours, reference);
                assert!(
                    worst < TOLERANCE,
                    "{variant}, length {}, position {position}: {worst}",
                    case.length
                );
            }
            let (_, last) = model.prefill(&[ids], 0).unwrap();
            let worst = distance(&values(last), case.values.last().unwrap());
            assert!(
                worst < TOLERANCE,
                "{variant}, prefill {}: {worst}",
                case.length
            );
        }
    }
}

#[test]
fn loss_with_ignored_labels() {
    for variant in VARIANTS {
        let (model, expected) = (model(variant), expected(variant));
        let ids: Vec<&[u32]> = expected.loss.ids.iter().map(Vec::as_slice).collect();
        let labels: Vec<&[i64]> = expected.loss.labels.iter().map(Vec::as_slice).collect();
        let loss = model.loss(&ids, &labels).unwrap();
        let counted = labels
            .iter()
            .flat_map(|row| &row[1..])
            .filter(|&&label| label >= 0);
        assert_eq!(loss.targets, counted.count());
        let loss: f32 = loss.mean.into_scalar();
        let difference = (loss - expected.loss.value).abs();
        assert!(
            difference < 2e-5,
            "{variant}: {loss} and {}",
            expected.loss.value
        );
    }
}

#[test]
fn greedy_tokens_and_beams() {
    for variant in VARIANTS {
        let (model, expected) = (model(variant), expected(variant));
        let greedy = &expected.greedy;
        let prompt = &expected.ids[..greedy.prompt];
        let options = Generation::greedy().with_max_new_tokens(greedy.ids.len());
        assert_eq!(
            written(&model, &[prompt], options)[0].ids,
            greedy.ids,
            "{variant}"
        );
        let beams = &expected.beams;
        let options = Generation::beam(beams.beams).with_max_new_tokens(beams.ids.len());
        let found = written(&model, &[&expected.ids[..beams.prompt]], options);
        assert_eq!(found[0].ids, beams.ids, "{variant}");
    }
}

/// Rows alone, and what `transformers` writes for the batch that it pads on the left.
#[test]
fn rows_of_a_batch_are_those_of_a_left_padded_one() {
    for variant in VARIANTS {
        let (model, expected) = (model(variant), expected(variant));
        let vocabulary = model.vocabulary();
        let rows: Vec<&[u32]> = expected.rows.ids.iter().map(Vec::as_slice).collect();
        let (_, last) = model.prefill(&rows, 0).unwrap();
        let together = values(model.forward(&rows).unwrap());
        let longest = rows.iter().map(|row| row.len()).max().unwrap();
        let last = values(last);
        for (i, (last, reference)) in last.chunks(vocabulary).zip(&expected.rows.last).enumerate() {
            let worst = distance(last, reference);
            assert!(worst < TOLERANCE, "{variant}, row {i}: {worst}");
            let end = (i * longest + rows[i].len()) * vocabulary;
            let worst = distance(&together[end - vocabulary..end], reference);
            assert!(worst < TOLERANCE, "{variant}, row {i}, uncached: {worst}");
        }
        let options = Generation::greedy().with_max_new_tokens(expected.rows.new[0].len());
        let found = written(&model, &rows, options);
        let found: Vec<_> = found.into_iter().map(|one| one.ids).collect();
        assert_eq!(found, expected.rows.new, "{variant}");
    }
}

#[test]
fn sampling_follows_its_seed() {
    let (model, ids) = (model("inverse"), expected("inverse").ids);
    let sampled = |seed| {
        let options = Generation::sample().with_seed(seed).with_max_new_tokens(20);
        written(&model, &[&ids[..9]], options).remove(0).ids
    };
    assert_eq!(sampled(1), sampled(1));
    assert_ne!(sampled(1), sampled(2));
}

/// Steps of rows of very different lengths, of rows that are selected, and of rows that join.
#[test]
fn cached_rows_are_the_rows_alone() {
    for variant in VARIANTS {
        let (model, ids) = (model(variant), expected(variant).ids);
        let vocabulary = model.vocabulary();
        let mut rows: Vec<Vec<u32>> = [0..2, 10..90, 20..60].map(|r| ids[r].to_vec()).into();
        let slices: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        // Without room reserved, so that the cache must grow.
        let (mut cache, _) = model.prefill(&slices, 0).unwrap();
        let advance = |cache: &mut _, rows: &mut Vec<Vec<u32>>, from: usize| {
            let next = &ids[from..from + rows.len()];
            let logits = values(model.step(next, cache).unwrap());
            for (i, (row, &id)) in rows.iter_mut().zip(next).enumerate() {
                row.push(id);
                let ours = &logits[i * vocabulary..(i + 1) * vocabulary];
                let worst = distance(ours, &uncached(&model, row));
                assert!(
                    worst < TOLERANCE,
                    "{variant}, from {from}, row {i}: {worst}"
                );
            }
        };
        for from in [5, 9, 14] {
            advance(&mut cache, &mut rows, from);
        }
        // The longest ends; another comes twice and leads.
        model.select(&mut cache, &[2, 0, 2]);
        rows = [2, 0, 2].map(|row: usize| rows[row].clone()).into();
        advance(&mut cache, &mut rows, 20);
        let (other, _) = model.prefill(&[&ids[30..101]], 0).unwrap();
        model.merge(&mut cache, other).unwrap();
        rows.push(ids[30..101].to_vec());
        advance(&mut cache, &mut rows, 40);
        assert_eq!(cache.lengths(), [45, 7, 45, 72]);
        let next = [&ids[0..9], &ids[9..18], &ids[18..27], &ids[27..36]];
        let every = values(model.extend(&next, false, &mut cache).unwrap());
        for (i, (row, next)) in rows.iter().zip(next).enumerate() {
            let whole = [row, next].concat();
            let reference = values(model.forward(&[&whole]).unwrap());
            let every = &every[i * 9 * vocabulary..(i + 1) * 9 * vocabulary];
            let worst = distance(every, &reference[row.len() * vocabulary..]);
            assert!(worst < TOLERANCE, "{variant}, row {i}: {worst}");
        }
    }
}

/// Texts of different lengths after one prefix, which stays as it is.
#[test]
fn continuations_of_one_beginning_are_the_whole_texts() {
    let (model, ids) = (model("inverse"), expected("inverse").ids);
    let vocabulary = model.vocabulary();
    let (prefix, _) = model.prefill(&[&ids[..70]], 4).unwrap();
    let next = [&ids[70..73], &ids[90..120], &ids[3..4]];
    let (cache, logits) = model.prefill_after(&prefix, &next, 4).unwrap();
    assert_eq!(cache.lengths(), [73, 100, 71]);
    let logits = values(logits);
    for (i, next) in next.iter().enumerate() {
        let whole = [&ids[..70], next].concat();
        let ours = &logits[i * vocabulary..(i + 1) * vocabulary];
        let worst = distance(ours, &uncached(&model, &whole));
        assert!(worst < TOLERANCE, "row {i}: {worst}");
    }
    assert_eq!(prefix.lengths(), [70]);
    assert!(
        model.prefill_after(&cache, &next, 4).is_err(),
        "one row only"
    );
}

/// Prompts are read in pieces of 512 positions.
#[test]
fn long_prompts_are_read_in_pieces() {
    let config = Gpt2Config {
        n_positions: 1100,
        ..crate::common::config("inverse")
    };
    let model = config.init(&clinical_kernels::cpu()).unwrap();
    let ids: Vec<u32> = expected("plain")
        .ids
        .iter()
        .cycle()
        .take(1030)
        .copied()
        .collect();
    let rows = [&ids[..3], &ids[..1030], &ids[1..513]];
    let (_, last) = model.prefill(&rows, 1).unwrap();
    let last = values(last);
    for (i, row) in rows.iter().enumerate() {
        let ours = &last[i * 64..(i + 1) * 64];
        let worst = distance(ours, &uncached(&model, row));
        assert!(worst < TOLERANCE, "row {i}: {worst}");
    }
}

/// Every constant of a configuration shows in these numbers: a model that took another value would fail above.
#[test]
fn a_wrong_constant_shows() {
    type Change = fn(&mut Gpt2Config);
    let cases: [(&str, &str, Change); 6] = [
        ("plain", "layer_norm_epsilon", |config| {
            config.layer_norm_epsilon = 1e-2
        }),
        ("plain", "scale_attn_by_inverse_layer_idx", |config| {
            config.scale_attn_by_inverse_layer_idx = true
        }),
        ("inverse", "scale_attn_by_inverse_layer_idx", |config| {
            config.scale_attn_by_inverse_layer_idx = false
        }),
        ("odd", "scale_attn_weights", |config| {
            config.scale_attn_weights = true
        }),
        ("odd", "activation_function", |config| {
            config.activation_function = "gelu_new".to_owned()
        }),
        ("plain", "activation_function", |config| {
            config.activation_function = "gelu".to_owned()
        }),
    ];
    for (variant, field, change) in cases {
        let expected = expected(variant);
        let logits = uncached(&model_with(variant, change), &expected.ids);
        let reference = expected.logits.last().unwrap().values.last().unwrap();
        let worst = distance(&logits, reference);
        assert!(worst > 2.0 * TOLERANCE, "{variant}, {field}: {worst}");
    }
}
