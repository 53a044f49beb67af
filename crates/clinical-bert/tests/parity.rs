//! Seeded tiny models against `transformers` (`scripts/bert_reference.py`).

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use clinical_bert::{
    Bert, BertConfig, BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification, Row,
};
use clinical_weights::LoadOptions;
use serde::Deserialize;

/// Largest absolute difference of a hidden state or a logit.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Expected {
    rows: Vec<Vec<u32>>,
    types: Vec<Vec<u32>>,
    hidden_states: Vec<Vec<Vec<f32>>>,
    #[serde(default)]
    pooled: Option<Vec<Vec<f32>>>,
    #[serde(default)]
    logits: Option<Vec<Vec<f32>>>,
    #[serde(default)]
    next_sentence: Option<Vec<Vec<f32>>>,
}

impl Expected {
    fn rows(&self) -> Vec<Row<'_>> {
        let rows = self.rows.iter().zip(&self.types);
        rows.map(|(ids, types)| Row { ids, types }).collect()
    }
}

fn open(name: &str) -> (PathBuf, BertConfig, Expected) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    let config = BertConfig::from_file(dir.join("config.json")).unwrap();
    let expected = std::fs::read_to_string(dir.join("expected.json")).unwrap();
    (dir, config, serde_json::from_str(&expected).unwrap())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_to_vec().unwrap()
}

/// Compares the real positions of each row of `[batch, length, width]`.
fn compare(what: &str, tensor: Tensor<3>, expected: &[Vec<f32>]) {
    let [batch, _, width] = tensor.dims();
    assert_eq!(batch, expected.len(), "{what}");
    for (row, expected) in expected.iter().enumerate() {
        let length = expected.len() / width;
        let found = values(tensor.clone().narrow(0, row, 1).narrow(1, 0, length));
        compare_row(&format!("{what}, row {row}"), &found, expected);
    }
}

fn compare_row(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= TOLERANCE,
            "{what}, value {index}: {found} instead of {expected}"
        );
    }
}

fn compare_rows(what: &str, tensor: Tensor<2>, expected: &[Vec<f32>]) {
    let [batch, width] = tensor.dims();
    compare(what, tensor.reshape([batch, 1, width]), expected);
}

fn compare_encoder(bert: &Bert, expected: &Expected) {
    let rows = expected.rows();
    let states = bert.all_hidden_states(&rows).unwrap();
    assert_eq!(states.len(), expected.hidden_states.len());
    for (depth, (states, expected)) in states.iter().zip(&expected.hidden_states).enumerate() {
        compare(&format!("state {depth}"), states.clone(), expected);
    }
    if let (Some(pooled), Some(expected)) =
        (bert.pool(bert.forward(&rows).unwrap()), &expected.pooled)
    {
        compare_rows("pooled", pooled, expected);
    }
    // A row gives the same alone as in the padded batch.
    let batch = bert.forward(&rows).unwrap();
    for (index, row) in rows.iter().enumerate() {
        let alone = values(bert.forward(&[*row]).unwrap());
        let together = values(
            batch
                .clone()
                .narrow(0, index, 1)
                .narrow(1, 0, row.ids.len()),
        );
        compare_row("row alone", &alone, &together);
    }
}

#[test]
fn pretraining_heads() {
    for (name, next_sentence) in [
        ("bert_pretraining", true),
        ("bert_pretraining", false),
        ("roberta_masked", false),
        ("megatron_masked", false),
        ("megatron_pretraining", true),
    ] {
        let (dir, config, expected) = open(name);
        let options = LoadOptions::default();
        let mut model = BertForPretraining::new(&config, next_sentence, &options.device).unwrap();
        clinical_weights::load(&mut model, &dir, &options).unwrap();
        compare_encoder(&model.bert, &expected);
        let rows = expected.rows();
        compare(
            name,
            model.forward(&rows).unwrap(),
            expected.logits.as_ref().unwrap(),
        );
        if next_sentence {
            let logits = model
                .next_sentence(model.bert.forward(&rows).unwrap())
                .unwrap();
            compare_rows(name, logits, expected.next_sentence.as_ref().unwrap());
        }
    }
}

#[test]
fn sequence_heads() {
    for (name, labels) in [
        ("bert_sequence", 3),
        ("roberta_sequence", 4),
        ("megatron_sequence", 3),
    ] {
        let (dir, config, expected) = open(name);
        let options = LoadOptions::default();
        let mut model =
            BertForSequenceClassification::new(&config, labels, &options.device).unwrap();
        clinical_weights::load(&mut model, &dir, &options).unwrap();
        compare_encoder(&model.bert, &expected);
        let logits = model.forward(&expected.rows()).unwrap();
        compare_rows(name, logits, expected.logits.as_ref().unwrap());
    }
}

#[test]
fn token_and_span_heads() {
    let options = LoadOptions::default();
    for name in ["bert_token", "roberta_token", "megatron_token"] {
        let (dir, config, expected) = open(name);
        let mut model = BertForTokenClassification::new(&config, 5, &options.device).unwrap();
        clinical_weights::load(&mut model, &dir, &options).unwrap();
        compare_encoder(&model.bert, &expected);
        let logits = model.forward(&expected.rows()).unwrap();
        compare(name, logits, expected.logits.as_ref().unwrap());
    }
    for name in ["bert_span", "roberta_span", "megatron_span"] {
        let (dir, config, expected) = open(name);
        let mut model = BertForQuestionAnswering::new(&config, &options.device).unwrap();
        clinical_weights::load(&mut model, &dir, &options).unwrap();
        compare_encoder(&model.bert, &expected);
        let logits = model.forward(&expected.rows()).unwrap();
        compare(name, logits, expected.logits.as_ref().unwrap());
    }
}

/// Files from before 2019 call the norms' values `gamma` and `beta` and carry a position buffer; an encoder may stand
/// alone, with a prefix (every fixture with a head) or without one.
#[test]
fn encoders_alone() {
    let options = LoadOptions::default();
    for (name, pooler) in [
        ("bert_old", true),
        ("bert_old", false),
        ("bert_pretraining", true),
        ("roberta_sequence", false),
        ("megatron_masked", false),
    ] {
        let (dir, config, expected) = open(name);
        let mut model = Bert::new(&config, pooler, &options.device).unwrap();
        clinical_weights::load(&mut model, &dir, &options).unwrap();
        compare_encoder(&model, &expected);
    }
}

#[test]
fn bad_rows_are_errors() {
    let (_, config, _) = open("bert_old");
    let model = Bert::new(&config, true, &LoadOptions::default().device).unwrap();
    let long = vec![5u32; config.max_tokens() + 1];
    for rows in [
        vec![],
        vec![Row::from(&[][..])],
        vec![Row::from(&[67][..])],
        vec![Row::from(long.as_slice())],
        vec![Row {
            ids: &[2, 3],
            types: &[0, 2],
        }],
        vec![Row {
            ids: &[2],
            types: &[0, 0],
        }],
    ] {
        assert!(model.forward(&rows).is_err());
    }
    assert!(model.forward(&[Row::from(&long[1..])]).is_ok());
}
