//! The facade against `transformers`' pipelines (`scripts/bert_reference.py facade`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clinical_bert::labels::I2B2_2010;
use clinical_bert::{
    AddedToken, Aggregation, BertOptions, CancelFlag, Classification, ClassifyOptions,
    ClinicalBert, EmbedOptions, Error, FillOptions, LoadOptions, LongText, LowerCase, Pooling,
    ProblemType, SaveOptions, SpanOptions, TagOptions, TaskHead,
};
use serde_json::Value;

const TOLERANCE: f32 = 1e-4;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn golden() -> Value {
    serde_json::from_str(include_str!("data/facade.json")).unwrap()
}

/// A directory as Bio_ClinicalBERT's, with `vocab.txt` alone, that a test may change.
fn directory(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors", "vocab.txt"] {
        std::fs::copy(data().join(name).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn load(name: &str) -> ClinicalBert {
    ClinicalBert::load(data().join(name), &LoadOptions::default()).unwrap()
}

/// A model whose config says something else.
fn load_changed(
    name: &str,
    change: impl FnOnce(&mut serde_json::Map<String, Value>),
) -> Result<ClinicalBert, Error> {
    let dir = directory(name);
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(config.as_object_mut().unwrap());
    std::fs::write(&path, config.to_string()).unwrap();
    ClinicalBert::load(dir.path(), &LoadOptions::default())
}

fn floats(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_f64().unwrap() as f32)
        .collect()
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
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

/// The results of a batch in which nothing may fail.
#[track_caller]
fn good<T>(results: Vec<Result<T, Error>>) -> Vec<T> {
    results.into_iter().map(Result::unwrap).collect()
}

/// The result of a batch of one.
fn only<T>(mut results: Vec<Result<T, Error>>) -> Result<T, Error> {
    assert_eq!(results.len(), 1);
    results.remove(0)
}

fn scores(classification: &Classification) -> Vec<f32> {
    classification
        .scores
        .iter()
        .map(|score| score.score)
        .collect()
}

#[test]
fn heads_are_found() {
    for (name, head) in [
        ("bert_pretraining", TaskHead::MaskedLanguage),
        ("megatron_masked", TaskHead::MaskedLanguage),
        ("megatron_pretraining", TaskHead::MaskedLanguage),
        ("megatron_sequence", TaskHead::Sequence),
        ("megatron_token", TaskHead::Token),
        ("megatron_span", TaskHead::Span),
        ("bert_sequence", TaskHead::Sequence),
        ("bert_token", TaskHead::Token),
        ("bert_span", TaskHead::Span),
        ("bert_old", TaskHead::Encoder),
    ] {
        assert_eq!(load(name).head(), head, "{name}");
        // Without `architectures`, which files of 2019 do not have, the weights decide.
        let old = load_changed(name, |config| {
            config.remove("architectures");
        });
        assert_eq!(old.unwrap().head(), head, "{name}");
    }
    let roberta =
        ClinicalBert::load(data().join("roberta_facade"), &LoadOptions::default()).unwrap();
    assert_eq!(roberta.head(), TaskHead::Sequence);
}

#[test]
fn a_head_can_be_left_out_and_a_missing_one_is_an_error() {
    let dir = directory("bert_sequence");
    let options = BertOptions::new().with_head(TaskHead::Token);
    // The pooler of a sequence classifier is not needed for tokens.
    assert_eq!(
        ClinicalBert::load_with(dir.path(), &LoadOptions::default(), &options)
            .unwrap()
            .head(),
        TaskHead::Token
    );
    let options = BertOptions::new().with_head(TaskHead::Encoder);
    let encoder = ClinicalBert::load_with(dir.path(), &LoadOptions::default(), &options).unwrap();
    assert!(matches!(
        only(encoder.classify(&["fever"])),
        Err(Error::Head {
            needed: TaskHead::Sequence,
            found: TaskHead::Encoder,
            ..
        })
    ));
    for head in [TaskHead::Span, TaskHead::MaskedLanguage] {
        let options = BertOptions::new().with_head(head);
        let found = ClinicalBert::load_with(dir.path(), &LoadOptions::default(), &options);
        assert!(matches!(found, Err(Error::NoHead { .. })));
    }
    let bert = load("bert_span");
    assert!(only(bert.tag(&["fever"])).is_err() && bert.fill_mask("[MASK]", 1).is_err());
    assert!(bert.next_sentence("a", "b").is_err());
}

#[test]
fn labels_come_from_the_config_or_the_caller() {
    assert_eq!(
        load("bert_token").labels(),
        ["O", "B-problem", "I-problem", "B-test", "I-test"]
    );
    let unnamed = load_changed("bert_token", |config| {
        config.remove("id2label");
    });
    assert_eq!(unnamed.unwrap().labels()[4], "LABEL_4");
    let wrong = load_changed("bert_token", |config| {
        config.insert(
            "id2label".into(),
            serde_json::json!({"0": "O", "1": "B-test"}),
        );
    });
    assert!(matches!(
        wrong,
        Err(Error::LabelCount {
            names: 2,
            classes: 5
        })
    ));
    let dir = directory("bert_token");
    let options = BertOptions::new().with_labels(I2B2_2010.bio());
    let wrong = ClinicalBert::load_with(dir.path(), &LoadOptions::default(), &options);
    assert!(matches!(
        wrong,
        Err(Error::LabelCount {
            names: 7,
            classes: 5
        })
    ));
}

/// `vocab.txt` alone, with capital letters: cased as it was trained; lower-cased on request, as `transformers` does
/// unasked.
#[test]
fn casing() {
    let dir = directory("bert_old");
    let open = |lower_case| {
        let options = BertOptions::new().with_lower_case(lower_case);
        ClinicalBert::load_with(dir.path(), &LoadOptions::default(), &options).unwrap()
    };
    // `The` is a token of its own; lower-cased it is `the`.
    let (upper, lower) = (vec![57], vec![58]);
    assert_eq!(open(LowerCase::Auto).tokens("The").unwrap(), upper);
    assert_eq!(open(LowerCase::Never).tokens("The").unwrap(), upper);
    assert_eq!(open(LowerCase::Always).tokens("The").unwrap(), lower);
    assert_eq!(open(LowerCase::Transformers).tokens("The").unwrap(), lower);
    let why = |lower_case| open(lower_case).tokenizer().resolution().to_string();
    assert!(why(LowerCase::Auto).contains("capital letters"));
    assert_ne!(why(LowerCase::Never), why(LowerCase::Always));
    // A directory that says so itself was trained so.
    std::fs::write(
        dir.path().join("tokenizer_config.json"),
        r#"{"do_lower_case": true}"#,
    )
    .unwrap();
    assert_eq!(open(LowerCase::Auto).tokens("The").unwrap(), lower);
    assert_eq!(open(LowerCase::Never).tokens("The").unwrap(), upper);
    // A vocabulary without capitals belongs to an uncased model.
    std::fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
    let vocabulary = std::fs::read_to_string(dir.path().join("vocab.txt")).unwrap();
    std::fs::write(
        dir.path().join("vocab.txt"),
        vocabulary
            .replace("\nThe\n", "\nt h\n")
            .replace("\nP\n", "\np\u{e9}\n"),
    )
    .unwrap();
    assert_eq!(open(LowerCase::Auto).tokens("The").unwrap(), lower);
}

#[test]
fn vectors_equal_those_of_transformers() {
    let golden = golden();
    let texts = strings(&golden["texts"]);
    let bert = load("bert_sequence");
    let roberta =
        ClinicalBert::load(data().join("roberta_facade"), &LoadOptions::default()).unwrap();
    let cases = [
        (&bert, &texts, &golden["vectors"]),
        (
            &roberta,
            &strings(&golden["roberta"]["texts"]),
            &golden["roberta"]["vectors"],
        ),
    ];
    for (bert, texts, expected) in cases {
        for (pooling, name) in [
            (Pooling::Cls, "cls"),
            (Pooling::Mean, "mean"),
            (Pooling::Max, "max"),
        ] {
            let found = good(bert.embed(texts, pooling));
            for (index, vector) in found.iter().enumerate() {
                close(vector, &floats(&expected[index][name]));
                // Alone as in the batch.
                close(
                    vector,
                    &only(bert.embed(&texts[index..=index], pooling)).unwrap(),
                );
            }
        }
    }
    let none: [&str; 0] = [];
    assert!(bert.embed(&none, Pooling::Mean).is_empty());
    let unit = EmbedOptions::new()
        .with_pooling(Pooling::Max)
        .with_normalize(true);
    for vector in good(bert.embed_with(&texts, &unit)) {
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-5);
    }
}

/// 60 tokens where the model reads 38.
const LONG: &str = "The fever, pain - the ct. no pain in the arm, the fever a b c. 0 pain the d e f, the ct - fever. \
    The P the, pain 0 the. fever a - b, the c pain. the fever the pain.";

#[test]
fn long_texts_are_windows_or_an_error_and_never_cut_unasked() {
    let bert = load("bert_sequence");
    let ids = bert.tokens(LONG).unwrap();
    assert!(ids.len() > 55);
    let with = |long| {
        let options = EmbedOptions::new().with_pooling(Pooling::Mean);
        only(bert.embed_with(&[LONG], &options.with_long_text(long)))
    };
    let too_long = |error: Error| match error {
        Error::TooLong(found) => (found.tokens > found.limit).then_some(found.limit),
        _ => None,
    };
    assert_eq!(too_long(with(LongText::Error).unwrap_err()), Some(40));
    // A text that is too long costs its neighbours nothing.
    let mut found = bert.classify(&["fever", LONG, "fever"]);
    assert_eq!(found[0].as_ref().unwrap(), found[2].as_ref().unwrap());
    assert_eq!(too_long(found.remove(1).unwrap_err()), Some(40));
    let found = only(bert.classify_pairs(&[("fever", LONG)]));
    assert_eq!(too_long(found.unwrap_err()), Some(40));
    let found = only(bert.classify_pairs(&[(LONG, "fever")]));
    assert_eq!(too_long(found.unwrap_err()), Some(40));
    // The mean over the states of all windows, each weighted by its tokens.
    let windows =
        clinical_notes::windows(LONG, 38, 0, |text| bert.tokens(text).map(|ids| ids.len()))
            .unwrap();
    assert!(windows.len() > 1);
    let pieces: Vec<&str> = windows
        .iter()
        .map(|window| &LONG[window.range.clone()])
        .collect();
    let parts = good(bert.embed(&pieces, Pooling::Mean));
    let lengths: Vec<f32> = pieces
        .iter()
        .map(|piece| bert.tokens(piece).unwrap().len() as f32 + 2.0)
        .collect();
    let total: f32 = lengths.iter().sum();
    let expected: Vec<f32> = (0..16)
        .map(|at| {
            parts
                .iter()
                .zip(&lengths)
                .map(|(part, length)| part[at] * length / total)
                .sum()
        })
        .collect();
    close(
        &only(bert.embed(&[LONG], Pooling::Mean)).unwrap(),
        &expected,
    );
    let maxima = good(bert.embed(&pieces, Pooling::Max));
    let expected: Vec<f32> = (0..16)
        .map(|at| maxima.iter().map(|part| part[at]).fold(f32::MIN, f32::max))
        .collect();
    close(&only(bert.embed(&[LONG], Pooling::Max)).unwrap(), &expected);
    // Cuts that were asked for: what is cut off changes nothing, what is kept does.
    assert_ne!(
        with(LongText::CutEnd).unwrap(),
        with(LongText::CutStart).unwrap()
    );
    let cut = |text: &str, long| {
        let options = EmbedOptions::new().with_long_text(long);
        only(bert.embed_with(&[text], &options)).unwrap()
    };
    let (end, start) = (
        LONG.replace("the fever the pain.", "0 0 0"),
        LONG.replace("The fever, pain", "0 0 0"),
    );
    assert_eq!(cut(LONG, LongText::CutEnd), cut(&end, LongText::CutEnd));
    assert_ne!(cut(LONG, LongText::CutEnd), cut(&start, LongText::CutEnd));
    assert_eq!(
        cut(LONG, LongText::CutStart),
        cut(&start, LongText::CutStart)
    );
    assert_ne!(cut(LONG, LongText::CutStart), cut(&end, LongText::CutStart));
    assert!(matches!(
        with(LongText::Windows { overlap: 19 }),
        Err(Error::Overlap { .. })
    ));
    assert!(with(LongText::Windows { overlap: 18 }).is_ok());
    // White space alone has no tokens.
    assert_eq!(
        only(bert.embed(&[" \n ".repeat(500)], Pooling::Cls)).unwrap(),
        only(bert.embed(&[""], Pooling::Cls)).unwrap()
    );
}

#[test]
fn classes_equal_those_of_transformers() {
    let golden = golden();
    let texts = strings(&golden["texts"]);
    let bert = load("bert_sequence");
    let single = good(bert.classify(&texts));
    for (found, expected) in single.iter().zip(golden["single"].as_array().unwrap()) {
        assert_eq!(found.kind, ProblemType::SingleLabel);
        close(&scores(found), &floats(expected));
        let largest = floats(expected).iter().copied().fold(0.0, f32::max);
        assert!((found.best().score - largest).abs() <= TOLERANCE);
    }
    let pair = only(bert.classify_pairs(&[("the fever", "no pain")])).unwrap();
    close(&scores(&pair), &floats(&golden["pair"]));
    let multi = load_changed("bert_sequence", |config| {
        config.insert("problem_type".into(), "multi_label_classification".into());
    })
    .unwrap();
    for (found, expected) in good(multi.classify(&texts))
        .iter()
        .zip(golden["multi"].as_array().unwrap())
    {
        assert_eq!(found.kind, ProblemType::MultiLabel);
        close(&scores(found), &floats(expected));
        let above = found.above(0.5).count();
        assert_eq!(
            above,
            floats(expected)
                .iter()
                .filter(|score| **score >= 0.5)
                .count()
        );
    }
    let regression = load_changed("bert_sequence", |config| {
        config.insert("problem_type".into(), "regression".into());
    });
    assert_eq!(
        only(regression.unwrap().classify(&["fever"])).unwrap().kind,
        ProblemType::Regression
    );
    let unknown = load_changed("bert_sequence", |config| {
        config.insert("problem_type".into(), "guess".into());
    });
    assert!(matches!(unknown, Err(Error::ProblemType { .. })));

    let roberta =
        ClinicalBert::load(data().join("roberta_facade"), &LoadOptions::default()).unwrap();
    let golden = &golden["roberta"];
    for (found, expected) in good(roberta.classify(&strings(&golden["texts"])))
        .iter()
        .zip(golden["scores"].as_array().unwrap())
    {
        assert_eq!(found.kind, ProblemType::MultiLabel);
        assert_eq!(found.scores[1].label, "pain");
        close(&scores(found), &floats(expected));
    }
    close(
        &scores(&only(roberta.classify_pairs(&[("the fever", "pain")])).unwrap()),
        &floats(&golden["pair"]),
    );
}

#[test]
fn spans_equal_those_of_transformers() {
    let golden = golden();
    let bert = load("bert_token");
    let texts: Vec<String> = strings(&golden["texts"])
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    for (aggregation, name) in [
        (Aggregation::None, "none"),
        (Aggregation::Simple, "simple"),
        (Aggregation::First, "first"),
        (Aggregation::Average, "average"),
        (Aggregation::Max, "max"),
    ] {
        let options = TagOptions::new().with_aggregation(aggregation);
        let found = good(bert.tag_with(&texts, &options));
        let expected = golden["tags"][name].as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for ((found, expected), text) in found.iter().zip(expected).zip(&texts) {
            let expected = expected.as_array().unwrap();
            assert_eq!(found.len(), expected.len(), "{name}: {text}");
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found.label, expected[0].as_str().unwrap(), "{name}: {text}");
                let range =
                    expected[1].as_u64().unwrap() as usize..expected[2].as_u64().unwrap() as usize;
                assert_eq!(found.range, range, "{name}: {text}");
                close(&[found.score], &[expected[3].as_f64().unwrap() as f32]);
            }
        }
    }
    assert_eq!(only(bert.tag(&[""])).unwrap(), []);
}

