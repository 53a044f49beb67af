//! Ten steps of each optimiser are those of `transformers`, `optax`, PyTorch and nanoT5.

mod probe;

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, ModuleOptimizer, Optimizer, RecordState, StateSink};
use burn::tensor::{DType, Tensor};
use clinical_train::{
    Adafactor, AdamW, AdamWRms, Flavour, Muon, OptimizerConfig, RecipeError, Schedule, Warmup,
};
use probe::*;
use safetensors::SafeTensors;

const RATE: f64 = 1e-3;

fn config(json: &str) -> OptimizerConfig {
    serde_json::from_str(json).unwrap()
}

/// Steps with the constant rate, or that of T5 with a warm-up of 4, against a case of the fixtures.
fn as_the_reference(case: &str, json: &str, rate: f64) {
    let file = match case.starts_with("muon") {
        true => "muon.safetensors",
        false => "optimizers.safetensors",
    };
    let expected = std::fs::read(data(file)).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let schedule = match case.starts_with("optax") {
        true => Schedule::InverseSqrt {
            warmup: Warmup::Steps(4),
        },
        false => Schedule::Constant {
            warmup: Warmup::default(),
        },
    };
    let before = parameters();
    let mut model = probe(&device());
    let mut optimizer = config(json).build().unwrap();
    for step in 0..10 {
        let grads = gradients(&model, step);
        model = optimizer.step(schedule.rate(rate, step as usize, 10), model, grads);
        let Ok(_) = expected.tensor(&format!("{case}.{}.vector", step + 1)) else {
            continue;
        };
        for (tensor, found) in values(&model).iter().enumerate() {
            let name = format!("{case}.{}.{}", step + 1, NAMES[tensor]);
            let bytes = expected.tensor(&name).unwrap().data();
            let expected: Vec<f32> = bytes
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
                .collect();
            let stride = STRIDES[tensor];
            let found: Vec<f32> = found.iter().copied().step_by(stride).collect();
            let before: Vec<f32> = before[tensor].iter().copied().step_by(stride).collect();
            let wrong = distance(&found, &expected);
            let moved = distance(&before, &expected);
            assert!(moved > 0.0, "{name} did not move");
            let (of_value, of_way) = (wrong / norm(&expected), wrong / moved);
            assert!(of_value < 1e-6, "{name}: {of_value:e} of the value");
            assert!(of_way < 1e-4, "{name}: {of_way:e} of the way");
        }
    }
}

fn distance(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().zip(right);
    let squares = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    squares.sum::<f64>().sqrt()
}

fn norm(values: &[f32]) -> f64 {
    distance(values, &vec![0.0; values.len()])
}

