//! One question about many notes, some of which are too long: every note has its line, and those that were refused say
//! why.

use asclepius::{AnswerOptions, Asclepius, Error};

fn ask_all(
    model: &Asclepius,
    notes: &[String],
    question: &str,
    progress: impl Fn(usize) + Send + Sync + 'static,
) -> Vec<String> {
    let asked: Vec<(&str, &str)> = notes.iter().map(|note| (&note[..], question)).collect();
    let options = AnswerOptions::new()
        .with_max_new_tokens(32)
        .with_batch(4)
        .with_progress(move |now| progress(now.done));
    let answers = model.answer_batch(&asked, &options).into_iter().zip(notes);
    answers
        .map(|(answer, note)| match answer {
            Ok(answer) => answer.text,
            Err(Error::TooLong(_)) => {
                let tokens = model.prompt_tokens(note, question, &options);
                format!(
                    "skipped: {} tokens of {}",
                    tokens.unwrap_or(0),
                    model.max_tokens()
                )
            }
            Err(error) => format!("failed: {error}"),
        })
        .collect()
}

#[test]
fn many_notes() {
    let model = Asclepius::embedded().unwrap();
    let cases = clinical_synth::Generator::held_out(3).take(6);
    let mut notes: Vec<String> = cases.map(|case| case.note).collect();
    notes.insert(2, notes.concat().repeat(3));
    notes.insert(5, String::new());
    let question = "What is the discharge diagnosis?";
    let lines = ask_all(&model, &notes, question, |done| assert!(done <= 8));
    for (line, note) in lines.iter().zip(&notes) {
        match model.answer(note, question) {
            Ok(answer) => assert_eq!(*line, answer.text),
            Err(_) => assert!(line.starts_with("skipped: ") || line.starts_with("failed: ")),
        }
    }
    assert!(
        lines[2].starts_with("skipped: ") && lines[2].ends_with(" of 2048"),
        "{}",
        lines[2]
    );
    assert!(
        lines[5].starts_with("failed: there is nothing of the note"),
        "{}",
        lines[5]
    );
}
