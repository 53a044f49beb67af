//! Which file is used, what the configuration files say, and what is corrected.

mod common;

use std::fs;

use clinical_tokenizer::{
    AddedToken, Error, LowerCase, OpenOptions, Prefer, Tokenizer, TokenizerKind, TokenizerRemark,
};
use common::{Case, case, data};

fn remarks(tokenizer: &Tokenizer) -> Vec<TokenizerRemark> {
    tokenizer.resolution().remarks().to_vec()
}

#[test]
fn asclepius_7b_gets_the_ids_of_its_model_file() {
    let tokenizer = case("asclepius_7b").open();
    let special = tokenizer.special();
    assert_eq!(
        (
            special.unk,
            special.bos,
            special.eos.as_slice(),
            special.pad
        ),
        (Some(0), Some(1), &[2][..], None)
    );
    let found = remarks(&tokenizer);
    for (role, token, id) in [("unk", "<unk>", 0), ("bos", "<s>", 1), ("eos", "</s>", 2)] {
        assert!(
            found.contains(&TokenizerRemark::EmptySpecialToken {
                role,
                used: Some((token.into(), id))
            }),
            "{found:?}"
        );
    }
    // config.json says bos 0, eos 1.
    assert!(found.contains(&TokenizerRemark::WrongIdInConfig {
        role: "bos",
        config: 0,
        tokenizer: 1
    }));
    assert!(found.contains(&TokenizerRemark::WrongIdInConfig {
        role: "eos",
        config: 1,
        tokenizer: 2
    }));
    assert!(found.contains(&TokenizerRemark::LegacyAssumed));
    let text = tokenizer.resolution().to_string();
    assert!(
        text.contains("tokenizer.model") && text.contains("the eos token is an empty string"),
        "{text}"
    );
}

#[test]
fn a_bare_word_list_keeps_its_case() {
    // Bio_ClinicalBERT: vocab.txt and nothing else that speaks of case.
    let directory = case("bert_cased").build();
    let ids = |options: &OpenOptions| {
        let tokenizer = Tokenizer::from_dir_with(directory.path(), options).unwrap();
        (
            tokenizer.encode("Fever", false).unwrap().into_ids(),
            remarks(&tokenizer),
        )
    };
    let (auto, found) = ids(&OpenOptions::new());
    assert!(found.contains(&TokenizerRemark::CaseFromVocabulary { lower_case: false }));
    let (lower, found) = ids(&OpenOptions::new().with_lower_case(LowerCase::Transformers));
    assert!(found.contains(&TokenizerRemark::CaseChosen { lower_case: true }));
    assert_ne!(auto, lower);
    assert_eq!(
        auto,
        ids(&OpenOptions::new().with_lower_case(LowerCase::Never)).0
    );
    assert_eq!(
        lower,
        ids(&OpenOptions::new().with_lower_case(LowerCase::Always)).0
    );

    // A vocabulary without capital letters lower-cases, and the files stand above the vocabulary.
    let small = Case {
        json: Default::default(),
        ..case("bert_uncased")
    }
    .open();
    assert!(remarks(&small).contains(&TokenizerRemark::CaseFromVocabulary { lower_case: true }));
    assert_eq!(
        small.encode("FEVER", false).unwrap(),
        small.encode("fever", false).unwrap()
    );
    let forced = case("bert_forced_lower").open();
    assert!(
        remarks(&forced)
            .iter()
            .all(|remark| !matches!(remark, TokenizerRemark::CaseFromVocabulary { .. }))
    );
}