#[test]
fn adafactor_is_that_of_transformers() {
    let cases = [
        ("hf", ""),
        (
            "hf-relative",
            r#", "scale_parameter": true, "relative_step": true"#,
        ),
        (
            "hf-warmup-init",
            r#", "relative_step": true, "warmup_init": true"#,
        ),
        (
            "hf-momentum",
            r#", "scale_parameter": true, "beta1": 0.9, "weight_decay": 0.1"#,
        ),
        ("hf-decay", r#", "weight_decay": 0.1"#),
    ];
    for (case, fields) in cases {
        // With a relative step the rate does not matter.
        let rate = if fields.contains("relative") {
            7.0
        } else {
            RATE
        };
        as_the_reference(case, &format!(r#"{{"name": "adafactor"{fields}}}"#), rate);
    }
}

#[test]
fn adafactor_is_that_of_optax() {
    let optax = r#"{"name": "adafactor", "flavour": "optax"}"#;
    as_the_reference("optax", optax, 1.0);
    let momentum =
        r#"{"name": "adafactor", "flavour": "optax", "beta1": 0.9, "weight_decay": 1e-3}"#;
    as_the_reference("optax-momentum", momentum, 1.0);
}

#[test]
fn adamw_is_that_of_torch() {
    as_the_reference("adamw", r#"{"name": "adamw"}"#, RATE);
    let decay = r#"{"name": "adamw", "weight_decay": 0.1}"#;
    as_the_reference("adamw-decay", decay, RATE);
}

#[test]
fn adamw_rms_is_that_of_nanot5() {
    as_the_reference("adamw-rms", r#"{"name": "adamw-rms"}"#, 2e-2);
    let decay = r#"{"name": "adamw-rms", "weight_decay": 0.1}"#;
    as_the_reference("adamw-rms-decay", decay, 2e-2);
}

#[test]
fn muon_is_that_of_torch() {
    let others = r#""others_rate": 0.15, "others": {"beta2": 0.95}"#;
    as_the_reference("muon", &format!(r#"{{"name": "muon", {others}}}"#), RATE);
    let decay = format!(r#"{{"name": "muon", "weight_decay": 0.1, "nesterov": false, {others}}}"#);
    as_the_reference("muon-decay", &decay, RATE);
}

/// The parameters of a step by Muon's groups, beside those of AdamW and of Muon at another rate.
#[test]
fn muon_takes_names_for_its_groups() {
    let after = |json: &str, rate: f64| {
        let mut optimizer = config(json).build().unwrap();
        let model = probe(&device());
        let grads = gradients(&model, 0);
        values(&optimizer.step(rate, model, grads))
    };
    let found = after(
        r#"{"name": "muon", "not_matrices": ["^SMALL$"], "slow": ["matrix"], "slow_rate": 0.25}"#,
        0.02,
    );
    let slow = after(r#"{"name": "muon"}"#, 0.02 * 0.25);
    let others = after(r#"{"name": "adamw"}"#, 0.02 * 0.1);
    assert_eq!(found[0], slow[0]);
    assert_eq!(found[1..], others[1..]);
    assert_ne!(slow[1], others[1]);
}

/// A matrix and its transpose take the same steps.
fn transposed_takes_the_same_steps(optimizer: &Adafactor) {
    let device = clinical_kernels::cpu();
    let mut upright = tensor(parameters()[0].clone(), [256, 160], &device);
    let mut lying = upright.clone().transpose();
    let (mut state, mut other) = (None, None);
    for step in 0..5 {
        let grad = tensor(gradient_values(step)[0].clone(), [256, 160], &device);
        (upright, state) = optimizer.step(RATE, upright, grad.clone(), state);
        (lying, other) = optimizer.step(RATE, lying, grad.transpose(), other);
    }
    let (found, expected) = (floats(lying.transpose()), floats(upright));
    let wrong = distance(&found, &expected);
    assert!(wrong < 1e-6 * norm(&expected), "{wrong:e}");
    assert!(distance(&parameters()[0], &expected) > 1e3 * wrong);
}

#[test]
fn factored_moments_do_not_depend_on_the_layout() {
    transposed_takes_the_same_steps(&Adafactor::new(Flavour::HuggingFace));
    transposed_takes_the_same_steps(&Adafactor::new(Flavour::Optax));
}

const ALL: [&str; 7] = [
    r#"{"name": "adafactor"}"#,
    r#"{"name": "adafactor", "relative_step": true, "scale_parameter": true, "beta1": 0.9}"#,
    r#"{"name": "adafactor", "flavour": "optax"}"#,
    r#"{"name": "adafactor", "flavour": "optax", "beta1": 0.5}"#,
    r#"{"name": "adamw", "weight_decay": 0.1}"#,
    r#"{"name": "adamw-rms"}"#,
    r#"{"name": "muon", "weight_decay": 0.1, "not_matrices": ["small"]}"#,
];

fn bits(model: &Probe) -> Vec<u32> {
    values(model)
        .iter()
        .flatten()
        .map(|value| value.to_bits())
        .collect()
}

fn steps(
    optimizer: &mut ModuleOptimizer,
    mut model: Probe,
    numbers: std::ops::Range<u32>,
) -> Probe {
    for step in numbers {
        let grads = gradients(&model, step);
        model = optimizer.step(RATE, model, grads);
    }
    model
}

#[test]
fn a_state_survives_its_record_bit_for_bit() {
    for json in ALL {
        let config = config(json);
        let mut original = config.build().unwrap();
        let model = steps(&mut original, probe(&device()), 0..3);
        let bytes = original.to_record().into_bytes().unwrap();
        let mut restored = config.build().unwrap().from_bytes(bytes).unwrap();
        let mut again = config.build().unwrap().load_record(restored.to_record());
        let mut fresh = config.build().unwrap();
        let expected = bits(&steps(&mut original, model.clone(), 3..6));
        assert_eq!(
            bits(&steps(&mut restored, model.clone(), 3..6)),
            expected,
            "{json}"
        );
        assert_eq!(
            bits(&steps(&mut again, model.clone(), 3..6)),
            expected,
            "{json}"
        );
        // The state matters: moments and counter of a new optimiser make other steps.
        assert_ne!(bits(&steps(&mut fresh, model, 3..6)), expected, "{json}");
    }
}

/// Makes three steps and returns the names of what is recorded.
fn counts_its_steps<O: Optimizer>(optimizer: &O) -> Vec<String> {
    let device = clinical_kernels::cpu();
    let mut weight = tensor(parameters()[1].clone(), [32, 12], &device);
    let mut state = None;
    for step in 0..3 {
        let grad = tensor(gradient_values(step)[1].clone(), [32, 12], &device);
        (weight, state) = optimizer.step(RATE, weight, grad, state);
    }
    let mut sink = StateSink::default();
    state.unwrap().state_flatten("7", &mut sink);
    let [(name, step)] = &sink.scalars[..] else {
        panic!("{:?}", sink.scalars)
    };
    assert_eq!(name, "7.step");
    assert_eq!(usize::try_from(*step).unwrap(), 3);
    sink.tensors.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn steps_are_counted_and_recorded() {
    let plain = counts_its_steps(&Adafactor::default());
    assert_eq!(plain, ["7.rows", "7.columns"]);
    let momentum = counts_its_steps(&Adafactor::default().with_beta1(0.9));
    assert_eq!(momentum, ["7.rows", "7.columns", "7.momentum"]);
    // Below 128.
    let whole = counts_its_steps(&Adafactor::new(Flavour::Optax));
    assert_eq!(whole, ["7.rows"]);
    let factored = Adafactor::new(Flavour::Optax).with_min_dim_size_to_factor(12);
    assert_eq!(counts_its_steps(&factored), ["7.rows", "7.columns"]);
    assert_eq!(counts_its_steps(&AdamW::default()), ["7.mean", "7.square"]);
    assert_eq!(
        counts_its_steps(&AdamWRms::default()),
        ["7.mean", "7.square"]
    );
}

#[test]
fn a_state_of_another_optimiser_is_not_used() {
    for (from, into) in [
        (4, 0),
        (0, 4),
        (0, 2),
        (2, 0),
        (0, 1),
        (3, 2),
        (4, 6),
        (6, 4),
    ] {
        let mut other = config(ALL[from]).build().unwrap();
        let model = steps(&mut other, probe(&device()), 0..2);
        let into = config(ALL[into]);
        let mut loaded = into.build().unwrap().load_record(other.to_record());
        let found = steps(&mut loaded, model, 2..4);
        assert!(
            values(&found)
                .iter()
                .flatten()
                .all(|value| value.is_finite())
        );
    }
    // Whole moments where factored ones are expected.
    let mut optax = config(ALL[2]).build().unwrap();
    let model = steps(&mut optax, probe(&device()), 0..2);
    let mut fresh = config(ALL[0]).build().unwrap();
    let mut loaded = fresh.clone().load_record(optax.to_record());
    let expected = floats(steps(&mut fresh, model.clone(), 2..3).small.val());
    let found = floats(steps(&mut loaded, model, 2..3).small.val());
    assert_eq!(found, expected);
}

fn in_half_precision<O: Optimizer>(optimizer: &O) {
    let device = clinical_kernels::cpu();
    let weight = tensor(parameters()[0].clone(), [256, 160], &device).cast(DType::BF16);
    let grad = tensor(gradient_values(0)[0].clone(), [256, 160], &device).cast(DType::BF16);
    let (wide, wide_grad) = (
        weight.clone().cast(DType::F32),
        grad.clone().cast(DType::F32),
    );
    let (expected, _) = optimizer.step(0.1, wide, wide_grad, None);
    let (found, state) = optimizer.step(0.1, weight, grad, None);
    assert_eq!(found.dtype(), DType::BF16);
    assert_eq!(floats(found), floats(expected.cast(DType::BF16)));
    let mut sink = StateSink::default();
    state.unwrap().state_flatten("7", &mut sink);
    assert!(
        sink.tensors
            .iter()
            .all(|(_, data)| data.dtype() == DType::F32)
    );
}

#[test]
fn half_precision_is_computed_in_f32() {
    in_half_precision(&Adafactor::default().with_beta1(0.9));
    in_half_precision(&Adafactor::new(Flavour::Optax));
    in_half_precision(&AdamW::default());
    in_half_precision(&AdamWRms::default());
    in_half_precision(&Muon::default());
}

#[derive(Module, Debug)]
struct Block {
    dense: Linear,
    layer_norm: LayerNorm,
    relative_attention_bias: Linear,
    anormal: Param<Tensor<1>>,
}

/// Which parameters a step with gradients of zero changes, in order: those that decay.
fn decayed(json: &str, record: bool) -> Vec<bool> {
    let device = device();
    let block = Block {
        dense: LinearConfig::new(3, 2).init(&device),
        layer_norm: LayerNormConfig::new(2).init(&device),
        relative_attention_bias: LinearConfig::new(2, 2).with_bias(false).init(&device),
        anormal: Param::from_tensor(Tensor::ones([2], &device)),
    };
    let read = |block: &Block| {
        let bias = |linear: &Linear| floats(linear.bias.as_ref().unwrap().val());
        [
            floats(block.dense.weight.val()),
            bias(&block.dense),
            floats(block.layer_norm.gamma.val()),
            floats(block.relative_attention_bias.weight.val()),
            floats(block.anormal.val()),
        ]
    };
    let zeros = |block: &Block| {
        let device = device.clone().inner();
        let mut grads = GradientsParams::new();
        grads.register(block.dense.weight.id, Tensor::<2>::zeros([3, 2], &device));
        let bias = block.dense.bias.as_ref().unwrap().id;
        grads.register(bias, Tensor::<1>::zeros([2], &device));
        let gamma = block.layer_norm.gamma.id;
        grads.register(gamma, Tensor::<1>::zeros([2], &device));
        let table = block.relative_attention_bias.weight.id;
        grads.register(table, Tensor::<2>::zeros([2, 2], &device));
        grads.register(block.anormal.id, Tensor::<1>::zeros([2], &device));
        grads
    };
    let mut optimizer = config(json).build().unwrap();
    let mut block = block;
    if record {
        let grads = zeros(&block);
        block = optimizer.step(1.0, block, grads);
        let record = optimizer.to_record();
        optimizer = config(json).build().unwrap().load_record(record);
    }
    let before = read(&block);
    let grads = zeros(&block);
    let after = read(&optimizer.step(1.0, block, grads));
    before.iter().zip(&after).map(|(a, b)| a != b).collect()
}

#[test]
fn biases_and_norms_do_not_decay() {
    for name in ["adafactor", "adamw", "adamw-rms"] {
        let of = |fields: &str| format!(r#"{{"name": "{name}"{fields}}}"#);
        let names = |json: &str| decayed(json, false);
        assert_eq!(names(&of("")), [false; 5]);
        let decay = of(r#", "weight_decay": 0.5"#);
        let expected = [true, false, false, false, true];
        assert_eq!(names(&decay), expected);
        assert_eq!(decayed(&decay, true), expected, "after a record");
        let all = names(&of(r#", "weight_decay": 0.5, "no_decay": []"#));
        // A bias of zeros stays what it is.
        assert_eq!([all[0], all[2], all[3], all[4]], [true; 4]);
        let own = names(&of(r#", "weight_decay": 0.5, "no_decay": ["^DENSE\\."]"#));
        assert_eq!(own, [false, false, true, true, true]);
    }
}

#[test]
fn a_description_is_checked() {
    let rejects = |fields: &str| {
        let json = format!(r#"{{"name": "adafactor", {fields}}}"#);
        let error = config(&json).validate().unwrap_err();
        assert_eq!(config(&json).build().err(), Some(error.clone()));
        error
    };
    let nothing = rejects(r#""epsilon_1": 0.0"#);
    assert!(matches!(
        nothing,
        RecipeError::NotPositive {
            field: "epsilon_1",
            ..
        }
    ));
    let sign = rejects(r#""decay_rate": -0.8"#);
    assert!(matches!(
        sign,
        RecipeError::NotPositive {
            field: "decay_rate",
            ..
        }
    ));
    let beta = rejects(r#""beta1": 1.0"#);
    assert!(matches!(
        beta,
        RecipeError::NotAnAverage { field: "beta1", .. }
    ));
    let decay = rejects(r#""weight_decay": -0.1"#);
    assert!(matches!(
        decay,
        RecipeError::Negative {
            field: "weight_decay",
            ..
        }
    ));
    let warmup = rejects(r#""warmup_init": true"#);
    assert_eq!(warmup, RecipeError::WarmupWithoutRelativeStep);
    let optax = rejects(r#""min_dim_size_to_factor": 128"#);
    assert!(matches!(optax, RecipeError::OnlyOptax { .. }));
    let hugging_face = rejects(r#""flavour": "optax", "relative_step": true"#);
    assert!(matches!(hugging_face, RecipeError::OnlyHuggingFace { .. }));
    let pattern = rejects(r#""no_decay": ["bias", "nor("]"#);
    assert_eq!(
        pattern,
        RecipeError::Pattern {
            field: "no_decay",
            pattern: "nor(".into()
        }
    );
    let slow = config(r#"{"name": "muon", "slow": ["q("]}"#).validate();
    assert!(matches!(
        slow,
        Err(RecipeError::Pattern { field: "slow", .. })
    ));
    let iterations = config(r#"{"name": "muon", "iterations": 0}"#).validate();
    assert!(matches!(iterations, Err(RecipeError::Zero { .. })));
    let beta = config(r#"{"name": "adamw", "beta2": -0.1}"#).validate();
    assert!(matches!(
        beta,
        Err(RecipeError::NotAnAverage { field: "beta2", .. })
    ));
}

#[test]
fn a_description_is_read_and_written() {
    for json in ALL {
        let config = config(json);
        // As a value: `serde_json` reads 1e-30 from text with an error of one bit.
        let written = serde_json::to_value(&config).unwrap();
        let read: OptimizerConfig = serde_json::from_value(written).unwrap();
        assert_eq!(read, config);
    }
    let expected = Adafactor::new(Flavour::Optax).with_beta1(0.5);
    assert_eq!(config(ALL[3]), OptimizerConfig::Adafactor(expected));
    let unknown = [
        r#"{"name": "adamw", "epsilom": 1e-8}"#,
        r#"{"name": "adafactor", "flavour": "t5x"}"#,
        r#"{"name": "sgd"}"#,
    ];
    for json in unknown {
        assert!(
            serde_json::from_str::<OptimizerConfig>(json).is_err(),
            "{json}"
        );
    }
}
