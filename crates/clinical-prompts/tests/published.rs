//! Every prompt, answer map and rule against the published scripts.
//!
//! `data/rendered_golden.jsonl` holds what the published functions return for invented texts; it
//! is made and checked by `scripts/check_prompts.py`. `data/prompts.json` holds the templates.

use std::collections::BTreeMap;

use clinical_prompts::asclepius::{self, Task, Template, generation, judge};
use clinical_prompts::{MarkerPolicy, Options, clip, mednli, radqa};
use serde_json::Value;

const ALLOW: Options = Options::new().with_markers(MarkerPolicy::Allow);

fn rows(kind: &str) -> Vec<Value> {
    let rows: Vec<Value> = include_str!("data/rendered_golden.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|row: &Value| row["kind"] == kind)
        .collect();
    assert!(!rows.is_empty(), "no rows of kind {kind}");
    rows
}

fn prompts() -> Value {
    serde_json::from_str(include_str!("data/prompts.json")).unwrap()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text {key} in {row}"))
}

fn number(row: &Value) -> u8 {
    row["number"].as_u64().unwrap().try_into().unwrap()
}

fn texts<'a>(row: &'a Value, key: &str) -> Vec<&'a str> {
    let values = row[key].as_array().unwrap().iter();
    values.map(|value| value.as_str().unwrap()).collect()
}

fn examples<const N: usize>(row: &Value) -> Vec<[&str; N]> {
    let examples = row["examples"].as_array().unwrap().iter();
    examples
        .map(|example| std::array::from_fn(|i| example[i].as_str().unwrap()))
        .collect()
}

/// `{"0": "text", ...}` of `prompts.json` as numbers and texts.
fn numbered(templates: &Value) -> BTreeMap<u8, String> {
    let templates = templates.as_object().unwrap().iter();
    templates
        .map(|(number, text)| (number.parse().unwrap(), text.as_str().unwrap().to_owned()))
        .collect()
}

