//! Questions that no template has, about six generated notes: `tests/data/own_words.json`.

use asclepius::{AnswerOptions, Asclepius};
use clinical_synth::{Generator, NOT_MENTIONED};
use serde::Deserialize;

#[derive(Deserialize)]
struct OwnWords {
    notes: Vec<About>,
}

/// Questions about one note.
#[derive(Deserialize)]
struct About {
    unanswered: Vec<String>,
    answered: Vec<(String, String)>,
}

/// Right answers and questions, for those that a note does not answer and for those that it does.
pub struct Counts {
    pub unanswered: (usize, usize),
    pub answered: (usize, usize),
}

/// Asks all of them; `wrong` gets each question with a wrong answer, and that.
pub fn ask(model: &Asclepius, mut wrong: impl FnMut(&str, &str)) -> asclepius::Result<Counts> {
    let words: OwnWords = serde_json::from_str(include_str!("../data/own_words.json"))
        .expect("the file belongs to the program");
    let mut counts = Counts {
        unanswered: (0, 0),
        answered: (0, 0),
    };
    let options = AnswerOptions::new().with_max_new_tokens(96);
    for (case, about) in Generator::held_out(606).zip(&words.notes) {
        let unanswered = about.unanswered.iter().map(|ask| (ask, NOT_MENTIONED));
        let answered = about
            .answered
            .iter()
            .map(|(ask, answer)| (ask, answer.as_str()));
        let asked: Vec<(&String, &str)> = unanswered.chain(answered).collect();
        let pairs: Vec<(&str, &str)> = asked
            .iter()
            .map(|(ask, _)| (case.note.as_str(), ask.as_str()))
            .collect();
        for (answer, (ask, wanted)) in model.answer_batch(&pairs, &options).into_iter().zip(asked) {
            let answer = answer?.text;
            let (right, all) = match wanted == NOT_MENTIONED {
                true => &mut counts.unanswered,
                false => &mut counts.answered,
            };
            *right += usize::from(answer == wanted);
            *all += 1;
            if answer != wanted {
                wrong(ask, &answer);
            }
        }
    }
    Ok(counts)
}
