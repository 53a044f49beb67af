//! Tokenizers trained on invented notes: the published layout, the same bytes however they are trained, beside the
//! trainers of the `tokenizers` crate.
//!
//! With `CLINICAL_TOKENIZER_TRAINED=DIR` the trained tokenizers stay in `DIR`, and `scripts/tokenizer_trained.py DIR`
//! opens them with `transformers`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use clinical_synth::Generator;
use clinical_tokenizer::{Error, Tokenizer, UnigramTraining, WordPieceTraining};
use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::unigram::{Unigram, UnigramTrainer};
use tokenizers::{
    AddedToken, Model, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential,
    OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper, Trainer,
};

fn notes(count: usize) -> Vec<String> {
    let cases = Generator::new(5).with_pairs(0).take(count);
    cases.map(|case| case.note).collect()
}

fn unseen(count: usize) -> Vec<String> {
    let cases = Generator::held_out(6).with_pairs(0).take(count);
    cases.map(|case| case.note).collect()
}

fn unigram(lower_case: bool) -> UnigramTraining {
    UnigramTraining::clinical_t5(lower_case).with_vocab_size(500)
}

fn wordpiece(lower_case: bool) -> WordPieceTraining {
    WordPieceTraining::bert(lower_case).with_vocab_size(600)
}

/// All files of a saved tokenizer.
fn files(tokenizer: &Tokenizer) -> BTreeMap<String, Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    tokenizer.save(directory.path()).unwrap();
    let entries = std::fs::read_dir(directory.path()).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn saved_json(tokenizer: &Tokenizer) -> Value {
    serde_json::from_slice(&files(tokenizer)["tokenizer.json"]).unwrap()
}

