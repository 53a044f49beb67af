//! Notes to instructions: choices, dropped notes, runs that go on.

use std::convert::Infallible;
use std::path::Path;

use clinical_instructions::{
    Ask, Dropped, Error, Instruction, Made, MarkerPolicy, Pipeline, Progress, SourceNote, Task,
    check_format, named, read_instructions, read_made, write_instructions,
};
use clinical_synth::Generator;

fn notes(count: usize) -> Vec<SourceNote> {
    let cases = Generator::held_out(3).take(count).enumerate();
    cases
        .map(|(at, case)| SourceNote::new(at.to_string(), case.note))
        .collect()
}

/// A model whose texts depend on the prompt and the seed, as a sampled one's do.
fn write(prompt: &str, ask: &Ask) -> String {
    let length = prompt.len();
    match prompt.contains("[Instruction Begin]") {
        true => format!("Answer {} of {length}.", ask.seed % 1000),
        false => format!("Question {} about {length}?", ask.seed % 1000),
    }
}

fn run(notes: &[SourceNote], output: &Path, stop_after: usize) -> Result<Progress, Error> {
    let mut calls = 0;
    let mut model = named("toy", |prompt: &str, ask: &Ask| {
        calls += 1;
        match calls > stop_after {
            true => Err("the machine is off".into()),
            false => Ok(Some(write(prompt, ask))),
        }
    });
    let notes = notes.iter().cloned().map(Ok::<_, Infallible>);
    Pipeline::new(5).run(notes, output, &mut model, |_| ())
}

#[test]
fn a_run_that_is_stopped_again_and_again_ends_like_one_that_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, parts) = (
        dir.path().join("whole.jsonl"),
        dir.path().join("parts.jsonl"),
    );
    let notes = notes(12);
    let done = run(&notes, &whole, usize::MAX).unwrap();
    assert_eq!((done.notes, done.kept, done.before), (12, 12, 0));
    // Stopped after each odd number of calls: between a question and its answer, too.
    let mut stops = 0;
    let last = loop {
        match run(&notes, &parts, 2 * (stops % 3) + 1) {
            Ok(done) => break done,
            Err(Error::Writer { row, .. }) => assert!(row <= 12),
            Err(error) => panic!("{error}"),
        }
        assert!(!parts.exists());
        stops += 1;
        assert!(stops < 100);
    };
    assert!(stops > 3 && last.notes == 12);
    assert_eq!(
        std::fs::read(&whole).unwrap(),
        std::fs::read(&parts).unwrap()
    );
}

#[test]
fn another_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("made.jsonl");
    let notes = notes(3);
    assert!(run(&notes, &output, 3).is_err());
    let other = |name: &str, notes: &[SourceNote], pipeline: Pipeline| {
        let mut model = named(name, |prompt: &str, ask: &Ask| Ok(Some(write(prompt, ask))));
        let notes = notes.iter().cloned().map(Ok::<_, Infallible>);
        pipeline.run(notes, &output, &mut model, |_| ())
    };
    let refused = |result| matches!(result, Err(Error::Files(_)));
    assert!(refused(other("another", &notes, Pipeline::new(5))));
    assert!(refused(other("toy", &notes, Pipeline::new(6))));
    let mut changed = notes.clone();
    changed[0].text.push('.');
    let result = other("toy", &changed, Pipeline::new(5));
    assert!(matches!(result, Err(Error::OtherInput { row: 1, .. })));
    let result = other("toy", &[], Pipeline::new(5));
    assert!(matches!(result, Err(Error::OtherInput { row: 1, .. })));
    // What was done is still there.
    let done = other("toy", &notes, Pipeline::new(5)).unwrap();
    assert_eq!((done.notes, done.before), (3, 1));
    let text = std::fs::read_to_string(&output).unwrap();
    std::fs::write(&output, &text[..text.len() / 2]).unwrap();
    assert!(matches!(read_made(&output), Err(Error::Line { .. })));
}

/// Prompts hold what was published: the task, three of its five seed questions, then up to two that were made.
#[test]
fn questions_are_bootstrapped() {
    let dir = tempfile::tempdir().unwrap();
    let mut prompts = Vec::new();
    let mut model = named("toy", |prompt: &str, ask: &Ask| {
        if !prompt.contains("[Instruction Begin]") {
            assert_eq!((ask.max_tokens, ask.temperature), (300, 1.0));
            prompts.push(prompt.to_owned());
        } else {
            assert_eq!(ask.max_tokens, 400);
        }
        Ok(Some(write(prompt, ask)))
    });
    let task = Task::RelationExtraction;
    let source = notes(9).into_iter().map(Ok::<_, Infallible>);
    let output = dir.path().join("made.jsonl");
    let pipeline = Pipeline::new(8).with_tasks([task]);
    pipeline.run(source, &output, &mut model, |_| ()).unwrap();
    let made: Vec<String> = read_made(&output)
        .unwrap()
        .into_iter()
        .map(|made| made.instruction.question)
        .collect();
    let mut orders = std::collections::HashSet::new();
    for (at, prompt) in prompts.iter().enumerate() {
        assert!(prompt.contains(task.name()));
        let seeds = task.seed_instructions().iter();
        let seeds: Vec<_> = seeds.filter(|seed| prompt.contains(**seed)).collect();
        assert_eq!(seeds.len(), 3);
        orders.insert(seeds);
        let before = made[..at].iter().filter(|made| prompt.contains(*made));
        assert_eq!(before.count(), at.min(2));
        assert!(made[at..].iter().all(|made| !prompt.contains(made)));
    }
    assert!(orders.len() > 2);
    // Without a choice all tasks come.
    let output = dir.path().join("all.jsonl");
    run(&notes(60), &output, usize::MAX).unwrap();
    let tasks = read_made(&output).unwrap().into_iter();
    let tasks: std::collections::HashSet<String> =
        tasks.map(|made| made.instruction.task).collect();
    assert_eq!(tasks.len(), 8);
}

