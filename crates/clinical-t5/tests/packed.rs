//! Reduced precisions on the CPU: weights packed while loading.

mod common;

use burn::module::Module;
use clinical_generate::{EndTokens, Generation, generate};
use clinical_kernels::{Packing, packed};
use clinical_t5::T5;
use clinical_weights::Precision;
use common::{Fixture, VARIANTS, host, slices};
use std::ops::ControlFlow;

/// As for the LLaMA fixtures: the distance from the same rounded weights in f32.
const LIMITS: [(Precision, f32); 4] = [
    (Precision::StoredF16, 1e-4),
    (Precision::StoredBF16, 1e-4),
    (Precision::Int8, 1e-1),
    (Precision::Int4, 1e-1),
];

fn rms(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v * v, count + 1));
    (sum / count as f32).sqrt()
}

#[test]
fn packed_models_compute_with_their_rounded_weights() {
    for name in VARIANTS {
        for (precision, limit) in LIMITS {
            let fixture = Fixture::on(name, clinical_kernels::cpu(), precision);
            let logits = |model: &T5| {
                let (ids, mask) = (fixture.ids("batch.input_ids"), fixture.mask("batch.mask"));
                let decoder = fixture.ids("batch.decoder_ids");
                host(model.forward(&ids, &mask, &decoder).unwrap())
            };
            let found = logits(&fixture.model);
            let rounded = logits(&fixture.model.clone().materialize());
            let off = rms(found.iter().zip(&rounded).map(|(a, b)| a - b));
            let part = off / rms(rounded.iter().copied());
            assert!(part < limit, "{name} {precision}: {part}");
            assert_ne!(
                rounded,
                fixture.floats("batch.logits"),
                "{name} {precision}"
            );
        }
    }
}

#[test]
fn the_feed_forward_output_keeps_what_it_needs() {
    for precision in [Precision::Int8, Precision::Int4] {
        let fixture = Fixture::on("v1_1", clinical_kernels::cpu(), precision);
        let model = &fixture.model;
        let packing = |weight| packed(weight).map(|packed| packed.matrix().packing());
        for block in &model.decoder.as_ref().unwrap().block {
            assert_eq!(
                packing(&block.feed_forward.wo.weight),
                Some(Packing::Int8Mixed)
            );
            assert_eq!(
                packing(&block.cross_attention.o.weight),
                precision.packing()
            );
        }
        let bias = &model.encoder.block[0]
            .self_attention
            .relative_attention_bias;
        assert_eq!(packing(&bias.as_ref().unwrap().weight), None);
    }
}

#[test]
fn packed_models_generate() {
    for (precision, _) in LIMITS {
        let fixture = Fixture::on("v1_0", clinical_kernels::cpu(), precision);
        let rows = fixture.rows("batch.input_ids", "batch.mask");
        let options = Generation::greedy().with_max_new_tokens(6);
        let outputs = generate(
            &fixture.model,
            &slices(&rows),
            &EndTokens::new(fixture.config.eos_token_ids.clone()),
            &options,
            |_| ControlFlow::Continue(()),
        )
        .unwrap();
        assert_eq!(outputs.len(), rows.len(), "{precision}");
    }
}
