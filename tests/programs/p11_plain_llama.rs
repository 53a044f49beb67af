//! A plain LLaMA continues a text, in five lines.

use asclepius::{AnswerOptions, Asclepius, LoadOptions, Result};

fn go_on(dir: &str, text: &str) -> Result<String> {
    let model = Asclepius::load(dir, &LoadOptions::default())?;
    let options = AnswerOptions::new().with_max_new_tokens(12);
    let more = model.complete(text, &options)?;
    Ok(format!("{text}{more}"))
}

#[test]
fn a_plain_llama() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/asclepius/demo");
    let text = "Discharge Diagnosis: ischemic";
    let more = go_on(dir, text).unwrap();
    assert!(more.starts_with(text) && more.len() > text.len(), "{more}");
}
