//! `ClinicalT5` on a tiny model with a tokenizer of the kind that Clinical-T5 has.

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use clinical_generate::{Generation, StopReason};
use clinical_t5::{ClinicalT5, Error, Pooling, Sentinels, T5Options};
use clinical_weights::{LoadOptions, Precision};
use common::{close, folder};
use safetensors::SafeTensors;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    output_ids: Vec<u32>,
    output: String,
    target: String,
    target_ids: Vec<u32>,
    loss: f32,
    mean: Vec<f32>,
}

fn open() -> ClinicalT5 {
    ClinicalT5::load(folder("uneven"), &LoadOptions::default()).unwrap()
}

fn cases() -> Vec<Case> {
    let facts: serde_json::Value =
        serde_json::from_slice(&fs::read(folder("uneven").join("expected.json")).unwrap()).unwrap();
    serde_json::from_value(facts["texts"].clone()).unwrap()
}

/// A copy of a fixture, to be broken.
fn copy(variant: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for from in [variant, "uneven"] {
        for file in fs::read_dir(folder(from)).unwrap() {
            let file = file.unwrap();
            let name = file.file_name();
            let wanted = from == variant || name.to_str().unwrap().contains("token");
            if wanted && !name.to_str().unwrap().starts_with("expected") {
                fs::copy(file.path(), dir.path().join(&name)).unwrap();
            }
        }
    }
    dir
}

/// Rewrites the weights of a directory with other names.
fn rename(dir: &Path, name: impl Fn(&str) -> Vec<String>) {
    let path = dir.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let renamed: Vec<_> = tensors
        .iter()
        .flat_map(|(key, view)| name(key).into_iter().map(move |key| (key, view.clone())))
        .collect();
    fs::write(&path, safetensors::serialize(renamed, None).unwrap()).unwrap();
}

/// The mean vector of a text.
fn vector(t5: &ClinicalT5, text: &str) -> Vec<f32> {
    t5.embed(&[text], Pooling::Mean).remove(0).unwrap()
}

fn options(generation: &Generation) -> T5Options {
    T5Options::new().with_generation(generation.clone())
}

fn greedy() -> Generation {
    Generation::greedy().with_max_new_tokens(12)
}

#[test]
fn text_to_text_equals_transformers() {
    let t5 = open();
    for case in cases() {
        let ids = t5.tokenizer().encode(&case.text, true).unwrap().into_ids();
        assert_eq!(ids, case.ids, "{}", case.text);
        let output = t5.generate(&case.text, &greedy()).unwrap();
        assert_eq!(output.ids, case.output_ids, "{}", case.text);
        assert_eq!(output.text, case.output, "{}", case.text);
        assert_eq!(output.to_string(), case.output);

        let loss = t5.loss(&case.text, &case.target).unwrap();
        close(&[loss], &[case.loss], 1e-5, &case.text);
        let target = t5.tokenizer().encode(&case.target, true).unwrap();
        assert_eq!(target.ids(), case.target_ids);
        let scores = t5.score(&case.text, &[&case.target, "a"]).unwrap();
        assert_eq!(scores[0].log_probs.len(), case.target_ids.len());
        assert!((scores[0].mean() + f64::from(case.loss)).abs() < 1e-5);
        let vector = vector(&t5, &case.text);
        close(&vector, &case.mean, 1e-5, &case.text);
    }
}

#[test]
fn batches_equal_single_texts() {
    let t5 = open();
    let mut texts: Vec<String> = cases().into_iter().map(|case| case.text).collect();
    texts.extend(
        texts
            .clone()
            .into_iter()
            .map(|text| format!("{text} {text}")),
    );
    for generation in [greedy(), Generation::beam(3).with_max_new_tokens(12)] {
        for batch in [1, 3, 100] {
            let options = options(&generation).with_batch(batch);
            let together = t5.generate_batch(&texts, &options);
            assert_eq!(together.len(), texts.len());
            for (text, found) in texts.iter().zip(&together) {
                let alone = t5.generate(text, &generation).unwrap();
                assert_eq!(found.as_ref().unwrap().ids, alone.ids, "{text}");
            }
        }
    }
    let vectors = t5.embed_with(&texts, Pooling::Max, &T5Options::new().with_batch(3));
    for (text, vector) in texts.iter().zip(&vectors) {
        let alone = t5.embed(&[text], Pooling::Max).remove(0).unwrap();
        close(vector.as_ref().unwrap(), &alone, 1e-5, text);
    }
    assert!(t5.embed::<&str>(&[], Pooling::Mean).is_empty());
    assert!(t5.generate_batch::<&str>(&[], &T5Options::new()).is_empty());
}

