//! Tokenizers from the parts of a GGUF file: every rule has its error. That their ids are right is tested where such
//! files are read (`crates/asclepius/tests/gguf.rs`, `crates/clinical-bert/tests/facade.rs`).

use clinical_tokenizer::{Error, OpenOptions, Tokenizer, TokenizerRemark, Vocabulary};

fn open(vocabulary: &Vocabulary) -> Result<Tokenizer, Error> {
    Tokenizer::from_vocabulary(vocabulary, &OpenOptions::default())
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn llama() -> Vocabulary {
    Vocabulary {
        model: "llama".into(),
        tokens: texts(&["<unk>", "<s>", "</s>", "▁", "a", "▁a", "[Name]"]),
        scores: vec![0.0, 0.0, 0.0, -3.0, -4.0, -1.0, -1000.0],
        kinds: vec![2, 3, 3, 1, 1, 1, 4],
        roles: vec![("unk", 0), ("bos", 1), ("eos", 2)],
        ..Vocabulary::default()
    }
}

fn gpt2() -> Vocabulary {
    Vocabulary {
        model: "gpt2".into(),
        pre: Some("llama-bpe".into()),
        tokens: texts(&["a", "b", "Ġ", "ab", "<end>"]),
        kinds: vec![1, 1, 1, 1, 3],
        merges: texts(&["a b"]),
        roles: vec![("eos", 4)],
        add_eos: Some(true),
        ..Vocabulary::default()
    }
}

fn bert() -> Vocabulary {
    Vocabulary {
        model: "bert".into(),
        tokens: texts(&[
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁un", "able", "▁[", "]",
        ]),
        kinds: vec![3, 3, 3, 3, 3, 1, 1, 1, 1],
        roles: vec![("bos", 2), ("sep", 3), ("pad", 0), ("mask", 4), ("unk", 1)],
        ..Vocabulary::default()
    }
}

fn ids(vocabulary: &Vocabulary, text: &str) -> Vec<u32> {
    open(vocabulary)
        .unwrap()
        .encode(text, true)
        .unwrap()
        .into_ids()
}

#[test]
fn each_kind_encodes() {
    assert_eq!(ids(&llama(), "a a[Name]"), [1, 5, 5, 6]);
    let without = Vocabulary {
        add_bos: Some(false),
        add_eos: Some(true),
        ..llama()
    };
    assert_eq!(ids(&without, "a"), [5, 2]);
    assert_eq!(ids(&gpt2(), "ab a"), [3, 2, 0, 4]);
    assert_eq!(ids(&bert(), "unable [MASK]"), [2, 5, 6, 4, 3]);
    // A bracket alone is a word like any other.
    assert_eq!(open(&bert()).unwrap().token_to_id("["), Some(7));
    assert_eq!(open(&bert()).unwrap().token_to_id("##]"), Some(8));
}

#[test]
fn each_rule_has_its_error() {
    let part = |change: &dyn Fn(&mut Vocabulary), of: Vocabulary| {
        let mut changed = of;
        change(&mut changed);
        matches!(open(&changed), Err(Error::VocabularyPart { .. }))
    };
    assert!(part(&|v| v.scores.clear(), llama()));
    assert!(part(&|v| v.scores.truncate(3), llama()));
    assert!(part(&|v| v.kinds.push(1), llama()));
    assert!(part(&|v| v.roles.push(("pad", 7)), llama()));
    assert!(part(&|v| v.tokens[1] = "a".into(), gpt2()));
    assert!(part(&|v| v.tokens[6] = "a\nb".into(), bert()));
    let refused = |change: &dyn Fn(&mut Vocabulary), of: Vocabulary| {
        let mut changed = of;
        change(&mut changed);
        open(&changed).expect_err("must be refused")
    };
    assert!(matches!(
        refused(&|v| v.model = "rwkv".into(), llama()),
        Error::VocabularyModel { found } if found == "rwkv"
    ));
    assert!(matches!(
        refused(&|v| v.pre = Some("chatglm-bpe".into()), gpt2()),
        Error::PreTokenizer { .. }
    ));
    assert!(matches!(
        refused(&|v| v.pre = None, gpt2()),
        Error::PreTokenizer { .. }
    ));
    assert!(matches!(
        refused(&|v| v.merges.push("ab".into()), gpt2()),
        Error::MergeLine { line: 2 }
    ));
    // A merge whose result is no token.
    assert!(
        open(&Vocabulary {
            merges: texts(&["b a"]),
            ..gpt2()
        })
        .is_err()
    );
    assert!(matches!(
        refused(&|v| v.kinds[3] = 9, llama()),
        Error::PieceType { index: 3, .. }
    ));
    assert!(matches!(
        refused(&|v| v.scores[4] = f32::NAN, llama()),
        Error::Score { index: 4 }
    ));
    assert!(
        open(&Vocabulary {
            model: "gpt2".into(),
            pre: Some("smollm".into()),
            ..Vocabulary::default()
        })
        .is_err()
    );
    assert!(
        open(&Vocabulary {
            model: "bert".into(),
            ..Vocabulary::default()
        })
        .is_err()
    );
}

#[test]
fn byte_level_without_merges_is_refused() {
    let without = Vocabulary {
        merges: Vec::new(),
        ..gpt2()
    };
    let error = open(&without).unwrap_err();
    assert!(matches!(error, Error::NoVocabularyMerges));
    assert!(
        error
            .to_string()
            .contains("tokenizer.json of the model beside"),
        "{error}"
    );
}

#[test]
fn advice_about_an_unknown_split_can_be_followed() {
    let error = open(&Vocabulary {
        pre: None,
        ..gpt2()
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("put the tokenizer.json of the model beside the file"),
        "{error}"
    );
    assert!(!error.contains("  "), "{error}");
}

/// A `tokenizer.json` beside the vocabulary, with these tokens.
fn beside(vocabulary: &Vocabulary) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    open(vocabulary).unwrap().save(folder.path()).unwrap();
    folder
}

#[test]
fn the_file_beside_a_vocabulary_says_how_text_is_split() {
    let folder = beside(&gpt2());
    for lacking in [
        Vocabulary {
            pre: None,
            chat_template: Some("t".into()),
            ..gpt2()
        },
        Vocabulary {
            pre: Some("chatglm-bpe".into()),
            ..gpt2()
        },
        Vocabulary {
            merges: Vec::new(),
            ..gpt2()
        },
    ] {
        let found = Tokenizer::from_vocabulary_in(&lacking, folder.path(), &OpenOptions::default());
        let found = found.unwrap();
        assert_eq!(
            found.encode("ab a", true).unwrap().ids(),
            ids(&gpt2(), "ab a")
        );
        assert!(
            found
                .resolution()
                .remarks()
                .contains(&TokenizerRemark::FileBesideVocabulary)
        );
        assert_eq!(found.chat_template(), lacking.chat_template.as_deref());
    }
    // What a vocabulary says itself is not looked for elsewhere, and without a file the first error stands.
    let whole = Tokenizer::from_vocabulary_in(&gpt2(), folder.path(), &OpenOptions::default());
    assert_eq!(whole.unwrap().resolution().file(), "(vocabulary)");
    let empty = tempfile::tempdir().unwrap();
    let lacking = Vocabulary {
        pre: None,
        ..gpt2()
    };
    let missing = Tokenizer::from_vocabulary_in(&lacking, empty.path(), &OpenOptions::default());
    assert!(matches!(missing, Err(Error::PreTokenizer { .. })));
}

#[test]
fn the_file_beside_a_vocabulary_must_have_its_tokens() {
    let other = Vocabulary {
        tokens: texts(&["b", "a", "Ġ", "ab", "<end>"]),
        pre: None,
        ..gpt2()
    };
    let found =
        Tokenizer::from_vocabulary_in(&other, beside(&gpt2()).path(), &OpenOptions::default());
    assert!(matches!(found, Err(Error::OtherTokens { id: 0 })));
}

#[test]
fn kinds_that_are_missing_are_told_from_texts_and_roles() {
    let vocabulary = Vocabulary {
        tokens: texts(&["a", "b", "Ġ", "ab", "<end>", "<|im_start|>"]),
        kinds: Vec::new(),
        ..gpt2()
    };
    let tokenizer = open(&vocabulary).unwrap();
    assert_eq!(
        tokenizer.encode("<|im_start|>ab", true).unwrap().ids(),
        [5, 3, 4]
    );
    let remark = TokenizerRemark::KindsFromTexts { special: 2 };
    assert!(tokenizer.remarks(6).contains(&remark));
    // SentencePiece: the unknown piece and the bytes have names.
    let mut vocabulary = Vocabulary {
        kinds: Vec::new(),
        roles: vec![("bos", 1), ("eos", 2)],
        ..llama()
    };
    let bytes = (0..=255u8).map(|byte| format!("<0x{byte:02X}>"));
    vocabulary.tokens.extend(bytes);
    vocabulary.scores.resize(vocabulary.tokens.len(), 0.0);
    let tokenizer = open(&vocabulary).unwrap();
    assert_eq!(tokenizer.special().unk, Some(0));
    assert_eq!(tokenizer.encode("a\n", true).unwrap().ids(), [1, 5, 7 + 10]);
}

#[test]
fn switches_that_no_bert_knows_are_refused() {
    for off in [
        Vocabulary {
            add_bos: Some(false),
            ..bert()
        },
        Vocabulary {
            add_eos: Some(false),
            ..bert()
        },
    ] {
        assert!(matches!(open(&off), Err(Error::VocabularyPart { .. })));
    }
}

#[test]
fn a_template_from_a_vocabulary_is_saved() {
    let with = Vocabulary {
        chat_template: Some("{{ messages }}".into()),
        ..gpt2()
    };
    let again = Tokenizer::from_dir(beside(&with).path()).unwrap();
    assert_eq!(again.chat_template(), Some("{{ messages }}"));
}
