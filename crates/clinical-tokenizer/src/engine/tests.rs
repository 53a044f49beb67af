//! Texts encoded in parts beside texts encoded whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Engine;
use crate::added::AddedToken;
use crate::backend::Backend;
use crate::open;
use crate::options::OpenOptions;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models")
}

fn engine(backend: Backend) -> Engine {
    match backend {
        Backend::Engine(engine) => *engine,
        other => panic!("no tokenizer.json: {other:?}"),
    }
}

/// The engine of a `tokenizer.json` of the tests, changed.
fn changed(name: &str, change: impl FnOnce(&mut Value)) -> Engine {
    let bytes = fs::read(models().join(name).join("tokenizer.json")).unwrap();
    let mut file: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut file);
    let opened = open::bytes(file.to_string().as_bytes(), None, &OpenOptions::default()).unwrap();
    engine(opened.backend.clone())
}

fn as_it_is(name: &str) -> Engine {
    changed(name, |_| {})
}

/// One of each kind that is cut.
fn kinds() -> Vec<(&'static str, Engine)> {
    let level = |space| json!({"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": true});
    let mut marked = as_it_is("fast_bert");
    let marks = [
        AddedToken::new("[Name]"),
        AddedToken::new("fever").strip(true, false),
        AddedToken {
            single_word: true,
            ..AddedToken::new("mg")
        },
    ];
    marked.add_tokens(&marks).unwrap();
    let digits = json!({"type": "Digits", "individual_digits": true});
    vec![
        ("BERT", as_it_is("fast_bert")),
        ("BERT with added words", marked),
        ("Llama 3", as_it_is("fast_bpe")),
        ("LLaMA, Metaspace", as_it_is("fast_llama")),
        ("T5", as_it_is("fast_t5")),
        (
            "LLaMA, Prepend",
            changed("fast_llama", |file| {
                file["pre_tokenizer"] = Value::Null;
                file["normalizer"] = json!({"type": "Sequence", "normalizers": [
                    {"type": "Prepend", "prepend": "▁"},
                    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                ]});
            }),
        ),
        (
            "GPT-2",
            changed("fast_bpe", |file| {
                file["pre_tokenizer"] = level(false);
                file["post_processor"] = level(true);
            }),
        ),
        (
            "SmolLM2, blank in front",
            changed("fast_bpe", |file| {
                let rules = [digits.clone(), level(true)];
                file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": rules});
                file["post_processor"] = level(true);
            }),
        ),
        (
            "words apart, then Metaspace",
            changed("fast_t5", |file| {
                let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
                file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]});
            }),
        ),
    ]
}

/// Stretches that tokenizers treat in special ways.
const STRETCHES: [&str; 52] = [
    "a",
    "b",
    "fever",
    "Patient",
    "mg",
    "BP",
    "1",
    "12",
    "2024",
    "x9",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    ".",
    ",",
    "---",
    "'s",
    "'LL",
    "(",
    "é",
    "e\u{301}",
    "\u{301}",
    "İ",
    "ﬁ",
    "Ａ",
    "½",
    "発",
    "熱 ",
    "😀",
    "👩\u{200d}⚕️",
    "\u{600}",
    "\u{200f}",
    "\u{feff}",
    "\0",
    "\u{7f}",
    "\u{fffd}",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "▁",
    "▁▁",
    "Ġ",
    "[Name]",
    "[MASK]",
    "</s>",
    "<unk>",
    "<|eot_id|>",
    "[",
];

