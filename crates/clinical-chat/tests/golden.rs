//! Renderings of Jinja2 as `transformers` sets it up (`scripts/make_chat_golden.py`).

use clinical_chat::{ChatTemplate, Conversation, LocalTime};
use serde_json::{Map, Value};

/// Where this library does otherwise, by the start of a case's name.
const OTHERWISE: &[&str] = &[
    // Jinja2 fails, so there is no prompt; here the expression has a value.
    "1 < 'a'",
    "none < 1",
    "range(3)|tojson",
    "messages|map(attribute='role')|tojson",
    "do, ",
    // Here the expression is an error, in Jinja2 nothing at all (and an error if it is no constant).
    "none[1:]",
    "5[1:]",
    // What Python says of its own objects.
    "'abc'.encode",
    "{'b': 1, 'a': 2}.items(), ",
    "range(3), ",
    "self",
    // Arguments beyond those that a macro names, and defaults from other arguments.
    "macro, ",
    "macro varargs",
    "macro defaults",
    // Functions and filters of web pages.
    "'<b>x</b> y'|striptags",
    "'a b&c'|urlencode",
    "{'a': 1}|xmlattr",
    "'abc'|wordwrap",
    "1234567|filesizeformat",
    "dict([",
    "joiner",
    "cycler",
    "lipsum",
    "1.e3",
    // Names that are not ASCII.
    "non ascii names",
    // `%r` in a format.
    "'%s has",
];

fn rendered(case: &Value, contexts: &str, specials: &Map<String, Value>) -> Option<String> {
    let template = ChatTemplate::new(case["template"].as_str().unwrap(), specials.clone())
        .ok()?
        .with_clock(|| LocalTime::new(2024, 7, 6, 14, 5, 9).unwrap());
    template
        .render(&Conversation::from_json(contexts).unwrap())
        .ok()
}

#[test]
fn renders_what_jinja_renders() {
    let text = include_str!("data/golden.json");
    let golden: Value = serde_json::from_str(text).unwrap();
    let specials = golden["specials"].as_object().unwrap();
    let (mut equal, mut different) = (0, String::new());
    for case in golden["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let context = golden["contexts"][case["context"].as_str().unwrap()]
            .as_str()
            .unwrap();
        let found = rendered(case, context, specials);
        let (template, expected) = (&case["template"], &case["text"]);
        if found.as_deref() == expected.as_str() {
            equal += 1;
        } else if !OTHERWISE.iter().any(|other| name.starts_with(other)) {
            different += &format!("\n{name}\n  {template}\n  jinja {expected}\n  here  {found:?}");
        }
    }
    assert!(different.is_empty(), "{different}");
    assert!(equal > 700);
}