#[test]
fn tokenizer_json_comes_first_unless_the_slow_one_is_preferred() {
    let directory = case("fast_llama").build();
    fs::copy(
        common::data().join("models/llama.model"),
        directory.path().join("tokenizer.model"),
    )
    .unwrap();
    let fast = Tokenizer::from_dir(directory.path()).unwrap();
    assert_eq!(fast.resolution().kind(), TokenizerKind::TokenizerJson);
    assert!(remarks(&fast).contains(&TokenizerRemark::AlsoPresent {
        file: "tokenizer.model".into()
    }));
    let slow = Tokenizer::from_dir_with(
        directory.path(),
        &OpenOptions::new().with_prefer(Prefer::Slow),
    )
    .unwrap();
    assert_eq!(
        (slow.resolution().kind(), slow.resolution().file()),
        (TokenizerKind::LlamaSentencePiece, "tokenizer.model")
    );
    // One difference between the two: the fast one does not put a second blank before a blank.
    let text = " hello";
    assert_ne!(
        fast.encode(text, true).unwrap().ids(),
        slow.encode(text, true).unwrap().ids()
    );
    assert_eq!(
        fast.encode("plain text", true).unwrap().ids(),
        slow.encode("plain text", true).unwrap().ids()
    );
}

#[test]
fn one_file_can_be_opened_by_name() {
    let directory = case("llama_new").build();
    let by_file = Tokenizer::from_file(directory.path().join("tokenizer.model")).unwrap();
    let by_directory = Tokenizer::from_dir(directory.path()).unwrap();
    assert_eq!(
        by_file.encode("a b", true).unwrap(),
        by_directory.encode("a b", true).unwrap()
    );
    fs::rename(
        directory.path().join("tokenizer.model"),
        directory.path().join("tokenizer.model.v1"),
    )
    .unwrap();
    assert!(Tokenizer::from_file(directory.path().join("tokenizer.model.v1")).is_ok());
    assert!(matches!(
        Tokenizer::from_file(directory.path().join("weights.bin")),
        Err(Error::UnknownFileKind { .. })
    ));
}

#[test]
fn bytes_alone_are_enough() {
    let folder = common::data().join("models/fast_bpe");
    let json = fs::read(folder.join("tokenizer.json")).unwrap();
    let config = fs::read(folder.join("tokenizer_config.json")).unwrap();
    let tokenizer = Tokenizer::from_bytes(&json, Some(&config)).unwrap();
    assert_eq!(
        tokenizer.special().bos,
        tokenizer.token_to_id("<|begin_of_text|>")
    );
    assert_eq!(tokenizer.model_max_length(), Some(8192));
    assert!(
        tokenizer
            .chat_template()
            .unwrap()
            .contains("<|start_header_id|>")
    );
    // Without a configuration the usual names are looked for.
    let bare = Tokenizer::from_bytes(&json, None).unwrap();
    assert_eq!(
        (bare.special().bos, bare.special().eos.len()),
        (tokenizer.special().bos, 1)
    );
    assert!(remarks(&bare).iter().any(|remark| matches!(
        remark,
        TokenizerRemark::InferredSpecialToken { role: "eos", .. }
    )));
}

#[test]
fn a_template_in_a_file_of_its_own_wins() {
    let directory = case("fast_bpe").build();
    fs::write(directory.path().join("chat_template.jinja"), "from a file").unwrap();
    let tokenizer = Tokenizer::from_dir(directory.path()).unwrap();
    assert_eq!(tokenizer.chat_template(), Some("from a file"));
    let saved = tempfile::tempdir().unwrap();
    tokenizer.save(saved.path()).unwrap();
    assert_eq!(
        Tokenizer::from_dir(saved.path()).unwrap().chat_template(),
        Some("from a file")
    );
}

/// `(name, source)` of all templates, and the default one.
fn templates(tokenizer: &Tokenizer) -> (String, Option<String>) {
    let all: Vec<String> = tokenizer
        .chat_templates()
        .map(|(name, source)| format!("{name}={source}"))
        .collect();
    (all.join(" "), tokenizer.chat_template().map(str::to_owned))
}

