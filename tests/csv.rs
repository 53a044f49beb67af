//! Vectors for the notes of a CSV file: whole, interrupted, as Parquet, and with notes that cannot be read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use clinical_bert::{ClinicalBert, EmbedOptions, LoadOptions, LongText, Pooling, Precision};
use clinical_corpus::{Columns, CsvOptions, Done, Error, Job, Row, Text, Texts, row};

const NOTES: &str = "ROW,TEXT\na,\"The fever, pain\"\nb,\"line one\nline \"\"two\"\"\"\n\"c\nd\",\ne,no pain\nf,the ct. the ct. the ct.\ng,0 0 0\nh,P\n";

fn bert(precision: Precision) -> ClinicalBert {
    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/clinical-bert/tests/data/bert_old");
    ClinicalBert::load(model, &LoadOptions::new().with_precision(precision)).unwrap()
}

struct Paths {
    dir: tempfile::TempDir,
    input: PathBuf,
    output: PathBuf,
}

fn files(output: &str) -> Paths {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("notes.csv");
    fs::write(&input, NOTES).unwrap();
    Paths {
        input,
        output: dir.path().join(output),
        dir,
    }
}

fn texts(files: &Paths) -> Texts<File> {
    Texts::open(&files.input, "TEXT", Some("ROW"), &CsvOptions::new()).unwrap()
}

fn job(pooling: &str) -> Job {
    Job::new(Columns::new().text("id").vector(pooling, 16)).with_chunk(2)
}

fn vector(
    bert: &ClinicalBert,
    text: &str,
    options: &EmbedOptions,
) -> Result<Vec<f32>, clinical_bert::Error> {
    bert.embed_with(&[text], options).swap_remove(0)
}

fn rows(
    bert: &ClinicalBert,
    notes: &[Text],
    options: &EmbedOptions,
) -> Vec<Result<Vec<Row>, clinical_bert::Error>> {
    let of = |note: &Text| Ok(vec![row![&note.id, vector(bert, &note.text, options)?]]);
    notes.iter().map(of).collect()
}

fn run(files: &Paths, bert: &ClinicalBert) -> Result<Done, Error> {
    let options = EmbedOptions::new().with_pooling(Pooling::Mean);
    job("mean").run(texts(files), &files.output, |notes| {
        rows(bert, notes, &options)
    })
}

/// Two chunks, and then an end as if the process were killed.
fn interrupted(files: &Paths, bert: &ClinicalBert) {
    let options = EmbedOptions::new().with_pooling(Pooling::Mean);
    let mut calls = 0;
    let stopped = job("mean").run(texts(files), &files.output, |notes| {
        calls += 1;
        if calls > 2 {
            vec![]
        } else {
            rows(bert, notes, &options)
        }
    });
    assert!(stopped.is_err());
}

#[test]
fn rows_are_names_and_vectors() {
    let (files, bert) = (files("vectors.csv"), bert(Precision::F32));
    let done = run(&files, &bert).unwrap();
    assert_eq!((done.records, done.rows), (7, 7));
    let mut reader = csv::Reader::from_path(&files.output).unwrap();
    assert_eq!(&reader.headers().unwrap()[16], "mean_15");
    let options = EmbedOptions::new().with_pooling(Pooling::Mean);
    for (record, note) in reader.records().zip(texts(&files)) {
        let (record, note) = (record.unwrap(), note.unwrap());
        assert_eq!(&record[0], note.id);
        let values = record.iter().skip(1).map(|value| value.parse().unwrap());
        // Every digit is there.
        let expected = vector(&bert, &note.text, &options).unwrap();
        assert_eq!(values.collect::<Vec<f32>>(), expected);
    }
}

#[test]
fn an_interrupted_run_goes_on_with_the_same_model_alone() {
    let (files, bert) = (files("vectors.csv"), bert(Precision::F32));
    run(&files, &bert).unwrap();
    let whole = fs::read(&files.output).unwrap();
    fs::remove_file(&files.output).unwrap();
    interrupted(&files, &bert);
    // Another precision, of which only the values tell.
    let refused = run(&files, &self::bert(Precision::Int8)).unwrap_err();
    let message = refused.to_string();
    assert!(
        message.contains("another run") && message.contains(".partial"),
        "{message}"
    );
    // Another pooling.
    let options = EmbedOptions::new().with_pooling(Pooling::Cls);
    let refused = job("cls").run(texts(&files), &files.output, |notes| {
        rows(&bert, notes, &options)
    });
    assert!(refused.is_err());
    assert_eq!(run(&files, &bert).unwrap().resumed, 4);
    assert_eq!(fs::read(&files.output).unwrap(), whole);
}

#[test]
fn notes_that_are_too_long_are_named_and_kept_for_later() {
    let (files, bert) = (files("vectors.csv"), bert(Precision::F32));
    fs::write(
        &files.input,
        format!("ROW,TEXT\na,fever\nb,\"{}\"\nc,pain\n", "pain ".repeat(300)),
    )
    .unwrap();
    let options = EmbedOptions::new()
        .with_pooling(Pooling::Mean)
        .with_long_text(LongText::Error);
    let result = job("mean").run(texts(&files), &files.output, |notes| {
        rows(&bert, notes, &options)
    });
    let message = result.unwrap_err().to_string();
    assert!(
        message.starts_with("record 2 (row 2, b) failed: "),
        "{message}"
    );
    let rejected = files.dir.path().join("rejected.csv");
    let job = job("mean").with_rejected(&rejected);
    let done = job
        .run(texts(&files), &files.output, |notes| {
            rows(&bert, notes, &options)
        })
        .unwrap();
    assert_eq!((done.rows, done.rejected), (2, 1));
    let rejected = fs::read_to_string(rejected).unwrap();
    assert!(rejected.contains("2,\"row 2, b\","), "{rejected}");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_written_and_nothing_else_is_left() {
    let (files, bert) = (files("vectors.parquet"), bert(Precision::F32));
    interrupted(&files, &bert);
    assert_eq!(run(&files, &bert).unwrap().rows, 7);
    let bytes = fs::read(&files.output).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    assert_eq!(fs::read_dir(files.dir.path()).unwrap().count(), 2);
}
