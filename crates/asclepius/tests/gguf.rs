//! GGUF files through the facade: the ids of `sentencepiece` and `tokenizers`, the logits of `transformers`
//! (`scripts/make_gguf_fixtures.py`), and SmolLM2 as a GGUF file against its converted directory
//! (`scripts/get_assets`).

use std::io::Write;
use std::path::{Path, PathBuf};

use asclepius::{AnswerOptions, Asclepius};
use clinical_weights::{LoadOptions, Precision, SaveOptions};
use serde_json::Value;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gguf")
}

fn rows<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<Vec<T>> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Logits of the token after a row.
fn logits(model: &Asclepius, row: &[u32]) -> Vec<f32> {
    let all = model.model().forward(&[row]).unwrap();
    let last = all.narrow(1, row.len() - 1, 1);
    last.into_data().iter::<f32>().collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |worst, next| {
            if next > worst || next.is_nan() {
                next
            } else {
                worst
            }
        })
}

#[test]
fn ids_and_logits_are_those_of_the_reference() {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(data().join("expected.json")).unwrap()).unwrap();
    for (name, end) in [("sentencepiece", "</s>"), ("byte_level", "<|end_of_text|>")] {
        let path = data().join(format!("{name}.gguf"));
        let model = Asclepius::load(&path, &LoadOptions::default()).unwrap();
        let expected = &expected[name];
        let texts: Vec<String> = serde_json::from_value(expected["texts"].clone()).unwrap();
        let ids = rows::<u32>(&expected["ids"]);
        assert_eq!(texts.len(), ids.len());
        for (text, ids) in texts.iter().zip(&ids) {
            let found = model.tokenizer().encode(text, true).unwrap().into_ids();
            assert_eq!(found, *ids, "{name}: {text:?}");
            let back = model.tokenizer().decode(ids, true).unwrap();
            // SentencePiece's own blank before a text cannot be told from one of the text.
            let expected = match name {
                "sentencepiece" => text.strip_prefix(' ').unwrap_or(text),
                _ => text,
            };
            assert_eq!(back, expected, "{name}");
        }
        let eos = model.tokenizer().special().eos[0];
        assert_eq!(model.tokenizer().id_to_token(eos).unwrap(), end);
        for (row, reference) in ids.iter().zip(rows::<f32>(&expected["logits"])) {
            let worst = distance(&logits(&model, row), &reference);
            assert!(worst < 1e-4, "{name}: {worst}");
        }
        // The file says which token an added one is.
        if name == "sentencepiece" {
            let found = model
                .tokenizer()
                .encode("at [Company] today", false)
                .unwrap();
            let company = model.tokenizer().token_to_id("[Company]").unwrap();
            assert!(found.ids().contains(&company));
            assert!(model.tokenizer().special().pad.is_some());
        }
    }
}

#[test]
fn a_file_answers_in_every_precision_and_from_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        data().join("sentencepiece.gguf"),
        dir.path().join("model.gguf"),
    )
    .unwrap();
    let options = AnswerOptions::new().with_max_new_tokens(4);
    let ask = |model: &Asclepius| {
        let found = model.answer_with("He has a cough.", "What does he have?", &options);
        found.unwrap()
    };
    let load = LoadOptions::default();
    let first = ask(&Asclepius::load(dir.path(), &load).unwrap());
    let second = ask(&Asclepius::load(dir.path().join("model.gguf"), &load).unwrap());
    assert_eq!(first, second);
    assert!(first.usage.new_tokens > 0);
    let half = Asclepius::load(dir.path(), &load.with_precision(Precision::F16)).unwrap();
    assert_eq!(ask(&half).usage.prompt_tokens, first.usage.prompt_tokens);
}

/// Q8_0 and Q4_0 keep their integers, so all that differs from f32 is the rounding of activations.
#[test]
fn quantised_files_open_in_every_packed_precision() {
    let load = LoadOptions::default();
    for name in ["sentencepiece", "byte_level"] {
        let path = data().join(format!("{name}.gguf"));
        let model = Asclepius::load(&path, &load).unwrap();
        let text = "Chief Complaint: chest pain and shortness of breath.";
        let ids = model.tokenizer().encode(text, true).unwrap().into_ids();
        let reference = logits(&model, &ids);
        let size = reference
            .iter()
            .fold(0f32, |most, next| most.max(next.abs()));
        for (precision, allowed) in [
            (Precision::StoredF16, 2e-3),
            (Precision::StoredBF16, 2e-2),
            (Precision::Int8, 5e-2),
            // A Q8_0 file loses half of its bits; a Q4_0 file nothing.
            (
                Precision::Int4,
                if name == "byte_level" { 5e-2 } else { 0.5 },
            ),
        ] {
            let packed = Asclepius::load(&path, &load.clone().with_precision(precision)).unwrap();
            let report = packed.report().to_string();
            let keeps = precision == Precision::Int8
                || (precision == Precision::Int4 && name == "byte_level");
            assert!(!keeps || report.contains("the same integers"), "{report}");
            let worst = distance(&logits(&packed, &ids), &reference);
            assert!(
                worst < allowed * size,
                "{name} {precision}: {worst} of {size}"
            );
        }
    }
}

