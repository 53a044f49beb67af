//! A classifier on a pretrained BERT: a new head, a plain loop of optimizer steps, and then classes of texts.

use std::path::Path;

use clinical_bert::burn::module::Module;
use clinical_bert::burn::optim::{AdamConfig, GradientsParams};
use clinical_bert::{BertModel, BertOptions, ClinicalBert, LoadOptions, Targets, TaskHead};

fn classifier(dir: &Path, texts: &[&str], classes: &[i64]) -> clinical_bert::Result<ClinicalBert> {
    let new = BertOptions::new().with_new_head(TaskHead::Sequence);
    let new = new.with_labels(["no pain", "pain"]);
    let bert = ClinicalBert::load_with(dir, &LoadOptions::new(), &new)?;
    let rows = texts.iter().map(|text| bert.encode(text));
    let rows = rows.collect::<clinical_bert::Result<Vec<_>>>()?;
    let rows: Vec<_> = rows.iter().map(|row| row.row()).collect();
    let mut parts = bert.into_parts();
    if let BertModel::Sequence(model) = parts.model {
        let (mut model, mut optimizer) = (model.train(), AdamConfig::new().init());
        for _ in 0..30 {
            let loss = model.loss(&rows, Targets::Classes(classes))?.mean;
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(1e-2, model, gradients);
        }
        parts.model = BertModel::Sequence(model.valid());
    }
    ClinicalBert::from_parts(parts)
}

#[test]
fn bert_classifier() {
    let dir = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/clinical-bert/tests/data/bert_pretraining"
    );
    let texts = ["The fever, no pain", "pain in the arm", "the ct. no pain"];
    let bert = classifier(Path::new(dir), &texts, &[0, 1, 0]).unwrap();
    let found: Vec<_> = bert
        .classify(&texts)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let labels: Vec<&str> = found.iter().map(|one| one.best().label.as_str()).collect();
    assert_eq!(labels, ["no pain", "pain", "no pain"]);
}
