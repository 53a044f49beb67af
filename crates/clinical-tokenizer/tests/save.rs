//! A saved tokenizer opens again with the same ids, here and in Python: with `CLINICAL_TOKENIZER_SAVE=DIR` the saved
//! directories stay in `DIR`, and `scripts/tokenizer_saved.py DIR` opens them with `transformers`.

mod common;

use clinical_tokenizer::{AddedToken, SentencePieceModel, SentencePieceOptions, Tokenizer};
use common::{cases, corpus};

#[test]
fn what_is_saved_opens_again_as_it_was() {
    let lines = corpus();
    for case in cases() {
        let tokenizer = case.open();
        let temporary = tempfile::tempdir().unwrap();
        let kept = std::env::var_os("CLINICAL_TOKENIZER_SAVE")
            .map(|root| std::path::Path::new(&root).join(&case.name));
        let directory = kept.unwrap_or_else(|| temporary.path().join("new/folder"));
        tokenizer.save(&directory).unwrap();
        let again = Tokenizer::from_dir(&directory)
            .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(again.vocab_size(), tokenizer.vocab_size(), "{}", case.name);
        assert_eq!(again.special(), tokenizer.special(), "{}", case.name);
        for line in &lines {
            let wanted = tokenizer.encode(line, true).unwrap();
            assert_eq!(
                again.encode(line, true).unwrap(),
                wanted,
                "{} {line:?}",
                case.name
            );
            for skip in [false, true] {
                let text = tokenizer.decode(wanted.ids(), skip).unwrap();
                assert_eq!(
                    again.decode(wanted.ids(), skip).unwrap(),
                    text,
                    "{} {line:?}",
                    case.name
                );
            }
        }
        assert!(
            again
                .resolution()
                .remarks()
                .iter()
                .all(|remark| !remark.to_string().contains("empty string")),
            "{}",
            case.name
        );
    }
}

#[test]
fn tokens_added_later_are_saved_too() {
    for name in [
        "t5_legacy",
        "llama_new",
        "bert_uncased",
        "fast_t5",
        "fast_bpe",
        "roberta",
    ] {
        let mut tokenizer = common::case(name).open();
        tokenizer
            .add_tokens(&[
                AddedToken::new("[Sex]"),
                AddedToken::special("<|note|>"),
                AddedToken::new("[Ward]").strip(true, true),
            ])
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        // Twice into one folder: the second replaces the first.
        tokenizer.save(directory.path()).unwrap();
        tokenizer.save(directory.path()).unwrap();
        let again = Tokenizer::from_dir(directory.path()).unwrap();
        let text = "x [Sex] y<|note|> in [Ward] z";
        assert_eq!(
            again.encode(text, true).unwrap(),
            tokenizer.encode(text, true).unwrap(),
            "{name}"
        );
        assert_eq!(again.special(), tokenizer.special(), "{name}");
        let left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            left.iter()
                .all(|name| !name.to_string_lossy().ends_with(".part")),
            "{left:?}"
        );
    }
}

#[test]
fn a_model_that_was_put_together_is_saved_as_a_model_file() {
    let bytes = std::fs::read(common::data().join("models/llama.model")).unwrap();
    let model = SentencePieceModel::from_bytes(&bytes).unwrap();
    let parts =
        SentencePieceModel::from_pieces(model.kind(), model.pieces().to_vec(), true).unwrap();
    let mut options = SentencePieceOptions::llama();
    options.legacy = false;
    options.added.push((800, AddedToken::new("[Name]")));
    let tokenizer = Tokenizer::from_sentencepiece(parts, &options).unwrap();
    let directory = tempfile::tempdir().unwrap();
    tokenizer.save(directory.path()).unwrap();
    let again = Tokenizer::from_dir(directory.path()).unwrap();
    for line in corpus() {
        assert_eq!(
            again.encode(&line, true).unwrap(),
            tokenizer.encode(&line, true).unwrap(),
            "{line:?}"
        );
    }
}
