//! One note, many questions: a session gives the answers of `answer`, for the price of reading the note once.

use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use asclepius::{
    Answer, AnswerOptions, Asclepius, Combine, Error, Generation, LongText, Session, StopReason,
};
use clinical_generate::{EndTokens, Step, generate};
use clinical_prompts::asclepius::Template;
use clinical_synth::Generator;

static MODEL: LazyLock<Arc<Asclepius>> = LazyLock::new(|| Arc::new(Asclepius::embedded().unwrap()));

fn session(note: &str) -> Session {
    MODEL.session(note, &AnswerOptions::default()).unwrap()
}

fn all(answers: Vec<asclepius::Result<Answer>>) -> Vec<Answer> {
    answers.into_iter().map(Result::unwrap).collect()
}

fn cases(count: usize) -> Vec<clinical_synth::Case> {
    Generator::held_out(23).take(count).collect()
}

#[test]
fn the_answers_are_those_of_answer() {
    for case in cases(6) {
        let mut session = session(&case.note);
        let kept = session.kept_tokens();
        let questions: Vec<&str> = case.pairs.iter().map(|p| p.question.as_str()).collect();
        let together = all(session.ask_batch(&questions));
        for (question, batched) in questions.iter().zip(&together) {
            let expected = MODEL.answer(&case.note, question).unwrap();
            let got = session.ask(question).unwrap();
            for answer in [&got, batched] {
                assert_eq!(answer.text, expected.text, "{question}");
                assert_eq!(
                    (answer.stop, &answer.windows),
                    (expected.stop, &expected.windows)
                );
                assert_eq!(answer.usage.prompt_tokens, expected.usage.prompt_tokens);
                assert_eq!(answer.usage.new_tokens, expected.usage.new_tokens);
                assert!((answer.log_prob - expected.log_prob).abs() < 1e-3);
                // The note is read once, and only the question is read again.
                assert_eq!(answer.usage.reused_tokens, kept);
                assert!(answer.usage.prompt_tokens - kept < 60);
            }
            // The prompt prefix alone.
            assert!((16..kept).contains(&expected.usage.reused_tokens));
        }
        assert_eq!(session.kept_tokens(), kept);
        assert_eq!(session.note(), case.note);
    }
}

/// Notes that start with what a tokenizer may join with the text before.
#[test]
fn the_prompt_prefix_changes_nothing() {
    let end = EndTokens::new(MODEL.end_ids().iter().copied());
    let options = Generation::greedy()
        .with_max_new_tokens(40)
        .with_log_probs(true);
    let cases = cases(3);
    let pairs: Vec<(String, &str)> = ["", " ", "\n\n", "'s ", "é", "7", "a", "]", "-- "]
        .iter()
        .zip(cases.iter().cycle())
        .map(|(start, case)| {
            let question = case.pairs[0].question.as_str();
            (format!("{start}{}", case.note), question)
        })
        .chain([("0".to_owned(), "Why?"), ("A".to_owned(), "A")])
        .collect();
    let asked: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(note, question)| (&note[..], *question))
        .collect();
    let short = AnswerOptions::new().with_max_new_tokens(40);
    let together = all(MODEL.answer_batch(&asked, &short));
    for ((note, question), batched) in asked.iter().zip(&together) {
        let prompt = Template::Inference.render(note, question, &Default::default());
        let prompt = MODEL
            .tokenizer()
            .encode(&prompt.unwrap(), true)
            .unwrap()
            .into_ids();
        let silent = |_: Step<'_>| ControlFlow::Continue(());
        let whole = generate(MODEL.model(), &[&prompt], &end, &options, silent).unwrap();
        let text = MODEL.tokenizer().decode(whole[0].content(), true).unwrap();
        let alone = MODEL.answer_with(note, question, &short).unwrap();
        for answer in [&alone, batched] {
            assert_eq!(answer.text, text.trim(), "{note}");
            assert_eq!(answer.usage.prompt_tokens, prompt.len());
            assert_eq!(answer.usage.new_tokens, whole[0].ids.len());
            assert!((answer.log_prob - whole[0].log_prob().unwrap()).abs() < 1e-4);
        }
        assert!(alone.usage.reused_tokens >= 16);
    }
}

#[test]
fn beams_and_samples_too() {
    let case = &cases(1)[0];
    for generation in [
        Generation::beam(3).with_max_new_tokens(24),
        Generation::sample().with_seed(4).with_max_new_tokens(24),
    ] {
        let options = AnswerOptions::new().with_generation(generation);
        let mut session = MODEL.session(&case.note, &options).unwrap();
        for pair in &case.pairs[..4] {
            let expected = MODEL
                .answer_with(&case.note, &pair.question, &options)
                .unwrap();
            assert_eq!(session.ask(&pair.question).unwrap().text, expected.text);
        }
    }
}

