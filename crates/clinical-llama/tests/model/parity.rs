//! Tiny seeded models against `transformers` (`scripts/llama_reference.py`), f32.

use clinical_generate::StepModel;
use clinical_llama::{Llama, LlamaConfig};

use crate::common::{VARIANTS, argmax, distance, expected, model, model_with, values};

/// The limit of the project for f32 logits.
const TOLERANCE: f32 = 1e-4;

/// Logits of the next token after each row, computed without a cache.
fn uncached(model: &Llama, row: &[u32]) -> Vec<f32> {
    let logits = model.forward(&[row]).unwrap();
    values(logits.narrow(1, row.len() - 1, 1))
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
        let loss: f32 = model.loss(&ids, &labels).unwrap().mean.into_scalar();
        let difference = (loss - expected.loss.value).abs();
        assert!(
            difference < 2e-5,
            "{variant}: {loss} and {}",
            expected.loss.value
        );
    }
}

#[test]
fn greedy_tokens() {
    for variant in VARIANTS {
        let (model, expected) = (model(variant), expected(variant));
        let greedy = &expected.greedy;
        let (mut cache, mut logits) = model
            .prefill(&[&expected.ids[..greedy.prompt]], greedy.ids.len())
            .unwrap();
        let mut ids = Vec::new();
        loop {
            ids.push(argmax(&values(logits)));
            if ids.len() == greedy.ids.len() {
                break;
            }
            logits = model.step(&ids[ids.len() - 1..], &mut cache).unwrap();
        }
        assert_eq!(ids, greedy.ids, "{variant}");
    }
}

#[test]
fn cached_equals_uncached() {
    for variant in VARIANTS {
        let (model, ids) = (model(variant), expected(variant).ids);
        // Keys that `dynamic` scaling has turned stay turned, here as in `transformers`: within the trained length only
        // are both ways the same sum.
        let borders: &[(usize, usize)] = match variant {
            "dynamic" => &[(1, 9), (8, 17), (120, 128)],
            _ => &[(1, 9), (8, 17), (120, 131), (290, 300)],
        };
        for &(prompt, end) in borders {
            // Without room reserved, so that the cache must grow.
            let (mut cache, _) = model.prefill(&[&ids[..prompt]], 0).unwrap();
            for length in prompt + 1..=end {
                let logits = model.step(&ids[length - 1..length], &mut cache).unwrap();
                let worst = distance(&values(logits), &uncached(&model, &ids[..length]));
                assert!(
                    worst < TOLERANCE,
                    "{variant}, {prompt} + {}: {worst}",
                    length - prompt
                );
                assert_eq!(cache.lengths(), [length]);
            }
        }
    }
}

#[test]
fn rows_of_a_padded_batch_are_the_rows_alone() {
    for variant in VARIANTS {
        let (model, expected) = (model(variant), expected(variant));
        let vocabulary = model.vocabulary();
        let rows: Vec<&[u32]> = expected.rows.ids.iter().map(Vec::as_slice).collect();
        let (_, last) = model.prefill(&rows, 0).unwrap();
        let together = values(model.forward(&rows).unwrap());
        let longest = rows.iter().map(|row| row.len()).max().unwrap();
        for (i, (last, reference)) in values(last)
            .chunks(vocabulary)
            .zip(&expected.rows.last)
            .enumerate()
        {
            let worst = distance(last, reference);
            assert!(worst < TOLERANCE, "{variant}, row {i}: {worst}");
            let end = (i * longest + rows[i].len()) * vocabulary;
            let worst = distance(&together[end - vocabulary..end], reference);
            assert!(worst < TOLERANCE, "{variant}, row {i}, uncached: {worst}");
        }
    }
}

/// Steps, also with very different lengths, also beyond the length at which `dynamic` changes its angles and a window
/// closes.
#[test]
fn steps_of_a_padded_batch_are_the_steps_alone() {
    for variant in VARIANTS {
        let (model, ids) = (model(variant), expected(variant).ids);
        let vocabulary = model.vocabulary();
        let rows = [&ids[..2], &ids[10..150], &ids[20..60], &ids[100..226]];
        let (mut cache, _) = model.prefill(&rows, 8).unwrap();
        let mut alone: Vec<_> = rows
            .iter()
            .map(|row| model.prefill(&[row], 8).unwrap().0)
            .collect();
        for step in 0..8 {
            let next = &ids[200 + 4 * step..204 + 4 * step];
            let logits = values(model.step(next, &mut cache).unwrap());
            for (i, logits) in logits.chunks(vocabulary).enumerate() {
                let single = model.step(&next[i..=i], &mut alone[i]).unwrap();
                let worst = distance(logits, &values(single));
                assert!(
                    worst < TOLERANCE,
                    "{variant}, row {i}, step {step}: {worst}"
                );
            }
        }
    }
}

