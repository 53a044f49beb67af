//! Wrong, truncated and hostile files: an error that names file, row and column, and never the text.

mod common;

use clinical_tasks::{Error, MAX_FIELD_BYTES, clip, mednli, radqa};
use common::{Files, SECRET, fails};

fn pair(premise: &str, label: &str, id: &str) -> String {
    format!(
        "{{\"sentence1\": \"{premise}\", \"sentence2\": \"{SECRET} .\", \"gold_label\": \"{label}\", \"pairID\": \"{id}\"}}\n"
    )
}

fn mednli_error(text: impl AsRef<[u8]>, parts: &[&str]) -> Error {
    let files = Files::new().with("mli_train_v1.jsonl", text);
    fails(
        mednli::read(files.path("mli_train_v1.jsonl")),
        "mli_train_v1.jsonl",
        parts,
    )
}

#[test]
fn mednli_files() {
    let good = pair(SECRET, "neutral", "a");
    let files = Files::new().with(
        "mli_train_v1.jsonl",
        format!("\u{feff}{good}\n\r\n{}", pair("x", "entailment", "b")),
    );
    assert_eq!(
        mednli::read(files.path("mli_train_v1.jsonl"))
            .unwrap()
            .len(),
        2
    );

    let error = mednli_error(
        good.clone() + &pair(SECRET, "maybe", "b"),
        &["line 2", "gold_label", "\"maybe\"", "entailment"],
    );
    assert!(matches!(error, Error::UnknownLabel { .. }));
    mednli_error(
        pair("x", &format!("{SECRET} was seen"), "b"),
        &["line 1", "a text of 20 characters"],
    );
    let error = mednli_error(good.clone() + &good, &["line 2", "pairID", "line 1"]);
    assert!(matches!(error, Error::Duplicate { .. }));
    let error = mednli_error(good.clone() + &good[..60], &["line 2", "cut off"]);
    assert!(matches!(error, Error::NotJson { .. }));
    mednli_error(
        good.replace("sentence1", "premise"),
        &["line 1", "sentence1 is missing"],
    );
    mednli_error(
        good.replace("\"neutral\"", "7"),
        &["line 1", "gold_label is not a text"],
    );
    mednli_error(
        pair("  ", "neutral", "a"),
        &["line 1", "sentence1 is blank"],
    );
    mednli_error("[1]\n", &["line 1", "not a JSON object"]);
    mednli_error("\n\n", &["no pair of sentences"]);
    mednli_error(
        format!("sentence1,sentence2\n{SECRET},b\n"),
        &["line 1", "not JSON"],
    );
    let long = "x".repeat(10 << 20);
    let error = mednli_error(
        pair(&long, "neutral", "a"),
        &["line 1", "sentence1", "10485760"],
    );
    assert!(matches!(
        error,
        Error::TooLong {
            limit: MAX_FIELD_BYTES,
            ..
        }
    ));
    // Latin-1, UTF-16, gzip.
    let mut latin = good.clone().into_bytes();
    latin.extend(b"{\"sentence1\": \"\xe9\"}");
    let error = mednli_error(latin, &["line 2", "byte 15", "UTF-8"]);
    assert!(matches!(error, Error::NotText { offset: 15, .. }));
    let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    mednli_error(wide, &["UTF-16"]);
    mednli_error(b"\x1f\x8b\x08\0\0", &["gzip", "unpack"]);
    // The same id in two parts of the data set.
    let files = Files::new()
        .with("mli_train_v1.jsonl", &good)
        .with("mli_dev_v1.jsonl", pair("x", "neutral", "b"))
        .with("mli_test_v1.jsonl", &good);
    fails(
        mednli::read_folder(files.0.path()),
        "mli_test_v1.jsonl",
        &["mli_train_v1.jsonl"],
    );
    fails(mednli::read(files.0.path()), "", &["not a regular file"]);
    fails(
        mednli::read(files.path("none.jsonl")),
        "none.jsonl",
        &["cannot read"],
    );
}

/// A file of one report; `answers` and `more` go into its first question.
fn report(answers: &str, more: &str) -> String {
    format!(
        r#"{{"data": [{{"title": "7", "paragraphs": [{{"context": "é {SECRET} small effusion.", "qas":
        [{{"id": "a", "question": "Any?", "answers": [{answers}]{more}}}]}}]}}]}}"#
    )
}

