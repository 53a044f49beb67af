//! A T5 that is fine-tuned with a plain loop, asked and saved, without going through disk in between.

use clinical_t5::burn::module::Module;
use clinical_t5::burn::optim::{AdamConfig, GradientsParams};
use clinical_t5::{ClinicalT5, Generation, LoadOptions, Result, SaveOptions, Seq2SeqBatch};

fn fine_tuned(t5: ClinicalT5, pairs: &[(&str, &str)], steps: usize) -> Result<ClinicalT5> {
    let mut parts = t5.into_parts();
    let ids = |text: &str| Ok(parts.tokenizer.encode(text, true)?.into_ids());
    let inputs = pairs
        .iter()
        .map(|pair| ids(pair.0))
        .collect::<Result<Vec<_>>>()?;
    let targets = pairs
        .iter()
        .map(|pair| ids(pair.1))
        .collect::<Result<Vec<_>>>()?;
    let [inputs, targets] =
        [&inputs, &targets].map(|rows| rows.iter().map(Vec::as_slice).collect::<Vec<&[u32]>>());
    let mut model = parts.model.train();
    let pad = parts.config.pad_token_id;
    let batch = Seq2SeqBatch::from_rows(&inputs, &targets, pad, &model.device());
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..steps {
        let loss = model.loss(&batch)?.mean;
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
    }
    parts.model = model.valid();
    Ok(ClinicalT5::from_parts(parts))
}

#[test]
fn fine_tune() {
    let t5 = ClinicalT5::embedded().unwrap();
    let pairs = [("expand: QQQ", "chest pain"), ("expand: CHF", "fever")];
    let loss = |t5: &ClinicalT5| t5.loss(pairs[0].0, pairs[0].1).unwrap();
    let before = loss(&t5);
    let t5 = fine_tuned(t5, &pairs, 30).unwrap();
    assert!(loss(&t5) < 0.5 * before, "{before} to {}", loss(&t5));
    assert!(!t5.device().is_autodiff());
    for (input, target) in pairs {
        assert_eq!(t5.generate(input, &Generation::greedy()).unwrap(), target);
    }
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("mine");
    t5.save(&saved, &SaveOptions::new()).unwrap();
    let again = ClinicalT5::load(&saved, &LoadOptions::default()).unwrap();
    assert_eq!(loss(&again), loss(&t5));
}
