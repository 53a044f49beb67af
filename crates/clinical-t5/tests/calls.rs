//! The options of a call of `ClinicalT5`, and what a directory may hold.

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use clinical_nn::ModelError;
use clinical_t5::{
    CancelFlag, ClinicalT5, Error, Generation, LoadOptions, LongText, Normalizer, Parts, Pooling,
    SaveOptions, StopReason, T5Options,
};
use common::{close, folder};
use serde_json::{Value, json};

fn open() -> ClinicalT5 {
    ClinicalT5::load(folder("uneven"), &LoadOptions::default()).unwrap()
}

fn greedy() -> T5Options {
    T5Options::new().with_max_new_tokens(12)
}

fn long(policy: LongText) -> T5Options {
    greedy().with_long_text(policy)
}

fn windows(tokens: usize) -> T5Options {
    long(LongText::Windows { overlap: 0 }).with_max_tokens(tokens)
}

/// The mean vector of a text.
fn vector(t5: &ClinicalT5, text: &str, options: &T5Options) -> Result<Vec<f32>, Error> {
    t5.embed_with(&[text], Pooling::Mean, options).remove(0)
}

/// A note of three sections with one sentence each.
const NOTE: &str = "Plan:\nThe wound is clean.\n\nSocial:\nShe walks in the park.\n\nFollow-up:\nReturn to the clinic.";

#[test]
fn texts_that_are_too_long_are_refused() {
    let text = vec!["the"; 600].join(" ");
    let t5 = open();
    assert_eq!(t5.max_tokens(), 512);
    let Err(Error::TooLong(refused)) = t5.generate(&text, &Generation::greedy()) else {
        panic!("it is refused");
    };
    assert_eq!((refused.tokens, refused.limit), (601, 512));
    let vectors = t5.embed(&["a", &text, "the"], Pooling::Mean);
    assert!(matches!(vectors[1], Err(Error::TooLong(_))));
    assert!(vectors[0].is_ok() && vectors[2].is_ok());
    for refused in [
        t5.loss(&text, "a").err(),
        t5.score(&text, &["a"]).err(),
        t5.fill(&text).err(),
    ] {
        assert!(matches!(refused, Some(Error::TooLong(_))));
    }
    // Another limit, or none.
    for tokens in [601, usize::MAX] {
        let output = t5
            .generate_with(&text, &greedy().with_max_tokens(tokens))
            .unwrap();
        assert_eq!(output.windows[0].range, 0..text.len());
    }
    // Refused, a text is counted no further than that takes.
    let far = format!("fever {}", "the ".repeat(500_000));
    let Err(Error::TooLong(refused)) = t5.generate(&far, &Generation::greedy()) else {
        panic!("it is refused");
    };
    assert!((513..500_000).contains(&refused.tokens));
}

/// Cut at either end is the same as giving less; the end token stays.
#[test]
fn either_end_can_be_left_out() {
    let t5 = open();
    let text = format!("fever {}clinic", "the ".repeat(598));
    let start = format!("fever{}", " the".repeat(510));
    let end = format!("{}clinic", "the ".repeat(510));
    for (policy, same_as) in [(LongText::CutEnd, &start), (LongText::CutStart, &end)] {
        assert_eq!(t5.tokenizer().count(same_as).unwrap(), 512);
        let found = vector(&t5, &text, &long(policy)).unwrap();
        let expected = vector(&t5, same_as, &T5Options::new()).unwrap();
        close(&found, &expected, 1e-6, same_as);
        let output = t5.generate_with(&text, &long(policy)).unwrap();
        let read = &text[output.windows[0].range.clone()];
        assert_eq!(read.trim(), same_as.trim(), "{policy:?}");
        assert_eq!((output.windows.len(), output.window), (1, 0));
    }
}

