//! The demonstration LLaMA on notes that it was not trained on.

#[path = "files/own_words.rs"]
mod own_words;

use asclepius::{AnswerOptions, Asclepius};
use clinical_synth::Generator;

/// A part of what `accuracy` measures: `docs/demo-models.md` has the whole figure.
#[test]
fn the_demonstration_model_answers() {
    let model = Asclepius::embedded().unwrap();
    let cases: Vec<_> = Generator::held_out(7).with_pairs(1).take(120).collect();
    let asked: Vec<(&str, &str)> = cases
        .iter()
        .map(|case| (case.note.as_str(), case.pairs[0].question.as_str()))
        .collect();
    let options = AnswerOptions::new().with_max_new_tokens(96);
    let answers = model.answer_batch(&asked, &options).into_iter();
    let right = answers
        .zip(&cases)
        .filter(|(answer, case)| answer.as_ref().unwrap().text == case.pairs[0].answer)
        .count();
    println!("{right} of 120");
    assert!(right >= 113, "{right}");
}

/// Questions that no template has.
#[test]
fn what_the_note_does_not_tell_is_not_mentioned() {
    let model = Asclepius::embedded().unwrap();
    let counts = own_words::ask(&model, |ask, answer| println!("{ask} -> {answer}")).unwrap();
    let (right, asked) = counts.unanswered;
    println!("not answered by the note: {right} of {asked}");
    println!("answered by the note: {:?}", counts.answered);
    assert_eq!(asked, 60);
    assert!(right >= 54, "{right}");
}

/// None of them is a question of the generator, however it words it.
#[test]
fn own_words_are_nobody_elses() {
    let text = include_str!("data/own_words.json");
    let varied = Generator::new(1).with_pairs(60).with_variety(30).take(500);
    for case in varied {
        for pair in case.pairs {
            let ask = serde_json::to_string(&pair.question).unwrap();
            assert!(!text.contains(&ask), "{ask}");
        }
    }
}