#[test]
fn long_texts_are_tagged_to_their_end() {
    let bert = load("bert_token");
    let all = TagOptions::new()
        .with_aggregation(Aggregation::None)
        .with_ignore([""; 0]);
    for overlap in [0, 5, 18] {
        let windows = all.clone().with_long_text(LongText::Windows { overlap });
        let tokens = &only(bert.tag_with(&[LONG], &windows)).unwrap();
        // Every token once, in order.
        assert_eq!(tokens.len(), bert.tokens(LONG).unwrap().len());
        assert!(
            tokens
                .windows(2)
                .all(|pair| pair[0].range.end <= pair[1].range.start)
        );
        assert_eq!(tokens[tokens.len() - 1].range.end, LONG.len());
    }
    // Between 1 and 3 windows' worth of text around a token, its label is that of the window it stands in.
    let short = only(bert.tag(&["The fever, pain"])).unwrap();
    assert_eq!(short, good(bert.tag(&["The fever, pain", LONG]))[0]);
    let windows = TagOptions::new().with_long_text(LongText::Windows { overlap: 19 });
    assert!(matches!(
        only(bert.tag_with(&[LONG], &windows)),
        Err(Error::Overlap { .. })
    ));
    // A cut leaves the labels of the tokens that are read.
    for (long, first, last) in [
        (LongText::CutEnd, true, false),
        (LongText::CutStart, false, true),
    ] {
        let tokens = only(bert.tag_with(&[LONG], &all.clone().with_long_text(long))).unwrap();
        assert_eq!(tokens.len(), 38);
        assert_eq!(tokens[0].range.start == 0, first);
        assert_eq!(tokens[37].range.end == LONG.len(), last);
    }
}

