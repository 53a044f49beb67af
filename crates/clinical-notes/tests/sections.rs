//! The section splitter against the published one.
//!
//! `data/sections_golden.jsonl` and `data/sections_random.jsonl` hold what the published code
//! returns for invented notes; `scripts/make_sections_golden.py` makes the latter.

use clinical_notes::Error;
use clinical_notes::sections::{Mode, is_title, outline, split};
use proptest::prelude::*;
use serde_json::Value;

fn rows() -> Vec<Value> {
    let files = [
        include_str!("data/sections_golden.jsonl"),
        include_str!("data/sections_random.jsonl"),
    ];
    let lines = files.into_iter().flat_map(str::lines);
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn sections_are_those_of_the_published_code() {
    let (mut published, mut failed) = (0, 0);
    for row in rows() {
        let Some(fixed) = row.get("sections_fixed") else {
            continue;
        };
        let note = row["input"].as_str().unwrap();
        let result = split(note, Mode::Published);
        match row["error"].as_str() {
            None => {
                assert_eq!(
                    serde_json::json!(result.unwrap()),
                    row["sections"],
                    "{note:?}"
                );
                published += 1;
            }
            Some(error) => {
                let expected = match result.unwrap_err() {
                    Error::ListCount => "AttributeError",
                    Error::NothingAfterDates => "IndexError",
                    other => panic!("{other} for {note:?}"),
                };
                assert!(error.starts_with(expected), "{note:?}");
                failed += 1;
            }
        }
        assert_eq!(
            serde_json::json!(split(note, Mode::Fixed).unwrap()),
            *fixed,
            "{note:?}"
        );
    }
    assert!(
        published > 500 && failed > 10,
        "{published} and {failed} notes compared"
    );
}

#[test]
fn titles_are_those_of_the_published_code() {
    let mut titles = 0;
    for row in rows() {
        if let Some(expected) = row.get("is_title") {
            let text = row["input"].as_str().unwrap();
            assert_eq!(is_title(text), expected.as_bool().unwrap(), "{text:?}");
            titles += usize::from(is_title(text));
        }
    }
    assert!(titles > 100);
}

/// What a note says, without white space and with every rule five characters long.
#[test]
fn lines_may_end_as_on_any_system() {
    let note = "Pt seen today.\n\nPlan:\ngo home\n\n1. rest\n2. drink\n";
    let expected = split(note, Mode::Fixed).unwrap();
    assert_eq!(expected.len(), 5);
    for end in ["\r\n", "\r"] {
        let other = note.replace('\n', end);
        assert_eq!(split(&other, Mode::Fixed).unwrap(), expected, "{end:?}");
        let sections = |note: &str| {
            outline(note)
                .iter()
                .map(|section| {
                    note[section.range.clone()]
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .to_owned()
                })
                .collect::<Vec<_>>()
        };
        let firsts: Vec<_> = sections(&other)
            .iter()
            .map(|line| line.split('\r').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(firsts, sections(note), "{end:?}");
        let texts = |note: &str| {
            let found = clinical_notes::sentences::sentences(note);
            found
                .into_iter()
                .map(|range| note[range].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(&other), texts(note), "{end:?}");
    }
    // As published, a paragraph ends at two line feeds alone.
    assert_eq!(split("a\r\n\r\nb", Mode::Published).unwrap().len(), 1);
}

fn said(text: &str) -> String {
    let mut text: String = text.chars().filter(|&c| !is_space(c)).collect();
    for rule in ["-", "_"] {
        let long = rule.repeat(6);
        while text.contains(&long) {
            text = text.replace(&long, &rule.repeat(5));
        }
        // A rule of three or four becomes five; next to another one it cannot be told apart.
        for short in [4, 3] {
            text = text.replace(&rule.repeat(short), &rule.repeat(5));
            while text.contains(&long) {
                text = text.replace(&long, &rule.repeat(5));
            }
        }
    }
    text
}

fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn note() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        1 => any::<String>(),
        6 => prop::sample::select(vec![
            "Admission Date: a Discharge Date: b", "Date of Birth: a Sex: F", "Plan:", "Plan: x", "Meds (at home):\n", "\n", "\n\n", " ",
            "1. a", "2. b", "\n3. c", "\n35 mg", "----", "___", "He feels well. Plan: none", "disp", "Disp:", "\u{663}.", ":", "a\nb",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 0..25).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn fixed_sections_lose_nothing(note in note()) {
        let sections = split(&note, Mode::Fixed).unwrap();
        prop_assert_eq!(said(&sections.concat()), said(&note));
    }

    #[test]
    fn published_sections_never_panic(note in note()) {
        let _ = split(&note, Mode::Published);
        let _ = is_title(&note);
    }

    #[test]
    fn outlines_cover_the_note(note in note()) {
        let mut at = 0;
        for section in outline(&note) {
            prop_assert_eq!(section.range.start, at);
            prop_assert!(section.range.end > at);
            at = section.range.end;
            if let Some(title) = section.title {
                prop_assert!(note[section.range.start..title.start].chars().all(is_space));
                prop_assert!(is_title(&note[title.clone()]) && title.end <= at);
            }
        }
        prop_assert_eq!(at, note.len());
    }
}

#[test]
fn long_notes_take_linear_time() {
    for unit in [
        "Plan:\n",
        "Plan: x\n",
        "(",
        "1. a\n",
        "a\n\n",
        "---",
        "Aa (",
        "Admission Date: ",
        "\n",
        "A b: ",
    ] {
        let note = unit.repeat((1 << 20) / unit.len());
        let _ = (
            split(&note, Mode::Published),
            split(&note, Mode::Fixed).unwrap(),
            outline(&note),
        );
    }
}
