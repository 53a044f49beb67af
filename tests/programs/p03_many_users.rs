//! Several users at once, each with a note of their own that is read once, and with answers as they are written.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::spawn;

use asclepius::{AnswerOptions, Asclepius, Result};

/// Starts a user's session on a thread of its own: questions go in, pieces of answers come out.
fn open(model: &Arc<Asclepius>, note: String) -> (Sender<String>, Receiver<String>) {
    let ((ask, questions), (send, pieces)) = (channel::<String>(), channel());
    let model = Arc::clone(model);
    spawn(move || -> Result<()> {
        let mut session = model.session(&note, &AnswerOptions::new())?;
        for question in questions {
            session.ask_streaming(&question, |piece| match send.send(piece.to_owned()) {
                Ok(()) => ControlFlow::Continue(()),
                // Nobody reads any more.
                Err(_) => ControlFlow::Break(()),
            })?;
        }
        Ok(())
    });
    (ask, pieces)
}

#[test]
fn many_users() {
    let model = Arc::new(Asclepius::embedded().unwrap());
    let cases: Vec<_> = clinical_synth::Generator::held_out(4).take(4).collect();
    let users: Vec<_> = cases
        .iter()
        .map(|case| {
            let (ask, pieces) = open(&model, case.note.clone());
            for pair in &case.pairs[..2] {
                ask.send(pair.question.clone()).unwrap();
            }
            pieces
        })
        .collect();
    for (case, pieces) in cases.iter().zip(users) {
        let text: String = pieces.iter().collect();
        let alone = case.pairs[..2]
            .iter()
            .map(|pair| model.answer(&case.note, &pair.question).unwrap().text);
        assert_eq!(text, alone.collect::<String>());
    }
    // A note that cannot be read ends its session, and no other.
    let (ask, pieces) = open(&model, String::new());
    assert_eq!(pieces.iter().count(), 0);
    assert!(ask.send("Why?".to_owned()).is_err());
}
