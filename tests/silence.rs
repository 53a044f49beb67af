//! Whether to show an answer: the demonstration model's scores on questions that notes answer and do not answer.

use asclepius::{AnswerOptions, Asclepius, Calibration, CalibrationOptions, LabelledAnswer};
use clinical_synth::Generator;

/// A question, as the model answered it.
struct Asked {
    answerable: bool,
    score: f64,
    labelled: LabelledAnswer,
}

fn asked(seed: u64, notes: usize) -> Vec<Asked> {
    let model = Asclepius::embedded().unwrap();
    let options = AnswerOptions::new().with_max_new_tokens(96);
    let mut found = Vec::new();
    for case in Generator::held_out(seed)
        .with_pairs(6)
        .with_variety(4)
        .take(notes)
    {
        let questions: Vec<(&str, &str)> = case
            .pairs
            .iter()
            .map(|pair| (case.note.as_str(), pair.question.as_str()))
            .collect();
        for (pair, answer) in case
            .pairs
            .iter()
            .zip(model.answer_batch(&questions, &options))
        {
            let text = answer.unwrap().text;
            let support = model
                .support(&case.note, &pair.question, &text, &options)
                .unwrap();
            let refuses = options.is_no_answer(&text);
            let score = support.score();
            assert!(score.is_finite());
            found.push(Asked {
                answerable: pair.answer != clinical_synth::NOT_MENTIONED,
                score,
                labelled: LabelledAnswer {
                    score: if refuses { f64::NEG_INFINITY } else { score },
                    right: text == pair.answer,
                },
            });
        }
    }
    found
}

/// The probability that an answerable question has a higher score than one that the note does not answer.
fn auroc(asked: &[Asked]) -> f64 {
    let of = |answerable| asked.iter().filter(move |one| one.answerable == answerable);
    let (mut higher, mut pairs) = (0.0, 0.0);
    for yes in of(true) {
        for no in of(false) {
            pairs += 1.0;
            higher += f64::from(u8::from(yes.score > no.score))
                + 0.5 * f64::from(u8::from(yes.score == no.score));
        }
    }
    higher / pairs
}

#[test]
fn the_score_tells_what_the_note_does_not_say() {
    let asked = asked(41, 40);
    let unanswerable = asked.iter().filter(|one| !one.answerable).count();
    assert!(unanswerable > 50);
    let area = auroc(&asked);
    let labelled: Vec<LabelledAnswer> = asked.iter().map(|one| one.labelled).collect();
    let options = CalibrationOptions::new().with_target_risk(0.1);
    let found = Calibration::choose(&labelled, &options, "the demonstration model").unwrap();
    println!(
        "{} questions, {unanswerable} that the note does not answer: AUROC {area:.3}; {} answers wrong; shown at a risk \
         of 10 %: {:.1} %, threshold {:?}",
        asked.len(),
        found.wrong,
        100.0 * found.coverage,
        found.threshold
    );
    for point in &found.curve {
        println!(
            "coverage {:.3} risk {:.3} threshold {:.2}",
            point.coverage, point.risk, point.threshold
        );
    }
    assert!(area >= 0.9, "{area}");
    assert!(found.coverage > 0.3);
}
