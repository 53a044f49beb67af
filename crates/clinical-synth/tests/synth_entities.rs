//! The entities of invented notes: right by the tables, sorted, and as words with BIO labels.

use std::collections::{BTreeMap, HashSet};

use clinical_synth::{Case, Generator, SynthEntity};

fn cases(count: usize) -> impl Iterator<Item = Case> {
    let train = Generator::new(21).with_pairs(60).take(count);
    train.chain(Generator::held_out(22).with_pairs(60).take(count))
}

/// The words quoted in a Rust table of this crate.
fn table(source: &str, name: &str) -> HashSet<String> {
    let start = source.find(name).expect("the table is there");
    let text = &source[start..];
    let end = text.find("\n];").expect("the table ends");
    let quoted = text[..end].split('"').skip(1).step_by(2);
    quoted.map(str::to_owned).collect()
}

fn one_of(text: &str, ends: &[&str]) -> bool {
    let (amount, unit) = text.split_once(' ').unwrap_or_default();
    amount.parse::<f64>().is_ok() && ends.contains(&unit)
}

#[test]
fn each_range_is_what_its_label_says() {
    let outpatient = include_str!("../src/vocab/outpatient.rs");
    let hospital = include_str!("../src/vocab/hospital.rs");
    let words = include_str!("../src/vocab/words.rs");
    let mut drugs = table(outpatient, "DRUGS: &[Drug]");
    drugs.extend(table(words, "ALLERGENS"));
    for other in ["latex", "iodine", "shellfish", "peanuts"] {
        drugs.remove(other);
    }
    let diagnoses = table(hospital, "DIAGNOSES: &[Diagnosis]");
    let antibiotics = table(hospital, "ABX: &");
    let procedures = table(hospital, "PROCEDURES: &");
    let conditions = table(outpatient, "CONDITIONS: &[Condition]");
    let frequencies = table(outpatient, "FREQUENCIES");
    let tests = table(words, "LABS");
    let people = table(words, "SURNAMES");
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases(400) {
        let mut end = 0;
        for SynthEntity { range, label, .. } in case.entities() {
            assert!(range.start >= end && range.end > range.start);
            end = range.end;
            let text = case.note.get(range.clone()).expect("character boundaries");
            assert_eq!(text.trim(), text);
            *found.entry(label).or_default() += 1;
            let right = match *label {
                "DRUG" => {
                    text != "blood transfusion"
                        && (drugs.contains(text)
                            || diagnoses.contains(text)
                            || antibiotics.contains(text))
                }
                "DOSE" => one_of(text, &["mg", "mcg", "units", "puffs"]),
                "FREQUENCY" => frequencies.contains(text),
                "CONDITION" => {
                    let symptoms = ["fall", "abdominal pain", "nausea", "vomiting"];
                    conditions.contains(text)
                        || diagnoses.contains(text)
                        || symptoms.contains(&text)
                }
                "TEST" => tests.contains(text) || ["chest film", "blood count"].contains(&text),
                "DATE" => text.split('/').all(|part| part.parse::<u32>().is_ok()),
                "PERSON" => people.contains(text),
                "PROCEDURE" => procedures.contains(text) || text == "blood transfusion",
                other => panic!("an unknown label {other}"),
            };
            assert!(right, "{label} cannot be {text:?}");
        }
    }
    let labels: Vec<&str> = found.keys().copied().collect();
    assert_eq!(labels, SynthEntity::LABELS);
    assert!(found.values().all(|count| *count > 400), "{found:?}");
}

/// The texts of the entities of one label.
fn texts<'a>(case: &'a Case, label: &str) -> Vec<&'a str> {
    let of = case.entities().iter().filter(|e| e.label == label);
    of.map(|e| &case.note[e.range.clone()]).collect()
}