fn radqa_error(text: impl AsRef<[u8]>, parts: &[&str]) -> Error {
    let files = Files::new().with("train.json", text);
    fails(radqa::read(files.path("train.json")), "train.json", parts)
}

#[test]
fn radqa_files() {
    let answer = r#"{"text": "small effusion", "answer_start": 14}"#;
    let files = Files::new().with("train.json", report(answer, ""));
    let reports = radqa::read(files.path("train.json")).unwrap();
    assert_eq!(reports[0].questions[0].answers[0].range, 16..30);

    let bytes = answer.replace("14", "16");
    let error = radqa_error(
        report(&bytes, ""),
        &[
            "data[0].paragraphs[0].qas[0].answers[0].text",
            "character 16",
            "not bytes",
        ],
    );
    assert!(matches!(error, Error::NotInContext { start: 16, .. }));
    radqa_error(
        report(&answer.replace("14", "99999"), ""),
        &["character 99999"],
    );
    radqa_error(
        report(&answer.replace("14", "-1"), ""),
        &["answer_start is not a whole number"],
    );
    radqa_error(
        report(&answer.replace("text", "Text"), ""),
        &["answers[0].text is missing"],
    );
    radqa_error(report("", ""), &["qas[0].answers is missing"]);
    radqa_error(
        report(answer, r#", "is_impossible": "no""#),
        &["is_impossible is not true or false"],
    );
    let impossible = files.with("train.json", report(answer, r#", "is_impossible": true"#));
    assert!(
        radqa::read(impossible.path("train.json")).unwrap()[0].questions[0]
            .answers
            .is_empty()
    );
    let text = report(answer, "");
    radqa_error(&text.as_bytes()[..text.len() - 4], &["cut off"]);
    radqa_error(
        text.replace("\"paragraphs\"", "\"para\""),
        &["data[0].paragraphs is missing"],
    );
    radqa_error("{\"data\": []}", &["no question"]);
    radqa_error("[]", &["not a JSON object"]);
    radqa_error("[".repeat(100_000), &["line 1"]);
    let open = text.strip_suffix("]}]}]}").unwrap();
    let again = format!("{{\"id\": \"a\", \"question\": \"q\", \"answers\": [{answer}]}}");
    let twice = format!("{open}, {again}]}}]}}]}}");
    let error = radqa_error(twice, &["qas[1].id", "qas[0].id"]);
    assert!(matches!(error, Error::Duplicate { .. }));
    radqa_error(
        text.replace(SECRET, &"x".repeat(10 << 20)),
        &["context", "10485"],
    );
}

#[test]
fn radqa_csv_files() {
    let read = |text: &str, parts: &[&str]| {
        let files = Files::new().with("train.csv", text);
        fails(radqa::read_csv(files.path("train.csv")), "train.csv", parts)
    };
    let header = "id,title,context,question,answers\n";
    let row = format!("a,7,{SECRET} small,Any?,\"{{'text': ['small'], 'answer_start': [12]}}\"\n");
    let files = Files::new().with("train.csv", format!("{header}{row}"));
    assert_eq!(
        radqa::read_csv(files.path("train.csv")).unwrap()[0]
            .questions
            .len(),
        1
    );

    let error = read(
        &format!("{header}{}", row.replace("[12]", "[12")),
        &["row 1", "answers", "byte 39"],
    );
    assert!(matches!(error, Error::NotALiteral { .. }));
    read(
        &format!("{header}{}", row.replace("[12]", "[]")),
        &["row 1", "as many starts"],
    );
    read(
        &format!("{header}{}", row.replace("[12]", "['a']")),
        &["answers.answer_start[0]"],
    );
    read(
        &format!("{header}{}", row.replace("'text'", "'t'")),
        &["answers.text is missing"],
    );
    read(&format!("{header}{row}{row}"), &["row 2", "id", "row 1"]);
    read(
        &format!("id,title,context,question\na,7,{SECRET},q\n"),
        &["none is named answers"],
    );
    read(
        &format!("{header}a,7,{SECRET}\n"),
        &["row 1", "3 columns", "5"],
    );
    read(
        &format!("{header}a,7,\"{SECRET},q,b\n"),
        &["row 1", "cut off"],
    );
    read(header, &["no question"]);
    let long = "x".repeat(10 << 20);
    read(
        &format!("{header}a,7,{long},q,b\n"),
        &["row 1", "context", "10485760"],
    );
}

const HEADER: &str = "doc_id,sent_index,sentence,labels\n";

fn clip_files(sentences: impl AsRef<[u8]>, lists: [&str; 3]) -> Files {
    let files = Files::new().with("sentence_level.csv", sentences);
    let lists = clip::SPLITS.iter().zip(lists);
    lists.fold(files, |files, (name, ids)| files.with(name, ids))
}

fn clip_error(sentences: &str, lists: [&str; 3], file: &str, parts: &[&str]) -> Error {
    let files = clip_files(sentences, lists);
    fails(clip::read_folder(files.0.path()), file, parts)
}

#[test]
fn clip_files_of_every_kind() {
    let row = |id: u64, labels: &str| format!("{id},0,\"['{SECRET}', '.']\",\"{labels}\"\n");
    let lab = "['I-Lab-related followup']";
    let rows = [
        row(3, lab),
        row(1, "[]"),
        row(2, lab),
        row(9, "[]"),
        row(1, lab),
    ]
    .concat();
    let lists = ["1\n", "2\n", "3\n"];
    let good = clip_files(
        format!("{HEADER}{rows}4,0,['  '],[]\n"),
        ["1\n", "2\r\n", "3"],
    );
    let clip = clip::read_folder(good.0.path()).unwrap();
    assert_eq!((&*clip.unassigned, clip.blank_sentences), (&[4, 9][..], 1));
    assert_eq!(clip.notes.train[0].sentences.len(), 2);
    assert_eq!(
        clip.notes.train[0].sentence(1),
        Some(&*format!("{SECRET} ."))
    );

    let sentences = "sentence_level.csv";
    let bad = |row: String, parts: &[&str]| {
        clip_error(&format!("{HEADER}{rows}{row}"), lists, sentences, parts)
    };
    let error = bad(
        row(5, "['I-Lab follow-up']"),
        &["row 6", "labels", "Lab-related followup"],
    );
    assert!(matches!(error, Error::UnknownLabel { .. }));
    bad(
        row(5, &format!("['I-{SECRET} walks']")),
        &["a text of 19 characters"],
    );
    bad(
        row(5, "['I-Lab-related followup'"),
        &["labels", "a comma or the closing bracket", "byte 25"],
    );
    bad(
        row(5, "I-Lab-related followup"),
        &["labels", "a list, a text or a number"],
    );
    bad(row(5, "'x'"), &["labels is not a list"]);
    bad(row(5, "[7]"), &["labels[0] is not a text"]);
    bad(
        format!("x,0,['{SECRET}'],[]\n"),
        &["row 6", "doc_id is not a whole number"],
    );
    bad(format!("5,0,['{SECRET}']\n"), &["row 6", "3 columns"]);
    bad(format!("5,0,\"['{SECRET}'],[]\n"), &["row 6", "cut off"]);
    bad(
        format!("5,0,['{}'],[]\n", "x".repeat(10 << 20)),
        &["row 6", "sentence", "10485764"],
    );
    let no_labels = format!("doc_id,sentence\n1,['{SECRET}']\n");
    clip_error(&no_labels, lists, sentences, &["none is named labels"]);
    clip_error(HEADER, lists, sentences, &["no sentence"]);

    let all = format!("{HEADER}{rows}");
    let error = clip_error(
        &all,
        ["1\n7\n", "2", "3"],
        "train_ids.csv",
        &["line 2", "do not have"],
    );
    assert!(matches!(error, Error::NoNote { .. }));
    let error = clip_error(
        &all,
        ["1", "2", "1"],
        "test_ids.csv",
        &["line 1", "train_ids.csv"],
    );
    assert!(matches!(error, Error::Duplicate { .. }));
    clip_error(
        &all,
        ["doc_id\n1\n", "2", "3"],
        "train_ids.csv",
        &["line 1", "whole number"],
    );
    clip_error(&all, ["1", "", "3"], "val_ids.csv", &["no id of a note"]);
    let latin = [format!("{HEADER}1,0,").as_bytes(), b"['\xe9'],[]\n"].concat();
    fails(
        clip::read_folder(clip_files(latin, lists).0.path()),
        sentences,
        &["sentence", "row 1", "utf-8"],
    );
}
