//! The losses of all heads against their formulas, new heads, and models that come apart and together again.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use clinical_bert::{
    BertConfig, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification, BertModel, BertOptions, ClinicalBert, Error, IGNORED, LoadOptions,
    Parts, PieceLabels, Pooling, Row, SaveOptions, Targets, TaskHead, TokenRow, align_labels,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn config() -> BertConfig {
    BertConfig::from_json(
        r#"{"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 40}"#,
    )
    .unwrap()
}

fn device() -> Device {
    let device = LoadOptions::default().device.autodiff();
    device.seed(5);
    device
}

/// Rows of 5, 3 and 4 tokens.
const ROWS: [&[u32]; 3] = [&[2, 10, 11, 12, 3], &[2, 13, 3], &[2, 14, 15, 3]];

fn rows() -> Vec<Row<'static>> {
    ROWS.iter().map(|&ids| Row::from(ids)).collect()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().unwrap()
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let exp: Vec<f32> = logits.iter().map(|logit| logit.exp()).collect();
    let sum: f32 = exp.iter().sum();
    exp.iter().map(|value| value / sum).collect()
}

#[track_caller]
fn near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let close = (found - expected).abs() < 1e-5;
        assert!(close, "{found} instead of {expected}");
    }
}

/// Weights that are not near zero, so that logits differ.
fn spread<M: Module>(model: M) -> M {
    struct Times(f32);
    impl burn::module::ModuleMapper for Times {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            param.map(|tensor| (tensor * self.0).detach().require_grad())
        }
    }
    model.map(&mut Times(8.0))
}

/// `CrossEntropyLoss` over the rows; its slope at the bias of a class is the mean of `p - y`.
#[test]
fn classes_by_hand() {
    let model = spread(BertForSequenceClassification::new(&config(), 3, &device()).unwrap());
    let logits = values(model.forward(&rows()).unwrap());
    let classes = [2, IGNORED, 0];
    let loss = model.loss(&rows(), Targets::Classes(&classes)).unwrap();
    assert_eq!(loss.targets, 2);
    let (mut mean, mut slopes) = (0.0, vec![0.0; 3]);
    for (row, class) in [(0, 2), (2, 0)] {
        let p = softmax(&logits[row * 3..row * 3 + 3]);
        mean -= p[class].ln() / 2.0;
        for (at, slope) in slopes.iter_mut().enumerate() {
            *slope += (p[at] - f32::from(u8::from(at == class))) / 2.0;
        }
    }
    let gradients = loss.mean.backward();
    near(&[loss.mean.into_scalar::<f32>()], &[mean]);
    let bias = model.classifier.bias.as_ref().unwrap().val();
    near(&values(bias.grad(&gradients).unwrap()), &slopes);
}

/// `BCEWithLogitsLoss` and `MSELoss` over all rows and classes.
#[test]
fn class_sets_and_values_by_hand() {
    let model = spread(BertForSequenceClassification::new(&config(), 2, &device()).unwrap());
    let logits = values(model.forward(&rows()).unwrap());
    let wanted = vec![vec![1.0, 0.0], vec![0.0, 0.0], vec![1.0, 1.0]];
    let flat = wanted.concat();
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let pairs = || logits.iter().zip(&flat);

    let loss = model.loss(&rows(), Targets::ClassSets(&wanted)).unwrap();
    assert_eq!(loss.targets, 6);
    let cost =
        |(&x, &y): (&f32, &f32)| -(y * sigmoid(x).ln() + (1.0 - y) * (1.0 - sigmoid(x)).ln()) / 6.0;
    let gradients = loss.mean.backward();
    near(
        &[loss.mean.into_scalar::<f32>()],
        &[pairs().map(cost).sum()],
    );
    let slope = |class: usize| {
        let of = pairs().skip(class).step_by(2);
        of.map(|(&x, &y)| (sigmoid(x) - y) / 6.0).sum::<f32>()
    };
    let bias = model.classifier.bias.as_ref().unwrap().val();
    near(
        &values(bias.grad(&gradients).unwrap()),
        &[slope(0), slope(1)],
    );

    let loss = model.loss(&rows(), Targets::Values(&wanted)).unwrap();
    let cost = |(&x, &y): (&f32, &f32)| (x - y) * (x - y) / 6.0;
    near(
        &[loss.mean.into_scalar::<f32>()],
        &[pairs().map(cost).sum()],
    );
}