#[test]
fn selected_rows_go_on_as_if_they_had_been_alone() {
    for variant in ["gqa", "dynamic", "mistral_window"] {
        let (model, ids) = (model(variant), expected(variant).ids);
        let vocabulary = model.vocabulary();
        let rows = [&ids[..70], &ids[50..55], &ids[60..90]];
        let (mut cache, _) = model.prefill(&rows, 4).unwrap();
        let _ = model.step(&ids[90..93], &mut cache).unwrap();
        // The longest row ends; the last comes twice and leads.
        model.select(&mut cache, &[2, 1, 2]);
        assert_eq!(cache.rows(), 3);
        let _ = model.step(&ids[93..96], &mut cache).unwrap();
        let logits = values(model.step(&ids[96..99], &mut cache).unwrap());
        for (i, old) in [2, 1, 2].into_iter().enumerate() {
            let mut row = rows[old].to_vec();
            row.extend([ids[90 + old], ids[93 + i], ids[96 + i]]);
            let worst = distance(
                &logits[i * vocabulary..(i + 1) * vocabulary],
                &uncached(&model, &row),
            );
            assert!(worst < TOLERANCE, "{variant}, row {i}: {worst}");
        }
    }
}

/// Text read at once after a cache, with every logit or the last alone.
#[test]
fn extended_rows_are_the_rows_read_from_their_start() {
    for variant in VARIANTS {
        let (model, ids) = (model(variant), expected(variant).ids);
        let vocabulary = model.vocabulary();
        // Within the trained length of `dynamic`, whose cached keys do not turn again.
        let rows = [&ids[..60], &ids[10..15], &ids[100..130]];
        let next = [&ids[60..100], &ids[150..190], &ids[200..240]];
        let (start, _) = model.prefill(&rows, 0).unwrap();
        let mut cache = start.clone();
        let every = values(model.extend(&next, false, &mut cache).unwrap());
        assert_eq!(cache.lengths(), [100, 45, 70]);
        let mut cache = start;
        let last = values(model.extend(&next, true, &mut cache).unwrap());
        for (i, (row, next)) in rows.iter().zip(next).enumerate() {
            let whole = [*row, next].concat();
            let reference = values(model.forward(&[&whole]).unwrap());
            let reference = &reference[row.len() * vocabulary..];
            let every = &every[i * 40 * vocabulary..(i + 1) * 40 * vocabulary];
            let worst = distance(every, reference);
            assert!(worst < TOLERANCE, "{variant}, row {i}: {worst}");
            let last = &last[i * vocabulary..(i + 1) * vocabulary];
            // Few rows and many are summed in another order.
            let worst = distance(last, &every[39 * vocabulary..]);
            assert!(worst < TOLERANCE, "{variant}, row {i}: {worst}");
        }
    }
}

/// Texts of different lengths after one prefix, which stays as it is.
#[test]
fn continuations_of_one_beginning_are_the_whole_texts() {
    for variant in VARIANTS {
        let (model, ids) = (model(variant), expected(variant).ids);
        let vocabulary = model.vocabulary();
        // Within the trained length of `dynamic`, whose cached keys do not turn again.
        let (prefix, _) = model.prefill(&[&ids[..70]], 4).unwrap();
        let next = [&ids[70..73], &ids[100..130], &ids[200..201], &ids[5..20]];
        let mut rows: Vec<Vec<u32>> = next.iter().map(|n| [&ids[..70], n].concat()).collect();
        let (mut cache, first) = model.prefill_after(&prefix, &next, 4).unwrap();
        assert_eq!(cache.lengths(), [73, 100, 71, 85]);
        let mut logits = values(first);
        for step in 0..3 {
            for (i, row) in rows.iter().enumerate() {
                let ours = &logits[i * vocabulary..(i + 1) * vocabulary];
                let worst = distance(ours, &uncached(&model, row));
                assert!(
                    worst < TOLERANCE,
                    "{variant}, row {i}, step {step}: {worst}"
                );
            }
            let new = &ids[250 + 4 * step..254 + 4 * step];
            rows.iter_mut().zip(new).for_each(|(row, &id)| row.push(id));
            logits = values(model.step(new, &mut cache).unwrap());
        }
        assert_eq!(prefix.lengths(), [70]);
        assert!(
            model.prefill_after(&cache, &next, 4).is_err(),
            "one row only"
        );
        assert!(model.prefill_after(&prefix, &[&[], &[3]], 4).is_err());
    }
}