#[test]
fn a_cut_that_leaves_nothing_is_an_error() {
    let t5 = open();
    for policy in [LongText::CutStart, LongText::CutEnd] {
        for tokens in [0, 1] {
            let options = long(policy).with_max_tokens(tokens);
            for refused in [
                t5.generate_with("fever", &options).err(),
                t5.loss_with("fever", "a", &options).err(),
                vector(&t5, "fever", &options).err(),
            ] {
                assert!(matches!(refused, Some(Error::NothingLeft)), "{refused:?}");
            }
        }
        // A word that is longer than the limit is cut inside.
        let output = t5.generate_with(&"x".repeat(3000), &long(policy)).unwrap();
        assert!(!output.windows[0].range.is_empty());
    }
}

/// Texts above the tokenizer's limit of bytes are cut, read in windows, or refused by their tokens.
#[test]
fn notes_of_any_size_are_read_as_the_options_say() {
    let t5 = open();
    let text = format!("fever {}clinic", "the ".repeat(1_500_000));
    assert!(text.len() > 5 << 20);
    let start = format!("fever{}", " the".repeat(510));
    let end = format!("{}clinic", "the ".repeat(510));
    for (policy, same_as) in [(LongText::CutEnd, &start), (LongText::CutStart, &end)] {
        let found = vector(&t5, &text, &long(policy)).unwrap();
        let expected = vector(&t5, same_as, &T5Options::new()).unwrap();
        close(&found, &expected, 1e-6, same_as);
    }
    let refused = vector(&t5, &text, &T5Options::new());
    assert!(matches!(refused, Err(Error::TooLong(_))), "{refused:?}");
    // One word without a blank, and sentences, in windows.
    for text in ["x".repeat(5 << 20), "The wound is clean. ".repeat(270_000)] {
        let options = windows(512);
        let flag = CancelFlag::new();
        let stop = flag.clone();
        // To read them is enough; it would take long to compute them.
        let options = options
            .with_batch(1)
            .with_cancel(flag)
            .with_progress(move |_| stop.cancel());
        let refused = t5.embed_with(&[&text], Pooling::Mean, &options).remove(0);
        assert!(matches!(refused, Err(Error::Cancelled)), "{refused:?}");
    }
}

#[test]
fn of_several_windows_the_likeliest_text_is_the_output() {
    let t5 = open();
    let count = |text: &str| t5.tokenizer().count(text).unwrap();
    let limit = NOTE.split("\n\n").map(count).max().unwrap() + 1;
    let output = t5.generate_with(NOTE, &windows(limit)).unwrap();
    assert!(output.windows.len() >= 3, "{:?}", output.windows);
    assert_eq!(output.windows.first().unwrap().range.start, 0);
    assert_eq!(output.windows.last().unwrap().range.end, NOTE.len());
    let mean = |log_probs: &[f32]| log_probs.iter().sum::<f32>() / log_probs.len() as f32;
    let alone: Vec<_> = (output.windows.iter())
        .map(|window| {
            let generation = Generation::greedy()
                .with_log_probs(true)
                .with_max_new_tokens(12);
            t5.generate(&NOTE[window.range.clone()], &generation)
                .unwrap()
        })
        .collect();
    for (at, (window, alone)) in output.windows.iter().zip(&alone).enumerate() {
        assert!(mean(&alone.log_probs) <= mean(&output.log_probs) + 1e-5);
        let text = window.text.as_ref().unwrap_or(&output.text);
        assert_eq!(
            (text, window.text.is_none()),
            (&alone.text, at == output.window)
        );
    }
    assert_eq!(output.ids, alone[output.window].ids);
    // The pieces are the whole text, at the end.
    let mut pieces = Vec::new();
    let streamed = t5.generate_streaming(NOTE, &windows(limit), |piece| {
        pieces.push(piece.to_owned());
        ControlFlow::Break(())
    });
    assert_eq!(
        (streamed.unwrap(), pieces),
        (output.clone(), vec![output.text.clone()])
    );

    // A vector is that of all tokens of all windows.
    let parts: Vec<Vec<f32>> = (output.windows.iter())
        .map(|window| vector(&t5, &NOTE[window.range.clone()], &T5Options::new()).unwrap())
        .collect();
    let tokens: Vec<usize> = (output.windows.iter())
        .map(|window| count(&NOTE[window.range.clone()]))
        .collect();
    let found = vector(&t5, NOTE, &windows(limit)).unwrap();
    close(
        &found,
        &Pooling::Mean.combine(&parts, &tokens),
        1e-5,
        "windows",
    );

    // Where nothing puts windows together that is said, and a text that fits is read all the same.
    for call in ["loss", "score", "fill"] {
        let run = |text: &str| match call {
            "loss" => t5.loss_with(text, "a", &windows(limit)).map(drop),
            "score" => t5.score_with(text, &["a"], &windows(limit)).map(drop),
            _ => t5.fill_with(text, &windows(limit)).map(drop),
        };
        assert!(matches!(run(NOTE), Err(Error::NoWindows { call: said }) if said == call));
        assert!(run("The <extra_id_0> is clean.").is_ok());
    }
    let overlap = long(LongText::Windows { overlap: 99 }).with_max_tokens(limit);
    assert!(matches!(
        t5.generate_with(NOTE, &overlap),
        Err(Error::Windows(_))
    ));
}

