//! The norm of all gradients is bounded as PyTorch bounds it.

mod probe;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use clinical_train::{clip_by_global_norm, global_norm};
use probe::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    max: f64,
    norm: f64,
    vector: Vec<f32>,
}

fn vector(grads: &GradientsParams, probe: &Probe) -> Vec<f32> {
    floats(grads.get::<1>(probe.vector.id).unwrap())
}

#[test]
fn norm_and_gradients_are_those_of_torch() {
    let cases = std::fs::read_to_string(data("clipping.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&cases).unwrap();
    assert_eq!(cases.len(), 2);
    let probe = probe(&device());
    for case in cases {
        let grads = gradients(&probe, 0);
        let (clipped, norm) = clip_by_global_norm(grads, &probe, case.max);
        let wrong = (norm / case.norm - 1.0).abs();
        assert!(wrong < 1e-6, "{norm} is not {}", case.norm);
        assert_eq!(clipped.len(), 4);
        for (found, expected) in vector(&clipped, &probe).iter().zip(&case.vector) {
            assert!((found - expected).abs() <= 1e-6 * expected.abs());
        }
        if norm < case.max {
            assert_eq!(vector(&clipped, &probe), gradient_values(0)[2]);
        } else {
            let after = global_norm(&clipped, &probe);
            assert!((after / case.max - 1.0).abs() < 1e-5, "{after}");
        }
    }
}

#[test]
fn the_norm_is_that_of_all_values_and_always_the_same() {
    let probe = probe(&device());
    let grads = gradients(&probe, 5);
    let values = gradient_values(5);
    let squares = values
        .iter()
        .flatten()
        .map(|value| f64::from(*value).powi(2));
    let expected = squares.sum::<f64>().sqrt();
    let norm = global_norm(&grads, &probe);
    assert!((norm / expected - 1.0).abs() < 1e-6, "{norm}, {expected}");
    for _ in 0..5 {
        let again = global_norm(&gradients(&probe, 5), &probe);
        assert_eq!(again.to_bits(), norm.to_bits());
    }
}

#[test]
fn without_gradients_or_without_a_bound_nothing_happens() {
    let probe = probe(&device());
    let (grads, norm) = clip_by_global_norm(GradientsParams::new(), &probe, 1.0);
    assert_eq!((grads.len(), norm), (0, 0.0));
    for max in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let (grads, norm) = clip_by_global_norm(gradients(&probe, 3), &probe, max);
        assert!(norm > 100.0);
        assert_eq!(vector(&grads, &probe), gradient_values(3)[2]);
    }
}

#[test]
fn a_norm_that_is_not_finite_is_seen() {
    let probe = probe(&device());
    let device = device().inner();
    for (value, check) in [
        (f32::NAN, f64::is_nan as fn(f64) -> bool),
        (f32::INFINITY, f64::is_infinite),
    ] {
        let mut grads = gradients(&probe, 0);
        let bad = Tensor::<1>::full([48], value, &device);
        grads.register(probe.vector.id, bad);
        assert!(check(global_norm(&grads, &probe)));
        let (grads, norm) = clip_by_global_norm(grads, &probe, 1.0);
        assert!(check(norm));
        assert!(vector(&grads, &probe).iter().all(|value| value.is_nan()));
    }
}