#[test]
fn masks_are_filled_as_by_transformers() {
    let golden = &golden()["fill"];
    let bert = load("bert_pretraining");
    let text = golden["text"].as_str().unwrap();
    let found = bert.fill_mask(text, 4).unwrap();
    let expected = golden["masks"].as_array().unwrap();
    assert_eq!(found.len(), expected.len());
    for (mask, expected) in found.iter().zip(expected) {
        assert_eq!(&text[mask.range.clone()], "[MASK]");
        for (candidate, expected) in mask.candidates.iter().zip(expected.as_array().unwrap()) {
            assert_eq!(u64::from(candidate.id), expected[0].as_u64().unwrap());
            assert_eq!(candidate.token, expected[1].as_str().unwrap());
            close(
                &[candidate.probability],
                &[expected[2].as_f64().unwrap() as f32],
            );
        }
    }
    let all = bert.fill_mask(text, 1000).unwrap();
    assert_eq!(all[0].candidates.len(), 67);
    let sum: f32 = all[0]
        .candidates
        .iter()
        .map(|candidate| candidate.probability)
        .sum();
    assert!((sum - 1.0).abs() < 1e-4);
    assert!(matches!(
        bert.fill_mask("no fever", 3),
        Err(Error::NoMask { .. })
    ));
    assert!(matches!(bert.fill_mask(text, 0), Err(Error::Zero { .. })));
    assert!(matches!(
        bert.fill_mask(&format!("[MASK] {LONG}"), 3),
        Err(Error::TooLong(_))
    ));
    let long = format!("[MASK] {LONG} [MASK]");
    let fill =
        |long_text| bert.fill_mask_with(&long, &FillOptions::new().with_long_text(long_text));
    let windows = fill(LongText::Windows { overlap: 5 }).unwrap();
    assert_eq!(windows.len(), 2);
    let (start, end) = (
        fill(LongText::CutEnd).unwrap(),
        fill(LongText::CutStart).unwrap(),
    );
    assert_eq!((start[0].range.start, end[0].range.end), (0, long.len()));
    assert_eq!(
        (windows[0].range.start, windows[1].range.end),
        (0, long.len())
    );
}

