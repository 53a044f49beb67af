//! Whether to show an answer: the demonstration model's scores on questions that notes answer and do not answer.

use std::ops::ControlFlow;
use std::sync::Arc;

use asclepius::{
    AnswerEngine, AnswerOptions, Asclepius, Calibration, CalibrationOptions, EngineOptions,
    LabelledAnswer, LongText, StopReason,
};
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

/// A calibration that shows every answer with a score above `score`.
fn calibration(score: f64) -> Arc<Calibration> {
    let labelled = [LabelledAnswer { score, right: true }; 200];
    let options = CalibrationOptions::new();
    Arc::new(Calibration::choose(&labelled, &options, "the demonstration model").unwrap())
}

const NOTE: &str = "Service: MEDICINE\nAllergies: latex\nDischarge Diagnosis: pneumonia";
const QUESTION: &str = "What is the discharge diagnosis?";

#[test]
fn every_way_of_asking_says_whether_an_answer_is_shown() {
    let model = Arc::new(Asclepius::embedded().unwrap());
    let plain = model.answer(NOTE, QUESTION).unwrap();
    assert_eq!((plain.support, plain.shown), (None, None));
    let expected = model
        .support(NOTE, QUESTION, &plain.text, &AnswerOptions::new())
        .unwrap();
    for (score, shown) in [(-1e6, true), (1e6, false)] {
        let options = AnswerOptions::new().with_calibration(calibration(score));
        let mut pieces = String::new();
        let streamed = model.answer_streaming(NOTE, QUESTION, &options, |piece| {
            pieces.push_str(piece);
            ControlFlow::Continue(())
        });
        assert_eq!(pieces, if shown { plain.text.as_str() } else { "" });
        let mut session = model.session(NOTE, &options).unwrap();
        let engine = AnswerEngine::new(Arc::clone(&model), EngineOptions::new(), 16 << 20).unwrap();
        let batch = model.answer_batch(&[(NOTE, QUESTION), (NOTE, QUESTION)], &options);
        let answers = batch.into_iter().chain([
            streamed,
            session.ask(QUESTION),
            engine.answer_with(NOTE, QUESTION, &options),
        ]);
        for answer in answers {
            let answer = answer.unwrap();
            assert_eq!(answer.text, plain.text);
            assert_eq!(answer.shown, Some(shown));
            let support = answer.support.unwrap();
            assert!((support.score() - expected.score()).abs() < 1e-3);
            assert!((support.gain() - expected.gain()).abs() < 1e-3);
        }
    }
}

#[test]
fn what_a_calibration_knows_nothing_of() {
    let model = Asclepius::embedded().unwrap();
    let all = AnswerOptions::new().with_calibration(calibration(-1e6));
    // Put together from windows.
    let note = format!(
        "{}\n{NOTE}",
        "Pertinent Results: Na 140; K 4.1\n".repeat(60)
    );
    let windows = all
        .clone()
        .with_long_text(LongText::Windows { overlap: 16 })
        .with_max_tokens(400);
    let answer = model.answer_with(&note, QUESTION, &windows).unwrap();
    assert!(answer.windows.len() > 1);
    assert_eq!((answer.shown, answer.support), (Some(false), None));
    // A cut note is read at once.
    let cut = windows.with_long_text(LongText::CutStart);
    let answer = model.answer_with(&note, QUESTION, &cut).unwrap();
    assert_eq!(answer.shown, Some(true));
    assert!(answer.support.is_some());
    // An answer that says that the note does not tell is shown, whatever the threshold.
    let none = AnswerOptions::new().with_calibration(calibration(1e6));
    let answer = model.answer_with("Service: MEDICINE", "What was the potassium?", &none);
    let answer = answer.unwrap();
    assert!(none.is_no_answer(&answer.text), "{answer}");
    assert_eq!((answer.shown, answer.support), (Some(true), None));
    // A text without a question.
    let short = none.clone().with_max_new_tokens(4);
    let more = model.complete("Discharge Diagnosis:", &short).unwrap();
    assert_eq!((more.shown, more.support), (None, None));
    // Whoever stops at the first piece, which is empty, ends the answer.
    let mut pieces = 0;
    let stopped = model.answer_streaming(NOTE, QUESTION, &all, |piece| {
        pieces += 1;
        assert_eq!(piece, "");
        ControlFlow::Break(())
    });
    let stopped = stopped.unwrap();
    assert_eq!((pieces, stopped.stop), (1, StopReason::Cancelled));
    assert_eq!((stopped.shown, stopped.support), (Some(false), None));
}