/// Words of a text as the parts of a `tokenizer.json` make them.
fn words_of(normalizer: &Value, rule: &Value, notes: &[String]) -> BTreeMap<String, u32> {
    let normalizer: NormalizerWrapper = serde_json::from_value(normalizer.clone()).unwrap();
    let rule: PreTokenizerWrapper = serde_json::from_value(rule.clone()).unwrap();
    let mut counts = BTreeMap::new();
    for line in notes.iter().flat_map(|note| note.split_inclusive('\n')) {
        let mut text = NormalizedString::from(line);
        normalizer.normalize(&mut text).unwrap();
        let mut words = PreTokenizedString::from(text);
        rule.pre_tokenize(&mut words).unwrap();
        for (word, _, _) in words.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    counts.remove("");
    counts
}

#[test]
fn the_same_texts_give_the_same_files() {
    let notes = notes(250);
    let backwards: Vec<&String> = notes.iter().rev().collect();
    for lower_case in [true, false] {
        let first = files(
            &unigram(lower_case)
                .with_threads(1)
                .train(notes.iter())
                .unwrap(),
        );
        for threads in [1, 2, 5, 40] {
            let training = unigram(lower_case).with_threads(threads);
            assert!(
                files(&training.train(notes.iter()).unwrap()) == first,
                "{threads} threads"
            );
        }
        assert!(files(&unigram(lower_case).train(backwards.iter()).unwrap()) == first);

        let first = files(
            &wordpiece(lower_case)
                .with_threads(1)
                .train(notes.iter())
                .unwrap(),
        );
        for threads in [1, 3, 40] {
            let training = wordpiece(lower_case).with_threads(threads);
            assert!(
                files(&training.train(notes.iter()).unwrap()) == first,
                "{threads} threads"
            );
        }
        assert!(files(&wordpiece(lower_case).train(backwards.iter()).unwrap()) == first);
    }
    let other = files(&unigram(true).train(notes[1..].iter()).unwrap());
    assert!(other != files(&unigram(true).train(notes.iter()).unwrap()));
}

#[test]
fn the_layout_is_the_published_one() {
    let path = "tests/data/models/fast_t5/tokenizer.json";
    let published: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let notes = notes(150);
    let tokenizer = unigram(true)
        .with_added_tokens(clinical_deid::SPECIAL_TOKENS)
        .train(notes.iter())
        .unwrap();
    let file = saved_json(&tokenizer);
    for part in [
        "normalizer",
        "pre_tokenizer",
        "post_processor",
        "decoder",
        "truncation",
        "padding",
    ] {
        assert_eq!(file[part], published[part], "{part}");
    }
    for key in ["type", "unk_id", "byte_fallback"] {
        assert_eq!(file["model"][key], published["model"][key], "{key}");
    }
    assert_eq!(file["model"]["vocab"].as_array().unwrap().len(), 500);
    let flags = |file: &Value| -> HashMap<String, Value> {
        let all = file["added_tokens"].as_array().unwrap().iter();
        all.map(|token| {
            let mut token = token.clone();
            token.as_object_mut().unwrap().remove("id");
            (token["content"].as_str().unwrap().to_owned(), token)
        })
        .collect()
    };
    assert_eq!(flags(&file), flags(&published));

    for (id, token) in ["<pad>", "</s>", "<unk>"].into_iter().enumerate() {
        assert_eq!(tokenizer.token_to_id(token), Some(id as u32));
    }
    for n in 0..100 {
        assert_eq!(tokenizer.sentinel(n), Some(500 + n as u32));
    }
    for (token, id) in clinical_deid::SPECIAL_TOKENS.iter().zip(600..) {
        assert_eq!(tokenizer.token_to_id(token), Some(id));
    }
    assert_eq!(tokenizer.vocab_size(), 615);

    let cased = saved_json(&unigram(false).train(notes.iter()).unwrap());
    let mut steps = published["normalizer"]["normalizers"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(steps.pop(), Some(json!({ "type": "Lowercase" })));
    assert_eq!(cased["normalizer"]["normalizers"], Value::Array(steps));

    let bare = unigram(true).with_extra_ids(0).train(notes.iter()).unwrap();
    assert_eq!((bare.vocab_size(), bare.sentinel(0)), (500, None));
    let directory = tempfile::tempdir().unwrap();
    bare.save(directory.path()).unwrap();
    assert_eq!(
        Tokenizer::from_dir(directory.path()).unwrap().vocab_size(),
        500
    );
}

/// Saves a tokenizer and opens it again; both must do the same with notes that it has not seen.
fn saved(name: &str, tokenizer: &Tokenizer, lower_case: bool) {
    let notes = unseen(200);
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("CLINICAL_TOKENIZER_TRAINED");
    let root = kept.as_deref().map_or(temporary.path(), Path::new);
    tokenizer.save(root.join(name)).unwrap();
    let again = Tokenizer::from_dir(root.join(name)).unwrap();
    assert_eq!(again.vocab_size(), tokenizer.vocab_size());
    assert_eq!(again.special(), tokenizer.special());
    let unknown = tokenizer.special().unk.unwrap();
    let mut all = Vec::new();
    for note in &notes {
        let ids = tokenizer.encode(note, true).unwrap().into_ids();
        assert_eq!(again.encode(note, true).unwrap().ids(), ids);
        assert!(!ids.contains(&unknown));
        let bare = |text: &str| -> String { text.split_whitespace().collect() };
        let wanted = if lower_case {
            note.to_lowercase()
        } else {
            note.clone()
        };
        assert_eq!(bare(&again.decode(&ids, true).unwrap()), bare(&wanted));
        all.push(ids);
    }
    if kept.is_some() {
        let expected = json!({ "texts": notes, "ids": all, "size": tokenizer.vocab_size() });
        std::fs::write(root.join(format!("{name}.json")), expected.to_string()).unwrap();
    }
}

#[test]
fn what_is_trained_is_saved_and_opened_again() {
    let notes = notes(250);
    for (lower_case, case) in [(true, "lower"), (false, "cased")] {
        let training = unigram(lower_case);
        saved(
            &format!("t5_{case}"),
            &training.train(notes.iter()).unwrap(),
            lower_case,
        );
        let training = training
            .with_added_tokens(clinical_deid::SPECIAL_TOKENS)
            .with_word_seeds();
        saved(
            &format!("t5_{case}_tags"),
            &training.train(notes.iter()).unwrap(),
            lower_case,
        );
        let training = training.with_extra_ids(0);
        saved(
            &format!("t5_{case}_no_extra"),
            &training.train(notes.iter()).unwrap(),
            lower_case,
        );
        let tokenizer = wordpiece(lower_case).train(notes.iter()).unwrap();
        saved(&format!("bert_{case}"), &tokenizer, lower_case);
        let text = String::from_utf8(files(&tokenizer)["vocab.txt"].clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..5], ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]);
        assert_eq!(lines.len(), 600);
        assert_eq!(lines.iter().collect::<HashSet<_>>().len(), 600);
    }
}