#[test]
fn tags_are_converted_on_request() {
    let tagged = "Seen by [**First Name8 (NamePattern2) **] at [**Hospital 12**] today";
    let converted = "Seen by [Name] at [Company] today";
    let t5 = open();
    let plain: Vec<_> = t5.embed(&[tagged, converted], Pooling::Mean);
    assert_ne!(plain[0].as_ref().unwrap(), plain[1].as_ref().unwrap());
    let options = greedy().with_deid(Normalizer::mimic_iii());
    let found = vector(&t5, tagged, &options).unwrap();
    close(&found, plain[1].as_ref().unwrap(), 1e-6, "converted");
    let unknown = t5
        .generate_with("Seen [**Ethnicity**]", &options)
        .unwrap_err();
    assert!(matches!(unknown, Error::Deid(_)));
    assert!(!unknown.to_string().contains("Seen"));

    // What was read is said in bytes of the text as it was given.
    let cut = options
        .clone()
        .with_long_text(LongText::CutEnd)
        .with_max_tokens(6);
    let output = t5.generate_with(tagged, &cut).unwrap();
    let read = &tagged[output.windows[0].range.clone()];
    assert!(
        tagged.starts_with(read) && read.len() < tagged.len(),
        "{read}"
    );
    let whole = t5.generate_with(tagged, &options).unwrap();
    assert_eq!(whole.windows[0].range, 0..tagged.len());
}

#[test]
fn a_bad_item_costs_its_neighbours_nothing() {
    let t5 = open();
    let long = "the ".repeat(600);
    let texts = ["The wound is clean.", &long, "a", "Seen [**Ethnicity**]"];
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let options = greedy()
        .with_batch(1)
        .with_deid(Normalizer::mimic_iii())
        .with_progress(move |progress| told.lock().unwrap().push((progress.done, progress.total)));
    let outputs = t5.generate_batch(&texts, &options);
    assert!(matches!(outputs[1], Err(Error::TooLong(_))));
    assert!(matches!(outputs[3], Err(Error::Deid(_))));
    for at in [0, 2] {
        let alone = t5.generate_with(texts[at], &greedy()).unwrap();
        assert_eq!(*outputs[at].as_ref().unwrap(), alone);
    }
    let last = |seen: &Mutex<Vec<(usize, usize)>>| {
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert!(
            seen.windows(2).all(|pair| pair[0].0 <= pair[1].0),
            "{seen:?}"
        );
        seen.last().copied()
    };
    assert_eq!(last(&seen), Some((4, 4)));
    let vectors = t5.embed_with(&texts, Pooling::Mean, &options);
    assert_eq!(vectors.iter().filter(|vector| vector.is_ok()).count(), 2);
    assert_eq!(last(&seen), Some((4, 4)));
    // An option that breaks a rule is the error of each.
    let bad = T5Options::new().with_generation(Generation::sample().with_temperature(-1.0));
    let outputs = t5.generate_batch(&texts[..1], &bad);
    assert!(matches!(outputs[0], Err(Error::Generate(_))));
}

