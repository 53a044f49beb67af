//! Vectors for CSV files: whole, interrupted, and with hostile files.

use std::fs;
use std::path::{Path, PathBuf};

use clinical_bert::csv::{FileOptions, FileProgress, embed_file};
use clinical_bert::{ClinicalBert, EmbedOptions, Error, LoadOptions, Pooling, Precision};

const NOTES: [(&str, &str); 7] = [
    ("a", "The fever, pain"),
    ("b", "line one\nline \"two\""),
    ("c\nd", ""),
    ("e", "no pain"),
    ("f", "the ct. the ct. the ct."),
    ("g", "0 0 0"),
    ("h", "P"),
];

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bert_old")
}

fn bert() -> ClinicalBert {
    ClinicalBert::load(model(), &LoadOptions::default()).unwrap()
}

fn options() -> FileOptions {
    let mut options = FileOptions::new("TEXT");
    options.id = Some("ROW".to_owned());
    options.chunk = 2;
    options
}

struct Files {
    _dir: tempfile::TempDir,
    input: PathBuf,
    output: PathBuf,
    partial: PathBuf,
}

fn files(notes: &[(&str, &str)]) -> Files {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("notes.csv");
    let mut writer = csv::Writer::from_path(&input).unwrap();
    writer.write_record(["ROW", "TEXT"]).unwrap();
    for (row, text) in notes {
        writer.write_record([row, text]).unwrap();
    }
    writer.flush().unwrap();
    Files {
        input,
        output: dir.path().join("vectors.csv"),
        partial: dir.path().join("vectors.csv.partial"),
        _dir: dir,
    }
}

fn run(files: &Files, options: &FileOptions) -> Result<FileProgress, Error> {
    embed_file(&bert(), &files.input, &files.output, options, |_| {})
}

#[test]
fn rows_are_names_and_vectors() {
    let files = files(&NOTES);
    let mut seen = Vec::new();
    let done = embed_file(
        &bert(),
        &files.input,
        &files.output,
        &options(),
        |progress| seen.push(progress.notes),
    )
    .unwrap();
    assert_eq!((done.notes, done.resumed), (7, 0));
    assert_eq!(done.bytes, fs::metadata(&files.input).unwrap().len());
    assert_eq!(seen, [2, 4, 6, 7]);
    assert!(!files.partial.exists());
    let texts = NOTES.map(|(_, text)| text);
    let expected = texts
        .chunks(2)
        .flat_map(|texts| bert().embed(texts, Pooling::Mean).unwrap());
    let mut reader = csv::Reader::from_path(&files.output).unwrap();
    assert_eq!(&reader.headers().unwrap()[16], "mean_15");
    for ((record, (name, _)), vector) in reader.records().zip(NOTES).zip(expected) {
        let record = record.unwrap();
        assert_eq!(&record[0], name);
        let values: Vec<f32> = record
            .iter()
            .skip(1)
            .map(|value| value.parse().unwrap())
            .collect();
        // Every digit is there.
        assert_eq!(values, vector);
    }
}

#[test]
fn an_interrupted_run_goes_on_from_any_byte() {
    let files = files(&NOTES);
    run(&files, &options()).unwrap();
    let whole = fs::read(&files.output).unwrap();
    fs::remove_file(&files.output).unwrap();
    for cut in (0..=whole.len())
        .step_by(37)
        .chain([whole.len() - 1, whole.len()])
    {
        fs::write(&files.partial, &whole[..cut]).unwrap();
        let done = run(&files, &options()).unwrap();
        assert_eq!(fs::read(&files.output).unwrap(), whole, "cut at byte {cut}");
        if cut == whole.len() {
            assert_eq!(done.resumed, 6);
        }
        fs::remove_file(&files.output).unwrap();
    }
}