#[test]
fn next_sentence_equals_that_of_transformers() {
    let expected = golden()["next_sentence"].as_f64().unwrap() as f32;
    let bert = load("bert_pretraining");
    close(
        &[bert.next_sentence("the fever", "no pain").unwrap()],
        &[expected],
    );
    assert!(matches!(
        bert.next_sentence("fever", LONG),
        Err(Error::TooLong(_))
    ));
}

#[test]
fn answers_equal_those_of_run_squad() {
    let golden = &golden()["squad"];
    let bert = load("bert_span");
    let context = golden["context"].as_str().unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let number = |name: &str| case[name].as_u64().unwrap() as usize;
        let options = SpanOptions::default()
            .with_max_tokens(number("max_length"))
            .with_stride(number("stride"))
            .with_max_answer(number("max_answer"))
            .with_candidates(number("candidates"));
        let found = bert
            .answer_span_with(case["question"].as_str().unwrap(), context, &options)
            .unwrap();
        let (null, spans): (Vec<&Value>, Vec<&Value>) = case["nbest"]
            .as_array()
            .unwrap()
            .iter()
            .partition(|entry| entry[0] == "");
        assert_eq!(found.candidates.len(), spans.len());
        for (candidate, expected) in found.candidates.iter().zip(spans) {
            assert_eq!(
                &context[candidate.range.clone()],
                expected[0].as_str().unwrap()
            );
            close(
                &[candidate.score, candidate.probability],
                &[
                    expected[1].as_f64().unwrap() as f32,
                    expected[2].as_f64().unwrap() as f32,
                ],
            );
        }
        close(
            &[found.no_answer.score, found.no_answer.probability],
            &[
                null[0][1].as_f64().unwrap() as f32,
                null[0][2].as_f64().unwrap() as f32,
            ],
        );
        let best = &found.candidates[0];
        let margin = found.no_answer.score - best.score;
        assert_eq!(found.best(margin + 0.01), Some(best));
        assert_eq!(found.best(margin - 0.01), None);
    }
}