#[test]
fn a_flag_ends_a_call() {
    let t5 = open();
    let flag = CancelFlag::new();
    flag.cancel();
    let options = greedy().with_cancel(flag);
    let texts = ["The wound is clean.", "a", "the"];
    for output in t5.generate_batch(&texts, &options) {
        assert!(matches!(output, Err(Error::Cancelled)), "{output:?}");
    }
    for vector in t5.embed_with(&texts, Pooling::Mean, &options) {
        assert!(matches!(vector, Err(Error::Cancelled)), "{vector:?}");
    }
    for refused in [
        t5.generate_with("a", &options).err(),
        t5.loss_with("a", "a", &options).err(),
        t5.score_with("a", &["a"], &options).err(),
        t5.fill_with("<extra_id_0>", &options).err(),
    ] {
        assert!(matches!(refused, Some(Error::Cancelled)), "{refused:?}");
    }
    // Set while a text is written, it ends the text.
    let flag = CancelFlag::new();
    let stop = flag.clone();
    let output = t5.generate_streaming("The wound is clean.", &greedy().with_cancel(flag), |_| {
        stop.cancel();
        ControlFlow::Continue(())
    });
    let output = output.unwrap();
    assert_eq!(output.stop, StopReason::Cancelled);
    assert!(output.ids.len() < 12);
    // Set after some vectors, it leaves the others out.
    let flag = CancelFlag::new();
    let stop = flag.clone();
    let options = T5Options::new()
        .with_batch(1)
        .with_cancel(flag)
        .with_progress(move |progress| {
            if progress.done > 0 {
                stop.cancel();
            }
        });
    let vectors = t5.embed_with(&texts, Pooling::Mean, &options);
    let cancelled = |vector: &&Result<_, Error>| matches!(vector, Err(Error::Cancelled));
    assert_eq!(vectors.iter().filter(cancelled).count(), 2);
    assert_eq!(vectors.iter().filter(|vector| vector.is_ok()).count(), 1);
}

#[test]
fn a_facade_comes_apart_and_together() {
    let t5 = ClinicalT5::embedded().unwrap();
    let before = t5.generate("expand: CHF", &Generation::greedy()).unwrap();
    let (end, notes) = (t5.end_ids().to_vec(), t5.report().notes.clone());
    let Parts {
        mut model,
        tokenizer,
        config,
        ..
    } = t5.into_parts();
    assert_eq!(model.config(), &config);
    model.resize_embeddings(config.vocab_size + 3).unwrap();
    let t5 = ClinicalT5::from_parts(Parts::new(config.clone(), model, tokenizer));
    assert_eq!(t5.config().vocab_size, config.vocab_size + 3);
    assert_eq!(
        (t5.end_ids(), t5.report().notes.len()),
        (&end[..], notes.len())
    );
    let after = t5.generate("expand: CHF", &Generation::greedy()).unwrap();
    assert_eq!(after, before);
    let json = serde_json::to_value(&after).unwrap();
    assert_eq!(json["text"], "congestive heart failure");
    assert_eq!(json["stop"], "end token");
    assert!(serde_json::to_string(&t5.fill("expand: <extra_id_0>").unwrap()).is_ok());
    assert!(serde_json::to_string(&t5.score("expand: CHF", &["a"]).unwrap()).is_ok());
}

