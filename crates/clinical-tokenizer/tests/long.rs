//! Texts beyond the limit, of which an end is read.

mod common;

use clinical_tokenizer::{Error, OpenOptions, Tokenizer};
use common::case;

/// A limit that is passed by short texts.
const LIMIT: usize = 100_000;

/// Each way to tokenize.
const NAMES: [&str; 6] = [
    "fast_bpe",
    "fast_t5",
    "fast_bert",
    "llama_legacy_tags",
    "t5_new",
    "bert_cased",
];

/// The tokenizer with the limit, and without.
fn both(name: &str) -> [Tokenizer; 2] {
    let directory = case(name).build();
    let with = |options: &OpenOptions| Tokenizer::from_dir_with(directory.path(), options).unwrap();
    [
        with(&OpenOptions::new().with_max_text_bytes(LIMIT)),
        with(&OpenOptions::new()),
    ]
}

fn long_text() -> String {
    let mut text = String::new();
    let mut at = 0u32;
    while text.len() < 8 * LIMIT {
        at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let words = [
            "The patient",
            "denies",
            "pain,",
            "37.2 °C",
            "[Name]",
            "é😀",
            "q6h.\n",
            "Thoracentesis",
        ];
        text.push_str(words[(at >> 16) as usize % words.len()]);
        text.push(' ');
    }
    text
}

#[test]
fn the_start_of_a_long_text_is_that_of_the_whole() {
    let text = long_text();
    for name in NAMES {
        let [limited, free] = both(name);
        assert!(matches!(
            limited.encode(&text, true),
            Err(Error::TextTooLong { .. })
        ));
        let whole = free.encode(&text, true).unwrap();
        for limit in [1, 500, 5_000, 30_000] {
            let start = limited.encode_start(&text, true, limit).unwrap();
            assert!(start.len() > limit, "{name}");
            assert_eq!(start.ids()[..limit], whole.ids()[..limit], "{name} {limit}");
            assert_eq!(
                start.offsets()[..limit],
                whole.offsets()[..limit],
                "{name} {limit}"
            );
            assert!(limited.count_up_to(&text, limit).unwrap() > limit);
        }
        // More than there are.
        let all = limited.encode_start(&text, true, usize::MAX).unwrap();
        assert_eq!(all.ids(), whole.ids(), "{name}");
        assert_eq!(limited.count_up_to(&text, usize::MAX).unwrap(), whole.len());
    }
}

#[test]
fn the_end_of_a_long_text_is_that_of_the_whole() {
    let text = long_text();
    for name in NAMES {
        let [limited, free] = both(name);
        let whole = free.encode(&text, true).unwrap();
        for limit in [1, 500, 5_000] {
            let end = limited.encode_end(&text, true, limit).unwrap();
            assert!(end.len() > limit && end.len() < whole.len(), "{name}");
            let (a, b) = (end.len() - limit, whole.len() - limit);
            assert_eq!(end.ids()[a..], whole.ids()[b..], "{name} {limit}");
            assert_eq!(end.offsets()[a..], whole.offsets()[b..], "{name} {limit}");
        }
        let all = limited.encode_end(&text, true, usize::MAX).unwrap();
        assert_eq!(all, whole, "{name}");
    }
}

#[test]
fn a_long_text_of_few_tokens_is_read_to_its_end() {
    for name in NAMES {
        let [limited, free] = both(name);
        let text = format!("{}fever{}", " ".repeat(3 * LIMIT), "\n".repeat(3 * LIMIT));
        let whole = free.encode(&text, true).unwrap();
        for found in [
            limited.encode_start(&text, true, 1 << 40),
            limited.encode_end(&text, true, 1 << 40),
        ] {
            assert_eq!(found.unwrap(), whole, "{name}");
        }
    }
}

#[test]
fn a_long_text_without_a_blank_is_cut_between_characters() {
    for name in NAMES {
        let [limited, _] = both(name);
        let text = "é".repeat(4 * LIMIT);
        assert!(limited.encode_start(&text, true, 100).is_ok(), "{name}");
        assert!(limited.encode_end(&text, true, 100).is_ok(), "{name}");
    }
}