#[test]
fn bad_questions_are_errors() {
    let bert = load("bert_span");
    let options = SpanOptions::new().with_max_tokens(40).with_stride(8);
    assert!(matches!(
        bert.answer_span("", "fever"),
        Err(Error::Empty {
            part: "question",
            ..
        })
    ));
    assert!(matches!(
        bert.answer_span("fever", " \n"),
        Err(Error::Empty {
            part: "context",
            ..
        })
    ));
    // The default stride of 128 does not fit into a model of 40 positions; a short context needs no stride.
    assert!(matches!(
        bert.answer_span("fever", LONG),
        Err(Error::WindowTooSmall { .. })
    ));
    assert!(bert.answer_span("fever", "the fever").is_ok());
    assert!(bert.answer_span_with("fever", LONG, &options).is_ok());
    assert!(matches!(
        bert.answer_span_with("the pain", LONG, &options.clone().with_max_question(1)),
        Err(Error::QuestionTooLong {
            tokens: 2,
            limit: 1
        })
    ));
    for long in [
        LongText::CutStart,
        LongText::CutEnd,
        LongText::Windows { overlap: 4 },
    ] {
        let options = options.clone().with_long_text(long);
        assert!(bert.answer_span_with("fever", LONG, &options).is_ok());
    }
    assert!(matches!(
        bert.answer_span_with(
            "fever",
            LONG,
            &options.clone().with_long_text(LongText::Error)
        ),
        Err(Error::TooLong(_))
    ));
    for zero in [
        options.clone().with_stride(0),
        options.clone().with_max_answer(0),
        options.clone().with_candidates(0),
    ] {
        assert!(matches!(
            bert.answer_span_with("fever", LONG, &zero),
            Err(Error::Zero { .. })
        ));
    }
}