#[test]
fn pieces_come_as_they_are_written_and_can_stop_an_answer() {
    let case = &cases(1)[0];
    let mut session = session(&case.note);
    let mut text = String::new();
    let whole = session
        .ask_streaming(&case.pairs[0].question, |piece| {
            text.push_str(piece);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(text, whole.text);
    let cut = session
        .ask_streaming(&case.pairs[0].question, |_| ControlFlow::Break(()))
        .unwrap();
    assert_eq!(cut.stop, StopReason::Cancelled);
    assert!(whole.text.starts_with(&cut.text) && cut.text.len() < whole.text.len());
    // The session goes on.
    assert_eq!(
        session.ask(&case.pairs[0].question).unwrap().text,
        whole.text
    );
}

#[test]
fn scores_rank_the_answer_before_others() {
    let mut right = 0;
    let cases = cases(8);
    for (case, other) in cases.iter().zip(cases.iter().cycle().skip(1)) {
        let mut session = session(&case.note);
        let pair = case.pairs.iter().find(|pair| pair.span.is_some()).unwrap();
        let answers = [
            pair.answer.as_str(),
            other.pairs[0].answer.as_str(),
            "No.",
            "",
        ];
        let scores = session.score(&pair.question, &answers).unwrap();
        assert_eq!(scores.len(), 4);
        assert_eq!(scores[3].log_probs.len(), 1, "the end token alone");
        right += usize::from(scores[1..].iter().all(|s| s.total() < scores[0].total()));
        // The score of the answer that is written is the answer's own.
        let answer = session.ask(&pair.question).unwrap();
        let score = &session.score(&pair.question, &[&answer.text]).unwrap()[0];
        assert!((score.total() - answer.log_prob).abs() < 1e-3);
    }
    assert!(right >= 6, "{right} of 8");
}

#[test]
fn windows_of_a_long_note_are_read_once() {
    let case = &cases(1)[0];
    let other = "The patient slept well and had no complaints overnight.\n".repeat(200);
    let note = format!("{other}\n{}\n\n{other}", case.note);
    let strict = AnswerOptions::default();
    assert!(matches!(
        MODEL.session(&note, &strict),
        Err(Error::TooLong(_))
    ));
    for combine in [Combine::BestScore, Combine::FirstFound, Combine::AskAgain] {
        let options = AnswerOptions::new()
            .with_max_new_tokens(12)
            .with_long_text(LongText::Windows { overlap: 16 })
            .with_combine(combine);
        let mut session = MODEL.session(&note, &options).unwrap();
        let mut kept = Vec::new();
        for pair in &case.pairs[..3] {
            let expected = MODEL.answer_with(&note, &pair.question, &options).unwrap();
            let got = session.ask(&pair.question).unwrap();
            assert!(got.windows.len() > 1);
            assert_eq!(
                (&got.text, &got.windows),
                (&expected.text, &expected.windows)
            );
            assert!(got.usage.reused_tokens * 10 > got.usage.prompt_tokens * 8);
            kept.push(session.kept_tokens());
        }
        if combine != Combine::FirstFound {
            assert!(kept.iter().all(|&tokens| tokens == kept[0]), "{kept:?}");
        }
        let refused = session.score(&case.pairs[0].question, &["yes"]);
        assert!(matches!(refused, Err(Error::TooLong(_))));
    }
}

#[test]
fn a_session_refuses_what_answer_refuses() {
    let strict = AnswerOptions::default();
    assert!(MODEL.session("stable </s>", &strict).is_err());
    assert!(matches!(
        MODEL.session(" \n", &strict),
        Err(Error::NothingLeft)
    ));
    let mut session = session("stable");
    assert!(matches!(session.ask(" \n"), Err(Error::Prompt(_))));
    assert!(matches!(
        session.ask("Is </s> there?"),
        Err(Error::SpecialToken {
            field: "question",
            ..
        })
    ));
    assert!(matches!(
        session.score("Stable?", &["</s>"]),
        Err(Error::SpecialToken {
            field: "answer",
            ..
        })
    ));
    assert!(session.ask_batch(&[]).is_empty());
    assert!(session.score("Stable?", &[]).unwrap().is_empty());
}

/// A session on a thread that outlives the one that made it, and one bad question among good ones.
#[test]
fn sessions_live_on_any_thread() {
    let cases = cases(3);
    let asking: Vec<_> = cases
        .iter()
        .map(|case| {
            let model = Arc::new(Asclepius::embedded().unwrap());
            let mut session = model
                .session(&case.note, &AnswerOptions::default())
                .unwrap();
            drop(model);
            let question = case.pairs[0].question.clone();
            std::thread::spawn(move || {
                let answers = session.ask_batch(&[&question, " ", "Is </s> there?", &question]);
                (answers, session.note().to_owned())
            })
        })
        .collect();
    for (case, thread) in cases.iter().zip(asking) {
        let (answers, note) = thread.join().unwrap();
        let expected = MODEL.answer(&case.note, &case.pairs[0].question).unwrap();
        assert_eq!(note, case.note);
        for at in [0, 3] {
            assert_eq!(answers[at].as_ref().unwrap().text, expected.text);
        }
        assert!(matches!(answers[1], Err(Error::Prompt(_))));
        assert!(matches!(answers[2], Err(Error::SpecialToken { .. })));
    }
}