#[test]
fn several_sequences_come_best_first() {
    let t5 = open();
    let beams = Generation::beam(4).with_max_new_tokens(12);
    let generation = beams.with_num_return_sequences(3);
    let texts = ["The wound is clean.", "a"];
    for (text, found) in texts
        .iter()
        .zip(t5.generate_batch(&texts, &options(&generation)))
    {
        let found = found.unwrap();
        let others = found.alternatives.iter().map(|other| other.score);
        let scores: Vec<Option<f32>> = [found.score].into_iter().chain(others).collect();
        assert_eq!(scores.len(), 3);
        assert!(
            scores.windows(2).all(|pair| pair[0] >= pair[1]),
            "{scores:?}"
        );
        let alone = t5.generate(text, &generation).unwrap();
        assert_eq!(alone.ids, found.ids);
        for (alone, found) in alone.alternatives.iter().zip(&found.alternatives) {
            assert_eq!(alone.ids, found.ids);
        }
    }
}

#[test]
fn beams_find_nothing_worse_than_greedy() {
    let t5 = open();
    for case in cases() {
        let mut options = greedy().with_log_probs(true);
        options.length_penalty = 0.0;
        let first: f32 = t5
            .generate(&case.text, &options)
            .unwrap()
            .log_probs
            .iter()
            .sum();
        options.beams = 4;
        let best: f32 = t5
            .generate(&case.text, &options)
            .unwrap()
            .log_probs
            .iter()
            .sum();
        assert!(best >= first - 1e-4, "{}: {best} {first}", case.text);
    }
}