#[test]
fn asclepius_templates() {
    let stored = &prompts()["asclepius"];
    assert_eq!(Template::Training.text(), stored["training_prompt"]);
    let inference = &stored["inference_prompts"];
    assert_eq!(Template::Inference.text(), inference["ours"]);
    assert_eq!(Template::Alpaca.text(), inference["alpaca"]);
    assert_eq!(Template::MedAlpaca.text(), inference["medalpaca"]);
    assert_eq!(Template::Chat.text(), inference["chat"]);
    let suffixed = [
        text(inference, "ours"),
        text(stored, "non_finetuned_suffix"),
    ]
    .concat();
    assert_eq!(Template::NotFineTuned.text(), suffixed);

    let tasks = stored["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), Task::ALL.len());
    for (task, stored) in Task::ALL.into_iter().zip(tasks) {
        assert_eq!(task.name(), stored["task"]);
        assert_eq!(task.seed_instructions()[..], texts(stored, "samples"));
    }
    let expression = generation::FILTER_PHRASES.map(|phrase| format!("({phrase})"));
    assert_eq!(expression.join("|"), stored["filter_regex"]);
}

#[test]
fn asclepius_prompts() {
    for row in rows("asclepius model") {
        let (note, question) = (text(&row, "note"), text(&row, "question"));
        let template = Template::for_model(text(&row, "model"));
        assert_eq!(
            template.render(note, question, &ALLOW).unwrap(),
            row["output"]
        );
        if template == Template::Inference {
            assert_eq!(asclepius::inference(note, question).unwrap(), row["output"]);
        }
    }
    for row in rows("asclepius training") {
        let prompt = asclepius::training(text(&row, "note"), text(&row, "question"));
        assert_eq!(prompt.unwrap(), row["output"]);
    }
}

#[test]
fn asclepius_generation() {
    for row in rows("asclepius note") {
        let prompt = generation::note(text(&row, "case_report"), &ALLOW).unwrap();
        assert_eq!(prompt, row["output"]);
        assert_eq!(
            generation::case_report_of(&prompt),
            row["case_report"].as_str()
        );
    }
    for row in rows("asclepius instruction") {
        let task = text(&row, "task").parse().unwrap();
        let note = text(&row, "note");
        let prompt = generation::instruction(task, note, &texts(&row, "samples"), &ALLOW).unwrap();
        assert_eq!(prompt, row["output"]);
        assert_eq!(generation::discharge_summary_of(&prompt), Some(note));
    }
    for row in rows("asclepius answer") {
        let (note, question) = (text(&row, "note"), text(&row, "question"));
        let prompt = generation::answer(note, question, &ALLOW).unwrap();
        assert_eq!(prompt, row["output"]);
        assert_eq!(generation::discharge_summary_of(&prompt), Some(note));
        assert_eq!(generation::instruction_of(&prompt), Some(question));
    }
}

#[test]
fn asclepius_filter_and_extraction() {
    for row in rows("asclepius filter") {
        let (text, dropped) = (text(&row, "text"), row["output"].as_bool().unwrap());
        assert_eq!(generation::keeps(text, "q", "a"), !dropped, "{text}");
        assert_eq!(generation::keeps("n", text, "a"), !dropped, "{text}");
        assert_eq!(generation::keeps("n", "q", text), !dropped, "{text}");
        assert!(!generation::keeps("n", "q", &format!("{text}?")));
    }
    for row in rows("asclepius extract") {
        let found = generation::discharge_summary_of(text(&row, "text"));
        assert_eq!(found, row["output"].as_str(), "{row}");
    }
}

#[test]
fn asclepius_judging() {
    for row in rows("asclepius judge") {
        let samples = texts(&row, "samples");
        let order: Vec<_> = (0..samples.len()).collect();
        let (note, question) = (text(&row, "note"), text(&row, "question"));
        let prompt = judge::prompt(note, question, &samples, &order, &ALLOW).unwrap();
        assert_eq!(prompt, row["output"]);
    }
    for row in rows("asclepius scores") {
        let order: Vec<usize> = serde_json::from_value(row["order"].clone()).unwrap();
        let expected: Vec<u8> = serde_json::from_value(row["output"].clone()).unwrap();
        assert_eq!(judge::scores(text(&row, "reply"), &order), Ok(expected));
    }
}

#[test]
fn mednli_prompts() {
    let stored = numbered(&prompts()["mednli_icl"]["templates"]);
    assert!(stored.keys().eq(&mednli::ZeroShot::NUMBERS));
    for (number, text) in stored {
        let template = mednli::ZeroShot::new(number).unwrap();
        assert_eq!((template.number(), template.text()), (number, &*text));
    }
    for row in rows("mednli finetuning") {
        let (premise, hypothesis) = (text(&row, "premise"), text(&row, "hypothesis"));
        let input = mednli::finetuning_input(premise, hypothesis, &ALLOW).unwrap();
        assert_eq!(input, row["output"]);
    }
    for row in rows("mednli zero-shot") {
        let (premise, hypothesis) = (text(&row, "premise"), text(&row, "hypothesis"));
        let template = mednli::ZeroShot::new(number(&row)).unwrap();
        let prompt = template.render(premise, hypothesis, &ALLOW).unwrap();
        assert_eq!(prompt, row["output"], "template {}", template.number());
    }
    for row in rows("mednli few-shot") {
        let examples: Vec<_> = examples(&row)
            .into_iter()
            .map(|[premise, hypothesis, answer]| mednli::Example {
                premise,
                hypothesis,
                answer,
            })
            .collect();
        let (premise, hypothesis) = (text(&row, "premise"), text(&row, "hypothesis"));
        let template = mednli::FewShot::new(number(&row)).unwrap();
        let prompt = template
            .render(&examples, premise, hypothesis, &ALLOW)
            .unwrap();
        assert_eq!(prompt, row["output"], "template {}", template.number());
        for label in mednli::Label::ALL {
            let word = template.answer_word(label);
            assert!(examples.iter().any(|example| example.answer == word));
        }
    }
}

#[test]
fn mednli_answers() {
    let rows = rows("mednli answer");
    assert_eq!(rows.len(), mednli::ANSWER_MAP.len());
    for (row, (word, label)) in rows.iter().zip(mednli::ANSWER_MAP) {
        assert_eq!(
            (word, label.name()),
            (text(row, "answer"), text(row, "output"))
        );
        let shouted = format!("\u{1f} {}\n", word.to_uppercase());
        assert_eq!(mednli::label_of_answer(&shouted), Some(label));
    }
    assert_eq!(mednli::label_of_answer("yes."), None);
    assert_eq!(
        mednli::labels_of_answers(&["yes it is", "no", "maybe so"]),
        [None, Some(mednli::Label::Contradiction), None]
    );
    assert_eq!(mednli::labels_of_answers(&["a", "b", "c", ""]), [None; 4]);
}

#[test]
fn radqa_prompts() {
    let stored = &prompts()["radqa_icl"];
    assert_eq!(radqa::ZeroShot::FLAN.text(), stored["flan_variant_0"]);
    let stored = numbered(&stored["templates"]);
    assert!(stored.keys().eq(&radqa::ZeroShot::NUMBERS));
    for (number, text) in stored {
        let template = radqa::ZeroShot::new(number).unwrap();
        assert_eq!((template.number(), template.text()), (number, &*text));
    }
    for row in rows("radqa finetuning") {
        let (context, question) = (text(&row, "context"), text(&row, "question"));
        let input = radqa::finetuning_input(question, context, &ALLOW).unwrap();
        assert_eq!(input, row["output"]);
    }
    for row in rows("radqa decoder") {
        let (context, question) = (text(&row, "context"), text(&row, "question"));
        let input = radqa::decoder_input(context, question, &ALLOW).unwrap();
        assert_eq!(input, row["output"]);
        assert_eq!(
            radqa::decoder_target(&texts(&row, "answers"), "</s>"),
            row["target"]
        );
    }
    for row in rows("radqa flan") {
        let (context, question) = (text(&row, "context"), text(&row, "question"));
        let prompt = radqa::ZeroShot::FLAN
            .render(context, question, &ALLOW)
            .unwrap();
        assert_eq!(prompt, row["output"]);
    }
    for row in rows("radqa zero-shot") {
        let (context, question) = (text(&row, "context"), text(&row, "question"));
        let template = radqa::ZeroShot::new(number(&row)).unwrap();
        let prompt = template.render(context, question, &ALLOW).unwrap();
        assert_eq!(prompt, row["output"], "template {}", template.number());
    }
    for row in rows("radqa few-shot") {
        let examples: Vec<_> = examples(&row)
            .into_iter()
            .map(|[context, question, answer]| radqa::Example {
                context,
                question,
                answer,
            })
            .collect();
        let (context, question) = (text(&row, "context"), text(&row, "question"));
        let template = radqa::FewShot::new(number(&row)).unwrap();
        let prompt = template
            .render(&examples, context, question, &ALLOW)
            .unwrap();
        assert_eq!(prompt, row["output"], "template {}", template.number());
    }
}

#[test]
fn radqa_answers_and_targets() {
    for row in rows("radqa answer") {
        let (completion, context) = (text(&row, "completion"), text(&row, "context"));
        assert_eq!(radqa::answer_of(completion), row["output"]);
        assert_eq!(radqa::quoted_answer_of(completion, context), row["quoted"]);
    }
    assert_eq!(radqa::finetuning_target(&["first", "longer one"]), "first");
    assert_eq!(radqa::finetuning_target(&[]), "");
    assert_eq!(radqa::decoder_target(&[], "</s>"), "</s>");
    assert_eq!(radqa::decoder_target(&["ab", "cd", "é"], "<e>"), "ab<e>");
}

#[test]
fn clip_prompts() {
    let stored = &prompts()["clip_icl"];
    let names = clip::Label::ALL.map(clip::Label::name);
    assert_eq!(names[..], texts(stored, "labels"));
    let stored = numbered(&stored["templates"]);
    assert!(stored.keys().eq(&clip::ZeroShot::NUMBERS));
    for (number, text) in stored {
        let template = clip::ZeroShot::new(number).unwrap();
        assert_eq!((template.number(), template.text()), (number, &*text));
    }
    for row in rows("clip zero-shot") {
        let template = clip::ZeroShot::new(number(&row)).unwrap();
        let prompt = template.render(text(&row, "sentence"), &ALLOW).unwrap();
        assert_eq!(prompt, row["output"], "template {}", template.number());
    }
    for row in rows("clip yes-no") {
        let label = text(&row, "label").parse().unwrap();
        let template = clip::YesNo::new(number(&row)).unwrap();
        let prompt = template
            .render(label, text(&row, "sentence"), &ALLOW)
            .unwrap();
        assert_eq!(prompt, row["output"], "template {}", template.number());
    }
    for row in rows("clip few-shot") {
        let examples: Vec<_> = examples(&row)
            .into_iter()
            .map(|[sentence, labels]| clip::Example { sentence, labels })
            .collect();
        let template = clip::FewShot::new(number(&row)).unwrap();
        let prompt = template
            .render(&examples, text(&row, "sentence"), &ALLOW)
            .unwrap();
        assert_eq!(prompt, row["output"], "template {}", template.number());
    }
}

#[test]
fn clip_yes_no_templates() {
    let stored = &prompts()["clip_binary_icl"]["templates"];
    let numbers: Vec<_> = clip::YesNo::NUMBERS.into();
    assert_eq!(stored.as_object().unwrap().len(), numbers.len());
    for number in numbers {
        for label in clip::Label::ALL {
            let text = clip::YesNo::new(number).unwrap().text(label);
            assert_eq!(text, stored[&number.to_string()][label.name()]);
        }
    }
}

#[test]
fn clip_answers() {
    for row in rows("clip target") {
        let labels =
            clip::labels_of_target(text(&row, "target")).map(|set| f64::from(u8::from(set)));
        assert_eq!(serde_json::json!(labels), row["output"]);
    }
    let stored = prompts();
    let map = stored["clip_icl"]["answer_map"].as_object().unwrap();
    assert_eq!(map.len(), clip::ANSWER_MAP.len());
    for (option, label) in clip::ANSWER_MAP {
        assert_eq!(map[option], label.name());
    }
}

#[test]
fn unknown_numbers_name_the_known_ones() {
    let error = mednli::ZeroShot::new(5).unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no MedNLI zero-shot template number 5; \
         the published numbers are [0, 1, 2, 3, 4, 7, 10, 11, 14]"
    );
    assert!(mednli::FewShot::new(0).is_err());
    assert!(radqa::ZeroShot::new(14).is_err());
    assert!(radqa::FewShot::new(13).is_err());
    assert!(clip::ZeroShot::new(5).is_err());
    assert!(clip::FewShot::new(9).is_err());
    assert!(clip::YesNo::new(6).is_err());
}
