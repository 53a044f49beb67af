//! The look-alike of MedNLI.

use std::fmt::Write as _;

use serde_json::json;

use super::{Patients, StudyFile, name_tag};
use crate::draw::Draw;
use crate::t5;

const NAMES: [&str; 3] = [
    "mli_train_v1.jsonl",
    "mli_dev_v1.jsonl",
    "mli_test_v1.jsonl",
];

pub(super) fn files(mut patients: Patients) -> Vec<StudyFile> {
    let parts = patients.parts(|facts, draw| {
        let (premise, hypothesis, label) = t5::sentences(facts, draw);
        let premise = match draw.below(4) {
            0 => format!("Seen by Dr. {}. {premise}", name_tag(draw)),
            1 => format!(
                "At [**Hospital{} {}**], {premise}",
                draw.range(1, 3),
                draw.range(1, 99)
            ),
            _ => premise,
        };
        line(&premise, &hypothesis, t5::LABELS[label], &pair_id(draw))
    });
    let files = NAMES.into_iter().zip(parts);
    files
        .map(|(name, lines)| StudyFile {
            name: name.to_owned(),
            text: lines.concat(),
        })
        .collect()
}

/// A line with the fields of the published files in their order, as Python's `json.dumps` spaces them.
fn line(premise: &str, hypothesis: &str, label: &str, id: &str) -> String {
    let fields = [
        ("sentence1", premise),
        ("pairID", id),
        ("sentence1_parse", &parse(premise)),
        ("sentence1_binary_parse", &binary_parse(premise)),
        ("sentence2", hypothesis),
        ("sentence2_parse", &parse(hypothesis)),
        ("sentence2_binary_parse", &binary_parse(hypothesis)),
        ("gold_label", label),
    ];
    let fields = fields.map(|(name, value)| format!("\"{name}\": {}", json!(value)));
    format!("{{{}}}\n", fields.join(", "))
}

/// A number as UUIDs are written.
fn pair_id(draw: &mut Draw) -> String {
    let mut part = |most: u64| draw.range(0, most);
    let (a, b, c, d, e) = (
        part(0xffff_ffff),
        part(0xffff),
        part(0xfff),
        part(0xfff),
        part(0xffff_ffff_ffff),
    );
    format!("{a:08x}-{b:04x}-1{c:03x}-8{d:03x}-{e:012x}")
}

/// A tree of the shape that parsers write, without grammar.
fn parse(sentence: &str) -> String {
    let mut tree = String::from("(ROOT (S");
    for word in sentence.split_whitespace() {
        let _ = write!(tree, " (X {word})");
    }
    tree + "))"
}

/// The same in two branches: `( a ( b c ) )`.
fn binary_parse(sentence: &str) -> String {
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let last = words.len().saturating_sub(1);
    let open = words[..last].iter().map(|word| format!("( {word} "));
    let open: String = open.collect();
    format!("{open}{}{}", words.last().unwrap_or(&""), " )".repeat(last))
}