#[test]
fn pieces_make_up_the_text_and_can_stop_it() {
    let t5 = open();
    for case in cases() {
        let mut pieces = Vec::new();
        let output = t5
            .generate_streaming(&case.text, &options(&greedy()), |piece| {
                pieces.push(piece.to_owned());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(pieces.concat(), output.text);
    }
    let output = t5
        .generate_streaming(&cases()[1].text, &options(&greedy()), |_| {
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(output.stop, StopReason::Cancelled);
    assert!(output.ids.len() < 12);
}

#[test]
fn missing_spans_are_filled() {
    let t5 = open();
    let text = "The <extra_id_1> walks in <extra_id_0> clinic";
    let spans = t5.fill(text).unwrap();
    // In the order of the text. What an untrained model writes there does not matter.
    assert_eq!(
        spans.iter().map(|span| span.sentinel).collect::<Vec<_>>(),
        [1, 0]
    );
    for span in &spans {
        assert_eq!(span.ids.len(), span.log_probs.len());
    }
    assert!(matches!(
        t5.fill("Nothing to fill."),
        Err(Error::NoSentinel)
    ));
    let twice = t5.fill("The <extra_id_3> and the <extra_id_3>");
    assert!(matches!(twice, Err(Error::SentinelTwice { number: 3 })));

    // A model that is made to say what T5 says: the spans are read from it.
    let ids = |text: &str| t5.tokenizer().encode(text, false).unwrap().into_ids();
    let sentinel = |number| t5.tokenizer().sentinel(number).unwrap();
    let answer = |spans: [u32; 3]| {
        let [first, second, closing] = spans;
        [
            vec![first],
            ids("patient"),
            vec![second],
            ids("the low"),
            vec![closing],
        ]
        .concat()
    };
    let forced = greedy().with_allowed([answer([sentinel(0), sentinel(1), sentinel(2)])]);
    let spans = t5
        .fill_with(
            "The <extra_id_0> walks in <extra_id_1> clinic",
            &options(&forced),
        )
        .unwrap();
    let found: Vec<(&str, bool)> = spans
        .iter()
        .map(|span| (span.text.as_str(), span.complete))
        .collect();
    assert_eq!(found, [("patient", true), ("the low", true)]);

    // The same with the convention of the published pretraining: the last ids of the vocabulary.
    let tokens = t5.tokenizer().vocab_size() as u32;
    let top = Sentinels::TopOfVocabulary { tokens };
    let forced = greedy().with_allowed([answer([tokens - 1, tokens - 2, tokens - 3])]);
    let spans = t5
        .fill_with(
            "The <extra_id_0> walks in <extra_id_1> clinic",
            &options(&forced).with_sentinels(top),
        )
        .unwrap();
    assert_eq!(spans[1].to_string(), "the low");
}

#[test]
fn embedding_tables_under_any_name() {
    let expected = vector(&open(), "The wound is clean.");
    let names = [
        "shared",
        "encoder.embed_tokens",
        "decoder.embed_tokens",
        "lm_head",
    ]
    .map(|name| format!("{name}.weight"));
    let selections: Vec<Vec<String>> = names
        .iter()
        .map(|name| vec![name.clone()])
        .chain([names.to_vec()])
        .collect();
    for kept in selections {
        let dir = copy("uneven");
        rename(dir.path(), |key| {
            if key == "shared.weight" {
                kept.clone()
            } else {
                vec![key.to_owned()]
            }
        });
        let t5 = ClinicalT5::load(dir.path(), &LoadOptions::default()).unwrap();
        assert!(t5.model().lm_head.is_none());
        assert_eq!(vector(&t5, "The wound is clean."), expected, "{kept:?}");
        let output = t5.generate(&cases()[0].text, &greedy()).unwrap();
        assert_eq!(output.ids, cases()[0].output_ids, "{kept:?}");
    }
}

/// `transformers` 5 writes `tie_word_embeddings: true` for every T5 and says in another key whether logits are scaled.
#[test]
fn configs_of_transformers_5() {
    for (variant, separate) in [("v1_1", true), ("uneven", false)] {
        let dir = copy(variant);
        let path = dir.path().join("config.json");
        let mut config: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config["tie_word_embeddings"] = true.into();
        config["scale_decoder_outputs"] = (!separate).into();
        fs::write(&path, config.to_string()).unwrap();
        let t5 = ClinicalT5::load(dir.path(), &LoadOptions::default()).unwrap();
        assert_eq!(t5.model().lm_head.is_some(), separate);
        assert_eq!(t5.config().scales_logits(), !separate);
    }
}

#[test]
fn a_tokenizer_of_another_model_is_noticed() {
    // 97 rows, and a tokenizer of more tokens.
    let dir = copy("v1_1");
    let t5 = ClinicalT5::load(dir.path(), &LoadOptions::default()).unwrap();
    let error = t5.generate("Seen by [Name]", &greedy()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has no row in the embedding table of 97"),
        "{error}"
    );
    let error = t5.loss("a", "Seen by [Name]").unwrap_err();
    assert!(matches!(error, Error::Loss(_)), "{error}");
    let error = t5.score("a", &["a", "Seen by [Name]"]).unwrap_err();
    assert!(matches!(error, Error::Loss(_)), "{error}");
}

#[test]
fn directories_that_cannot_be_used() {
    let message = |dir: &Path| {
        ClinicalT5::load(dir, &LoadOptions::default())
            .unwrap_err()
            .to_string()
    };
    let missing = folder("no-such-model");
    assert!(
        message(&missing).starts_with("there is no directory"),
        "{}",
        message(&missing)
    );
    for (file, content, expected) in [
        ("config.json", None, "has no config.json"),
        (
            "config.json",
            Some("{\"model_type\": \"llama\"}"),
            "holds a `llama` model",
        ),
        (
            "config.json",
            Some("{\"model_type\": \"t5\"}"),
            "missing field `vocab_size`",
        ),
        ("config.json", Some("{"), "is not the JSON it should be"),
        ("tokenizer.json", None, "holds no tokenizer"),
        ("model.safetensors", None, "has no model.safetensors"),
        (
            "model.safetensors",
            Some("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"),
            "is a Git-LFS pointer",
        ),
        (
            "model.safetensors",
            Some("<!DOCTYPE html><html><body>Sign in</body></html>"),
            "is a web page",
        ),
        ("model.safetensors", Some(""), "is empty"),
    ] {
        let dir = copy("uneven");
        let path = dir.path().join(file);
        match content {
            None => fs::remove_file(&path).unwrap(),
            Some(content) => fs::write(&path, content).unwrap(),
        }
        let message = message(dir.path());
        assert!(message.contains(expected), "{file}: {message}");
    }
    let dir = copy("uneven");
    rename(dir.path(), |key| {
        if key.contains("wi_0") {
            vec![]
        } else {
            vec![key.to_owned()]
        }
    });
    assert!(
        message(dir.path()).contains("wi_0"),
        "{}",
        message(dir.path())
    );
}

#[test]
fn half_precision_is_as_close_as_in_transformers() {
    let facts: serde_json::Value =
        serde_json::from_slice(&fs::read(folder("uneven").join("expected.json")).unwrap()).unwrap();
    let exact = open();
    for (precision, name) in [(Precision::F16, "f16"), (Precision::BF16, "bf16")] {
        let half = ClinicalT5::load(
            folder("uneven"),
            &LoadOptions::new().with_precision(precision),
        )
        .unwrap();
        let mut errors = Vec::new();
        for case in cases() {
            let [half, exact] = [&half, &exact].map(|t5| {
                let mut scores = t5.score(&case.text, &[&case.target]).unwrap();
                scores.remove(0).log_probs
            });
            errors.extend(
                half.iter()
                    .zip(&exact)
                    .map(|(a, b)| f64::from((a - b).abs())),
            );
        }
        // Activations are halves too: 11 bits of f16 and 8 of bf16, through every layer of a model whose weights were
        // drawn large on purpose. transformers loses as much; it only rounds elsewhere, hence the factor.
        let reference = |which: &str| facts["half_errors"][name][which].as_f64().unwrap();
        let largest = errors.iter().copied().fold(0.0, f64::max);
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        assert!(largest <= 1.5 * reference("max"), "{name}: {largest}");
        assert!(mean <= 1.5 * reference("mean"), "{name}: {mean}");
        assert!(
            !half
                .generate("The wound is clean.", &greedy())
                .unwrap()
                .ids
                .is_empty()
        );
    }
}

#[test]
fn the_embedded_model_is_the_directory() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let models = [
        ClinicalT5::embedded().unwrap(),
        ClinicalT5::load(dir, &LoadOptions::default()).unwrap(),
    ];
    let [embedded, opened] = models.map(|t5| {
        let output = t5.generate("expand: CHF", &greedy()).unwrap();
        (output.ids, output.text, t5.max_tokens())
    });
    assert_eq!(embedded, opened);
    assert_eq!(embedded.1, "congestive heart failure");
}

#[test]
fn one_model_serves_threads() {
    let t5 = open();
    let cases = cases();
    std::thread::scope(|scope| {
        for case in &cases {
            let t5 = &t5;
            scope.spawn(move || {
                assert_eq!(
                    t5.generate(&case.text, &greedy()).unwrap().ids,
                    case.output_ids
                )
            });
        }
    });
}

#[test]
fn tokens_can_be_added_and_the_model_saved() {
    let mut t5 = ClinicalT5::embedded().unwrap();
    let (rows, tokens) = (t5.config().vocab_size, t5.tokenizer().vocab_size());
    let score = |t5: &ClinicalT5| t5.loss("expand: CHF", "congestive heart failure").unwrap();
    let before = score(&t5);
    // More than the spare rows of the table.
    let tags: Vec<_> = (0..rows - tokens + 2)
        .map(|i| clinical_tokenizer::AddedToken::new(format!("[Tag{i}]")))
        .collect();
    assert_eq!(t5.add_tokens(&tags).unwrap(), tags.len());
    assert_eq!(t5.config().vocab_size, rows + 2);
    // The new rows take a little of the probability.
    assert!((score(&t5) - before).abs() < 0.05);

    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("saved");
    t5.save(&dir, &clinical_weights::SaveOptions::new())
        .unwrap();
    let again = ClinicalT5::load(&dir, &LoadOptions::default()).unwrap();
    assert_eq!(again.config(), t5.config());
    let text = "He was seen at [Tag1].";
    let ids = |t5: &ClinicalT5| t5.tokenizer().encode(text, true).unwrap().into_ids();
    assert_eq!(ids(&again), ids(&t5));
    assert_eq!(score(&again), score(&t5));
}

#[test]
fn an_id_without_a_row_is_named() {
    let mut t5 = ClinicalT5::embedded().unwrap();
    t5.resize_embeddings(20).unwrap();
    let error = t5.loss("expand: CHF", "heart").unwrap_err().to_string();
    assert!(error.contains("20"), "{error}");
    // The end token must keep its row.
    assert!(matches!(
        t5.resize_embeddings(1),
        Err(clinical_t5::Error::IdOutsideVocabulary { .. })
    ));
    assert!(t5.resize_embeddings(0).is_err());
}
