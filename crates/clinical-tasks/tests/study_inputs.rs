//! Inputs against the published code of the study: `data/published.jsonl` is made by `scripts/tasks_reference.py`.

use std::ops::Range;

use clinical_deid::Normalizer;
use clinical_tasks::clip::{AroundRule, around};
use clinical_tasks::{Error, RowOptions, mednli, radqa};
use serde_json::{Value, json};

fn rows(kind: &str) -> Vec<Value> {
    let rows = include_str!("data/published.jsonl").lines();
    let rows: Vec<Value> = rows
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|row: &Value| row["kind"] == kind)
        .collect();
    assert!(!rows.is_empty());
    rows
}

/// The byte of a character.
fn byte(text: &str, character: usize) -> usize {
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .nth(character)
        .unwrap()
}

/// The tokenizer of the reference: runs of letters, and every other sign.
fn tokens(text: &str, start: u64, end: u64) -> Vec<(usize, usize)> {
    let special = |count: u64| (0..count).map(|_| (0, 0));
    let mut tokens: Vec<(usize, usize)> = special(start).collect();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut inside = false;
    for (at, c) in text.char_indices() {
        let to = at + c.len_utf8();
        match tokens.last_mut() {
            Some(token) if inside && is_word(c) => token.1 = to,
            _ if !c.is_whitespace() => tokens.push((at, to)),
            _ => {}
        }
        inside = is_word(c);
    }
    tokens.extend(special(end));
    tokens
}

#[test]
fn pieces_around_sentences() {
    let (mut failed, mut empty, mut same) = (0, 0, 0);
    for row in rows("clip") {
        let note = row["note"].as_str().unwrap();
        let number = |name: &str| row[name].as_u64().unwrap();
        let most = number("most") as usize;
        let tokens = tokens(note, number("start"), number("end"));
        let inputs = row["inputs"].as_array().unwrap();
        for (sentence, expected) in row["sentences"].as_array().unwrap().iter().zip(inputs) {
            let at = |end: usize| byte(note, sentence[end].as_u64().unwrap() as usize);
            let sentence = at(0)..at(1);
            let cut = |rule| around(note, sentence.clone(), &tokens, most, rule);
            let joined = |chunk: Range<usize>, sentence: Range<usize>| {
                format!("{} ; {}", &note[chunk], &note[sentence])
            };
            let fixed = cut(AroundRule::Fixed).unwrap();
            let fixed_input = joined(fixed.chunk.clone(), fixed.sentence.clone());
            // What the fixed rule promises: something of the sentence, inside its piece, within the budget.
            assert!(!fixed.sentence.is_empty() && fixed.sentence.start == sentence.start);
            assert!(fixed.chunk.start <= fixed.sentence.start);
            assert!(fixed.chunk.end >= fixed.sentence.end);
            let used = |range: &Range<usize>| {
                let inside = |&&(start, end): &&(usize, usize)| {
                    start < end && start >= range.start && end <= range.end
                };
                tokens.iter().filter(inside).count()
            };
            assert!(used(&fixed.chunk) + used(&fixed.sentence) + 2 <= most);
            match expected.as_str() {
                Some(expected) => {
                    let published = cut(AroundRule::Published).unwrap();
                    let (piece, own) = (published.chunk, published.sentence);
                    empty += usize::from(piece.is_empty() || own.is_empty());
                    same += usize::from(expected == fixed_input);
                    assert_eq!(joined(piece, own), expected);
                }
                None => {
                    failed += 1;
                    let error = cut(AroundRule::Published).unwrap_err();
                    assert!(matches!(error, Error::PublishedFails { .. }), "{error}");
                }
            }
        }
    }
    // All three happen, and often: as published, sentences near the end token lose their surroundings.
    assert!(
        failed > 0 && empty > 50 && same > 100,
        "{failed} {empty} {same}"
    );
}

/// A file of one report, as RadQA is published.
fn radqa_file(row: &Value) -> (tempfile::TempDir, Vec<radqa::RadiologyReport>) {
    let questions = row["questions"].as_array().unwrap().iter().enumerate();
    let qas: Vec<Value> = questions
        .map(|(index, answers)| {
            let texts = answers["text"].as_array().unwrap().iter();
            let starts = answers["answer_start"].as_array().unwrap();
            let answers: Vec<Value> = texts
                .zip(starts)
                .map(|(text, start)| json!({"text": text, "answer_start": start}))
                .collect();
            json!({"id": index.to_string(), "question": "q?", "is_impossible": answers.is_empty(), "answers": answers})
        })
        .collect();
    let paragraph = json!({"context": row["context"], "qas": qas});
    let file = json!({"data": [{"title": "1", "paragraphs": [paragraph]}]});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.json");
    std::fs::write(&path, file.to_string()).unwrap();
    let reports = radqa::read(&path).unwrap();
    (folder, reports)
}

#[test]
fn answers_in_converted_reports() {
    let (mut failed, mut stale, mut equal) = (0, 0, 0);
    for row in rows("radqa") {
        let (_folder, reports) = radqa_file(&row);
        let normalizer = Normalizer::mimic_iii();
        let converted = radqa::convert(&reports, &normalizer).unwrap();
        let published = radqa::convert_as_published(&reports, &normalizer);
        for answer in converted[0]
            .questions
            .iter()
            .flat_map(|question| &question.answers)
        {
            assert_eq!(converted[0].context[answer.range.clone()], answer.text);
            assert_eq!(
                byte(&converted[0].context, answer.start),
                answer.range.start
            );
        }
        let Some(expected) = row["converted"].as_array() else {
            failed += 1;
            assert!(matches!(published, Err(Error::PublishedFails { .. })));
            continue;
        };
        let published = published.unwrap();
        assert_eq!(published.len(), expected.len());
        for ((ours, expected), fixed) in published.iter().zip(expected).zip(&converted[0].questions)
        {
            assert_eq!(json!(ours.texts), expected["text"]);
            assert_eq!(json!(ours.starts), expected["answer_start"]);
            let starts: Vec<usize> = fixed.answers.iter().map(|answer| answer.start).collect();
            stale += usize::from(ours.starts.len() != starts.len());
            equal += usize::from(ours.starts == starts && !starts.is_empty());
        }
    }
    assert!(
        failed > 10 && stale > 5 && equal > 100,
        "{failed} {stale} {equal}"
    );
}

#[test]
fn rows_of_mednli() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mli_train_v1.jsonl");
    for row in rows("mednli") {
        let line = json!({
            "sentence1": row["premise"], "sentence2": row["hypothesis"], "gold_label": "neutral", "pairID": "a",
        });
        std::fs::write(&path, format!("{line}\n")).unwrap();
        let pair = &mednli::read(&path).unwrap()[0];
        let plain = pair.writing_row(&RowOptions::new()).unwrap();
        assert_eq!(
            (json!(plain.input), &*plain.target),
            (row["input"].clone(), "neutral")
        );
        let tagged = RowOptions::new().with_tags(Normalizer::mimic_iii());
        assert_eq!(json!(pair.class_row(&tagged).unwrap().text), row["tagged"]);
    }
}
