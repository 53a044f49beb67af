//! all-MiniLM-L6-v2, real weights (`scripts/get_assets` fetches them), against `transformers`
//! (`scripts/bert_reference.py minilm`).

use std::path::{Path, PathBuf};

use clinical_bert::{BertModel, ClinicalBert, EmbedOptions, LoadOptions, Pooling, Row};
use serde::Deserialize;

const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Expected {
    text: String,
    ids: Vec<u32>,
    /// The first four and the last four values of each token's state.
    last: Vec<Vec<f32>>,
    pooled: Vec<f32>,
    mean: Vec<f32>,
}

/// The directory, or `None` where it was never fetched.
fn directory() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/assets");
    let cache = std::env::var_os("CLINICAL_LM_CACHE").map_or(root, PathBuf::from);
    let dir = cache.join("all-minilm-l6-v2");
    if !dir.join("model.safetensors").exists() {
        #[expect(clippy::print_stderr, reason = "a test that does nothing must say so")]
        {
            eprintln!(
                "skipped: all-MiniLM-L6-v2 is not in the cache; scripts/get_assets fetches it"
            );
        }
        return None;
    }
    Some(dir)
}

#[track_caller]
fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= TOLERANCE,
            "{found} instead of {expected}"
        );
    }
}

#[test]
fn real_weights_give_the_numbers_of_transformers() {
    let Some(dir) = directory() else { return };
    let bert = ClinicalBert::load(dir, &LoadOptions::default()).unwrap();
    let BertModel::Encoder(model) = bert.model() else {
        panic!("{:?}", bert.head());
    };
    let expected: Vec<Expected> = serde_json::from_str(include_str!("data/minilm.json")).unwrap();
    for expected in &expected {
        let tokens = bert.tokens(&expected.text).unwrap();
        assert_eq!(tokens, expected.ids[1..expected.ids.len() - 1]);
        let states = model
            .forward(&[Row::from(expected.ids.as_slice())])
            .unwrap();
        let values: Vec<f32> = states.clone().into_data().try_to_vec().unwrap();
        for (state, expected) in values.chunks(384).zip(&expected.last) {
            close(&[&state[..4], &state[380..]].concat(), expected);
        }
        let pooled: Vec<f32> = model
            .pool(states)
            .unwrap()
            .into_data()
            .try_to_vec()
            .unwrap();
        close(&pooled, &expected.pooled);
    }
    let texts: Vec<&str> = expected
        .iter()
        .map(|expected| expected.text.as_str())
        .collect();
    for (vector, expected) in bert.embed(&texts, Pooling::Mean).iter().zip(&expected) {
        close(vector.as_ref().unwrap(), &expected.mean);
    }
    // What the model is for: related sentences are closer than unrelated ones.
    let options = EmbedOptions::new()
        .with_pooling(Pooling::Mean)
        .with_normalize(true);
    let sentences = [
        "He had chest pain.",
        "The patient reported an aching chest.",
        "The invoice is overdue.",
    ];
    let vectors: Vec<Vec<f32>> = bert
        .embed_with(&sentences, &options)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let cosine = |a: usize, b: usize| -> f32 {
        vectors[a].iter().zip(&vectors[b]).map(|(x, y)| x * y).sum()
    };
    assert!(
        cosine(0, 1) > cosine(0, 2) + 0.3,
        "{} {}",
        cosine(0, 1),
        cosine(0, 2)
    );
}