#[test]
fn every_batch_tells_how_far_it_is_and_can_be_ended() {
    let bert = load("bert_token");
    let texts = [LONG, "fever", LONG, "no pain"];
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let options = TagOptions::new()
        .with_batch(2)
        .with_progress(move |progress| told.lock().unwrap().push(progress));
    let found = good(bert.tag_with(&texts, &options));
    // Other batches have rows of other lengths, so sums may differ in the last bits.
    for (found, expected) in found.iter().zip(good(bert.tag(&texts))) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(
                (&found.label, &found.range),
                (&expected.label, &expected.range)
            );
            assert!((found.score - expected.score).abs() < 1e-6);
        }
    }
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|progress| progress.total == 4));
    assert!(seen.is_sorted_by_key(|progress| progress.done));
    assert_eq!(seen.last().unwrap().done, 4);

    let flag = CancelFlag::default();
    flag.cancel();
    let options = EmbedOptions::new().with_cancel(flag.clone());
    for found in bert.embed_with(&texts, &options) {
        assert!(matches!(found, Err(Error::Cancelled)));
    }
    let spans = load("bert_span");
    let options = SpanOptions::new().with_cancel(flag);
    let found = spans.answer_span_with("fever", "the fever", &options);
    assert!(matches!(found, Err(Error::Cancelled)));
}

/// More texts than are held at a time, in batches of few tokens: the same as each alone, in order, and progress over
/// all.
#[test]
fn many_texts_are_read_in_parts() {
    let bert = load("bert_token");
    let texts: Vec<String> = (0..600).map(|at| "the fever ".repeat(at % 7)).collect();
    let last = Arc::new(Mutex::new((0, 0)));
    let told = last.clone();
    let options = EmbedOptions::new()
        .with_batch_tokens(64)
        .with_progress(move |progress| *told.lock().unwrap() = (progress.done, progress.total));
    let found = good(bert.embed_with(&texts, &options));
    assert_eq!(*last.lock().unwrap(), (600, 600));
    for at in 0..7 {
        let alone = only(bert.embed(&texts[at..=at], None)).unwrap();
        for same in found.iter().skip(at).step_by(7) {
            close(same, &alone);
        }
    }
}