fn cache() -> PathBuf {
    match std::env::var_os("CLINICAL_LM_CACHE") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/assets"),
    }
}

#[test]
fn smollm2_is_the_same_model_in_both_formats() {
    let (file, directory) = (
        cache().join("smollm2-gguf"),
        cache().join("smollm2-135m-instruct"),
    );
    if !file.is_dir() || !directory.is_dir() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: SmolLM2 is not in the cache; run scripts/get_assets to fetch it"
        );
        return;
    }
    let load = LoadOptions::default();
    let (file, directory) = (
        Asclepius::load(file, &load).unwrap(),
        Asclepius::load(directory, &load).unwrap(),
    );
    let (own, converted) = (file.tokenizer(), directory.tokenizer());
    assert_eq!(own.special(), converted.special());
    assert_eq!(own.chat_template(), converted.chat_template());
    let corpus = include_str!("../../clinical-tokenizer/tests/data/corpus.json");
    let corpus: Vec<String> = serde_json::from_str(corpus).unwrap();
    assert!(corpus.len() > 100);
    for text in &corpus {
        let ids = own.encode(text, true).unwrap().into_ids();
        assert_eq!(
            ids,
            converted.encode(text, true).unwrap().into_ids(),
            "{text:?}"
        );
        assert_eq!(
            own.decode(&ids, true).unwrap(),
            converted.decode(&ids, true).unwrap()
        );
    }
    let prompt = own
        .encode("The patient was admitted with chest pain and", true)
        .unwrap()
        .into_ids();
    let reference = logits(&directory, &prompt);
    let worst = distance(&logits(&file, &prompt), &reference);
    assert!(worst < 1e-4, "{worst}");
    let best = |logits: &[f32]| {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        order[..5].to_vec()
    };
    for precision in [Precision::Int8, Precision::StoredF16, Precision::Int4] {
        let path = cache().join("smollm2-gguf");
        let packed = Asclepius::load(path, &load.clone().with_precision(precision)).unwrap();
        let found = logits(&packed, &prompt);
        assert!(best(&reference).contains(&best(&found)[0]), "{precision}");
        let worst = distance(&found, &reference);
        let _ = writeln!(
            std::io::stderr(),
            "{precision}: {worst} {}",
            packed.report()
        );
    }
}

#[test]
fn a_saved_model_opens_again_as_it_was() {
    for name in ["sentencepiece", "byte_level"] {
        let load = LoadOptions::default();
        let model = Asclepius::load(data().join(format!("{name}.gguf")), &load).unwrap();
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("saved");
        let shards = SaveOptions::new().with_max_shard_bytes(40_000);
        model.save(&dir, &shards).unwrap();
        assert!(dir.join("model.safetensors.index.json").is_file());
        let again = Asclepius::load(&dir, &load).unwrap();
        assert!(again.report().fits());
        assert_eq!(again.tokenizer().special(), model.tokenizer().special());
        let text = "Seen at [Company] 12/3,\nBP 120/80.  Größe";
        let ids = model.tokenizer().encode(text, true).unwrap().into_ids();
        let found = again.tokenizer().encode(text, true).unwrap().into_ids();
        assert_eq!(found, ids, "{name}");
        assert_eq!(logits(&again, &ids), logits(&model, &ids));
        // The ids of config.json are those of the tokenizer.
        let eos = i64::from(model.tokenizer().special().eos[0]);
        assert_eq!(again.model().config().eos_token_id, [eos]);
    }
}

#[test]
fn ids_without_a_row_are_named() {
    let path = data().join("sentencepiece.gguf");
    let mut model = Asclepius::load(path, &LoadOptions::default()).unwrap();
    // Capital letters and bytes are among the last pieces.
    model.resize_embeddings(300).unwrap();
    let error = model
        .answer("He has a cough.", "What?")
        .unwrap_err()
        .to_string();
    assert!(error.contains("300"), "{error}");
}