#[test]
fn another_run_is_refused_and_nothing_is_lost() {
    let files = files(&NOTES);
    run(&files, &options()).unwrap();
    let whole = fs::read(&files.output).unwrap();
    let lines = whole.split_inclusive(|&byte| byte == b'\n');
    let begun = lines.take(3).collect::<Vec<_>>().concat();
    fs::write(&files.partial, &begun).unwrap();
    // Another pooling.
    let mut other = options();
    other.embed = EmbedOptions::new(Pooling::Cls);
    assert!(matches!(run(&files, &other), Err(Error::OtherRun { .. })));
    // Another precision, of which only the values tell.
    let load = LoadOptions::new().with_precision(Precision::Int8);
    let int8 = ClinicalBert::load(model(), &load).unwrap();
    let refused = embed_file(&int8, &files.input, &files.output, &options(), |_| {});
    assert!(matches!(refused, Err(Error::OtherRun { .. })));
    // Other notes, and fewer notes than there are vectors.
    let changed = self::files(&[("a", "fever"), ("z", "pain")]);
    fs::write(&changed.partial, &begun).unwrap();
    assert!(matches!(
        run(&changed, &options()),
        Err(Error::OtherRun { .. })
    ));
    let none = self::files(&[]);
    fs::write(&none.partial, &begun).unwrap();
    assert!(matches!(
        run(&none, &options()),
        Err(Error::OtherRun { .. })
    ));
    assert_eq!(fs::read(&files.partial).unwrap(), begun);
    assert_eq!(fs::read(&none.partial).unwrap(), begun);
}

#[test]
fn files_that_cannot_be_used_are_errors() {
    let files = files(&NOTES);
    let mut missing = options();
    missing.column = "NOTE".to_owned();
    assert!(matches!(run(&files, &missing), Err(Error::NoColumn { .. })));
    let mut zero = options();
    zero.chunk = 0;
    assert!(matches!(run(&files, &zero), Err(Error::Zero { .. })));
    fs::write(&files.input, "ROW,TEXT\n1,fever\n2\n").unwrap();
    let message = run(&files, &options()).unwrap_err().to_string();
    assert!(
        message.contains("notes.csv") && !message.contains("fever"),
        "{message}"
    );
    fs::write(&files.input, b"ROW,TEXT\n1,\xff\n").unwrap();
    assert!(matches!(run(&files, &options()), Err(Error::Csv { .. })));
    // A quote that never closes must not take the rest of the file into memory.
    let mut endless = b"ROW,TEXT\n1,\"".to_vec();
    endless.resize(65 << 20, b'x');
    fs::write(&files.input, endless).unwrap();
    let message = run(&files, &options()).unwrap_err().to_string();
    assert!(message.contains("missing quote"), "{message}");
    fs::write(&files.input, b"").unwrap();
    assert!(matches!(
        run(&files, &options()),
        Err(Error::NoHeader { .. })
    ));
    // Nothing is read for an output that cannot be.
    for output in [files.input.clone(), files._dir.path().to_owned()] {
        let refused = embed_file(&bert(), &files.input, &output, &options(), |_| {});
        assert!(matches!(refused, Err(Error::Output { .. })));
    }
    fs::remove_file(&files.input).unwrap();
    assert!(matches!(run(&files, &options()), Err(Error::File { .. })));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_needs_its_feature() {
    let mut files = files(&NOTES);
    files.output.set_extension("parquet");
    let message = run(&files, &options()).unwrap_err().to_string();
    assert!(message.contains("--features parquet"), "{message}");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_holds_the_same_names_and_values() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{ListAccessor, RowAccessor};

    let mut files = files(&NOTES);
    run(&files, &options()).unwrap();
    let mut reader = csv::Reader::from_path(&files.output).unwrap();
    let expected: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    files.output.set_extension("parquet");
    run(&files, &options()).unwrap();
    let reader = SerializedFileReader::new(fs::File::open(&files.output).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().collect();
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.into_iter().zip(expected) {
        let row = row.unwrap();
        assert_eq!(row.get_string(0).unwrap(), &expected[0]);
        let vector = row.get_list(1).unwrap();
        assert_eq!(vector.len(), 16);
        for at in 0..16 {
            assert_eq!(vector.get_float(at).unwrap().to_string(), &expected[at + 1]);
        }
    }
    // Nothing else is left.
    let left = fs::read_dir(files._dir.path()).unwrap().count();
    assert_eq!(left, 3);
}
