//! Texts, in the published directory rebuilt (`scripts/gpt2_reference.py`).

use std::ops::ControlFlow;

use clinical_gpt2::{
    CancelFlag, ClinicalGpt2, Error, Generation, Gpt2Options, LoadOptions, LongText, Precision,
    SaveOptions, StopReason,
};
use serde::Deserialize;

use crate::common::{data, distance, read, values};

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    last: Vec<f32>,
    new: Vec<u32>,
    output: String,
}

fn cases() -> Vec<Case> {
    read("published")
}

fn model() -> ClinicalGpt2 {
    ClinicalGpt2::load(data().join("published"), &LoadOptions::default()).unwrap()
}

/// The end token is never chosen: `transformers` was told so, too.
fn greedy(model: &ClinicalGpt2, tokens: usize) -> Generation {
    Generation::greedy()
        .with_max_new_tokens(tokens)
        .with_suppress(model.end_ids().to_vec())
}

#[test]
fn texts_are_those_of_transformers() {
    let model = model();
    assert_eq!(model.max_tokens(), 96);
    assert_eq!(model.end_ids(), [model.config().vocab_size as u32 - 1]);
    for case in cases() {
        let ids = model
            .tokenizer()
            .encode(&case.text, true)
            .unwrap()
            .into_ids();
        assert_eq!(ids, case.ids);
        let logits = model.model().forward(&[&ids]).unwrap();
        let last = values(logits.narrow(1, ids.len() - 1, 1));
        assert!(distance(&last, &case.last) < 1e-4);
        let output = model
            .generate(&case.text, &greedy(&model, case.new.len()))
            .unwrap();
        assert_eq!((output.ids, output.text), (case.new, case.output));
        assert_eq!(output.stop, StopReason::MaxNewTokens);
    }
}

#[test]
fn the_gguf_file_has_the_same_tokenizer() {
    let path = data().join("gguf/published.gguf");
    let model = ClinicalGpt2::load(path, &LoadOptions::default()).unwrap();
    assert!(
        !model.config().scale_attn_by_inverse_layer_idx,
        "the format cannot say so"
    );
    for case in cases() {
        let ids = model
            .tokenizer()
            .encode(&case.text, true)
            .unwrap()
            .into_ids();
        assert_eq!(ids, case.ids);
    }
    assert_eq!(model.end_ids(), [model.config().vocab_size as u32 - 1]);
}

#[test]
fn batches_streams_and_beams() {
    let model = model();
    let cases = cases();
    let options = Gpt2Options::new()
        .with_generation(greedy(&model, 12))
        .with_batch(2);
    let texts: Vec<&str> = cases
        .iter()
        .map(|case| case.text.as_str())
        .chain([""])
        .collect();
    let found = model.generate_batch(&texts, &options);
    for (case, found) in cases.iter().zip(&found) {
        assert_eq!(found.as_ref().unwrap().text, case.output);
    }
    assert!(matches!(found[3], Err(Error::NoText)));
    let mut pieces = String::new();
    let streamed = model.generate_streaming(texts[0], &options, |piece| {
        pieces += piece;
        ControlFlow::Continue(())
    });
    assert_eq!(streamed.unwrap().text, pieces);
    let mut beams = greedy(&model, 6);
    (beams.beams, beams.num_return_sequences) = (3, 2);
    let output = model.generate(texts[0], &beams).unwrap();
    assert_eq!(output.alternatives.len(), 1);
    assert!(output.score >= output.alternatives[0].score);
    let flag = CancelFlag::new();
    flag.cancel();
    let cancelled = model.generate_with(texts[0], &Gpt2Options::new().with_cancel(flag));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
}

#[test]
fn scores_are_the_log_probabilities() {
    let model = model();
    let targets = [" yes", " no, there is none"];
    let scores = model
        .score("Is there evidence of pneumonia?", &targets)
        .unwrap();
    for (target, score) in targets.iter().zip(&scores) {
        let prompt = model
            .tokenizer()
            .encode("Is there evidence of pneumonia?", true)
            .unwrap();
        let ids = model.tokenizer().encode(target, false).unwrap().into_ids();
        let row = [prompt.ids(), &ids].concat();
        let labels = clinical_gpt2::Gpt2::labels_after(&row, prompt.len());
        let loss = model.model().loss(&[&row], &[&labels]).unwrap();
        let mean: f32 = loss.mean.into_scalar();
        assert_eq!(score.log_probs.len(), ids.len());
        assert!((f64::from(mean) + score.mean()).abs() < 1e-4);
    }
    assert!(model.loss("The patient was admitted").unwrap() > 0.0);
    assert!(matches!(model.loss("T"), Err(Error::Loss(_))));
}

#[test]
fn long_texts_are_refused_or_cut() {
    let model = model();
    let text = "The patient was admitted with chest pain. ".repeat(20);
    let options = Gpt2Options::new().with_generation(greedy(&model, 10));
    let refused = model.generate_with(&text, &options).unwrap_err();
    let Error::TooLong(long) = refused else {
        panic!("{refused}");
    };
    assert!(long.tokens > long.limit && (long.limit, long.reserved) == (86, 10));
    for policy in [LongText::CutStart, LongText::CutEnd] {
        let options = options.clone().with_long_text(policy);
        assert_eq!(model.generate_with(&text, &options).unwrap().ids.len(), 10);
    }
    // Of windows the text with the highest mean log-probability.
    let windows = options
        .clone()
        .with_long_text(LongText::Windows { overlap: 2 });
    let output = model.generate_with(&text, &windows).unwrap();
    assert!(output.range.start < output.range.end && output.range.end <= text.len());
    let alone = model
        .generate_with(&text[output.range.clone()], &options)
        .unwrap();
    assert_eq!(alone.ids, output.ids);
    assert!(matches!(
        model.score_with(&text, &["a"], &windows),
        Err(Error::NoWindows { call: "score" })
    ));
    let all = Generation::greedy().with_max_new_tokens(96);
    let options = Gpt2Options::new()
        .with_generation(all)
        .with_long_text(LongText::CutEnd);
    assert!(matches!(
        model.generate_with("a", &options),
        Err(Error::NothingLeft)
    ));
}

