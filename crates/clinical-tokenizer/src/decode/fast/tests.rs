//! The steps against the decoders of the `tokenizers` crate.

use super::*;
use proptest::prelude::*;
use tokenizers::{Decoder, DecoderWrapper};

fn decoders() -> impl Strategy<Value = String> {
    let one = prop_oneof![
        Just(r#"{"type":"Replace","pattern":{"String":"▁"},"content":" "}"#.to_owned()),
        Just(r#"{"type":"Replace","pattern":{"String":"ab"},"content":"<0x41>"}"#.to_owned()),
        Just(r#"{"type":"ByteFallback"}"#.to_owned()),
        Just(
            r#"{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true}"#
                .to_owned()
        ),
        Just(
            r#"{"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":true}"#
                .to_owned()
        ),
        Just(r###"{"type":"WordPiece","prefix":"##","cleanup":true}"###.to_owned()),
        Just(r#"{"type":"BPEDecoder","suffix":"</w>"}"#.to_owned()),
        (0usize..3)
            .prop_map(|n| format!(r#"{{"type":"Strip","content":" ","start":{n},"stop":0}}"#)),
    ];
    let whole = prop_oneof![
        Just(Vec::new()),
        Just(vec![
            r#"{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}"#
                .to_owned()
        ]),
        Just(vec![r#"{"type":"Fuse"}"#.to_owned()]),
        (0usize..3).prop_map(|n| vec![
            r#"{"type":"Fuse"}"#.to_owned(),
            format!(r#"{{"type":"Strip","content":" ","start":{n},"stop":0}}"#)
        ]),
    ];
    (prop::collection::vec(one, 0..4), whole).prop_map(|(mut steps, whole)| {
        steps.extend(whole);
        format!(r#"{{"type":"Sequence","decoders":[{}]}}"#, steps.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn the_steps_are_those_of_the_engine(
        decoder in decoders(),
        tokens in prop::collection::vec("(▁|##| |ab|</w>|<0x[0-9A-F]{2}>|<0xE4>|<0xBD>|<0xA0>|Ġ|ä|½|ł|n't|'s|\\.|é){1,3}", 1..9),
    ) {
        let engine: DecoderWrapper = serde_json::from_str(&decoder).unwrap();
        let steps = steps(Some(&serde_json::from_str(&decoder).unwrap())).unwrap();
        let (mut stream, mut out) = (FastDecoder::new(&steps), String::new());
        for token in &tokens {
            stream.push(&steps, token, &mut out);
        }
        stream.finish(&steps, &mut out);
        prop_assert_eq!(out, engine.decode(tokens).unwrap());
    }
}

#[test]
fn stripping_the_end_holds_back_no_more_than_it_must() {
    let steps = vec![
        Step::Fuse,
        Step::Strip {
            content: ' ',
            start: 1,
            stop: 2,
        },
    ];
    let (mut stream, mut out) = (FastDecoder::new(&steps), String::new());
    for part in ["", "  a", "   ", ""] {
        stream.push(&steps, part, &mut out);
    }
    assert_eq!(out, " a ");
    stream.finish(&steps, &mut out);
    assert_eq!(out, " a ");
}

#[test]
fn letters_stand_for_all_bytes() {
    let mut seen = [false; 256];
    (0..0x200)
        .filter_map(char::from_u32)
        .filter_map(byte_of_letter)
        .for_each(|b| seen[usize::from(b)] = true);
    assert!(seen.iter().all(|&s| s));
}

#[test]
fn decoders_that_cannot_stream_are_told_apart() {
    let parse = |text: &str| steps(Some(&serde_json::from_str(text).unwrap()));
    assert_eq!(
        parse(r#"{"type":"CTC","pad_token":"<pad>","word_delimiter_token":"|","cleanup":true}"#),
        None
    );
    assert_eq!(
        parse(r#"{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteFallback"}]}"#),
        None
    );
    assert_eq!(steps(None), Some(vec![Step::Blanks, Step::Fuse]));
}