#[test]
fn named_templates_are_read_from_files_and_from_the_configuration() {
    let directory = case("fast_bpe").build();
    let config = directory.path().join("tokenizer_config.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    json["chat_template"] = serde_json::json!([
        {"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
    fs::write(&config, json.to_string()).unwrap();
    let named = Tokenizer::from_dir(directory.path()).unwrap();
    assert_eq!(
        templates(&named),
        ("tool_use=t default=d".into(), Some("d".into()))
    );
    assert_eq!(named.named_chat_template("tool_use"), Some("t"));
    // Files of their own replace them all, as in transformers.
    let folder = directory.path().join("additional_chat_templates");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("rag.jinja"), "r").unwrap();
    fs::write(folder.join("readme.txt"), "no template").unwrap();
    let without = Tokenizer::from_dir(directory.path()).unwrap();
    assert_eq!(templates(&without), ("rag=r".into(), None));
    assert!(
        remarks(&without).contains(&TokenizerRemark::NoDefaultChatTemplate {
            names: vec!["rag".into()]
        })
    );
    fs::write(directory.path().join("chat_template.jinja"), "c").unwrap();
    let files = Tokenizer::from_dir(directory.path()).unwrap();
    assert_eq!(
        templates(&files),
        ("default=c rag=r".into(), Some("c".into()))
    );
    let named = clinical_tokenizer::files_of(directory.path());
    assert!(named.contains(&"additional_chat_templates/rag.jinja".to_owned()));
    assert!(named.contains(&"chat_template.jinja".to_owned()));
    // And are saved as such.
    let saved = tempfile::tempdir().unwrap();
    files.save(saved.path()).unwrap();
    let again = Tokenizer::from_dir(saved.path()).unwrap();
    assert_eq!(templates(&again), templates(&files));
}

#[test]
fn a_template_that_is_none_keeps_no_tokenizer_from_opening() {
    let directory = case("fast_bpe").build();
    let config = directory.path().join("tokenizer_config.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    json["chat_template"] = serde_json::json!(5);
    fs::write(&config, json.to_string()).unwrap();
    fs::write(directory.path().join("chat_template.jinja"), b"\xff\xfe").unwrap();
    let tokenizer = Tokenizer::from_dir(directory.path()).unwrap();
    assert_eq!(templates(&tokenizer), (String::new(), None));
    for file in ["tokenizer_config.json", "chat_template.jinja"] {
        let file = file.to_owned();
        assert!(remarks(&tokenizer).contains(&TokenizerRemark::ChatTemplateUnreadable { file }));
    }
}

/// `split_special_tokens`, for each way to tokenize: what a text holds is never a special token.
#[test]
fn special_tokens_are_split_where_the_files_ask_for_it() {
    for name in [
        "fast_bpe",
        "fast_t5",
        "llama_legacy_tags",
        "bert_cased_tags",
    ] {
        let directory = case(name).build();
        let config = directory.path().join("tokenizer_config.json");
        let mut json: serde_json::Value = match fs::read(&config) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(_) => serde_json::json!({}),
        };
        let usual = Tokenizer::from_dir(directory.path()).unwrap();
        let special = usual.special().eos.iter().chain(&usual.special().sep);
        let id = *special.clone().next().unwrap();
        let text = usual.id_to_token(id).unwrap();
        assert_eq!(usual.encode(&text, false).unwrap().ids(), [id], "{name}");
        assert!(usual.special_texts().contains(&text), "{name}");
        json["split_special_tokens"] = serde_json::json!(true);
        fs::write(&config, json.to_string()).unwrap();
        let split = Tokenizer::from_dir(directory.path()).unwrap();
        assert!(remarks(&split).contains(&TokenizerRemark::SpecialTokensSplit));
        // As in transformers, BERT's word list still takes one that stands alone.
        let words = name.starts_with("bert");
        let text = if words { format!("a{text}a") } else { text };
        let ids = split.encode(&text, false).unwrap().into_ids();
        assert!(!ids.contains(&id) && ids.len() > 1, "{name}: {ids:?}");
        assert_eq!(split.special_texts().is_empty(), !words, "{name}");
        let saved = tempfile::tempdir().unwrap();
        split.save(saved.path()).unwrap();
        let again = Tokenizer::from_dir(saved.path()).unwrap();
        assert_eq!(
            again.encode(&text, false).unwrap().into_ids(),
            ids,
            "{name}"
        );
    }
}

#[test]
fn special_tokens_have_the_names_that_templates_know() {
    let map = case("asclepius_7b").open().special_tokens_map();
    assert_eq!(map["bos_token"], "<s>");
    assert_eq!(map["eos_token"], "</s>");
    assert!(!map.contains_key("mask_token"));
}

#[test]
fn saved_truncation_and_padding_are_switched_off() {
    let tokenizer = case("fast_bert").open();
    assert!(
        remarks(&tokenizer).contains(&TokenizerRemark::TruncationIgnored)
            && remarks(&tokenizer).contains(&TokenizerRemark::PaddingIgnored)
    );
    assert_eq!(tokenizer.count("a").unwrap(), 3);
    assert_eq!(tokenizer.count(&"a ".repeat(500)).unwrap(), 502);
}

#[test]
fn tokens_beyond_the_model_are_reported() {
    let tokenizer = case("llama_legacy_tags").open();
    assert!(remarks(&tokenizer).contains(&TokenizerRemark::BeyondModel {
        count: 16,
        first: 800,
        last: 815
    }));
    assert_eq!(tokenizer.vocab_size(), 816);
    assert_eq!(tokenizer.special().pad, Some(815));
}

#[test]
fn sentinels_are_found_by_number() {
    let slow = case("t5_legacy").open();
    // Counted down from the end of the vocabulary of 670.
    assert_eq!(
        (slow.sentinel(0), slow.sentinel(99), slow.sentinel(100)),
        (Some(669), Some(570), None)
    );
    assert!(slow.is_special(669));
    let bare = case("bare_t5").open();
    let first = bare.sentinel(0).unwrap();
    assert_eq!(bare.sentinel(99), Some(first + 99));
    assert_eq!(case("llama_legacy").open().sentinel(0), None);
}

#[test]
fn added_tokens_are_found_at_once() {
    for name in [
        "t5_legacy",
        "llama_new",
        "bert_cased",
        "bert_uncased",
        "fast_bpe",
        "fast_t5",
        "roberta",
    ] {
        let mut tokenizer = case(name).open();
        let before = (tokenizer.clone(), tokenizer.vocab_size());
        let known = tokenizer.id_to_token(20).unwrap();
        let list = [
            AddedToken::new("[Sex]"),
            AddedToken::special("<|note|>"),
            AddedToken::new(known.clone()),
            AddedToken::new(""),
        ];
        assert_eq!(tokenizer.add_tokens(&list).unwrap(), 2, "{name}");
        assert_eq!(tokenizer.vocab_size(), before.1 + 2, "{name}");
        let (tag, mark) = (before.1 as u32, before.1 as u32 + 1);
        assert_eq!(
            (
                tokenizer.token_to_id("<|note|>"),
                tokenizer.token_to_id(&known)
            ),
            (Some(mark), Some(20)),
            "{name}"
        );
        let ids = tokenizer
            .encode("x[Sex]y<|note|>", false)
            .unwrap()
            .into_ids();
        assert!(ids.contains(&tag) && ids.contains(&mark), "{name}: {ids:?}");
        assert!(
            tokenizer.is_special(mark) && !tokenizer.is_special(tag),
            "{name}"
        );
        let text = tokenizer.decode(&ids, true).unwrap().to_lowercase();
        assert!(
            text.contains("[sex]") && !text.contains("note"),
            "{name}: {text}"
        );
        // A clone that was made before is not changed.
        assert_eq!(before.0.token_to_id("[Sex]"), None);
        // What cannot be added leaves everything as it was.
        let long = AddedToken::new("x".repeat(600));
        assert!(matches!(
            tokenizer.add_tokens(&[AddedToken::new("[New]"), long]),
            Err(Error::AddedTokens { .. })
        ));
        assert_eq!(
            (tokenizer.token_to_id("[New]"), tokenizer.vocab_size()),
            (None, before.1 + 2),
            "{name}"
        );
    }
}

#[test]
fn missing_and_wrong_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Tokenizer::from_dir(directory.path());
    assert!(matches!(open(), Err(Error::NoTokenizer { .. })));
    assert!(matches!(
        Tokenizer::from_dir(directory.path().join("nowhere")),
        Err(Error::NotADirectory { .. })
    ));
    let write =
        |name: &str, content: &str| fs::write(directory.path().join(name), content).unwrap();
    write("vocab.json", "{}");
    assert!(matches!(open(), Err(Error::NoMerges { .. })));
    // Each byte would be a token.
    for empty in ["", "#version: 0.2\n", "\n\r\n"] {
        fs::write(directory.path().join("merges.txt"), empty).unwrap();
        assert!(matches!(open(), Err(Error::NoMerges { .. })), "{empty:?}");
    }
    write("vocab.txt", "only\nwords\n");
    assert!(matches!(open(), Err(Error::MissingToken { token, .. }) if token == "[UNK]"));
    write(
        "tokenizer.json",
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    );
    assert!(matches!(open(), Err(Error::GitLfsPointer { .. })));
    write("tokenizer.json", "\n<!DOCTYPE html><html>404</html>");
    assert!(matches!(open(), Err(Error::WebPage { .. })));
    write("tokenizer.json", "{");
    assert!(matches!(open(), Err(Error::Json { .. })));
    write("tokenizer_config.json", "[1]");
    assert!(matches!(open(), Err(Error::Json { file, .. }) if file == "tokenizer_config.json"));
    let file = fs::File::create(directory.path().join("tokenizer.json")).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    assert!(matches!(open(), Err(Error::FileTooLarge { .. })));
    fs::create_dir(directory.path().join("special_tokens_map.json")).unwrap();
    write("tokenizer.json", "{}");
    write("tokenizer_config.json", "{}");
    assert!(matches!(open(), Err(Error::NotAFile { .. })));
}

