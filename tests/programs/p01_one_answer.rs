//! One answer on a device that the caller selects, within 20 seconds, that another thread can end.

use std::time::{Duration, Instant};

use asclepius::{AnswerOptions, Asclepius, CancelFlag, Generation, LoadOptions, device};

fn answer(
    device: &str,
    note: &str,
    question: &str,
    cancel: CancelFlag,
) -> Result<String, Box<dyn std::error::Error>> {
    device::keep_freed_memory();
    let load = LoadOptions::new().with_device(device::parse(device)?);
    let model = Asclepius::embedded_with(&load)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    let options = AnswerOptions::new()
        .with_max_new_tokens(64)
        .with_generation(Generation::greedy().with_deadline(deadline))
        .with_cancel(cancel);
    Ok(model.answer_with(note, question, &options)?.text)
}

#[test]
fn one_answer() {
    let note = include_str!("../../examples/data/note.txt");
    let question = "What is the discharge diagnosis?";
    let text = answer("cpu", note, question, CancelFlag::new()).unwrap();
    assert_eq!(text, "The diagnosis was ischemic stroke.");
    let cancelled = CancelFlag::new();
    cancelled.cancel();
    assert!(answer("cpu", note, question, cancelled).is_err());
    assert!(answer("abacus", note, question, CancelFlag::new()).is_err());
}
