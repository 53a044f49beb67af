//! Reduced precisions on the CPU: input-major matrices packed while loading.

use burn::module::Module;
use clinical_generate::StepModel;
use clinical_gpt2::Gpt2;
use clinical_kernels::{Packing, packed};
use clinical_weights::{LoadOptions, Precision};

use crate::common::{VARIANTS, config, distance, expected, model, values, weights};

/// How far the logits may be from those of the same rounded weights in f32, by the root of the mean square: nothing but
/// the order of sums where activations stay f32; where they are rounded, what that costs a model of random weights.
const LIMITS: [(Precision, f32); 4] = [
    (Precision::StoredF16, 1e-4),
    (Precision::StoredBF16, 1e-4),
    (Precision::Int8, 1e-1),
    (Precision::Int4, 1e-1),
];

fn loaded(variant: &str, precision: Precision) -> Gpt2 {
    let options = LoadOptions::default().with_precision(precision);
    let mut model = config(variant).init(&options.device).unwrap();
    let report = clinical_weights::load(&mut model, weights(variant), &options).unwrap();
    assert!(report.fits(), "{report}");
    model
}

fn rms(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v * v, count + 1));
    (sum / count as f32).sqrt()
}

#[test]
fn packed_models_compute_with_their_rounded_weights() {
    for variant in VARIANTS {
        let ids = &expected(variant).ids[..100];
        let exact = values(model(variant).forward(&[ids]).unwrap());
        for (precision, limit) in LIMITS {
            let model = loaded(variant, precision);
            let found = values(model.forward(&[ids]).unwrap());
            let rounded = values(model.clone().materialize().forward(&[ids]).unwrap());
            let off = rms(found.iter().zip(&rounded).map(|(a, b)| a - b));
            let part = off / rms(rounded.iter().copied());
            assert!(part < limit, "{variant} {precision}: {part}");
            // The weights were rounded at all, and are those of this model.
            assert!(distance(&rounded, &exact) > 1e-4, "{variant} {precision}");
            let near = rms(rounded.iter().zip(&exact).map(|(a, b)| a - b));
            assert!(
                near < 0.5 * rms(exact.iter().copied()),
                "{variant} {precision}: {near}"
            );
            // And the same through a cache.
            let (mut cache, _) = model.prefill(&[&ids[..60]], 40).unwrap();
            let cached = values(model.extend(&[&ids[60..]], false, &mut cache).unwrap());
            let whole = &found[60 * 64..];
            let off = rms(cached.iter().zip(whole).map(|(a, b)| a - b));
            assert!(
                off / rms(whole.iter().copied()) < limit,
                "{variant} {precision}"
            );
        }
    }
}

#[test]
fn which_matrices_are_packed_and_how() {
    let model = loaded("plain", Precision::Int4);
    let packing = |weight| packed(weight).map(|packed| packed.matrix().packing());
    let layer = &model.transformer.h[0];
    for matrix in [
        &layer.attn.c_attn,
        &layer.attn.c_proj,
        &layer.mlp.c_fc,
        &layer.mlp.c_proj,
    ] {
        assert_eq!(packing(&matrix.weight), Some(Packing::Int4Affine));
    }
    assert_eq!(packing(&model.transformer.wpe.weight), None);
    assert!(packed(&layer.ln_1.weight).is_none());
    // A narrow model: 8 bits meet 16-bit activations. A head of three classes stays f32.
    let model = loaded("classes", Precision::Int8);
    let layer = &model.transformer.h[0];
    assert_eq!(packing(&layer.mlp.c_fc.weight), Some(Packing::Int8Wide));
    assert_eq!(packing(&model.score.as_ref().unwrap().weight), None);
}
