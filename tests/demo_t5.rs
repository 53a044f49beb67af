//! The demonstration T5 on examples that it was not trained on.

use clinical_synth::Generator;
use clinical_t5::{ClinicalT5, T5Options};

/// A text without its sentinels, which outputs do not show.
fn words(text: &str) -> Vec<&str> {
    let words = text.split_whitespace();
    words
        .filter(|word| !word.starts_with("<extra_id_"))
        .collect()
}

/// A part of what `accuracy_t5` measures: `docs/demo-models.md` has the whole figure.
#[test]
fn the_demonstration_model_does_its_tasks() {
    let model = ClinicalT5::embedded().unwrap();
    let examples: Vec<_> = Generator::held_out(7).t5().take(200).collect();
    let inputs: Vec<&str> = examples.iter().map(|one| one.input.as_str()).collect();
    let outputs = model.generate_batch(&inputs, &T5Options::default());
    let right = outputs
        .into_iter()
        .zip(&examples)
        .filter(|(output, one)| words(&output.as_ref().unwrap().text) == words(&one.target))
        .count();
    println!("{right} of 200");
    assert!(right >= 165, "{right}");
}
