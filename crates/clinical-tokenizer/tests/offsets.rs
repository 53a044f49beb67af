//! Offsets: every token covers bytes of the original text.

mod common;

use clinical_tokenizer::TokenizerKind;
use common::{case, cases, corpus};

#[test]
fn offsets_lie_in_the_text_and_never_go_back() {
    let lines = corpus();
    for case in cases() {
        let tokenizer = case.open();
        // The byte-level offsets of the engine may go back by a blank that it trims.
        let engine = matches!(
            tokenizer.resolution().kind(),
            TokenizerKind::TokenizerJson | TokenizerKind::ByteLevelBpe
        );
        for line in &lines {
            let encoding = tokenizer.encode(line, true).unwrap();
            let lengths = [
                encoding.offsets().len(),
                encoding.special().len(),
                encoding.type_ids().len(),
                encoding.sequences().len(),
            ];
            assert_eq!(lengths, [encoding.len(); 4]);
            let mut last = 0;
            for (i, &(start, end)) in encoding.offsets().iter().enumerate() {
                if encoding.special()[i] {
                    assert_eq!(
                        (start, end, encoding.sequences()[i]),
                        (0, 0, None),
                        "{}",
                        case.name
                    );
                    continue;
                }
                assert!(
                    start <= end && end <= line.len(),
                    "{} {line:?} token {i}: {start}..{end}",
                    case.name
                );
                assert!(
                    line.is_char_boundary(start) && line.is_char_boundary(end),
                    "{} {line:?} token {i}: {start}..{end}",
                    case.name
                );
                assert!(
                    engine || last <= start,
                    "{} {line:?} token {i}: {start} after {last}",
                    case.name
                );
                last = start;
            }
        }
    }
}

fn covered(name: &str, text: &str) -> Vec<String> {
    let tokenizer = case(name).open();
    let encoding = tokenizer.encode(text, false).unwrap();
    (0..encoding.len())
        .map(|i| text[encoding.range(i).unwrap()].to_owned())
        .collect()
}

#[test]
fn word_pieces_cover_their_letters() {
    assert_eq!(
        covered("bert_cased", "Fever, [Name] x"),
        ["F", "ever", ",", "[", "Na", "m", "e", "]", "x"]
    );
    assert_eq!(
        covered("bert_cased_tags", "at [Name]."),
        ["at", "[Name]", "."]
    );
    // Lower-casing and composing change lengths: İ is two bytes and becomes three, é may be two characters.
    let text = "İs Cafe\u{301} e";
    let words = covered("bert_uncased", text);
    assert_eq!(words.concat(), "İsCafe\u{301}e");
}

#[test]
fn sentencepiece_tokens_cover_their_text() {
    assert_eq!(covered("llama_legacy", "a  b"), ["a", " ", " b"]);
    assert_eq!(covered("llama_new", " fever"), ["", " fever"]);
    assert_eq!(
        covered("llama_legacy_tags", "at [Name] now"),
        ["at", " ", "[Name]", "", " n", "ow"]
    );
    // NFKC makes three letters of one: each token of them covers it.
    let words = covered("t5_legacy", "oﬃce");
    assert!(
        words[0].is_empty() && words[1].starts_with('o'),
        "{words:?}"
    );
    assert!(
        words.iter().filter(|word| word.ends_with('ﬃ')).count() >= 2,
        "{words:?}"
    );
    // All byte tokens of a character cover all of it.
    assert_eq!(
        covered("llama_new", "你")
            .iter()
            .filter(|word| *word == "你")
            .count(),
        3
    );
}

#[test]
fn the_two_texts_of_a_pair_are_told_apart() {
    for (name, types) in [
        ("bert_cased", vec![0, 0, 0, 1, 1]),
        ("fast_bert", vec![0, 0, 0, 1, 1]),
        ("t5_legacy", vec![0; 4]),
    ] {
        let tokenizer = case(name).open();
        let (first, second) = (if name == "t5_legacy" { "." } else { "," }, ".");
        let encoding = tokenizer.encode_pair(first, second, true).unwrap();
        let texts: Vec<Option<u8>> = encoding
            .sequences()
            .iter()
            .copied()
            .filter(Option::is_some)
            .collect();
        assert!(
            texts.contains(&Some(0)) && texts.contains(&Some(1)),
            "{name}"
        );
        if name != "t5_legacy" {
            assert_eq!(encoding.type_ids(), types, "{name}");
        }
    }
}

#[test]
fn a_batch_is_the_texts_one_by_one() {
    let lines: Vec<String> = corpus().into_iter().cycle().take(20_000).collect();
    let tokenizer = case("llama_new_tags").open();
    let batch = tokenizer.encode_batch(&lines, true).unwrap();
    assert_eq!(batch.len(), lines.len());
    for (line, encoding) in lines.iter().zip(&batch).step_by(37) {
        assert_eq!(*encoding, tokenizer.encode(line, true).unwrap());
        assert_eq!(encoding.len(), tokenizer.count(line).unwrap());
    }
}
