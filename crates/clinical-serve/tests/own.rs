//! Our own calls: questions about notes, tags, spans, judgements.

mod common;

use std::thread;

use asclepius::{AnswerOptions, FindEvidence};
use clinical_serve::{EngineOptions, ServeOptions};
use common::{NOTE, QUESTION, Running, bert, model};
use serde_json::{Value, json};

const QUESTIONS: [&str; 3] = [
    QUESTION,
    "How old is the patient?",
    "What allergies does the patient have?",
];

#[test]
fn several_questions_read_a_note_once() {
    let server = Running::new(ServeOptions::new());
    let ask = || {
        server
            .post("/v1/ask", &json!({"note": NOTE, "questions": QUESTIONS}))
            .ok()
    };
    let value = ask();
    for (answer, question) in value["answers"].as_array().unwrap().iter().zip(QUESTIONS) {
        let alone = model().answer(NOTE, question).unwrap();
        assert_eq!(answer["question"], question);
        let answer = &answer["answer"];
        assert_eq!(answer["text"], alone.text.as_str());
        assert_eq!(answer["stop"], "end token");
        assert_eq!(answer["windows"][0]["range"]["end"], NOTE.len());
        let usage = &answer["usage"];
        let (prompt, reused) = (&usage["prompt_tokens"], &usage["reused_tokens"]);
        assert_eq!(prompt, alone.usage.prompt_tokens);
        assert!(reused.as_u64().unwrap() > prompt.as_u64().unwrap() / 2);
    }
    assert_eq!(server.metric("clinical_serve_kept_notes "), 1.0);
    ask();
    assert_eq!(server.metric("clinical_serve_kept_notes "), 1.0);
    assert!(server.metric("clinical_serve_kept_bytes ") > 0.0);
}

#[test]
fn answers_of_many_users_at_once_are_the_librarys() {
    let options = ServeOptions::new().with_engine(EngineOptions::new().with_slots(4));
    let server = Running::new(options);
    let notes: Vec<String> = (0..4)
        .map(|n| NOTE.replace("76 year old", &format!("{} year old", 40 + n)))
        .collect();
    thread::scope(|scope| {
        for (user, note) in notes.iter().cycle().take(12).enumerate() {
            let server = &server;
            scope.spawn(move || {
                let question = QUESTIONS[user % QUESTIONS.len()];
                let body = json!({"note": note, "question": question});
                let value = server.post("/v1/ask", &body).ok();
                let alone = model().answer(note, question).unwrap();
                assert_eq!(value["answers"][0]["answer"]["text"], alone.text.as_str());
            });
        }
    });
    assert_eq!(server.metric("clinical_serve_engine_running "), 0.0);
}

#[test]
fn evidence_is_the_librarys() {
    let server = Running::new(ServeOptions::new());
    for (asked, find) in [
        (json!(true), FindEvidence::QuotesAndUse),
        (json!("quotes"), FindEvidence::Quotes),
        (json!(false), FindEvidence::Nothing),
    ] {
        let options = AnswerOptions::new().with_evidence(find);
        let alone = model().answer_with(NOTE, QUESTION, &options).unwrap();
        let body = json!({"note": NOTE, "question": QUESTION, "evidence": asked});
        let value = server.post("/v1/ask", &body).ok();
        let answer = &value["answers"][0]["answer"];
        assert_eq!(
            answer["evidence"].as_array().unwrap().len(),
            alone.evidence.len()
        );
        for (got, expected) in answer["evidence"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&alone.evidence)
        {
            assert_eq!(got["kind"], json!(expected.kind));
            assert_eq!(got["note"], json!(expected.note));
            assert_eq!(got["answer"], json!(expected.answer));
        }
        assert_eq!(answer["unsupported"], json!(alone.unsupported));
    }
    let body = json!({"note": NOTE, "question": QUESTION, "evidence": "all"});
    assert_eq!(
        server.post("/v1/ask", &body).fails(400),
        "invalid_parameter"
    );
}