#[test]
fn a_note_that_gives_nothing_is_a_line_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("made.jsonl");
    let texts = [
        " \n",
        "a note with [Discharge Summary End] in it",
        "a note about which nothing is asked",
        "a note whose question speaks as the prompt does",
        "a note about which nothing is said",
        "a note of which an AI language model speaks",
        "a note about which is asked back",
        "a note that is too long to ask about",
        "a note that is too long to answer from",
        "a good note",
    ];
    let mut model = named("toy", |prompt: &str, _: &Ask| {
        let has = |text: &str| prompt.contains(text);
        let answers = has("[Instruction Begin]");
        if has("too long to ask") || answers && has("too long to answer") {
            return Ok(None);
        }
        let text = match answers {
            false if has("nothing is asked") => " ",
            false if has("speaks as the prompt") => "[Instruction End] What?",
            false => " What is it?\n",
            true if has("nothing is said") => "\n",
            true if has("asked back") => "Which one?",
            true => "It is good.",
        };
        Ok(Some(text.to_owned()))
    });
    let notes = texts.iter().enumerate();
    let notes = notes.map(|(at, text)| Ok::<_, Infallible>(SourceNote::new(at.to_string(), *text)));
    let done = Pipeline::new(2)
        .run(notes, &output, &mut model, |_| ())
        .unwrap();
    assert_eq!((done.notes, done.kept), (10, 1));
    let made = read_made(&output).unwrap();
    let reasons: Vec<Option<Dropped>> = made.iter().map(|made| made.dropped).collect();
    assert_eq!(
        reasons,
        [
            Some(Dropped::Note),
            Some(Dropped::Note),
            Some(Dropped::Question),
            Some(Dropped::Question),
            Some(Dropped::Answer),
            Some(Dropped::Filter),
            Some(Dropped::Filter),
            Some(Dropped::TooLong),
            Some(Dropped::TooLong),
            None
        ]
    );
    let Made { instruction, .. } = &made[9];
    assert_eq!(
        (instruction.question.as_str(), instruction.answer.as_str()),
        ("What is it?", "It is good.")
    );
    // A marker may be escaped instead.
    let output = dir.path().join("escaped.jsonl");
    let notes = [Ok::<_, Infallible>(SourceNote::new("1", texts[1]))];
    let pipeline = Pipeline::new(2).with_markers(MarkerPolicy::Escape);
    let done = pipeline.run(notes, &output, &mut model, |_| ()).unwrap();
    assert_eq!(done.kept, 1);
}

#[test]
fn what_cannot_be_read_is_named_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("made.jsonl");
    let notes = [Ok(SourceNote::new("1", "one")), Err("a broken file")];
    let mut model = named("toy", |prompt: &str, ask: &Ask| {
        Ok(Some(write(prompt, ask)))
    });
    let error = Pipeline::new(1)
        .run(notes, &output, &mut model, |_| ())
        .unwrap_err();
    assert!(matches!(error, Error::Input { row: 2, .. }), "{error}");
}

fn odd_rows() -> Vec<Instruction> {
    let odd = ["plain", "a, \"b\"\n c", "日本\t🤕", "", "=1+1", "\\"];
    odd.iter()
        .enumerate()
        .map(|(at, text)| Instruction {
            id: at.to_string(),
            note: format!("note {text}"),
            question: format!("{text}?"),
            answer: format!("{text}."),
            task: Task::ALL[at % 8].name().to_owned(),
        })
        .collect()
}

#[test]
fn every_format_keeps_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let rows = odd_rows();
    let csv = dir.path().join("data.csv");
    assert_eq!(write_instructions(&rows, &csv).unwrap(), rows.len());
    let read: Vec<Instruction> = read_instructions(&csv, &Default::default())
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(read, rows);
    let json = dir.path().join("data.JSON");
    write_instructions(&rows, &json).unwrap();
    let values: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let lines = dir.path().join("data.jsonl");
    write_instructions(&rows, &lines).unwrap();
    let text = std::fs::read_to_string(&lines).unwrap();
    assert_eq!(text.lines().count(), rows.len());
    for ((row, value), line) in rows.iter().zip(&values).zip(text.lines()) {
        assert_eq!(
            *value,
            serde_json::from_str::<serde_json::Value>(line).unwrap()
        );
        assert_eq!(value["note"], row.note.as_str());
        assert_eq!(value["patient_id"], row.id.as_str());
        assert_eq!(value["task"], row.task.as_str());
    }
    let none = dir.path().join("none.json");
    write_instructions([], &none).unwrap();
    assert_eq!(std::fs::read(&none).unwrap(), b"[]\n");
    let result = write_instructions(&rows, dir.path().join("data.parquet"));
    assert!(matches!(result, Err(Error::Format { .. })));
    assert!(check_format(&json).is_ok() && check_format("data").is_err());
}
