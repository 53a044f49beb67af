//! GGUF files give the models that they were converted from (`scripts/make_gguf_fixtures.py`).

use burn::module::Module;
use clinical_llama::{Llama, LlamaConfig, RopeScaling};
use clinical_weights::{CheckpointDir, LoadOptions};

use crate::common::{data, distance, expected, model, values};

fn file(name: &str) -> std::path::PathBuf {
    data().join("gguf").join(format!("{name}.gguf"))
}

#[test]
fn converted_models_are_what_they_were() {
    for variant in ["gqa", "bias", "linear"] {
        let (found, report) = Llama::load(file(variant), &LoadOptions::default()).unwrap();
        assert!(report.fits(), "{report}");
        let original = model(variant);
        // Ids come from the tokenizer, which these files do not have.
        let mut config = original.config().clone();
        (config.bos_token_id, config.pad_token_id) = (None, None);
        config.eos_token_id.clear();
        // Nor settings that are about Python alone.
        config.other.clear();
        // No file says how fresh weights would be drawn.
        config.initializer_range = found.config().initializer_range;
        assert_eq!(*found.config(), config, "{variant}");
        assert_eq!(found.num_params(), original.num_params());

        let case = expected(variant);
        let logits = case.logits.last().unwrap();
        let ids = &case.ids[..logits.length];
        let ours = values(found.forward(&[ids]).unwrap());
        assert_eq!(ours, values(original.forward(&[ids]).unwrap()), "{variant}");
        let vocabulary = config.vocab_size;
        for (&position, reference) in logits.positions.iter().zip(&logits.values) {
            let ours = &ours[position * vocabulary..(position + 1) * vocabulary];
            assert!(distance(ours, reference) < 1e-4, "{variant}");
        }
    }
}

/// `parts` is `gqa` in three files.
#[test]
fn parts_are_the_whole_model() {
    let (whole, _) = Llama::load(file("gqa"), &LoadOptions::default()).unwrap();
    let (found, report) =
        Llama::load(file("parts-00001-of-00003"), &LoadOptions::default()).unwrap();
    assert!(report.fits(), "{report}");
    assert_eq!(found.config(), whole.config());
    let ids: [&[u32]; 1] = [&[1, 5, 9, 3]];
    assert_eq!(
        values(found.forward(&ids).unwrap()),
        values(whole.forward(&ids).unwrap())
    );
}

#[test]
fn the_scaling_of_llama_3_is_found_again() {
    for factor in [8.0, 32.0] {
        let dir = CheckpointDir::open(file(&format!("llama3_{factor}"))).unwrap();
        let config = LlamaConfig::from_value(dir.config().unwrap()).unwrap();
        assert_eq!(
            config.rope_scaling,
            Some(RopeScaling::Llama3 {
                factor,
                low_frequency_factor: 1.0,
                high_frequency_factor: 4.0,
                original_positions: 8192,
            })
        );
        assert!(config.tie_word_embeddings);
        assert_eq!(config.max_positions(), 131_072);
        // The factors are no parameter.
        let weights = dir.weights().unwrap();
        assert!(
            weights
                .tensors()
                .all(|tensor| !tensor.name.contains("rope"))
        );
    }
}