#[test]
fn what_the_answers_name_is_found() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases(300) {
        for pair in &case.pairs {
            let (label, lead) = match pair.kind.as_str() {
                "medications" => ("DRUG", "The discharge medications are "),
                "history" => ("CONDITION", "The past medical history includes "),
                "tests" => ("TEST", "The reported tests are "),
                "procedure" => ("PROCEDURE", "The patient underwent "),
                _ => continue,
            };
            let list = pair.answer.strip_prefix(lead).expect("a known answer");
            let found = texts(&case, label);
            for item in list.trim_end_matches('.').split(", ") {
                assert!(found.contains(&item), "{item} is not among {found:?}");
            }
            *seen.entry(label).or_default() += 1;
        }
        // Nothing of a closed class is left without a label.
        let known = [
            "metoprolol",
            "warfarin",
            "prednisone",
            "HTN",
            "COPD",
            "b.i.d.",
        ];
        for word in known {
            for (at, _) in case.note.match_indices(word) {
                let inside = case.entities().iter().any(|e| e.range.contains(&at));
                assert!(inside, "{word} has no label");
            }
        }
        assert_eq!(texts(&case, "DOSE").len(), texts(&case, "FREQUENCY").len());
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn words_have_valid_labels_that_give_the_entities_again() {
    for case in cases(300) {
        let lines = case.labelled_words();
        let filled = case.note.lines().filter(|line| !line.trim().is_empty());
        assert_eq!(lines.len(), filled.count());
        let mut spans: Vec<(String, String)> = Vec::new();
        for line in &lines {
            let mut before = "O";
            for (word, label) in line {
                assert!(!word.is_empty() && !word.contains(char::is_whitespace));
                match label.split_once('-') {
                    None => assert_eq!(label, "O"),
                    Some(("B", name)) => spans.push((name.to_owned(), (*word).to_owned())),
                    Some((inside, name)) => {
                        assert_eq!(inside, "I");
                        assert!(before.ends_with(name), "{before} before {label}");
                        let (_, text) = spans.last_mut().expect("a beginning");
                        text.push_str(word);
                    }
                }
                before = label;
            }
        }
        let expected: Vec<(String, String)> = case
            .entities()
            .iter()
            .map(|e| {
                (
                    e.label.to_owned(),
                    case.note[e.range.clone()].replace(' ', ""),
                )
            })
            .collect();
        assert_eq!(spans, expected);
        // Nothing but blanks and line ends is lost.
        let joined: String = lines.iter().flatten().map(|(word, _)| *word).collect();
        assert_eq!(joined, case.note.replace([' ', '\n'], ""));
    }
}

#[test]
fn words_are_cut_by_the_text_alone() {
    // A case without entities has the same words.
    let mut known: HashSet<String> = HashSet::new();
    for case in cases(100) {
        let json = serde_json::to_string(&case).expect("plain data");
        let bare: Case = serde_json::from_str(&json).expect("its own form");
        let words = |case: &Case| -> Vec<String> {
            let all = case.labelled_words().into_iter().flatten();
            all.map(|(word, _)| word.to_owned()).collect()
        };
        assert_eq!(words(&case), words(&bare));
        known.extend(words(&case));
    }
    for word in ["b", "12", "5", "Dr", "daily", "BID", ".", ",", "/", "-"] {
        assert!(known.contains(word), "no word {word:?}");
    }
    // As BERT cuts: letters and digits, or one other character.
    let is_one =
        |word: &String| word.chars().all(char::is_alphanumeric) || word.chars().count() == 1;
    assert!(known.iter().all(is_one));
}

#[test]
fn a_case_from_json_has_no_entities() {
    let case = Generator::new(3).next().expect("endless");
    let json = serde_json::to_string(&case).expect("plain data");
    assert!(!json.contains("entities"));
    let again: Case = serde_json::from_str(&json).expect("its own form");
    assert!(again.entities().is_empty() && !case.entities().is_empty());
    assert!(
        again
            .labelled_words()
            .iter()
            .flatten()
            .all(|(_, label)| label == "O")
    );
}