/// The mean over labelled tokens; padding and ignored ones count nothing.
#[test]
fn tokens_by_hand() {
    let model = spread(BertForTokenClassification::new(&config(), 3, &device()).unwrap());
    let logits = values(model.forward(&rows()).unwrap());
    let no = IGNORED;
    let labels = vec![vec![no, 1, 0, 2, no], vec![no, 2, no], vec![no, no, -1, no]];
    let loss = model.loss(&rows(), Targets::Tokens(&labels)).unwrap();
    assert_eq!(loss.targets, 4);
    let mut mean = 0.0;
    for (row, at, class) in [(0, 1, 1), (0, 2, 0), (0, 3, 2), (1, 1, 2)] {
        let start = (row * 5 + at) * 3;
        mean -= softmax(&logits[start..start + 3])[class].ln() / 4.0;
    }
    near(&[loss.mean.into_scalar::<f32>()], &[mean]);
}

/// The mean of two cross entropies over the tokens of each row, as `*ForQuestionAnswering` computes it for rows of one
/// length. The slope of a weight is the sum over tokens of `(p - y)` times the state.
#[test]
fn spans_by_hand() {
    let model = spread(BertForQuestionAnswering::new(&config(), &device()).unwrap());
    let logits = values(model.forward(&rows()).unwrap());
    let states = values(model.bert.forward(&rows()).unwrap());
    let spans = [Some((1, 3)), None, Some((0, 0))];
    let loss = model.loss(&rows(), Targets::Spans(&spans)).unwrap();
    assert_eq!(loss.targets, 2);
    let (mut mean, mut slopes) = (0.0, vec![0.0; 32]);
    for (row, length, span) in [(0, 5, [1, 3]), (2, 4, [0, 0])] {
        for (which, wanted) in span.into_iter().enumerate() {
            let of = (0..length).map(|at| logits[(row * 5 + at) * 2 + which]);
            let p = softmax(&of.collect::<Vec<_>>());
            mean -= p[wanted].ln() / 4.0;
            for (at, p) in p.iter().enumerate() {
                let slope = (p - f32::from(u8::from(at == wanted))) / 4.0;
                for dim in 0..16 {
                    slopes[dim * 2 + which] += slope * states[(row * 5 + at) * 16 + dim];
                }
            }
        }
    }
    let gradients = loss.mean.backward();
    near(&[loss.mean.into_scalar::<f32>()], &[mean]);
    let weight = model.outputs.weight.val();
    near(&values(weight.grad(&gradients).unwrap()), &slopes);
}

