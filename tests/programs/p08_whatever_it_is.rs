//! Opens whatever a directory holds, and does with it what it is for.

use std::error::Error;

use asclepius::Generation;
use clinical_open::{AnyModel, LoadOptions, open};

fn run(dir: &str, text: &str) -> Result<String, Box<dyn Error>> {
    Ok(match open(dir, &LoadOptions::default())? {
        AnyModel::Asclepius(model) => model.answer(text, "What is the diagnosis?")?.text,
        AnyModel::T5(t5) => t5.generate(text, &Generation::greedy())?.text,
        AnyModel::Bert(bert) => {
            let vector = bert.embed(&[text], None).swap_remove(0)?;
            format!("{} numbers", vector.len())
        }
        other => format!("no use for {}", other.facade()),
    })
}

#[test]
fn whatever_it_is() {
    let root = env!("CARGO_MANIFEST_DIR");
    let run = |dir: &str, text| run(&format!("{root}/{dir}"), text);
    let note = "Discharge Diagnosis: pneumonia\nDisposition: home";
    assert!(!run("crates/asclepius/demo", note).unwrap().is_empty());
    let gguf = "crates/asclepius/tests/data/gguf/byte_level.gguf";
    assert!(run(gguf, "He has a cough.").is_ok());
    let expanded = run("crates/clinical-t5/demo", "expand: CHF").unwrap();
    assert!(expanded.contains("heart"), "{expanded}");
    let vector = run("crates/clinical-bert/tests/data/bert_token", note).unwrap();
    assert!(
        vector.ends_with(" numbers") && vector != "0 numbers",
        "{vector}"
    );
    assert!(run("docs", note).is_err());
}