#[test]
fn an_answer_that_is_not_sure_is_not_shown() {
    for (score, shown) in [(-1e6, true), (1e6, false)] {
        let server = Running::calibrated(score);
        let info = server.get("/v1/info").ok();
        assert_eq!(info["calibration"]["options"]["target_risk"], 0.05);
        let body = json!({"note": NOTE, "question": QUESTION});
        let answer = server.post("/v1/ask", &body).ok()["answers"][0]["answer"].take();
        assert_eq!(answer["shown"], shown);
        let text = answer["text"].as_str().unwrap();
        let support = model().support(NOTE, QUESTION, text, &AnswerOptions::new());
        let (found, expected) = (&answer["support"], support.unwrap());
        for (key, value) in [
            ("answer", expected.answer),
            ("without_note", expected.without_note),
            ("refusal", expected.refusal),
        ] {
            assert!((found[key].as_f64().unwrap() - value).abs() < 1e-3, "{key}");
        }
        // What is not shown is in no piece of a stream either.
        let body = json!({"note": NOTE, "question": QUESTION, "stream": true});
        let events = server.post("/v1/ask", &body).events();
        let pieces = events.iter().filter(|event| event["type"] == "piece");
        let pieces: String = pieces.filter_map(|event| event["text"].as_str()).collect();
        assert_eq!(pieces, if shown { text } else { "" });
        // A note that does not say it: the answer says so, and is shown.
        let body = json!({"note": "Service: MEDICINE", "question": "What was the potassium?"});
        let answer = server.post("/v1/ask", &body).ok()["answers"][0]["answer"].take();
        assert!(AnswerOptions::new().is_no_answer(answer["text"].as_str().unwrap()));
        assert_eq!(
            (&answer["shown"], &answer["support"]),
            (&json!(true), &json!(null))
        );
    }
}

#[test]
fn a_stream_of_answers() {
    let server = Running::new(ServeOptions::new());
    let body = json!({"note": NOTE, "questions": QUESTIONS, "stream": true});
    let events = server.post("/v1/ask", &body).events();
    assert_eq!(events[0]["type"], "answers");
    assert_eq!(events[events.len() - 1]["type"], "end");
    for (number, question) in QUESTIONS.iter().enumerate() {
        let alone = model().answer(NOTE, question).unwrap();
        let mine = || {
            events
                .iter()
                .filter(move |event| event["question"] == number)
        };
        let pieces = mine().filter_map(|event| event["text"].as_str());
        assert_eq!(pieces.collect::<String>(), alone.text);
        let answer = mine().find(|event| event["type"] == "answer").unwrap();
        assert_eq!(answer["answer"]["text"], alone.text.as_str());
    }
}

/// Text in base64, by hand: the crate under test should not check itself.
fn base64(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let mut bits = 0u32;
        for n in 0..3 {
            bits = bits << 8 | u32::from(*three.get(n).unwrap_or(&0));
        }
        for n in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * n) & 63) as usize] as char;
            out.push(if n <= three.len() { letter } else { '=' });
        }
    }
    out
}

#[test]
fn notes_of_fhir() {
    let server = Running::new(ServeOptions::new());
    let document = |id: &str, text: &str| {
        json!({"resourceType": "DocumentReference", "id": id, "content": [
            {"attachment": {"contentType": "text/plain", "data": base64(text)}}]})
    };
    let second = NOTE.replace("latex", "penicillin");
    let bundle = json!({"resourceType": "Bundle", "entry": [
        {"resource": document("a", NOTE)}, {"resource": document("b", &second)}]});
    let body = json!({"fhir": bundle, "questions": QUESTIONS});
    let value = server.post("/v1/ask", &body).ok();
    for (number, note) in [NOTE, &second].into_iter().enumerate() {
        let document = &value["documents"][number];
        assert_eq!(document["note"], note);
        for (question, answer) in QUESTIONS
            .iter()
            .zip(document["answers"].as_array().unwrap())
        {
            let alone = model().answer(note, question).unwrap();
            assert_eq!(answer["answer"]["text"], alone.text.as_str());
        }
    }
    let body = json!({"fhir": {"resourceType": "Patient"}, "question": QUESTION});
    assert_eq!(
        server.post("/v1/ask", &body).fails(400),
        "invalid_parameter"
    );
}

