//! The loss and every gradient of all heads against `transformers` (`scripts/gradients_reference.py`).

#[path = "../../../tests/files/gradients.rs"]
mod gradients;

use std::path::Path;

use burn::module::Module;
use clinical_bert::{BertConfig, BertModel, LoadOptions, Loss, Row, Targets};
use gradients::Expected;

fn loss(model: &BertModel, expected: &Expected) -> Loss {
    let ids = expected.real("ids", |id| id as u32);
    let types = match expected.has("types") {
        true => expected.real("types", |kind| kind as u32),
        false => vec![Vec::new(); ids.len()],
    };
    let rows: Vec<Row<'_>> = ids
        .iter()
        .zip(&types)
        .map(|(ids, types)| Row { ids, types })
        .collect();
    let numbers = |name| -> Vec<Vec<f32>> {
        let rows = expected.rows(name).into_iter();
        rows.map(|row| row.into_iter().map(|x| x as f32).collect())
            .collect()
    };
    if expected.has("is_random_next") {
        let next = expected.flat("is_random_next").iter();
        let targets = Targets::Pretraining {
            tokens: &expected.real("tokens", |label| label as i64),
            is_random_next: &next.map(|&next| next == 1.0).collect::<Vec<_>>(),
        };
        model.loss(&rows, targets)
    } else if expected.has("tokens") {
        let labels = expected.real("tokens", |label| label as i64);
        model.loss(&rows, Targets::Tokens(&labels))
    } else if expected.has("classes") {
        let classes = expected.flat("classes").iter();
        let classes: Vec<i64> = classes.map(|&class| class as i64).collect();
        model.loss(&rows, Targets::Classes(&classes))
    } else if expected.has("class_sets") {
        model.loss(&rows, Targets::ClassSets(&numbers("class_sets")))
    } else if expected.has("values") {
        model.loss(&rows, Targets::Values(&numbers("values")))
    } else {
        let spans = expected.rows("spans").into_iter();
        let spans: Vec<_> = spans
            .map(|span| (span[0] >= 0.0).then_some((span[0] as usize, span[1] as usize)))
            .collect();
        model.loss(&rows, Targets::Spans(&spans))
    }
    .unwrap()
}

/// A constant that is added to all scores of a softmax changes nothing: a bias of the keys, and under a span head the
/// last two biases.
const KEYS: &[&str] = &["attention.self.key.bias"];
const SPANS: &[&str] = &[
    "attention.self.key.bias",
    "encoder.layer.1.output.LayerNorm.bias",
    "qa_outputs.bias",
];
const MEGATRON_SPANS: &[&str] = &[
    "attention.self.key.bias",
    "encoder.ln.bias",
    "qa_outputs.bias",
];

/// Each case with the directory of its model. Rows of 2, 6 and 10 tokens, one of them a pair; some targets are ignored.
#[test]
fn losses_and_gradients_are_those_of_transformers() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for (case, dir, zeros) in [
        ("bert_pretraining", "bert_pretraining", KEYS),
        ("bert_classes", "bert_sequence", KEYS),
        ("bert_class_sets", "bert_sequence", KEYS),
        ("bert_values", "bert_sequence", KEYS),
        ("bert_token", "bert_token", KEYS),
        ("bert_span", "bert_span", SPANS),
        ("roberta_masked", "roberta_masked", KEYS),
        ("roberta_classes", "roberta_sequence", KEYS),
        ("roberta_token", "roberta_token", KEYS),
        ("megatron_pretraining", "megatron_pretraining", KEYS),
        ("megatron_span", "megatron_span", MEGATRON_SPANS),
    ] {
        let expected = Expected::read(&data.join("gradients"), case).with_zeros(zeros);
        let options = LoadOptions::default();
        let config = BertConfig::from_file(data.join(dir).join("config.json")).unwrap();
        let mut model = config.init(&options.device).unwrap();
        clinical_weights::load(&mut model, data.join(dir), &options).unwrap();
        let model = model.train();
        expected.check(&model, loss(&model, &expected));
    }
}
