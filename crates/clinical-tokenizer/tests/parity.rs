//! The same ids and texts as `transformers`, for every case of `scripts/tokenizer_corpus.py`.

mod common;

use common::{Expected, cases, corpus, fnv, long_text, read};

/// Compares one case and returns what differs.
fn differences(case: &common::Case, lines: &[String]) -> Vec<String> {
    let expected: Expected = read(&format!("expected/{}.json", case.name));
    let tokenizer = case.open();
    let mut out = Vec::new();
    let mut compare = |what: String, wanted: &[u32], found: &[u32]| {
        if wanted != found {
            let names = |ids: &[u32]| {
                ids.iter()
                    .map(|&id| tokenizer.id_to_token(id).unwrap_or_default())
                    .collect::<Vec<_>>()
            };
            out.push(format!(
                "{what}\n  transformers {wanted:?} {:?}\n  here         {found:?} {:?}",
                names(wanted),
                names(found)
            ));
        }
    };
    for (line, wanted) in lines.iter().zip(&expected.ids) {
        compare(
            format!("{} {line:?}", case.name),
            wanted,
            tokenizer.encode(line, true).unwrap().ids(),
        );
    }
    for (line, wanted) in lines.iter().zip(&expected.bare) {
        compare(
            format!("{} bare {line:?}", case.name),
            wanted,
            tokenizer.encode(line, false).unwrap().ids(),
        );
    }
    for (i, j, wanted) in &expected.pairs {
        let found = tokenizer.encode_pair(&lines[*i], &lines[*j], true).unwrap();
        compare(
            format!("{} pair {:?} {:?}", case.name, lines[*i], lines[*j]),
            wanted,
            found.ids(),
        );
    }
    let long = tokenizer
        .encode(&long_text(lines, 6), true)
        .unwrap()
        .into_ids();
    if (long.len(), fnv(&long)) != expected.long {
        out.push(format!(
            "{} long text: {} tokens, {} wanted",
            case.name,
            long.len(),
            expected.long.0
        ));
    }
    if tokenizer.vocab_size() != expected.size {
        out.push(format!(
            "{} size {} wanted {}",
            case.name,
            tokenizer.vocab_size(),
            expected.size
        ));
    }
    for (ids, plain, skipped) in &expected.decode {
        for (wanted, skip) in [(plain, false), (skipped, true)] {
            let found = tokenizer.decode(ids, skip).unwrap();
            if found != *wanted {
                let names: Vec<_> = ids
                    .iter()
                    .map(|&id| tokenizer.id_to_token(id).unwrap_or_default())
                    .collect();
                out.push(format!("{} decode (skip {skip}) {names:?}\n  transformers {wanted:?}\n  here         {found:?}", case.name));
            }
        }
    }
    let special = tokenizer.special();
    let found = |role: &str| match role {
        "bos" => special.bos,
        "eos" => special.eos.first().copied(),
        "unk" => special.unk,
        "sep" => special.sep,
        "pad" => special.pad,
        "cls" => special.cls,
        _ => special.mask,
    };
    for (role, wanted) in &expected.special {
        if found(role).map(u64::from) != wanted.as_u64() {
            out.push(format!(
                "{} {role} is {:?}, wanted {wanted}",
                case.name,
                found(role)
            ));
        }
    }
    out
}

#[test]
fn ids_and_texts_are_those_of_transformers() {
    let lines = corpus();
    let (mut failures, mut strings) = (Vec::new(), 0);
    for case in cases() {
        let found = differences(&case, &lines);
        strings += lines.len();
        failures.extend(found);
    }
    assert!(strings > 10_000);
    assert!(
        failures.is_empty(),
        "{} differences, the first:\n{}",
        failures.len(),
        failures[..failures.len().min(40)].join("\n")
    );
}
