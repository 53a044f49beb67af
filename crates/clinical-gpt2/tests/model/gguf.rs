//! GGUF files give the models that they were converted from (`scripts/gpt2_reference.py`).

use burn::module::Module;
use clinical_gpt2::Gpt2;
use clinical_weights::{CheckpointDir, LoadOptions, Precision};

use crate::common::{data, distance, expected, model, values};

fn file(name: &str) -> std::path::PathBuf {
    data().join("gguf").join(format!("{name}.gguf"))
}

#[test]
fn converted_models_are_what_they_were() {
    let (found, report) = Gpt2::load(file("plain"), &LoadOptions::default()).unwrap();
    assert!(report.fits(), "{report}");
    let original = model("plain");
    // Ids come from the tokenizer, which this file does not have; what is about Python alone is not there.
    let mut config = original.config().clone();
    config.bos_token_id = None;
    config.eos_token_id.clear();
    config.other.clear();
    config.n_inner = Some(64);
    assert_eq!(*found.config(), config);
    assert_eq!(found.num_params(), original.num_params());
    let case = expected("plain");
    let logits = case.logits.last().unwrap();
    let ids = &case.ids[..logits.length];
    let ours = values(found.forward(&[ids]).unwrap());
    assert!(distance(&ours, &values(original.forward(&[ids]).unwrap())) < 1e-5);
    for (&position, reference) in logits.positions.iter().zip(&logits.values) {
        assert!(distance(&ours[position * 64..(position + 1) * 64], reference) < 1e-4);
    }
}

/// Blocks of 8 bits lie with the outputs first in these files, as nowhere else: in f32, and as they are.
#[test]
fn quantised_blocks_are_turned_or_kept() {
    let exact = model("plain");
    let ids = &expected("plain").ids[..50];
    let reference = values(exact.forward(&[ids]).unwrap());
    for precision in [Precision::F32, Precision::Int8] {
        let options = LoadOptions::default().with_precision(precision);
        let (found, report) = Gpt2::load(file("eight"), &options).unwrap();
        assert!(report.fits(), "{report}");
        let weight = |model: &Gpt2| values(model.transformer.h[1].mlp.c_proj.weight.val());
        let worst = distance(&weight(&found), &weight(&exact));
        assert!(worst > 0.0 && worst < 0.01, "{precision}: {worst}");
        let worst = distance(&values(found.forward(&[ids]).unwrap()), &reference);
        assert!(worst < 0.5, "{precision}: {worst}");
    }
}

/// A key that would change what attention computes.
#[test]
fn settings_that_are_not_read_are_refused() {
    let bytes = std::fs::read(file("plain")).unwrap();
    let name = b"gpt2.attention.head_count";
    let at = bytes
        .windows(name.len())
        .position(|window| window == name)
        .unwrap();
    // A number of heads that the width cannot be split into.
    let mut spoiled = bytes.clone();
    spoiled[at + name.len() + 4..at + name.len() + 8].copy_from_slice(&5u32.to_le_bytes());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spoiled.gguf");
    std::fs::write(&path, spoiled).unwrap();
    let error = Gpt2::load(&path, &LoadOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("16 cannot be split into 5"),
        "{error}"
    );
    // Every cut is refused.
    for eighth in 1..8 {
        std::fs::write(&path, &bytes[..bytes.len() * eighth / 8]).unwrap();
        assert!(
            CheckpointDir::open(&path)
                .and_then(|dir| dir.weights())
                .is_err()
        );
    }
}