/// A note above the tokenizer's limit of 4 MiB is read in windows and cut like any other.
#[test]
fn notes_of_any_length() {
    let bert = load("bert_sequence");
    let note = "the fever, no pain. ".repeat(230_000);
    assert!(note.len() > 4 << 20);
    let cut = |text: &str, long: LongText| {
        let options = EmbedOptions::new().with_long_text(long);
        only(bert.embed_with(&[text], &options))
    };
    let short = &note[..4000];
    for long in [LongText::CutEnd, LongText::CutStart] {
        assert_eq!(cut(&note, long).unwrap(), cut(short, long).unwrap());
    }
    assert!(matches!(
        cut(&note, LongText::Error),
        Err(Error::TooLong(_))
    ));
    // Blanks alone have no tokens, however many there are.
    let blank = " ".repeat(5 << 20);
    let empty = only(bert.embed(&[""], None)).unwrap();
    assert_eq!(
        cut(&blank, LongText::Windows { overlap: 0 }).unwrap(),
        empty
    );
}

/// In byte-level vocabularies white space has tokens: a cut to nothing else is an error.
#[test]
fn a_cut_that_leaves_nothing_is_an_error() {
    let roberta = ClinicalBert::load(data().join("roberta_facade"), &LoadOptions::default());
    let roberta = roberta.unwrap();
    let text = format!("{}the fever", "\n\n".repeat(200));
    let with = |long| {
        let options = ClassifyOptions::new().with_long_text(long);
        only(roberta.classify_with(&[&text], &options))
    };
    assert!(matches!(with(LongText::CutEnd), Err(Error::NothingLeft)));
    assert!(with(LongText::CutStart).is_ok());
}

#[test]
fn results_can_be_written_as_json() {
    let json = |value: serde_json::Result<Value>| value.unwrap().to_string();
    let entity = only(load("bert_token").tag(&[LONG])).unwrap();
    let text = json(serde_json::to_value(&entity));
    assert!(
        text.contains("\"start\":") && text.contains("\"label\":"),
        "{text}"
    );
    let class = only(load("bert_sequence").classify(&["fever"])).unwrap();
    assert!(json(serde_json::to_value(&class)).contains("\"kind\":\"single_label\""));
    let mask = load("bert_pretraining").fill_mask("no [MASK]", 1).unwrap();
    assert!(json(serde_json::to_value(&mask)).contains("\"probability\":"));
    let answer = load("bert_span").answer_span("fever", "the fever").unwrap();
    assert!(json(serde_json::to_value(&answer)).contains("\"no_answer\":"));
}

#[test]
fn a_preview_tells_what_loading_gives() {
    let preview = |dir: &Path, bert: &BertOptions| {
        ClinicalBert::preview_with(dir, &LoadOptions::default(), bert).unwrap()
    };
    let dir = data().join("bert_token");
    let found = preview(&dir, &BertOptions::default());
    let loaded = load("bert_token");
    assert_eq!(
        (found.head, &found.labels[..]),
        (loaded.head(), loaded.labels())
    );
    assert_eq!(found.max_tokens, loaded.max_tokens());
    assert_eq!(found.remarks, loaded.remarks());
    assert!(found.report.missing.is_empty());
    let case = found.case.as_ref().unwrap();
    assert_eq!(case.pieces.concat().replace("##", ""), "[UNK]");
    assert_eq!(
        case.transformers_pieces.concat().replace("##", ""),
        "abnormality"
    );
    assert!(
        found
            .to_string()
            .contains("`Abnormality` is read as `[UNK]`")
    );
    // No difference where the caller asks for what transformers does, or a file says it.
    let as_transformers = BertOptions::new().with_lower_case(LowerCase::Transformers);
    assert_eq!(preview(&dir, &as_transformers).case, None);
    let said = directory("bert_token");
    let config = said.path().join("tokenizer_config.json");
    std::fs::write(config, r#"{"do_lower_case": false}"#).unwrap();
    assert_eq!(preview(said.path(), &BertOptions::default()).case, None);
    assert_eq!(
        preview(&data().join("roberta_facade"), &BertOptions::default()).case,
        None
    );
    // Weights that do not fit are reported, not refused.
    let other = directory("bert_old");
    let path = other.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"),
    )
    .unwrap();
    let found = preview(other.path(), &BertOptions::default());
    assert!(!found.report.missing.is_empty());
    assert!(ClinicalBert::load(other.path(), &LoadOptions::default()).is_err());
}

#[test]
fn one_model_serves_many_threads() {
    let bert = load("bert_token");
    let alone = good(bert.tag(&[LONG]));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| good(bert.tag(&[LONG]))))
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}

