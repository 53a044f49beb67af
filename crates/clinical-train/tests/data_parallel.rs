//! Replicas on several devices learn what one device learns from the whole batch.

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::Device;
use clinical_llama::{Llama, LlamaConfig};
use clinical_train::{DataParallel, Part, Reduction, StepError};

const ROWS: [&[u32]; 4] = [&[3, 9, 4, 12], &[7, 5, 11], &[6, 6, 8, 13, 10], &[2, 14]];
const RATE: f64 = 1e-2;

fn device() -> Device {
    clinical_kernels::cpu().autodiff()
}

fn model() -> Llama {
    let config = r#"{"model_type": "llama", "vocab_size": 16, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 2, "max_position_embeddings": 16, "rms_norm_eps": 1e-6}"#;
    let config = LlamaConfig::from_json(config).unwrap();
    device().seed(5);
    config.init(&device()).unwrap()
}

fn replicas(model: &Llama, count: usize) -> DataParallel<Llama> {
    let devices = vec![device(); count];
    let optimizer = AdamConfig::new().init();
    DataParallel::new::<()>(model.clone(), optimizer, &devices, Reduction::Gather).unwrap()
}

/// The mean loss of some rows, and over how many next tokens the mean is.
fn part(model: &Llama, rows: &[&[u32]]) -> Result<Part, clinical_llama::Error> {
    let labels: Vec<Vec<i64>> = rows
        .iter()
        .map(|row| row.iter().map(|&id| id.into()).collect())
        .collect();
    let labels: Vec<&[i64]> = labels.iter().map(Vec::as_slice).collect();
    let loss = model.loss(rows, &labels)?;
    Ok(Part {
        loss: loss.mean,
        targets: loss.targets as f64,
    })
}

fn weights(model: &Llama) -> Vec<f32> {
    let embedding = model.model.embed_tokens.weight.val().into_data();
    let first = model.model.layers[0].mlp.down_proj.weight.val().into_data();
    embedding.iter().chain(first.iter()).collect()
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().zip(right);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn parts_make_the_steps_of_the_whole_batch() {
    let mut whole = model();
    let before = weights(&whole);
    let mut uneven = replicas(&whole, 2);
    let mut even = replicas(&whole, 4);
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..3 {
        let Part { loss, .. } = part(&whole, &ROWS).unwrap();
        let expected = f64::from(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &whole);
        whole = optimizer.step(RATE, whole, gradients);
        // 3 targets and 7 of them; and each row alone.
        let found = uneven.step(RATE, |model, at| part(model, [&ROWS[..1], &ROWS[1..]][at]));
        assert!((found.unwrap() - expected).abs() < 1e-5);
        let found = even.step(RATE, |model, at| part(model, &ROWS[at..=at]));
        assert!((found.unwrap() - expected).abs() < 1e-5);
    }
    let expected = weights(&whole);
    assert!(
        largest_difference(&before, &expected) > 1e-2,
        "nothing was learnt"
    );
    for replicas in [uneven, even] {
        for replica in replicas.replicas() {
            assert!(largest_difference(&weights(replica), &expected) < 1e-5);
        }
    }
}

#[test]
fn an_empty_part_changes_nothing() {
    let model = model();
    let mut alone = replicas(&model, 1);
    let mut with_empty = replicas(&model, 3);
    let expected = alone.step(RATE, |model, _| part(model, &ROWS)).unwrap();
    let found = with_empty.step(RATE, |model, at| match at {
        1 => part(model, &ROWS),
        _ => Ok(Part {
            loss: part(model, &ROWS)?.loss * f64::NAN,
            targets: 0.0,
        }),
    });
    assert_eq!(found.unwrap(), expected);
    let (found, expected) = (with_empty.into_model(), alone.into_model());
    assert_eq!(weights(&found), weights(&expected));
}

#[test]
fn a_step_that_fails_leaves_the_weights() {
    let model = model();
    let before = weights(&model);
    let mut replicas = replicas(&model, 2);
    let mut fails =
        |part: &(dyn Fn(&Llama, usize) -> Result<Part, clinical_llama::Error> + Sync)| {
            let error = replicas.step(RATE, part).unwrap_err();
            for replica in replicas.replicas() {
                assert_eq!(weights(replica), before);
            }
            error
        };
    // Row 1 has an id outside the vocabulary.
    let rows: [&[u32]; 2] = [ROWS[0], &[99, 99]];
    let error = fails(&|model, at| part(model, &rows[at..=at]));
    assert!(matches!(error, StepError::Loss { part: 1, .. }), "{error}");
    let error = fails(&|model, _| {
        Ok(Part {
            loss: part(model, &ROWS)?.loss * f64::INFINITY,
            targets: 1.0,
        })
    });
    assert!(matches!(error, StepError::NotFinite { .. }), "{error}");
    let with = |targets: f64| {
        move |model: &Llama, _: usize| {
            Ok(Part {
                targets,
                ..part(model, &ROWS)?
            })
        }
    };
    assert!(matches!(fails(&with(0.0)), StepError::NoTargets));
    assert!(matches!(
        fails(&with(-1.0)),
        StepError::BadTargets { part: 0, .. }
    ));
    assert!(matches!(
        fails(&with(f64::NAN)),
        StepError::BadTargets { .. }
    ));
}

#[test]
fn devices_that_cannot_train_together_are_errors() {
    let new = |devices: &[Device], reduction| {
        let optimizer = AdamConfig::new().init();
        DataParallel::new::<()>(model(), optimizer, devices, reduction).err()
    };
    assert!(matches!(
        new(&[], Reduction::Gather),
        Some(StepError::NoDevice)
    ));
    let all_reduce = new(&[device(), device()], Reduction::AllReduce);
    assert!(matches!(all_reduce, Some(StepError::NoCollective { .. })));
    assert!(new(&[clinical_kernels::cpu()], Reduction::Gather).is_none());
}

#[test]
fn a_model_comes_back_as_it_can_be_used() {
    let model = replicas(&model(), 2).into_model();
    assert_eq!(model.valid().num_params(), self::model().num_params());
}
