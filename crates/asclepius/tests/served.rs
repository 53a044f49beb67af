//! Many callers through one engine: the answers of the library, and what is kept of notes.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use asclepius::{
    AnswerEngine, AnswerOptions, Asclepius, CancelFlag, EngineOptions, Error, Generation, LongText,
    StopReason, Style, Tokenizer,
};

const NOTE: &str = include_str!("../../../examples/data/note.txt");

const QUESTIONS: [&str; 4] = [
    "What is the discharge diagnosis?",
    "How old is the patient?",
    "What allergies does the patient have?",
    "Who was the attending?",
];

fn model() -> Arc<Asclepius> {
    static MODEL: OnceLock<Arc<Asclepius>> = OnceLock::new();
    Arc::clone(MODEL.get_or_init(|| Arc::new(Asclepius::embedded().unwrap())))
}

fn engine(slots: usize, kept: u64) -> AnswerEngine {
    AnswerEngine::new(model(), EngineOptions::new().with_slots(slots), kept).unwrap()
}

#[test]
fn threads_get_the_librarys_answers() {
    for kept in [0, 64 << 20] {
        let engine = engine(3, kept);
        let options = AnswerOptions::new();
        thread::scope(|scope| {
            for (number, question) in QUESTIONS.iter().cycle().take(6).enumerate() {
                let (engine, options) = (&engine, &options);
                scope.spawn(move || {
                    let note = NOTE.replace("76", &(50 + number % 2).to_string());
                    let mut pieces = String::new();
                    let answer = engine.answer_streaming(&note, question, options, |piece| {
                        pieces += piece;
                        ControlFlow::Continue(())
                    });
                    let (answer, alone) =
                        (answer.unwrap(), model().answer(&note, question).unwrap());
                    assert_eq!(answer.text, alone.text);
                    assert_eq!(pieces, answer.text);
                    assert_eq!(answer.tokens.len(), alone.tokens.len());
                    assert_eq!(answer.windows, alone.windows);
                    assert!((answer.log_prob - alone.log_prob).abs() < 1e-2);
                });
            }
        });
        // Two notes, whoever asked.
        assert_eq!(engine.kept().0, if kept == 0 { 0 } else { 2 });
        assert_eq!(engine.load().running, 0);
    }
}

#[test]
fn every_way_of_asking_is_the_librarys() {
    let (engine, model) = (engine(2, 64 << 20), model());
    let long = NOTE.repeat(12);
    let windows = LongText::Windows { overlap: 32 };
    for options in [
        AnswerOptions::new()
            .with_long_text(windows)
            .with_max_new_tokens(12),
        AnswerOptions::new()
            .with_long_text(LongText::CutStart)
            .with_max_new_tokens(12),
        AnswerOptions::new()
            .with_max_tokens(300)
            .with_long_text(LongText::CutEnd),
        AnswerOptions::new()
            .with_long_text(LongText::CutEnd)
            .with_generation(Generation::beam(2).with_max_new_tokens(10)),
        AnswerOptions::new()
            .with_long_text(LongText::CutEnd)
            .with_generation(
                Generation::sample()
                    .with_temperature(1.3)
                    .with_seed(5)
                    .with_max_new_tokens(20),
            ),
    ] {
        let served = engine.answer_with(&long, QUESTIONS[0], &options).unwrap();
        let alone = model.answer_with(&long, QUESTIONS[0], &options).unwrap();
        assert_eq!(served.text, alone.text);
        assert_eq!(served.windows, alone.windows);
        assert_eq!(served.usage.prompt_tokens, alone.usage.prompt_tokens);
    }
    let options = AnswerOptions::new().with_max_new_tokens(8);
    let text = "Discharge Diagnosis:";
    let served = engine.complete_streaming(text, &options, |_| ControlFlow::Continue(()));
    assert_eq!(
        served.unwrap().text,
        model.complete(text, &options).unwrap().text
    );
    let refused = engine.chat_streaming(&[("user", "x")], &options, |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Error::NoChatTemplate)));
    for (note, question) in [(" ", "x"), (NOTE, " "), (&*long, "x"), ("pain</s>", "x")] {
        let served = engine.answer_with(note, question, &options).unwrap_err();
        let alone = model.answer_with(note, question, &options).unwrap_err();
        assert_eq!(served.to_string(), alone.to_string());
    }
}

