//! The BERT, RoBERTa and Megatron fixtures (`scripts/bert_reference.py`).

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Tensor;
use clinical_bert::{
    Bert, BertConfig, BertForPretraining, BertForQuestionAnswering, BertForSequenceClassification,
    BertForTokenClassification, Row,
};
use clinical_weights::{FromCheckpoint, LoadOptions};
use serde::Deserialize;

use crate::check::{Checks, Values, read_json, values};

const FOLDER: &str = "crates/clinical-bert/tests/data";

#[derive(Deserialize)]
struct Expected {
    rows: Vec<Vec<u32>>,
    types: Vec<Vec<u32>>,
    hidden_states: Vec<Vec<Vec<f32>>>,
    #[serde(default)]
    logits: Option<Vec<Vec<f32>>>,
}

/// What stands on top of the encoder, with its number of labels.
#[derive(Clone, Copy)]
enum Head {
    None,
    Masked,
    Sequence(usize),
    Token(usize),
    Span,
}

pub fn run(checks: &mut Checks) -> Result<()> {
    for (variant, head) in [
        ("bert_old", Head::None),
        ("bert_pretraining", Head::Masked),
        ("roberta_masked", Head::Masked),
        ("megatron_masked", Head::Masked),
        ("bert_sequence", Head::Sequence(3)),
        ("roberta_sequence", Head::Sequence(4)),
        ("bert_token", Head::Token(5)),
        ("bert_span", Head::Span),
    ] {
        let dir = checks.path(FOLDER).join(variant);
        let expected: Expected = read_json(&dir.join("expected.json"))?;
        let mut wanted = Values::new();
        let last = expected.hidden_states.last();
        let last = last.with_context(|| format!("{variant} has no hidden states"))?;
        wanted.insert("states".to_owned(), last.concat());
        if !matches!(head, Head::None) {
            let logits = expected.logits.as_ref();
            let logits = logits.with_context(|| format!("{variant} has no logits"))?;
            wanted.insert("logits".to_owned(), logits.concat());
        }
        checks.model(&format!("bert {variant}"), &wanted, |options| {
            found(&dir, head, &expected, options)
        })?;
    }
    Ok(())
}

fn found(dir: &Path, head: Head, expected: &Expected, options: &LoadOptions) -> Result<Values> {
    let config = BertConfig::from_file(dir.join("config.json"))?;
    let rows = expected.rows.iter().zip(&expected.types);
    let rows: Vec<Row> = rows.map(|(ids, types)| Row { ids, types }).collect();
    let device = &options.device;
    let (states, logits) = match head {
        Head::None => {
            let bert = load(Bert::new(&config, true, device)?, dir, options)?;
            (bert.forward(&rows)?, None)
        }
        Head::Masked => {
            let model = load(
                BertForPretraining::new(&config, false, device)?,
                dir,
                options,
            )?;
            (model.bert.forward(&rows)?, Some(model.forward(&rows)?))
        }
        Head::Sequence(labels) => {
            let model = BertForSequenceClassification::new(&config, labels, device)?;
            let model = load(model, dir, options)?;
            let logits = model.forward(&rows)?;
            (model.bert.forward(&rows)?, Some(logits.unsqueeze_dim(1)))
        }
        Head::Token(labels) => {
            let model = BertForTokenClassification::new(&config, labels, device)?;
            let model = load(model, dir, options)?;
            (model.bert.forward(&rows)?, Some(model.forward(&rows)?))
        }
        Head::Span => {
            let model = load(
                BertForQuestionAnswering::new(&config, device)?,
                dir,
                options,
            )?;
            (model.bert.forward(&rows)?, Some(model.forward(&rows)?))
        }
    };
    let mut found = Values::from([("states".to_owned(), real(states, &rows))]);
    if let Some(logits) = logits {
        found.insert("logits".to_owned(), real(logits, &rows));
    }
    Ok(found)
}

fn load<M: FromCheckpoint>(mut model: M, dir: &Path, options: &LoadOptions) -> Result<M> {
    clinical_weights::load(&mut model, dir, options)?;
    Ok(model)
}

/// The values `[batch, length, width]` without those of the padding; one position a row stays as it is.
fn real(tensor: Tensor<3>, rows: &[Row]) -> Vec<f32> {
    let [_, length, width] = tensor.dims();
    let values = values(tensor);
    let rows = values.chunks(length * width).zip(rows);
    rows.flat_map(|(values, row)| &values[..row.ids.len().min(length) * width])
        .copied()
        .collect()
}
