//! Hostile and damaged SentencePiece models and word lists: each is a named error and never panics.

mod common;
#[path = "../../../tests/files/memory.rs"]
#[allow(dead_code)]
mod memory;

use std::fs;

use clinical_tokenizer::limits::{MAX_PIECE_BYTES, MAX_VOCABULARY};
use clinical_tokenizer::{
    AddedToken, Error, Piece, PieceKind, SentencePieceKind, SentencePieceModel,
    SentencePieceOptions, Tokenizer,
};
use common::{case, data, exercise};
use memory::{Counting, LIMIT, measure};
use proptest::prelude::*;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MODELS: [&str; 4] = [
    "t5.model",
    "llama.model",
    "odd_bpe.model",
    "odd_unigram.model",
];
fn model(name: &str) -> Vec<u8> {
    fs::read(data().join("models").join(name)).unwrap()
}

/// A field of a message: number, wire type 2, content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(content);
    out
}

fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn piece(text: &[u8], score: f32, kind: u8) -> Vec<u8> {
    let mut out = field(1, text);
    out.push(2 << 3 | 5);
    out.extend(score.to_le_bytes());
    out.extend(number(3, kind));
    field(1, &out)
}

/// A whole model: `<unk>`, `a`, and what is given; unigram unless `trainer` says otherwise.
fn file(pieces: &[Vec<u8>], trainer: &[u8], normalizer: &[u8]) -> Vec<u8> {
    let mut out = piece(b"<unk>", 0.0, 2);
    out.extend(piece(b"a", -1.0, 1));
    out.extend(pieces.concat());
    out.extend(field(2, trainer));
    out.extend(field(3, normalizer));
    out
}

/// The error of a file, which must come within a second.
fn error(bytes: &[u8]) -> Error {
    let (result, cost) = measure(|| SentencePieceModel::from_bytes(bytes));
    assert!(cost.time < LIMIT, "{:?}", cost.time);
    result
        .err()
        .unwrap_or_else(|| panic!("{} bytes were accepted", bytes.len()))
}

#[test]
fn every_rule_of_a_sentencepiece_model_has_its_error() {
    assert!(SentencePieceModel::from_bytes(&file(&[], &[], &[])).is_ok());
    let bad = |pieces: &[Vec<u8>]| error(&file(pieces, &[], &[]));
    assert!(matches!(error(b""), Error::ModelPart { part: "pieces" }));
    assert!(matches!(
        error(&piece(b"<unk>", 0.0, 2)),
        Error::ModelPart {
            part: "trainer specification"
        }
    ));
    assert!(matches!(
        error(&[piece(b"a", 0.0, 1), field(2, &[])].concat()),
        Error::ModelPart {
            part: "normalizer specification"
        }
    ));
    assert!(matches!(
        bad(&[piece(b"", 0.0, 1)]),
        Error::EmptyPiece { index: 2 }
    ));
    assert!(matches!(
        bad(&[piece(b"a", 0.0, 1)]),
        Error::DuplicatePiece {
            first: 1,
            second: 2
        }
    ));
    assert!(matches!(
        bad(&[piece(b"\xff", 0.0, 1)]),
        Error::PieceUtf8 { index: 2 }
    ));
    assert!(matches!(
        bad(&[piece(b"x\0y", 0.0, 1)]),
        Error::NulInPiece { index: 2 }
    ));
    assert!(matches!(
        bad(&[piece(b"x", f32::NAN, 1)]),
        Error::Score { index: 2 }
    ));
    assert!(matches!(
        bad(&[piece(b"x", f32::INFINITY, 1)]),
        Error::Score { index: 2 }
    ));
    assert!(matches!(
        bad(&[piece(b"x", 0.0, 9)]),
        Error::PieceType { index: 2, kind: 9 }
    ));
    assert!(matches!(
        bad(&[piece(b"x", 0.0, 2)]),
        Error::UnknownPieces { found: 2 }
    ));
    assert!(matches!(
        bad(&[piece(b"<0x00>", 0.0, 6)]),
        Error::BytePiece { index: 2, .. }
    ));
    assert!(matches!(
        bad(&[piece(&[b'x'; MAX_PIECE_BYTES + 1], 0.0, 1)]),
        Error::PieceTooLong { index: 2, .. }
    ));
    let with_bytes = number(35, 1);
    let with_bytes = [vec![35 << 3 & 0x7f | 0x80, 2], with_bytes[1..].to_vec()].concat(); // field 35 needs a two-byte key
    assert!(matches!(
        error(&file(&[piece(b"<0x00>", 0.0, 6)], &with_bytes, &[])),
        Error::MissingBytePieces { found: 1 }
    ));
    assert!(matches!(
        error(&file(&[piece(b"<0xg0>", 0.0, 6)], &with_bytes, &[])),
        Error::BytePiece { .. }
    ));
    assert!(
        matches!(error(&file(&[], &number(3, 3), &[])), Error::ModelType { kind } if kind == "word")
    );
    assert!(
        matches!(error(&file(&[], &number(3, 7), &[])), Error::ModelType { kind } if kind == "7")
    );
    assert!(matches!(
        error(&file(&[], &[], &field(2, b"rules"))),
        Error::Charsmap { .. }
    ));
    let denormalizer = [file(&[], &[], &[]), field(5, &field(2, b"rules"))].concat();
    assert!(matches!(error(&denormalizer), Error::Denormalizer));
    let only_controls = [
        piece(b"<unk>", 0.0, 2),
        piece(b"</s>", 0.0, 3),
        field(2, &[]),
        field(3, &[]),
    ]
    .concat();
    assert!(matches!(
        error(&only_controls),
        Error::ModelPart {
            part: "pieces of text"
        }
    ));
    assert!(matches!(error(&[0x0f]), Error::ModelWire { .. }));
    // A vocabulary without end: two bytes for each (empty) piece.
    let endless = [0x0a, 0x00].repeat(MAX_VOCABULARY + 1);
    assert!(matches!(error(&endless), Error::VocabularySize { .. }));
}

