//! An answer with the words marked that the model was unsure of.

use asclepius::{Asclepius, Result};

fn marked(model: &Asclepius, note: &str, question: &str, least: f64) -> Result<String> {
    let answer = model.answer(note, question)?;
    let mut text = answer.text.clone();
    for word in answer.words().into_iter().rev() {
        if word.probability() < least {
            text.insert(word.range.end, '?');
        }
    }
    Ok(text)
}

#[test]
fn unsure_words() {
    let model = Asclepius::embedded().unwrap();
    let note = include_str!("../../examples/data/note.txt");
    let question = "What is the discharge diagnosis?";
    let text = model.answer(note, question).unwrap().text;
    assert_eq!(marked(&model, note, question, 0.0).unwrap(), text);
    let all = marked(&model, note, question, 1.1).unwrap();
    assert_eq!(all, text.replace(' ', "? ") + "?");
    // Where the note says nothing the model is less sure than where it does.
    let sure = marked(&model, note, question, 0.9).unwrap();
    let unsure = marked(&model, "Service: NEUROLOGY", question, 0.9).unwrap();
    assert!(
        sure.matches('?').count() < unsure.matches('?').count(),
        "{sure} {unsure}"
    );
}