#[test]
fn notes_are_kept_within_the_budget() {
    let note = |number: usize| NOTE.replace("76", &(40 + number).to_string());
    let unbounded = engine(1, u64::MAX);
    let options = AnswerOptions::new().with_max_new_tokens(2);
    let ask = |engine: &AnswerEngine, number: usize| {
        let usage = engine
            .answer_with(&note(number), QUESTIONS[0], &options)
            .unwrap()
            .usage;
        usage.reused_tokens
    };
    let first = ask(&unbounded, 0);
    let one = unbounded.kept().1;
    assert!(one > 0 && ask(&unbounded, 0) == first);
    let two = engine(1, one * 5 / 2);
    for number in 0..4 {
        ask(&two, number);
    }
    let (notes, bytes) = two.kept();
    assert_eq!(notes, 2);
    assert!(bytes <= one * 5 / 2);
    // One that does not fit is read for its own question alone.
    let none = engine(1, one / 2);
    assert!(ask(&none, 0) < first);
    assert_eq!(none.kept(), (0, 0));
}

#[test]
fn a_question_is_given_up() {
    let engine = engine(1, 64 << 20);
    let flag = CancelFlag::new();
    flag.cancel();
    let options = AnswerOptions::new().with_cancel(flag);
    let cancelled = engine.answer_with(NOTE, QUESTIONS[0], &options);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    let options = AnswerOptions::new();
    let mut pieces = 0;
    let answer = engine.answer_streaming(NOTE, QUESTIONS[0], &options, |_| {
        pieces += 1;
        ControlFlow::Break(())
    });
    // The engine may have been a token ahead.
    let answer = answer.unwrap();
    assert!(pieces <= 2 && (answer.stop == StopReason::Cancelled || answer.stop.is_complete()));
    let late = Generation::greedy().with_deadline(Instant::now());
    let options = AnswerOptions::new().with_generation(late);
    match engine.answer_with(&NOTE.replace("76", "31"), QUESTIONS[0], &options) {
        Err(Error::Cancelled) => {}
        Ok(answer) => assert_eq!(answer.stop, StopReason::Deadline),
        Err(error) => panic!("{error}"),
    }
    engine
        .answer_with(NOTE, QUESTIONS[0], &AnswerOptions::new())
        .unwrap();
    assert_eq!(engine.load().running, 0);
}

/// The demonstration model with a chat template.
fn chatty() -> Arc<Asclepius> {
    let mut parts = Asclepius::embedded().unwrap().into_parts();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/demo");
    let json = std::fs::read(format!("{dir}/tokenizer.json")).unwrap();
    let config = r#"{"chat_template":
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"}"#;
    parts.tokenizer = Tokenizer::from_bytes(&json, Some(config.as_bytes())).unwrap();
    Arc::new(Asclepius::from_parts(parts))
}

#[test]
fn a_conversation_goes_through_the_template() {
    let model = chatty();
    assert_eq!(model.style(), Style::Chat);
    let engine = AnswerEngine::new(Arc::clone(&model), EngineOptions::new(), 0).unwrap();
    let options = AnswerOptions::new().with_max_new_tokens(12);
    let messages = [
        ("system", NOTE),
        ("user", "a"),
        ("assistant", "b"),
        ("user", QUESTIONS[0]),
    ];
    let alone = model.chat(&messages, &options).unwrap();
    let mut pieces = String::new();
    let served = engine.chat_streaming(&messages, &options, |piece| {
        pieces += piece;
        ControlFlow::Continue(())
    });
    let served = served.unwrap();
    assert_eq!((&served.text, &pieces), (&alone.text, &served.text));
    assert_eq!(served.style, Style::Chat);
    assert!(served.windows.is_empty() && served.window.is_none());
    let text = format!(
        "system: {NOTE}\nuser: a\nassistant: b\nuser: {}\nassistant:",
        QUESTIONS[0]
    );
    let tokens = model.tokenizer().encode(&text, false).unwrap().len();
    assert_eq!(served.usage.prompt_tokens, tokens);
    let long = NOTE.repeat(12);
    for content in [&*long, "pain</s>"] {
        assert!(model.chat(&[("user", content)], &options).is_err());
    }
}