/// A batch gives the mean of its rows alone, weighted by their targets: nothing depends on padding.
#[test]
fn batches_are_means_of_their_rows() {
    let spans = spread(BertForQuestionAnswering::new(&config(), &device()).unwrap());
    let answers = [Some((1, 3)), Some((1, 1)), Some((2, 2))];
    let tokens = spread(BertForTokenClassification::new(&config(), 3, &device()).unwrap());
    let labels = [vec![0, 1, 0, 2, 1], vec![2, 2, 2], vec![1, 0, 1, 2]];
    let loss = |rows: &[Row<'_>], range: std::ops::Range<usize>| {
        let span = spans
            .loss(rows, Targets::Spans(&answers[range.clone()]))
            .unwrap();
        let token = tokens.loss(rows, Targets::Tokens(&labels[range])).unwrap();
        [span, token].map(|loss| (loss.mean.into_scalar::<f32>(), loss.targets as f32))
    };
    let all = loss(&rows(), 0..3);
    let alone: Vec<_> = (0..3)
        .map(|row| loss(&rows()[row..=row], row..row + 1))
        .collect();
    for head in 0..2 {
        let sum: f32 = alone.iter().map(|one| one[head].0 * one[head].1).sum();
        let count: f32 = alone.iter().map(|one| one[head].1).sum();
        assert_eq!(count, all[head].1);
        near(&[all[head].0], &[sum / count]);
    }
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let config = config().with_labels(["a", "b", "c"]);
    let model = |head| {
        let device = LoadOptions::default().device;
        config.clone().with_head(head).init(&device).unwrap()
    };
    let rows = rows();
    let (classes, spans) = ([0, 1, 2], [Some((0, 1)), None, None]);
    let tokens = vec![vec![0; 5], vec![0; 3], vec![0; 4]];
    for (head, targets) in [
        (TaskHead::Encoder, Targets::Classes(&classes)),
        (TaskHead::Sequence, Targets::Spans(&spans)),
        (TaskHead::Token, Targets::Classes(&classes)),
        (TaskHead::Span, Targets::Tokens(&tokens)),
        (TaskHead::MaskedLanguage, Targets::Classes(&classes)),
        (
            TaskHead::MaskedLanguage,
            Targets::Pretraining {
                tokens: &tokens,
                is_random_next: &[true; 3],
            },
        ),
    ] {
        let found = model(head).loss(&rows, targets);
        assert!(matches!(found, Err(Error::TargetKind { .. })), "{head}");
    }
    let sequence = model(TaskHead::Sequence);
    let refused = |targets| sequence.loss(&rows, targets).unwrap_err();
    let short = [0, 1];
    assert!(matches!(
        refused(Targets::Classes(&short)),
        Error::TargetCount {
            targets: 2,
            rows: 3
        }
    ));
    let high = [0, 3, 0];
    assert!(matches!(
        refused(Targets::Classes(&high)),
        Error::ClassOutOfRange {
            row: 1,
            label: 3,
            classes: 3
        }
    ));
    let none = [IGNORED; 3];
    assert!(matches!(refused(Targets::Classes(&none)), Error::Loss(_)));
    let half = vec![vec![0.5; 3], vec![2.0; 3], vec![0.0; 3]];
    let value = refused(Targets::ClassSets(&half));
    assert!(matches!(value, Error::TargetValue { row: 1 }));
    let narrow = vec![vec![0.5; 3], vec![0.5; 2], vec![0.0; 3]];
    let width = refused(Targets::Values(&narrow));
    assert!(matches!(width, Error::TargetWidth { row: 1, .. }));
    let lengths = vec![vec![0; 5], vec![0; 4], vec![0; 4]];
    let found = model(TaskHead::Token).loss(&rows, Targets::Tokens(&lengths));
    assert!(matches!(found, Err(Error::TargetLength { row: 1, .. })));
    for span in [(0, 3), (2, 1)] {
        let spans = [None, Some(span), None];
        let found = model(TaskHead::Span).loss(&rows, Targets::Spans(&spans));
        assert!(matches!(
            found,
            Err(Error::SpanOutOfRange { row: 1, length: 3 })
        ));
    }
}

#[test]
fn bad_configs_are_errors_and_never_panics() {
    let mut bad = config();
    bad.hidden_act = "quick".to_owned();
    let device = LoadOptions::default().device;
    assert!(matches!(bad.init(&device), Err(Error::Activation { .. })));
    assert!(BertForTokenClassification::new(&bad, 2, &device).is_err());
    bad = config();
    bad.num_hidden_layers = usize::MAX;
    assert!(matches!(bad.parameters(), Err(Error::OutOfRange { .. })));
    assert!(clinical_bert::Bert::new(&bad, true, &device).is_err());
    bad = config();
    bad.family = clinical_bert::Family::Roberta;
    bad.pad_token_id = usize::MAX;
    assert_eq!(bad.max_tokens(), 0);
    assert!(bad.init(&device).is_err());
}

fn train(
    parts: &mut Parts<BertConfig, BertModel>,
    rows: &[TokenRow],
    targets: Targets<'_>,
) -> [f32; 2] {
    let rows: Vec<Row<'_>> = rows.iter().map(TokenRow::row).collect();
    let mut optimizer = AdamConfig::new().init();
    let mut seen = Vec::new();
    for _ in 0..30 {
        let loss = parts.model.loss(&rows, targets).unwrap();
        seen.push(loss.mean.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.mean.backward(), &parts.model);
        parts.model = optimizer.step(0.005, parts.model.clone(), gradients);
    }
    [seen[0], seen[29]]
}

/// A classifier on an encoder that was pretrained alone: trained in memory, used, saved and opened again.
#[test]
fn a_new_classifier_is_trained_in_memory_and_used() {
    let load = LoadOptions::new().with_device(device());
    let options = BertOptions::new()
        .with_new_head(TaskHead::Sequence)
        .with_labels(["absent", "present"]);
    let bert = ClinicalBert::load_with(data("bert_pretraining"), &load, &options).unwrap();
    assert_eq!(bert.labels(), ["absent", "present"]);
    let told = bert
        .remarks()
        .iter()
        .any(|one| one.to_string().contains("random until"));
    assert!(told);
    let texts = ["the fever", "no fever", "pain", "no pain"];
    let rows: Vec<TokenRow> = texts
        .iter()
        .map(|text| bert.encode(text).unwrap())
        .collect();
    let mut parts = bert.into_parts();
    let [before, after] = train(&mut parts, &rows, Targets::Classes(&[1, 0, 1, 0]));
    assert!(after < 0.3 * before, "{before} {after}");
    parts.model = parts.model.valid();
    let bert = ClinicalBert::from_parts(parts).unwrap();
    let best = |bert: &ClinicalBert| -> Vec<String> {
        let found = bert.classify(&texts).into_iter();
        found
            .map(|found| found.unwrap().best().label.clone())
            .collect()
    };
    assert_eq!(best(&bert), ["present", "absent", "present", "absent"]);
    let dir = tempfile::tempdir().unwrap();
    bert.save(dir.path().join("saved"), &SaveOptions::new())
        .unwrap();
    let again = ClinicalBert::load(dir.path().join("saved"), &LoadOptions::default()).unwrap();
    assert_eq!(
        (again.head(), best(&again)),
        (TaskHead::Sequence, best(&bert))
    );
}