/// New prompts join the running batch, be they longer or shorter than those.
#[test]
fn merged_rows_are_the_rows_alone() {
    for variant in ["gqa", "dynamic", "mistral_window"] {
        let (model, ids) = (model(variant), expected(variant).ids);
        let vocabulary = model.vocabulary();
        let mut rows = vec![ids[..50].to_vec(), ids[50..58].to_vec()];
        let slices: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let (mut cache, _) = model.prefill(&slices, 2).unwrap();
        let advance = |cache: &mut _, rows: &mut Vec<Vec<u32>>, from: usize| {
            let next = &ids[from..from + rows.len()];
            let logits = values(model.step(next, cache).unwrap());
            for (i, (row, &id)) in rows.iter_mut().zip(next).enumerate() {
                row.push(id);
                let worst = distance(
                    &logits[i * vocabulary..(i + 1) * vocabulary],
                    &uncached(&model, row),
                );
                assert!(
                    worst < TOLERANCE,
                    "{variant}, from {from}, row {i}: {worst}"
                );
            }
        };
        advance(&mut cache, &mut rows, 60);
        // A shorter and a longer row than those running.
        for (start, end) in [(70, 90), (90, 190)] {
            // `dynamic` rows beyond the trained length would differ from an uncached pass.
            let end = if variant == "dynamic" {
                end.min(start + 70)
            } else {
                end
            };
            let (other, _) = model.prefill(&[&ids[start..end]], 0).unwrap();
            model.merge(&mut cache, other).unwrap();
            rows.push(ids[start..end].to_vec());
            advance(&mut cache, &mut rows, 200);
        }
        // The longest row ends; slots that it alone had filled are given back.
        model.select(&mut cache, &[2, 0, 1]);
        rows.pop();
        rows.rotate_right(1);
        advance(&mut cache, &mut rows, 210);
        assert_eq!(cache.lengths(), [23, 54, 12]);
    }
}

/// Prompts are read in pieces, of 512 positions for four rows, of 102 for twenty: rows that end in different pieces, at
/// and beside the border.
#[test]
fn long_prompts_are_read_in_pieces() {
    for variant in ["gqa", "mistral_window"] {
        let model = model_with(variant, |config| config.max_position_embeddings = 1100);
        let vocabulary = model.vocabulary();
        let ids: Vec<u32> = expected(variant)
            .ids
            .iter()
            .cycle()
            .take(1030)
            .copied()
            .collect();
        let few = vec![&ids[..3], &ids[..1030], &ids[1..513], &ids[2..515]];
        let many: Vec<&[u32]> = (0..20).map(|i| &ids[i..197 + 2 * i]).collect();
        for rows in [few, many] {
            let (mut cache, last) = model.prefill(&rows, 1).unwrap();
            let next = model.step(&vec![5; rows.len()], &mut cache).unwrap();
            let (last, next) = (values(last), values(next));
            for (i, row) in rows.iter().enumerate() {
                let place = i * vocabulary..(i + 1) * vocabulary;
                let worst = distance(&last[place.clone()], &uncached(&model, row));
                assert!(worst < TOLERANCE, "{variant}, row {i}: {worst}");
                let longer = [row, &[5][..]].concat();
                let worst = distance(&next[place], &uncached(&model, &longer));
                assert!(worst < TOLERANCE, "{variant}, row {i}, next: {worst}");
            }
        }
        let (mut cache, _) = model.prefill(&[&ids[..10]], 0).unwrap();
        let last = model.extend(&[&ids[10..1030]], true, &mut cache).unwrap();
        let worst = distance(&values(last), &uncached(&model, &ids));
        assert!(worst < TOLERANCE, "{variant}, extended: {worst}");
    }
}

/// Every constant of a configuration shows in these numbers: a model that took another value would fail above.
#[test]
fn a_wrong_constant_shows() {
    type Change = fn(&mut LlamaConfig);
    let cases: [(&str, &str, Change); 8] = [
        ("mha", "rms_norm_eps", |config| config.rms_norm_eps = 1e-3),
        ("gqa", "rope_theta", |config| config.rope_theta = 10_500.0),
        ("llama3", "rope_theta", |config| {
            config.rope_theta = 10_000.0
        }),
        ("llama3", "rope_scaling", |config| {
            config.rope_scaling = None
        }),
        ("linear", "rope_scaling", |config| {
            config.rope_scaling = None;
            config.max_position_embeddings = 512;
        }),
        ("dynamic", "rope_scaling", |config| {
            config.rope_scaling = None;
            config.max_position_embeddings = 512;
        }),
        ("mistral_window", "sliding_window", |config| {
            config.sliding_window = Some(47)
        }),
        ("mistral_window", "sliding_window", |config| {
            config.sliding_window = None
        }),
    ];
    for (variant, field, change) in cases {
        let expected = expected(variant);
        let logits = uncached(&model_with(variant, change), &expected.ids);
        let reference = expected.logits.last().unwrap().values.last().unwrap();
        let worst = distance(&logits, reference);
        assert!(worst > 10.0 * TOLERANCE, "{variant}, {field}: {worst}");
    }
}

#[test]
fn threads_share_one_model() {
    let (model, ids) = (model("gqa"), expected("gqa").ids);
    let alone: Vec<Vec<f32>> = (1..5).map(|n| uncached(&model, &ids[..n * 20])).collect();
    std::thread::scope(|scope| {
        for (n, reference) in (1..5).zip(&alone) {
            let (model, ids) = (&model, &ids);
            scope.spawn(move || {
                let (mut cache, _) = model.prefill(&[&ids[..n * 20 - 1]], 1).unwrap();
                let logits = model.step(&ids[n * 20 - 1..n * 20], &mut cache).unwrap();
                assert!(distance(&values(logits), reference) < TOLERANCE);
            });
        }
    });
}
