//! Answers of the demonstration models where tokens are chosen from short lists, as on a GPU, and from all logits, as
//! on a CPU.

use asclepius::{AnswerOptions, Asclepius};
use clinical_generate::Generation;
use clinical_synth::Generator;
use clinical_t5::{ClinicalT5, T5Options};

fn ways() -> [Generation; 6] {
    let short = |options: Generation| options.with_max_new_tokens(24).with_log_probs(true);
    [
        short(Generation::greedy()).with_log_probs(false),
        short(Generation::greedy()).with_no_repeat_ngram(3),
        short(Generation::sample()).with_seed(11),
        short(Generation::sample()).with_top_p(0.9).with_top_k(8),
        short(Generation::beam(3)),
        short(Generation::beam(2)).with_sampling(true).with_seed(5),
    ]
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
    }
}

#[test]
fn of_a_decoder() {
    let model = Asclepius::embedded().unwrap();
    let cases: Vec<_> = Generator::held_out(5).take(3).collect();
    let asked: Vec<(&str, &str)> = cases
        .iter()
        .flat_map(|case| {
            let note = case.note.as_str();
            let pairs = case.pairs.iter().take(2);
            pairs.map(move |pair| (note, pair.question.as_str()))
        })
        .collect();
    for way in ways() {
        let [found, expected] = [true, false].map(|shortlist| {
            let options =
                AnswerOptions::new().with_generation(way.clone().with_shortlist(shortlist));
            let answers = model.answer_batch(&asked, &options).into_iter();
            answers.map(Result::unwrap).collect::<Vec<_>>()
        });
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.text, expected.text, "{way:?}");
            assert!(!expected.text.is_empty());
        }
    }
}

#[test]
fn of_an_encoder_decoder() {
    let model = ClinicalT5::embedded().unwrap();
    let inputs = [
        "expand: CHF",
        "The patient was <extra_id_0> home in stable condition.",
    ];
    for way in ways() {
        let [found, expected] = [true, false].map(|shortlist| {
            let generation = way.clone().with_shortlist(shortlist);
            let options = T5Options::new().with_generation(generation);
            let outputs = model.generate_batch(&inputs, &options);
            outputs.into_iter().map(Result::unwrap).collect::<Vec<_>>()
        });
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.text, expected.text, "{way:?}");
            assert_near(&found.log_probs, &expected.log_probs);
        }
    }
}