/// Named entities from words with labels, on an encoder whose published head is another one.
#[test]
fn a_new_tagger_learns_words() {
    let load = LoadOptions::new().with_device(device());
    let options = BertOptions::new()
        .with_new_head(TaskHead::Token)
        .with_labels(["O", "B-problem"]);
    let bert = ClinicalBert::load_with(data("bert_sequence"), &load, &options).unwrap();
    let words = ["no", "fever", ",", "pain", "in", "the", "arm"];
    let labels = [0, 1, 0, 1, 0, 0, 0];
    let (row, of) = bert.encode_words(&words).unwrap();
    assert_eq!((of[0], of[1], of[of.len() - 1]), (None, Some(0), None));
    assert_eq!(
        row.ids,
        bert.encode("no fever , pain in the arm").unwrap().ids
    );
    let aligned = vec![align_labels(&of, &labels, PieceLabels::First).unwrap()];
    let learnt = aligned[0].iter().filter(|label| **label >= 0).count();
    assert_eq!(learnt, words.len());
    let mut parts = bert.into_parts();
    let [before, after] = train(&mut parts, &[row], Targets::Tokens(&aligned));
    assert!(after < 0.3 * before, "{before} {after}");
    let bert = ClinicalBert::from_parts(parts).unwrap();
    let text = "no fever , pain in the arm";
    let found = bert.tag(&[text]).remove(0).unwrap();
    let found: Vec<&str> = found.iter().map(|one| &text[one.range.clone()]).collect();
    assert_eq!(found, ["fever", "pain"]);
}

#[test]
fn a_facade_comes_apart_and_together() {
    for name in [
        "bert_pretraining",
        "bert_token",
        "roberta_facade",
        "megatron_sequence",
    ] {
        let bert = ClinicalBert::load(data(name), &LoadOptions::default()).unwrap();
        let texts = ["the fever", "no pain"];
        let vectors = |bert: &ClinicalBert| -> Vec<Vec<f32>> {
            let found = bert.embed(&texts, Pooling::Mean).into_iter();
            found.map(Result::unwrap).collect()
        };
        let expected = (
            vectors(&bert),
            bert.labels().to_vec(),
            bert.remarks().to_vec(),
        );
        let again = ClinicalBert::from_parts(bert.into_parts()).unwrap();
        let found = (
            vectors(&again),
            again.labels().to_vec(),
            again.remarks().to_vec(),
        );
        assert_eq!(found, expected, "{name}");
    }
    // Another head on the same encoder, without files.
    let bert = ClinicalBert::load(data("bert_token"), &LoadOptions::default()).unwrap();
    let mut parts = bert.into_parts();
    parts.config = parts.config.with_labels(["a", "b", "c"]);
    let encoder = parts.model.into_encoder();
    parts.model = BertModel::on(encoder, &parts.config, TaskHead::Sequence);
    let bert = ClinicalBert::from_parts(parts).unwrap();
    assert_eq!(bert.classify(&["fever"]).remove(0).unwrap().scores.len(), 3);
    // Parts that do not belong together.
    let mut parts = bert.into_parts();
    parts.config.vocab_size += 1;
    let found = ClinicalBert::from_parts(parts);
    assert!(matches!(found, Err(Error::Parts { .. })));
    let bert = ClinicalBert::load(data("bert_token"), &LoadOptions::default()).unwrap();
    let mut parts = bert.into_parts();
    parts.config = parts.config.with_labels(["a", "b"]);
    let found = ClinicalBert::from_parts(parts);
    assert!(matches!(
        found,
        Err(Error::LabelCount {
            names: 2,
            classes: 5
        })
    ));
}