/// A copy of the fixture with another `config.json` and `generation_config.json`.
fn copy(change: impl FnOnce(&mut Value), generation_config: Option<Value>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder("uneven")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
    }
    let path = dir.path().join("config.json");
    let mut config = read(&path);
    change(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
    if let Some(value) = generation_config {
        std::fs::write(dir.path().join("generation_config.json"), value.to_string()).unwrap();
    }
    dir
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn what_is_not_known_and_what_ends_an_output_are_kept_by_a_save() {
    let t5 = open();
    let whole = t5.generate_with("The wound is clean.", &greedy()).unwrap();
    let another = whole.ids[2];
    let dir = copy(
        |config| config["task_specific_params"] = json!({"summarization": {"num_beams": 4}}),
        Some(json!({"eos_token_id": [1, another], "_from_model_config": true})),
    );
    let t5 = ClinicalT5::load(dir.path(), &LoadOptions::default()).unwrap();
    assert!(t5.end_ids().contains(&another));
    let output = t5.generate_with("The wound is clean.", &greedy()).unwrap();
    let first = whole.ids.iter().position(|&id| id == another).unwrap();
    assert_eq!(output.ids, whole.ids[..=first]);
    assert_eq!(output.stop, StopReason::EndToken);

    let saved = dir.path().join("saved");
    t5.save(&saved, &SaveOptions::new()).unwrap();
    let config = read(&saved.join("config.json"));
    assert_eq!(
        config["task_specific_params"]["summarization"]["num_beams"],
        4
    );
    let generation = read(&saved.join("generation_config.json"));
    assert_eq!(
        generation,
        json!({"eos_token_id": [1, another], "_from_model_config": true})
    );
    let again = ClinicalT5::load(&saved, &LoadOptions::default()).unwrap();
    assert_eq!(
        (again.config(), again.end_ids()),
        (t5.config(), t5.end_ids())
    );
}

/// `T5EncoderModel`, recognised by its weights or by its class.
#[test]
fn an_encoder_alone_embeds() {
    let expected = vector(&open(), "The wound is clean.", &T5Options::new()).unwrap();
    for class in ["T5EncoderModel", "T5ForConditionalGeneration"] {
        let dir = copy(|config| config["architectures"] = json!([class]), None);
        let path = dir.path().join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let kept = tensors
            .iter()
            .filter(|(name, _)| !name.starts_with("decoder."));
        std::fs::write(&path, safetensors::serialize(kept, None).unwrap()).unwrap();

        let t5 = ClinicalT5::load(dir.path(), &LoadOptions::default()).unwrap();
        assert!(t5.config().encoder_only && t5.report().fits());
        assert_eq!(t5.report().values, t5.config().parameters().unwrap());
        assert_eq!(t5.remarks().len(), 1);
        assert!(t5.remarks()[0].to_string().contains("encoder alone"));
        let found = vector(&t5, "The wound is clean.", &T5Options::new()).unwrap();
        assert_eq!(found, expected);
        for refused in [
            t5.generate_with("a", &greedy()).err(),
            t5.generate_batch(&["a"], &greedy()).remove(0).err(),
            t5.loss("a", "a").err(),
            t5.score("a", &["a"]).err(),
            t5.fill("<extra_id_0>").err(),
        ] {
            assert!(
                matches!(refused, Some(Error::Model(ModelError::NoDecoder))),
                "{refused:?}"
            );
        }
        let saved = dir.path().join("saved");
        t5.save(&saved, &SaveOptions::new()).unwrap();
        assert_eq!(
            read(&saved.join("config.json"))["architectures"][0],
            "T5EncoderModel"
        );
        let again = ClinicalT5::load(&saved, &LoadOptions::default()).unwrap();
        assert_eq!(
            vector(&again, "The wound is clean.", &T5Options::new()).unwrap(),
            expected
        );
    }
    // The other way round: a whole model whose class says encoder.
    let dir = copy(
        |config| config["architectures"] = json!(["T5EncoderModel"]),
        None,
    );
    let t5 = ClinicalT5::load(dir.path(), &LoadOptions::default()).unwrap();
    assert!(t5.generate_with("a", &greedy()).is_ok());
}
