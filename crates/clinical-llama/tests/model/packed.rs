//! Reduced precisions on the CPU: weights packed while loading.

use burn::module::Module;
use clinical_generate::StepModel;
use clinical_kernels::{Packing, packed};
use clinical_llama::Llama;
use clinical_weights::{Error, LoadOptions, Precision, load, save_safetensors};

use crate::common::{config, data, distance, expected, model, values};

/// How far the logits may be from those of the same rounded weights in f32, by the root of the mean square: nothing but
/// the order of sums where activations stay f32; where they are rounded to 8 bits, what that costs a model of random
/// weights, whose layers enlarge every difference.
const LIMITS: [(Precision, f32); 4] = [
    (Precision::StoredF16, 1e-4),
    (Precision::StoredBF16, 1e-4),
    (Precision::Int8, 1e-1),
    (Precision::Int4, 1e-1),
];

fn loaded(variant: &str, precision: Precision) -> Llama {
    let options = LoadOptions::default().with_precision(precision);
    let mut model = config(variant).init(&options.device).unwrap();
    let report = load(&mut model, data().join(variant), &options).unwrap();
    assert!(report.fits(), "{report}");
    model
}

fn rms(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v * v, count + 1));
    (sum / count as f32).sqrt()
}

#[test]
fn packed_models_compute_with_their_rounded_weights() {
    for variant in ["mha", "gqa", "tied", "mistral", "bias"] {
        let ids = expected(variant).ids;
        let exact = values(model(variant).forward(&[&ids[..100]]).unwrap());
        for (precision, limit) in LIMITS {
            let model = loaded(variant, precision);
            let found = values(model.forward(&[&ids[..100]]).unwrap());
            let rounded = values(model.materialize().forward(&[&ids[..100]]).unwrap());
            let off = rms(found.iter().zip(&rounded).map(|(a, b)| a - b));
            let part = off / rms(rounded.iter().copied());
            assert!(part < limit, "{variant} {precision}: {part}");
            // The weights were rounded at all.
            assert!(distance(&rounded, &exact) > 1e-3, "{variant} {precision}");
        }
    }
}

/// Activations are quantised row by row, so neither the batch nor the cache changes a row.
#[test]
fn a_row_is_the_same_in_a_batch_and_step_by_step() {
    for (precision, _) in LIMITS {
        let model = loaded("gqa", precision);
        let ids = expected("gqa").ids;
        let rows = [&ids[..40], &ids[40..47], &ids[100..170]];
        let (mut cache, _) = model.prefill(&rows, 2).unwrap();
        let together = values(model.step(&ids[200..203], &mut cache).unwrap());
        let vocabulary = model.vocabulary();
        for (i, row) in rows.iter().enumerate() {
            let (mut cache, _) = model.prefill(&[row], 2).unwrap();
            let alone = values(model.step(&ids[200 + i..201 + i], &mut cache).unwrap());
            let worst = distance(&together[i * vocabulary..][..vocabulary], &alone);
            // Sums of another order move an activation by a whole step now and then, and layers enlarge it.
            let largest = alone.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            assert!(worst < 0.05 * largest, "{precision}, row {i}: {worst}");
        }
    }
}

/// The cache is in halves where weights are integers: far finer than what those cost.
#[test]
fn what_the_cache_gives_is_what_the_model_computes_without_it() {
    for variant in ["mha", "gqa", "mistral"] {
        for (precision, limit) in LIMITS {
            let model = loaded(variant, precision);
            let ids = &expected(variant).ids[..100];
            let whole = values(model.forward(&[ids]).unwrap());
            let (mut cache, _) = model.prefill(&[&ids[..60]], 40).unwrap();
            let found = values(model.extend(&[&ids[60..]], false, &mut cache).unwrap());
            let whole = &whole[60 * model.vocabulary()..];
            let off = rms(found.iter().zip(whole).map(|(a, b)| a - b));
            let part = off / rms(whole.iter().copied());
            assert!(part < limit, "{variant} {precision}: {part}");
        }
    }
}

#[test]
fn which_matrices_are_packed_and_how() {
    let model = loaded("gqa", Precision::Int4);
    let packing = |weight| packed(weight).map(|packed| packed.matrix().packing());
    let layer = &model.model.layers[0];
    let four = Some(Packing::Int4Affine);
    assert_eq!(packing(&layer.self_attn.q_proj.weight), four);
    assert_eq!(packing(&layer.self_attn.o_proj.weight), four);
    assert_eq!(packing(&layer.mlp.gate_proj.weight), four);
    // A narrow model: some matrices keep 8 bits, and those meet 16-bit activations.
    let wide = Some(Packing::Int8Wide);
    assert_eq!(packing(&layer.self_attn.v_proj.weight), Some(Packing::F16));
    assert_eq!(packing(&layer.mlp.up_proj.weight), wide);
    assert_eq!(packing(&layer.mlp.down_proj.weight), wide);
    let head = model.lm_head.as_ref().unwrap();
    assert_eq!(packing(&head.weight), wide);
    // A table of 96 entries is too small to be worth it.
    assert_eq!(packing(&model.model.embed_tokens.weight), None);
    assert!(packed(&layer.input_layernorm.weight).is_none());
}

#[test]
fn packed_models_are_neither_saved_nor_loaded_again() {
    let mut model = loaded("gqa", Precision::Int8);
    let file = std::env::temp_dir().join(format!("packed-{}.safetensors", std::process::id()));
    let error = save_safetensors(&model, &file).unwrap_err();
    assert!(matches!(error, Error::Unwritable { .. }), "{error}");
    assert!(!file.exists());
    for precision in [Precision::F32, Precision::Int8] {
        let options = LoadOptions::default().with_precision(precision);
        let error = load(&mut model, data().join("gqa"), &options).unwrap_err();
        assert!(matches!(error, Error::AlreadyPacked { .. }), "{error}");
    }
}

#[test]
fn packed_models_need_less_memory_and_the_limit_knows() {
    let bytes = |precision| {
        let options = LoadOptions::default().with_precision(precision);
        let mut model = config("mha").init(&options.device).unwrap();
        load(&mut model, data().join("mha"), &options)
            .unwrap()
            .bytes
    };
    let (full, half) = (bytes(Precision::F32), bytes(Precision::StoredF16));
    let (eight, four) = (bytes(Precision::Int8), bytes(Precision::Int4));
    assert!(full > half && half > eight && eight > four);
    let options = LoadOptions::default()
        .with_precision(Precision::Int8)
        .with_max_bytes(eight - 1);
    let mut model = config("mha").init(&options.device).unwrap();
    let error = load(&mut model, data().join("mha"), &options).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}