#[test]
#[cfg(unix)]
fn a_link_to_nothing_is_not_a_directory_without_a_tokenizer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokenizer.json");
    std::os::unix::fs::symlink("../blobs/0123", &path).unwrap();
    assert!(matches!(
        Tokenizer::from_dir(directory.path()),
        Err(Error::NotAFile { path: found }) if found == path
    ));
}

/// Opening a pipe would wait for somebody who writes.
#[test]
#[cfg(unix)]
fn a_pipe_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let good = data().join("models/fast_llama/tokenizer.json");
    fs::copy(good, directory.path().join("tokenizer.json")).unwrap();
    let pipe = directory.path().join("tokenizer_config.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    assert!(matches!(
        Tokenizer::from_dir(directory.path()),
        Err(Error::NotAFile { .. })
    ));
}

#[test]
fn a_text_above_the_limit_is_refused() {
    let directory = case("llama_new").build();
    let tokenizer = Tokenizer::from_dir_with(
        directory.path(),
        &OpenOptions::new().with_max_text_bytes(10),
    )
    .unwrap();
    assert!(tokenizer.encode("0123456789", true).is_ok());
    assert!(matches!(
        tokenizer.encode("0123456789a", true),
        Err(Error::TextTooLong {
            bytes: 11,
            limit: 10
        })
    ));
    assert!(matches!(
        tokenizer.encode_pair("012345", "6789a", true),
        Err(Error::TextTooLong { .. })
    ));
    assert!(matches!(
        tokenizer.count("0123456789a"),
        Err(Error::TextTooLong { .. })
    ));
    let usual = Tokenizer::from_dir(directory.path()).unwrap();
    assert!(usual.encode(&"a".repeat(4 << 20), true).is_ok());
    assert!(usual.encode(&"a".repeat((4 << 20) + 1), true).is_err());
}