#[test]
fn unigram_pieces_are_those_of_the_tokenizers_crate() {
    const SIZE: usize = 400;
    let notes = notes(400);
    for lower_case in [true, false] {
        let ours = saved_json(
            &unigram(lower_case)
                .with_vocab_size(SIZE)
                .train(notes.iter())
                .unwrap(),
        );
        let words = words_of(&ours["normalizer"], &ours["pre_tokenizer"], &notes);
        let mut trainer = UnigramTrainer::default();
        trainer.show_progress = false;
        trainer.vocab_size = SIZE as u32;
        let special = ["<pad>", "</s>", "<unk>"];
        trainer.special_tokens = special.map(|text| AddedToken::from(text, true)).to_vec();
        let mut model = Unigram::default();
        trainer
            .do_train(words.into_iter().collect(), &mut model)
            .unwrap();
        let theirs: HashMap<String, f64> = model.iter().cloned().collect();
        let ours: Vec<(String, f64)> =
            serde_json::from_value(ours["model"]["vocab"].clone()).unwrap();
        let shared: Vec<_> = ours
            .iter()
            .filter_map(|(text, x)| Some((text, x, theirs.get(text)?)))
            .collect();
        let near = shared.iter().filter(|(_, x, y)| (*x - **y).abs() < 0.02);
        let (shared, near) = (shared.len(), near.count());
        assert_eq!(theirs.len(), SIZE);
        // Pieces that are alike in all numbers go in another order, which moves all scores a little (there it depends
        // on the number of threads), and characters that lost their piece get scores in the order of a hash map there.
        // Measured: 399 and 398 shared; 399 scores equal within 1e-14, and 383 within 0.01.
        assert!(shared >= 390 && near >= 360, "{shared} shared, {near} near");
    }
}

#[test]
fn word_pieces_are_those_of_the_tokenizers_crate() {
    let notes = notes(400);
    for lower_case in [true, false] {
        let tokenizer = wordpiece(lower_case).train(notes.iter()).unwrap();
        let ours: Vec<String> = (0..600)
            .map(|id| tokenizer.id_to_token(id).unwrap())
            .collect();
        let normalizer = json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": lower_case,
        });
        let words = words_of(&normalizer, &json!({ "type": "BertPreTokenizer" }), &notes);
        // Its own numbers for characters depend on a hash map, and they decide between pairs alike: given beforehand.
        let letters: Vec<AddedToken> = ours
            .iter()
            .enumerate()
            .take_while(|(at, token)| {
                *at < 5 || token.trim_start_matches("##").chars().count() == 1
            })
            .map(|(_, token)| AddedToken::from(token.clone(), true))
            .collect();
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(600)
            .min_frequency(2)
            .special_tokens(letters)
            .continuing_subword_prefix("##".into())
            .build();
        let repeated = words
            .iter()
            .flat_map(|(word, count)| (0..*count).map(move |_| word));
        trainer
            .feed(repeated, |word| Ok(vec![word.to_owned()]))
            .unwrap();
        let mut model = BPE::default();
        trainer.train(&mut model).unwrap();
        let theirs: Vec<String> = (0..600).map(|id| model.id_to_token(id).unwrap()).collect();
        assert_eq!(ours, theirs);
    }
}