#[test]
fn directories_that_are_no_model_give_one_sentence() {
    let empty = tempfile::tempdir().unwrap();
    let no_weights = directory("bert_old");
    std::fs::remove_file(no_weights.path().join("model.safetensors")).unwrap();
    let no_vocabulary = directory("bert_old");
    std::fs::remove_file(no_vocabulary.path().join("vocab.txt")).unwrap();
    let other = load_changed("bert_old", |config| {
        config.insert("model_type".into(), "llama".into());
    });
    let tiny = load_changed("bert_old", |config| {
        config.insert("max_position_embeddings".into(), 2.into());
    });
    assert!(matches!(tiny, Err(Error::NoRoom { limit: 2 })));
    let errors = [
        ClinicalBert::load(empty.path().join("nowhere"), &LoadOptions::default()),
        ClinicalBert::load(empty.path(), &LoadOptions::default()),
        ClinicalBert::load(no_weights.path(), &LoadOptions::default()),
        ClinicalBert::load(no_vocabulary.path(), &LoadOptions::default()),
        other,
    ];
    for error in errors {
        let message = error.unwrap_err().to_string();
        assert!(!message.contains('\n') && message.len() < 300, "{message}");
    }
}

/// `scripts/make_gguf_fixtures.py` converts the encoder as llama.cpp does, with words in its own spelling.
#[test]
fn a_gguf_file_is_the_encoder_that_it_was_converted_from() {
    let load = LoadOptions::default();
    let path = data().join("gguf/bert.gguf");
    let file = ClinicalBert::load(&path, &load).unwrap();
    let preview = ClinicalBert::preview(&path, &load).unwrap();
    assert_eq!(
        (preview.head, preview.max_tokens),
        (file.head(), file.max_tokens())
    );
    let encoder = BertOptions::new().with_head(TaskHead::Encoder);
    let directory =
        ClinicalBert::load_with(data().join("bert_pretraining"), &load, &encoder).unwrap();
    let texts = [
        "The patient was admitted with chest pain.",
        "Größe 1,80 m [MASK] a-b",
        "",
    ];
    for text in texts {
        let ids = |bert: &ClinicalBert| bert.tokenizer().encode(text, true).unwrap().into_ids();
        assert_eq!(ids(&file), ids(&directory), "{text:?}");
    }
    assert_eq!(file.tokenizer().special(), directory.tokenizer().special());
    // Without a pooler, which the converter leaves out.
    for pooling in [Pooling::Cls, Pooling::Mean] {
        assert_eq!(
            good(file.embed(&texts[..2], pooling)),
            good(directory.embed(&texts[..2], pooling))
        );
    }
}

#[test]
fn tokens_can_be_added_and_the_model_saved() {
    let load = LoadOptions::default();
    for name in ["bert_pretraining", "bert_token", "roberta_facade"] {
        let mut bert = ClinicalBert::load(data().join(name), &load).unwrap();
        let rows = bert.config().vocab_size;
        let texts = ["He has no pain."];
        let before = good(bert.embed(&texts, Pooling::Mean));
        let beyond = bert.tokenizer().vocab_size();
        let tags = ["[Company]", "[LOC]"].map(AddedToken::new);
        assert_eq!(bert.add_tokens(&tags).unwrap(), 2);
        assert_eq!(bert.config().vocab_size, rows.max(beyond + 2));
        close(
            &only(bert.embed(&texts, Pooling::Mean)).unwrap(),
            &before[0],
        );
        let tagged = ["Seen at [Company] today."];
        let vectors = good(bert.embed(&tagged, Pooling::Mean));

        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("saved");
        bert.save(&dir, &SaveOptions::new()).unwrap();
        let again = ClinicalBert::load(&dir, &load).unwrap();
        assert_eq!(again.head(), bert.head(), "{name}");
        assert_eq!(again.labels(), bert.labels());
        assert_eq!(again.config().vocab_size, bert.config().vocab_size);
        assert_eq!(good(again.embed(&tagged, Pooling::Mean)), vectors);
    }
}

#[test]
fn an_id_without_a_row_is_named() {
    let mut bert = load("bert_pretraining");
    bert.resize_embeddings(5).unwrap();
    let error = only(bert.embed(&["He has no pain."], Pooling::Mean)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Model(clinical_nn::ModelError::TokenOutOfRange { vocabulary: 5, .. })
        ),
        "{error}"
    );
    assert!(matches!(
        bert.resize_embeddings(0),
        Err(Error::OutOfRange { .. })
    ));
}