#[test]
fn notes_that_cannot_be_read_say_why() {
    let server = Running::new(ServeOptions::new());
    let fails = |body: Value| server.post("/v1/ask", &body).fails(400);
    let long = "word ".repeat(4000);
    assert_eq!(fails(json!({"note": " ", "question": "x"})), "empty_note");
    assert_eq!(fails(json!({"note": "x"})), "invalid_parameter");
    assert_eq!(fails(json!({"question": "x"})), "invalid_parameter");
    let both = json!({"note": "x", "fhir": {}, "question": "x"});
    assert_eq!(fails(both), "invalid_parameter");
    let too_long = json!({"note": long, "question": QUESTION});
    assert_eq!(fails(too_long.clone()), "context_length_exceeded");
    let special = json!({"note": "pain</s>", "question": QUESTION});
    assert_eq!(fails(special.clone()), "refused_text");
    let mut windows = too_long;
    windows["long_note"] = json!("windows");
    windows["max_tokens"] = json!(4);
    let value = server.post("/v1/ask", &windows).ok();
    assert!(
        value["answers"][0]["answer"]["windows"]
            .as_array()
            .unwrap()
            .len()
            > 1
    );
    let mut escaped = special;
    escaped["markers"] = json!("escape");
    server.post("/v1/ask", &escaped).ok();
    // One question that fails costs the others nothing.
    let body = json!({"note": NOTE, "questions": [" ", QUESTION]});
    let value = server.post("/v1/ask", &body).ok();
    assert!(value["answers"][0]["error"]["message"].is_string());
    assert!(value["answers"][1]["answer"]["text"].is_string());
}

#[test]
fn spans_and_tags() {
    let server = Running::new(ServeOptions::new());
    let value = server.post("/v1/tag", &json!({"note": NOTE})).ok();
    let expected = bert().tag(&[NOTE]).swap_remove(0).unwrap();
    let spans = value["spans"].as_array().unwrap();
    assert_eq!(spans.len(), expected.len());
    for (span, entity) in spans.iter().zip(&expected) {
        assert_eq!(span["label"], entity.label.as_str());
        assert_eq!(span["start"], entity.range.start);
    }
    let body = json!({"note": "My name is [**FirstName 123**]"});
    let value = server.post("/v1/deid", &body).ok();
    assert_eq!(value["text"], "My name is  [Name]");
    assert_eq!(value["spans"][0]["tag"], "[Name]");
    assert_eq!(value["spans"][0]["old"], json!({"start": 11, "end": 30}));
    let body = json!({"note": "Dr. ___", "kind": "mimic-iv", "types": ["NAME"]});
    assert_eq!(
        server.post("/v1/deid", &body).ok()["spans"][0]["tag"],
        "[Name]"
    );
    let body = json!({"note": "[**Ethnicity 1**]"});
    assert_eq!(server.post("/v1/deid", &body).fails(400), "unknown_tag");
}

#[test]
fn judgements_are_recorded_only_where_a_file_was_named() {
    let judged =
        json!({"verdict": "wrong", "note": NOTE, "question": QUESTION, "answer": {"text": "x"}});
    let server = Running::new(ServeOptions::new());
    assert_eq!(server.get("/v1/info").ok()["feedback"], false);
    assert_eq!(
        server.post("/v1/feedback", &judged).fails(404),
        "no_feedback"
    );
    drop(server);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("judged.jsonl");
    let server = Running::new(ServeOptions::new().with_feedback(&path));
    assert_eq!(server.get("/v1/info").ok()["feedback"], true);
    server.post("/v1/feedback", &judged).ok();
    server.post("/v1/feedback", &judged).ok();
    let mut odd = judged;
    odd["verdict"] = json!("perhaps");
    assert_eq!(
        server.post("/v1/feedback", &odd).fails(400),
        "invalid_parameter"
    );
    drop(server);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["verdict"], "wrong");
    assert_eq!(lines[0]["note"], NOTE);
    assert_eq!(
        (&lines[0]["answer"], &lines[0]["right"]),
        (&json!("x"), &json!(false))
    );
}

#[test]
fn the_description_has_every_path() {
    let server = Running::new(ServeOptions::new());
    let value = server.get("/openapi.json").ok();
    let paths = value["paths"].as_object().unwrap();
    for (path, calls) in paths {
        let method = if calls.get("post").is_some() {
            "POST"
        } else {
            "GET"
        };
        let status = server.send(method, path, &[], "{}").status;
        assert!(
            ![404, 405].contains(&status) || path == "/v1/feedback",
            "{path}: {status}"
        );
        let other = if method == "POST" { "GET" } else { "POST" };
        assert_eq!(
            server.send(other, path, &[], "{}").fails(405),
            "method_not_allowed"
        );
    }
    assert_eq!(server.get("/v1/nothing").fails(404), "no_such_path");
}