#[test]
fn word_seeds_make_frequent_words_tokens() {
    let notes = notes(400);
    let training = UnigramTraining::clinical_t5(true).with_vocab_size(450);
    let published = training.train(notes.iter()).unwrap();
    let words = training.with_word_seeds().train(notes.iter()).unwrap();
    for word in ["▁furosemide", "▁metoprolol", "▁discharge"] {
        assert!(words.token_to_id(word).is_some(), "no {word}");
    }
    assert_eq!(published.token_to_id("▁furosemide"), None);
    let tokens = |tokenizer: &Tokenizer| -> usize {
        unseen(50)
            .iter()
            .map(|note| tokenizer.count(note).unwrap())
            .sum()
    };
    assert!(tokens(&words) * 10 < tokens(&published) * 7); // 12,505 and 20,781
}

#[test]
fn what_cannot_be_trained_is_an_error_without_the_text() {
    const NONE: [&str; 0] = [];
    let blank = ["", "\n", " \r\n"];
    let secret = ["xylophone quagmire"; 3];
    let of = |result: Result<Tokenizer, Error>| {
        let error = result.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("xylo") && !text.contains("quag"), "{text}");
        error
    };
    for empty in [&NONE[..], &blank[..2]] {
        let error = of(wordpiece(true).train(empty.iter()));
        assert!(matches!(error, Error::NoTrainingText), "{error}");
    }
    let error = of(unigram(true).train(NONE.iter()));
    assert!(matches!(error, Error::NoTrainingText), "{error}");

    let error = of(unigram(true).with_vocab_size(3).train(secret.iter()));
    assert!(
        matches!(
            error,
            Error::VocabularyBelowSpecial {
                size: 3,
                special: 3
            }
        ),
        "{error}"
    );
    let error = of(wordpiece(true).with_vocab_size(4).train(secret.iter()));
    assert!(
        matches!(
            error,
            Error::VocabularyBelowSpecial {
                size: 4,
                special: 5
            }
        ),
        "{error}"
    );
    let error = of(wordpiece(true)
        .with_vocab_size(usize::MAX)
        .train(secret.iter()));
    assert!(matches!(error, Error::VocabularySize { .. }), "{error}");

    // ▁ x y l o p h n e q u a g m i r
    let error = of(unigram(true).with_vocab_size(18).train(secret.iter()));
    assert!(
        matches!(
            error,
            Error::VocabularyBelowAlphabet {
                size: 18,
                least: 19
            }
        ),
        "{error}"
    );
    assert_eq!(
        unigram(true)
            .with_vocab_size(19)
            .train(secret.iter())
            .unwrap()
            .vocab_size(),
        119
    );
    let error = of(wordpiece(true).with_vocab_size(20).train(secret.iter()));
    assert!(
        matches!(error, Error::VocabularyBelowAlphabet { size: 20, .. }),
        "{error}"
    );

    for error in [
        of(unigram(true).train(secret.iter())),
        of(wordpiece(true).train(secret.iter())),
    ] {
        assert!(
            matches!(error, Error::TooFewTexts { found: 10..=60, .. }),
            "{error}"
        );
    }
    let long = "xylo".repeat(1 << 20) + "x";
    let error = of(unigram(true).train([long].iter()));
    assert!(matches!(error, Error::TextTooLong { .. }), "{error}");
    let many = unigram(true).with_extra_ids(20_000).train(secret.iter());
    assert!(matches!(of(many), Error::AddedTokens { .. }));
}

#[test]
fn odd_texts_are_no_trouble() {
    let mut texts = notes(100);
    texts.push("\0\u{1}\u{FFFD}\u{200D}\u{2028}é日本語😀😀\u{0301}".repeat(3));
    texts.push("x".repeat(200_000)); // no language: left out
    texts.push("[Name] <extra_id_0> </s> [CLS] ## ▁▁".to_owned());
    let unigram = unigram(false).train(texts.iter()).unwrap();
    let wordpiece = wordpiece(false).train(texts.iter()).unwrap();
    for tokenizer in [&unigram, &wordpiece] {
        let again = tokenizer.encode("日本語 😀 wheezing", true).unwrap();
        assert!(again.len() > 5);
    }
    assert_eq!(
        unigram
            .decode(unigram.encode("日本語😀", false).unwrap().ids(), true)
            .unwrap(),
        "日本語😀"
    );
}