#[test]
fn a_model_that_is_cut_off_is_refused() {
    for name in MODELS {
        let bytes = model(name);
        for i in 0..64 {
            let cut = bytes.len() * i / 64;
            assert!(
                SentencePieceModel::from_bytes(&bytes[..cut]).is_err(),
                "{name} cut at {cut} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn damaged_models_never_panic() {
    let opened = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let files: Vec<Vec<u8>> = MODELS.iter().map(|name| model(name)).collect();
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3);
    runner
        .run(
            &(0..MODELS.len(), edits, any::<bool>()),
            |(which, edits, late)| {
                let mut bytes = files[which].clone();
                // Half of the edits go to the end, where the switches and the rules are.
                let from = if late {
                    bytes.len() - bytes.len().min(400)
                } else {
                    0
                };
                for (index, value) in edits {
                    let at = from + index.index(bytes.len() - from);
                    bytes[at] = value;
                }
                if let Ok(model) = SentencePieceModel::from_bytes(&bytes) {
                    opened.set(opened.get() + 1);
                    for options in [SentencePieceOptions::llama(), SentencePieceOptions::t5()] {
                        exercise(&Tokenizer::from_sentencepiece(model.clone(), &options).unwrap());
                    }
                }
                Ok(())
            },
        )
        .unwrap();
    assert!(opened.get() > 60, "only {} of 400 opened", opened.get());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = SentencePieceModel::from_bytes(&bytes);
        let _ = Tokenizer::from_bytes(&bytes, None);
        let _ = Tokenizer::from_bytes(&bytes, Some(&bytes));
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("vocab.txt"), &bytes).unwrap();
        let _ = Tokenizer::from_dir(directory.path());
    }

    #[test]
    fn arbitrary_messages_never_panic(fields in prop::collection::vec((0u8..6, 0u8..8, prop::collection::vec(any::<u8>(), 0..12)), 0..20)) {
        let bytes: Vec<u8> = fields.iter().flat_map(|(number, wire, content)| {
            let mut out = vec![number << 3 | wire];
            if *wire == 2 { out.push(content.len() as u8); }
            out.extend(content);
            out
        }).collect();
        let _ = SentencePieceModel::from_bytes(&bytes);
    }

    #[test]
    fn arbitrary_word_lists_never_panic(lines in prop::collection::vec("(\\[UNK\\]|\\[CLS\\]|\\[SEP\\]|##?[a-c]{0,3}|\\PC{0,4})", 0..40)) {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("{}\n[UNK]\n[CLS]\n[SEP]", lines.join("\n"));
        fs::write(directory.path().join("vocab.txt"), text).unwrap();
        exercise(&Tokenizer::from_dir(directory.path()).unwrap());
    }

    #[test]
    fn arbitrary_pieces_never_panic(
        pieces in prop::collection::vec(("\\PC{1,4}|[ab▁]{1,4}|<s>|</s>", -20.0f32..20.0, 0u8..5), 0..40),
        bpe in any::<bool>(), legacy in any::<bool>(), texts in prop::collection::vec("[ab▁ ]{0,20}|\\PC{0,12}", 0..6),
    ) {
        let mut list = vec![Piece { text: "<unk>".into(), score: 0.0, kind: PieceKind::Unknown }];
        for (text, score, kind) in pieces {
            let kind = [PieceKind::Normal, PieceKind::Control, PieceKind::UserDefined, PieceKind::Unused, PieceKind::Normal][usize::from(kind)];
            if !text.contains('\0') && list.iter().all(|piece| piece.text != text) {
                list.push(Piece { text, score, kind });
            }
        }
        let kind = if bpe { SentencePieceKind::Bpe } else { SentencePieceKind::Unigram };
        let Ok(model) = SentencePieceModel::from_pieces(kind, list, false) else { return Ok(()) };
        let mut options = SentencePieceOptions::llama();
        options.legacy = legacy;
        options.added.push((7, AddedToken::new("ab").strip(true, true)));
        let tokenizer = Tokenizer::from_sentencepiece(model, &options).unwrap();
        exercise(&tokenizer);
        for text in texts {
            let encoding = tokenizer.encode(&text, true).unwrap();
            prop_assert!(encoding.ids().iter().all(|&id| tokenizer.id_to_token(id).is_some()));
        }
    }
}