#[test]
fn classes_and_spans_of_texts() {
    let classifier = model().into_classifier(&["no", "yes"]).unwrap();
    let options = Gpt2Options::new();
    let found = classifier.classify(&["The fever settled.", "", "Chest pain"], &options);
    let first = found[0].as_ref().unwrap();
    assert_eq!(first.labels, ["no", "yes"]);
    assert!((first.probabilities().iter().sum::<f32>() - 1.0).abs() < 1e-6);
    assert!(first.best() < 2 && first.each().len() == 2);
    assert!(matches!(found[1], Err(Error::NoText)) && found[2].is_ok());
    let windows = options
        .clone()
        .with_long_text(LongText::Windows { overlap: 0 });
    let found = classifier.classify(&["Chest pain. ".repeat(30)], &windows);
    assert!(
        found[0]
            .as_ref()
            .unwrap()
            .logits
            .iter()
            .all(|x| x.is_finite())
    );
    assert!(matches!(
        classifier.generate("a", &Generation::greedy()),
        Err(Error::Head { .. })
    ));
    let context = "Ceftriaxone was started, and the fever settled on the third day.";
    let plain = model().answer_span("When?", context, &options).unwrap_err();
    assert!(
        matches!(plain, Error::NoMark { token: "<|CLS|>" }),
        "{plain}"
    );
    let spans = model().into_span_model().unwrap();
    assert_eq!(spans.config().vocab_size, model().config().vocab_size + 2);
    let answer = spans
        .answer_span(" When did the fever settle?", context, &options)
        .unwrap();
    assert!(!context[answer.range.clone()].is_empty());
    assert_eq!(answer.best(f32::INFINITY), Some(answer.range.clone()));
    let long = context.repeat(4);
    let refused = spans.answer_span("When?", &long, &options);
    assert!(matches!(refused, Err(Error::TooLong(_))));
    let windows = options
        .clone()
        .with_long_text(LongText::Windows { overlap: 10 });
    let answer = spans.answer_span("When?", &long, &windows).unwrap();
    assert!(long.get(answer.range).is_some());
    let endless = "When? ".repeat(60);
    let refused = spans.answer_span(&endless, context, &options);
    assert!(matches!(refused, Err(Error::QuestionTooLong { .. })));
    assert!(matches!(
        spans.answer_span("When?", "", &options),
        Err(Error::NoText)
    ));
}

#[test]
fn a_model_is_saved_with_all_that_belongs_to_it() {
    let options = SaveOptions::new();
    for model in [
        model(),
        model().into_classifier(&["a", "b", "c"]).unwrap(),
        model().into_span_model().unwrap(),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("saved");
        model.save(&path, &options).unwrap();
        let again = ClinicalGpt2::load(&path, &LoadOptions::default()).unwrap();
        assert_eq!(again.config(), model.config());
        assert_eq!(again.end_ids(), model.end_ids());
        let ids: [&[u32]; 1] = [&[5, 80, 300, 7]];
        let states = |model: &ClinicalGpt2| values(model.model().hidden_states(&ids).unwrap());
        assert_eq!(states(&again), states(&model));
        let text = "Größe 1,80 m";
        let encoded =
            |model: &ClinicalGpt2| model.tokenizer().encode(text, true).unwrap().into_ids();
        assert_eq!(encoded(&again), encoded(&model));
    }
}

#[test]
fn adapters_are_applied_merged_and_saved() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        let from = match name {
            "config.json" => data().join("inverse"),
            _ => data().join("plain"),
        };
        std::fs::copy(from.join(name), dir.path().join(name)).unwrap();
    }
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
        std::fs::copy(data().join("published").join(name), dir.path().join(name)).unwrap();
    }
    let load = |options: &LoadOptions| ClinicalGpt2::load(dir.path(), options).unwrap();
    let plain = load(&LoadOptions::default());
    let ids: [&[u32]; 1] = [&[5, 9, 61, 7]];
    let logits = |model: &ClinicalGpt2| values(model.model().forward(&ids).unwrap());
    let before = logits(&plain);
    let mut adapted = plain.with_adapter(data().join("lora")).unwrap();
    let after = logits(&adapted);
    assert!(distance(&before, &after) > 0.05);
    let own = dir.path().join("adapter");
    adapted.save_adapter(&own).unwrap();
    let again = load(&LoadOptions::default()).with_adapter(&own).unwrap();
    assert_eq!(logits(&again), after);
    assert_eq!(adapted.merge_adapter().unwrap(), 6);
    assert!(distance(&logits(&adapted), &after) < 1e-4);
    // Beside weights of 8 bits, which cannot take it in.
    let eight = load(&LoadOptions::default().with_precision(Precision::Int8));
    let mut eight = eight.with_adapter(&own).unwrap();
    assert!(eight.merge_adapter().is_err());
}
