//! SmolLM2-135M-Instruct against the greedy tokens of `transformers`, f32
//! (`scripts/get_assets`, then `scripts/llama_reference.py --smollm2`).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clinical_generate::StepModel;
use clinical_llama::Llama;
use clinical_weights::LoadOptions;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    ids: Vec<u32>,
    new: Vec<u32>,
}

fn directory() -> PathBuf {
    let cache = match std::env::var_os("CLINICAL_LM_CACHE") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/assets"),
    };
    cache.join("smollm2-135m-instruct")
}

/// Shown with `--nocapture`.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn smollm2_greedy() {
    let directory = directory();
    if !directory.is_dir() {
        say("skipped: SmolLM2 is not in the cache; run scripts/get_assets to fetch it");
        return;
    }
    let (model, report) = Llama::load(&directory, &LoadOptions::default()).unwrap();
    assert_eq!(model.config().parameters().unwrap(), 134_515_008);
    say(&format!("{report}"));
    let cases: Vec<Case> = serde_json::from_slice(
        &std::fs::read(crate::common::data().join("smollm2_greedy.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(cases.len(), 10);
    let (mut read, mut reading, mut steps, mut stepping) = (0, 0.0, 0, 0.0);
    for (i, case) in cases.iter().enumerate() {
        let start = Instant::now();
        let (mut cache, logits) = model.prefill(&[&case.ids], case.new.len()).unwrap();
        let mut token = crate::common::argmax(&crate::common::values(logits));
        reading += start.elapsed().as_secs_f64();
        read += case.ids.len();
        let start = Instant::now();
        let mut new = vec![token];
        while new.len() < case.new.len() {
            let logits = model.step(&[token], &mut cache).unwrap();
            token = crate::common::argmax(&crate::common::values(logits));
            new.push(token);
        }
        stepping += start.elapsed().as_secs_f64();
        steps += new.len() - 1;
        assert_eq!(new, case.new, "prompt {i} of {} tokens", case.ids.len());
    }
    say(&format!(
        "prefill {read} tokens in {reading:.1} s ({:.0} a second), {steps} steps in {stepping:.1} s ({:.1} a second)",
        read as f64 / reading,
        steps as f64 / stepping,
    ));
}
