//! The demonstration models answer as on the CPU.

use anyhow::Result;
use asclepius::{AnswerOptions, Asclepius};
use burn::tensor::Device;
use clinical_generate::Generation;
use clinical_synth::Generator;
use clinical_t5::ClinicalT5;
use clinical_weights::LoadOptions;

use crate::check::Checks;

const QUESTIONS: usize = 40;

const INPUTS: [&str; 4] = [
    "expand: CHF",
    "expand: SOB",
    "mednli premise: He has no pain. hypothesis: He is in pain.",
    "The patient was <extra_id_0> home in stable condition.",
];

pub fn run(checks: &mut Checks) -> Result<()> {
    let device = checks.device.clone();
    let (found, expected) = (answers(&device)?, answers(&clinical_kernels::cpu())?);
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        checks.same(
            &format!("demonstration LLaMA, answer {index}"),
            found,
            expected,
        );
    }
    let (found, expected) = (outputs(&device)?, outputs(&clinical_kernels::cpu())?);
    for ((input, found), expected) in INPUTS.iter().zip(&found).zip(&expected) {
        checks.same(&format!("demonstration T5, {input}"), found, expected);
    }
    Ok(())
}

fn answers(device: &Device) -> Result<Vec<String>> {
    let model = Asclepius::embedded_with(&LoadOptions::new().with_device(device.clone()))?;
    let cases: Vec<(String, String)> = Generator::held_out(7)
        .with_pairs(4)
        .flat_map(|case| {
            let note = case.note;
            let pairs = case.pairs.into_iter();
            pairs.map(move |pair| (note.clone(), pair.question))
        })
        .take(QUESTIONS)
        .collect();
    let asked: Vec<(&str, &str)> = cases
        .iter()
        .map(|(note, question)| (note.as_str(), question.as_str()))
        .collect();
    let options = AnswerOptions::new().with_max_new_tokens(64).with_batch(16);
    let answers = model.answer_batch(&asked, &options).into_iter();
    answers.map(|answer| Ok(answer?.text)).collect()
}

fn outputs(device: &Device) -> Result<Vec<String>> {
    let model = ClinicalT5::embedded_with(&LoadOptions::new().with_device(device.clone()))?;
    let options = Generation::greedy().with_max_new_tokens(32);
    INPUTS
        .iter()
        .map(|input| Ok(model.generate(input, &options)?.text))
        .collect()
}