fn texts() -> impl Strategy<Value = String> {
    let stretch = prop_oneof![
        // Blanks between letters are where texts are cut.
        3 => prop::sample::select(vec![" a", " fever", " 3 4", " mg", "x", "9"]).prop_map(str::to_owned),
        4 => prop::sample::select(STRETCHES.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(stretch, 0..40).prop_map(|stretches| stretches.concat())
}

/// An engine that does not cut, and the same with parts of several sizes.
struct Pair {
    name: &'static str,
    whole: Engine,
    cut: Vec<Engine>,
}

static PAIRS: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    let pair = |(name, engine): (&'static str, Engine)| {
        let cut = |part_bytes| {
            let mut cut = engine.clone();
            let cuts = cut.cuts.as_mut();
            cuts.unwrap_or_else(|| panic!("{name} is not cut"))
                .part_bytes = part_bytes;
            cut
        };
        Pair {
            name,
            cut: [1, 5, 20].map(cut).into(),
            whole: Engine {
                cuts: None,
                ..engine
            },
        }
    };
    kinds().into_iter().map(pair).collect()
});

/// Both ways agree, and what is read of a long text keeps its promise.
fn compare(name: &str, cut: &Engine, whole: &Engine, text: &str, limit: usize) {
    let encode = |engine: &Engine, enough| engine.encode(text, None, true, enough).unwrap();
    let wanted = encode(whole, usize::MAX);
    assert_eq!(encode(cut, usize::MAX), wanted, "{name}: {text:?}");
    assert_eq!(cut.count(text, true).unwrap(), wanted.len(), "{name}");
    let pair = |engine: &Engine| engine.encode(text, Some(text), true, limit).unwrap();
    assert_eq!(pair(cut), pair(whole), "{name}: {text:?}");
    let start = encode(cut, limit);
    if wanted.len() <= limit {
        assert_eq!(start, wanted, "{name}: {text:?}");
        return;
    }
    assert!(start.len() > limit, "{name}: {text:?}");
    assert_eq!(
        start.ids()[..limit],
        wanted.ids()[..limit],
        "{name}: {text:?}"
    );
    assert_eq!(
        start.offsets()[..limit],
        wanted.offsets()[..limit],
        "{name}: {text:?}"
    );
}

proptest! {
    #[test]
    fn parts_give_the_tokens_of_the_whole(text in texts(), limit in 0usize..60) {
        for pair in PAIRS.iter() {
            for cut in &pair.cut {
                compare(pair.name, cut, &pair.whole, &text, limit);
            }
        }
    }
}

#[test]
fn a_whole_text_is_what_the_engine_gives() {
    for (name, engine) in kinds() {
        for text in STRETCHES {
            let text = format!("{text}a {text} b{text}");
            let wanted = engine.inner.encode(text.as_str(), true).unwrap();
            let found = engine.encode(&text, None, true, usize::MAX).unwrap();
            assert_eq!(found.ids(), wanted.get_ids(), "{name}: {text:?}");
        }
    }
}

#[test]
fn what_is_not_known_to_be_independent_stays_whole() {
    let cuts = |change: fn(&mut Value)| changed("fast_t5", change).cuts;
    assert!(cuts(|_| {}).is_some());
    assert_eq!(cuts(|file| file["pre_tokenizer"] = Value::Null), None);
    assert_eq!(
        cuts(|file| file["normalizer"] =
            json!({"type": "Strip", "strip_left": true, "strip_right": true})),
        None
    );
    let rule =
        |pattern: &str| json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": " "});
    assert!(
        changed("fast_t5", |file| file["normalizer"] = rule(" {2,}"))
            .cuts
            .is_some()
    );
    assert_eq!(
        changed("fast_t5", |file| file["normalizer"] = rule("a b")).cuts,
        None
    );
    let mut engine = as_it_is("fast_t5");
    engine.add_tokens(&[AddedToken::new("with blank")]).unwrap();
    assert_eq!(engine.cuts, None);
    // A piece that goes on over a blank.
    let over = |file: &mut Value| {
        file["model"]["vocab"]["a▁b"] = json!(100_000);
        file["added_tokens"] = json!([]);
    };
    assert!(as_it_is("fast_llama").cuts.is_some());
    assert_eq!(changed("fast_llama", over).cuts, None);
}