#[test]
fn hostile_vocabularies_take_little_time() {
    let timed = |what: &str, run: &dyn Fn()| {
        let time = measure(run).1.time;
        assert!(time < LIMIT, "{what} took {time:?}");
    };
    let unk = Piece {
        text: "<unk>".into(),
        score: 0.0,
        kind: PieceKind::Unknown,
    };
    // Every run of `a` is a piece: each position has a thousand matches, each merge a thousand ways.
    let runs = || {
        (1..=MAX_PIECE_BYTES).map(|n| Piece {
            text: "a".repeat(n),
            score: -(n as f32),
            kind: PieceKind::Normal,
        })
    };
    let pieces: Vec<Piece> = std::iter::once(unk).chain(runs()).collect();
    for kind in [SentencePieceKind::Unigram, SentencePieceKind::Bpe] {
        let model = SentencePieceModel::from_pieces(kind, pieces.clone(), false).unwrap();
        let tokenizer =
            Tokenizer::from_sentencepiece(model, &SentencePieceOptions::llama()).unwrap();
        let text = "a".repeat(300_000);
        timed("runs of one letter", &|| {
            assert!(tokenizer.count(&text).unwrap() > 0)
        });
    }
    // Added tokens that almost match everywhere.
    let mut tokenizer = case("llama_new").open();
    let list: Vec<AddedToken> = (1..500)
        .map(|n| AddedToken::new(format!("{}b", "a".repeat(n))))
        .collect();
    tokenizer.add_tokens(&list).unwrap();
    let text = "a".repeat(200_000);
    timed("added tokens that almost match", &|| {
        assert!(tokenizer.count(&text).unwrap() > 0)
    });
    // Words without end, blanks without end, unknown characters without end.
    for name in [
        "bert_uncased",
        "t5_legacy",
        "llama_legacy",
        "odd_bpe_new",
        "fast_llama",
        "fast_bpe",
        "fast_bert",
    ] {
        let tokenizer = case(name).open();
        for text in ["a", " ", "\n", "😀", "é", "[", "[Name]", "</s>"] {
            timed(&format!("{name} {text:?}"), &|| {
                assert!(
                    tokenizer
                        .encode(&text.repeat((400 << 10) / text.len()), true)
                        .is_ok()
                )
            });
        }
    }
}

/// A directory's files may name many tokens; each is looked at once, not beside all others.
#[test]
fn many_added_tokens_take_time_in_proportion() {
    const MANY: usize = 20_000;
    let names: Vec<String> = (0..MANY).map(|n| format!("[tag {n}]")).collect();
    let sources = [
        ("llama.model", "tokenizer.model"),
        ("t5.model", "spiece.model"),
        ("bert_cased.vocab.txt", "vocab.txt"),
        ("fast_bpe/tokenizer.json", "tokenizer.json"),
    ];
    for (name, target) in sources {
        let directory = tempfile::tempdir().unwrap();
        fs::copy(
            data().join("models").join(name),
            directory.path().join(target),
        )
        .unwrap();
        let size = Tokenizer::from_dir(directory.path()).unwrap().vocab_size() as u32;
        let ids: serde_json::Map<String, serde_json::Value> = names
            .iter()
            .zip(size..)
            .map(|(name, id)| (name.clone(), id.into()))
            .collect();
        let tokens: Vec<serde_json::Value> = names
            .iter()
            .map(|name| serde_json::json!({"content": name}))
            .collect();
        for (file, content) in [
            (
                "tokenizer_config.json",
                serde_json::json!({"additional_special_tokens": names}),
            ),
            (
                "special_tokens_map.json",
                serde_json::json!({"additional_special_tokens": tokens}),
            ),
            ("added_tokens.json", ids.into()),
        ] {
            let path = directory.path().join(file);
            fs::write(&path, content.to_string()).unwrap();
            let (tokenizer, cost) = measure(|| Tokenizer::from_dir(directory.path()));
            let tokenizer = tokenizer.unwrap();
            assert!(cost.time < LIMIT, "{name} {file} took {:?}", cost.time);
            let first = tokenizer
                .token_to_id(&names[0])
                .unwrap_or_else(|| panic!("{name} {file}"));
            assert!(first as usize + MANY <= tokenizer.vocab_size());
            for (at, name) in names.iter().enumerate().step_by(999) {
                assert_eq!(tokenizer.token_to_id(name), Some(first + at as u32));
            }
            fs::remove_file(path).unwrap();
        }
    }
}
