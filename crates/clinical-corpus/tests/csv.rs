//! Jobs: whole, interrupted, with bad records, and with hostile files.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};

use clinical_corpus::{
    Columns, CsvOptions, Done, Error, Job, Row, Text, Texts, Value, row, unique,
};
use clinical_files::Error as Files;
use clinical_notes::corpus::{Duplicates, mimic_iii};

const NOTES: &str = "ROW,TEXT\na,\"The fever, pain\"\nb,\"line one\nline \"\"two\"\"\"\n\"c\nd\",\ne,no pain\nf,the ct. the ct.\ng,0\nh,P\n";

struct Paths {
    dir: tempfile::TempDir,
    input: PathBuf,
    output: PathBuf,
}

fn files(notes: impl AsRef<[u8]>, output: &str) -> Paths {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("notes.csv");
    fs::write(&input, notes).unwrap();
    Paths {
        input,
        output: dir.path().join(output),
        dir,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[derive(Debug, thiserror::Error)]
#[error("the note is empty")]
struct Empty;

/// How the size of a chunk changes the last digits of a number.
fn in_a_chunk_of(records: usize) -> f32 {
    1.0 + records as f32 * 1e-6
}

/// A row for each word.
fn words(notes: &[Text], factor: f32) -> Vec<Result<Vec<Row>, Infallible>> {
    let factor = factor * in_a_chunk_of(notes.len());
    let of = |note: &Text| {
        let words = note.text.split_whitespace();
        words
            .map(|word| {
                let length = word.len() as f32 * factor;
                row![
                    &note.id,
                    word,
                    word.len(),
                    length,
                    vec![length, 1.0],
                    word.len() > 3,
                    None::<f64>
                ]
            })
            .collect()
    };
    notes.iter().map(|note| Ok(of(note))).collect()
}

fn job() -> Job {
    let columns = Columns::new()
        .text("id")
        .text("word")
        .integer("length")
        .float("score");
    Job::new(columns.vector("v", 2).flag("long").double("none")).with_chunk(2)
}

fn texts(files: &Paths) -> Texts<fs::File> {
    Texts::open(&files.input, "TEXT", Some("ROW"), &CsvOptions::new()).unwrap()
}

fn run(files: &Paths, job: &Job) -> Result<Done, Error> {
    job.run(texts(files), &files.output, |notes| words(notes, 1.0))
}

/// A run that is interrupted in the chunk of this record.
fn interrupted(files: &Paths, at: &str) {
    let mut seen = false;
    let result = job().run(texts(files), &files.output, |notes| {
        seen |= notes.iter().any(|note| note.id == at);
        match seen {
            true => vec![],
            false => words(notes, 1.0),
        }
    });
    assert!(matches!(result, Err(Error::ResultCount { .. })));
}

#[test]
fn rows_are_in_order_and_typed() {
    let files = files(NOTES, "rows.csv");
    let mut seen = Vec::new();
    let done = job()
        .run_with_progress(
            texts(&files),
            &files.output,
            |notes| words(notes, 1.0),
            |progress| seen.push((progress.records, progress.rows)),
        )
        .unwrap();
    assert_eq!(
        (done.records, done.rows, done.resumed, done.rejected),
        (7, 15, 0, 0)
    );
    assert_eq!(seen, [(2, 7), (4, 9), (6, 14), (7, 15)]);
    let text = fs::read_to_string(&files.output).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "id,word,length,score,v_0,v_1,long,none");
    let score = 6.0 * in_a_chunk_of(2);
    assert_eq!(lines[2], format!("a,\"fever,\",6,{score},{score},1,true,"));
    assert_eq!(lines.len(), 16);
    assert_eq!(names(files.dir.path()), ["notes.csv", "rows.csv"]);
}

#[test]
fn an_interrupted_run_goes_on_and_gives_the_same_file() {
    let whole = files(NOTES, "rows.csv");
    run(&whole, &job()).unwrap();
    let expected = fs::read(&whole.output).unwrap();
    for (at, resumed) in [("a", 0), ("e", 2), ("f", 4), ("h", 6)] {
        let files = files(NOTES, "rows.csv");
        interrupted(&files, at);
        assert!(!files.output.exists());
        let done = run(&files, &job()).unwrap();
        assert_eq!(done.resumed, resumed, "{at}");
        assert_eq!(fs::read(&files.output).unwrap(), expected, "{at}");
        assert_eq!(names(files.dir.path()), ["notes.csv", "rows.csv"]);
    }
}

#[test]
fn another_run_is_refused_and_nothing_is_lost() {
    let files = files(NOTES, "rows.csv");
    interrupted(&files, "f");
    let partial = files.output.with_extension("csv.partial");
    let begun = fs::read(&partial).unwrap();
    let refused = |result: Result<Done, Error>| {
        assert!(
            matches!(result, Err(Error::Files(Files::OtherRun { .. }))),
            "{result:?}"
        );
        assert_eq!(fs::read(&partial).unwrap(), begun);
    };
    // Other columns, another identity.
    refused(run(&files, &Job::new(Columns::new().text("id"))));
    refused(run(&files, &job().with_identity("another model")));
    // Other values, of which only the last record tells.
    refused(job().run(texts(&files), &files.output, |notes| words(notes, 1.01)));
    refused(job().run(texts(&files), &files.output, |notes| {
        let cut = |rows: Result<Vec<Row>, _>| rows.map(|rows| rows[1..].to_vec());
        words(notes, 1.0).into_iter().map(cut).collect()
    }));
    // Other notes, and fewer of them.
    let fewer = NOTES.split_inclusive('\n').take(2).collect();
    for other in [NOTES.replace("\ne,", "\nx,"), fewer] {
        fs::write(&files.input, other).unwrap();
        refused(run(&files, &job()));
    }
    fs::write(&files.input, NOTES).unwrap();
    assert_eq!(run(&files, &job()).unwrap().resumed, 4);
}

#[test]
fn a_second_run_of_the_same_output_is_refused() {
    let files = files(NOTES, "rows.csv");
    let mut second = None;
    job()
        .run(texts(&files), &files.output, |notes| {
            second.get_or_insert_with(|| run(&files, &job()));
            words(notes, 1.0)
        })
        .unwrap();
    assert!(matches!(
        second,
        Some(Err(Error::Files(Files::InUse { .. })))
    ));
}

fn or_empty(notes: &[Text]) -> Vec<Result<Vec<Row>, Empty>> {
    let of = |note: &Text| match note.text.is_empty() {
        true => Err(Empty),
        false => Ok(vec![row![&note.id]]),
    };
    notes.iter().map(of).collect()
}

#[test]
fn bad_records_end_the_job_or_are_kept_for_later() {
    let notes = b"ROW,TEXT\n1,x\n2,caf\xe9\n3,\n4,y\n5,z,z\n6,w\n";
    let files = files(notes, "rows.csv");
    let job = Job::new(Columns::new().text("id")).with_chunk(2);
    let result = job.run(texts(&files), &files.output, or_empty);
    let message = result.unwrap_err().to_string();
    assert!(
        message.starts_with("record 2 cannot be read: ") && message.contains("row 2 "),
        "{message}"
    );

    let rejected = files.dir.path().join("rejected.csv");
    let job = job.with_rejected(&rejected);
    let expect = |done: Done| {
        assert_eq!((done.records, done.rows, done.rejected), (6, 3, 3));
        assert_eq!(fs::read_to_string(&files.output).unwrap(), "id\n1\n4\n6\n");
        let rejected = fs::read_to_string(&rejected).unwrap();
        let lines: Vec<_> = rejected.lines().collect();
        assert_eq!(lines[0], "record,name,cause");
        assert!(
            lines[1].starts_with("2,,") && lines[1].contains("utf-8"),
            "{rejected}"
        );
        assert_eq!(lines[2], "3,\"row 3, 3\",the note is empty");
        assert!(
            lines[3].starts_with("5,,") && lines[3].contains("3 columns"),
            "{rejected}"
        );
    };
    expect(job.run(texts(&files), &files.output, or_empty).unwrap());
    // Interrupted after the first rejected ones.
    let mut calls = 0;
    let stopped = job.run(texts(&files), &files.output, |notes| {
        calls += 1;
        if calls > 2 { vec![] } else { or_empty(notes) }
    });
    assert!(stopped.is_err());
    let done = job.run(texts(&files), &files.output, or_empty).unwrap();
    assert_eq!(done.resumed, 4);
    expect(done);
}

#[test]
fn an_error_of_the_function_names_the_record() {
    let files = files(NOTES, "rows.csv");
    let job = Job::new(Columns::new().text("id"));
    let result = job.run(texts(&files), &files.output, or_empty);
    assert_eq!(
        result.unwrap_err().to_string(),
        "record 3 (row 3, c\nd) failed: the note is empty"
    );
}

#[test]
fn a_missing_quote_ends_the_job_whatever_is_kept() {
    let files = files("ROW,TEXT\n1,\"no pain\n2,\"fever\"\n3,well\n", "rows.csv");
    let rejected = files.dir.path().join("rejected.csv");
    let job = Job::new(Columns::new().text("id")).with_rejected(&rejected);
    let result = job.run(texts(&files), &files.output, or_empty);
    assert!(
        matches!(result, Err(Error::Read { number: 1, .. })),
        "{result:?}"
    );
    assert!(!files.output.exists() && !rejected.exists());
}

#[test]
fn rows_that_do_not_fit_and_jobs_that_cannot_be_are_errors() {
    let files = files("ROW,TEXT\n1,x\n", "rows.csv");
    let with = |columns: Columns, row: Row| {
        let job = Job::new(columns);
        job.run(texts(&files), &files.output, |_| {
            vec![Ok::<_, Infallible>(vec![row.clone()])]
        })
    };
    let one = || Columns::new().integer("a");
    let long = with(one(), row![1, 2]);
    assert!(matches!(
        long,
        Err(Error::RowLength {
            number: 1,
            found: 2,
            ..
        })
    ));
    for value in [row!["x"], row![0.5_f32], row![u64::MAX], row![vec![1.0]]] {
        let result = with(one(), value);
        assert!(
            matches!(result, Err(Error::ValueKind { number: 1, .. })),
            "{result:?}"
        );
    }
    let short = with(Columns::new().vector("v", 2), row![vec![1.0]]);
    assert!(matches!(short, Err(Error::ValueKind { .. })));
    let unfit = [
        Columns::new(),
        one().text("a"),
        Columns::new().vector("v", 0),
        Columns::new().text(""),
    ];
    for columns in unfit {
        assert!(matches!(with(columns, row![1]), Err(Error::Columns { .. })));
    }
    assert!(matches!(
        run(&files, &job().with_chunk(0)),
        Err(Error::EmptyChunk)
    ));
    let job = job().with_input(&files.input);
    let result = job.run(texts(&files), &files.input, |notes| words(notes, 1.0));
    assert!(matches!(
        result,
        Err(Error::Files(Files::OutputIsInput { .. }))
    ));
    let result = job.run(texts(&files), files.dir.path(), |notes| words(notes, 1.0));
    assert!(matches!(result, Err(Error::Files(Files::NotAFile { .. }))));
    assert!(Texts::open(&files.input, "NOTE", None, &CsvOptions::new()).is_err());
}

#[test]
fn an_empty_table_has_a_header() {
    let files = files("ROW,TEXT\n", "rows.csv");
    assert_eq!(run(&files, &job()).unwrap().records, 0);
    let text = fs::read_to_string(&files.output).unwrap();
    assert_eq!(text, "id,word,length,score,v_0,v_1,long,none\n");
}

#[test]
fn odd_values_come_through() {
    let files = files("ROW,TEXT\n1,x\n", "rows.csv");
    let columns = Columns::new()
        .text("a")
        .text("b")
        .float("c")
        .double("d")
        .vector("v", 2);
    let row = row![
        "",
        None::<&str>,
        f32::NAN,
        1e300_f64,
        vec![f32::INFINITY, -0.0]
    ];
    let job = Job::new(columns).with_chunk(1);
    // The run that goes on computes the last record again and must know it.
    for round in 0..2 {
        let mut calls = 0;
        let records = (0..2).map(|at| Ok::<_, Infallible>(at.to_string()));
        let result = job.run(records, &files.output, |_| {
            calls += 1;
            let stop = round == 0 && calls == 2;
            vec![(!stop).then(|| vec![row.clone()]).ok_or(Empty)]
        });
        assert_eq!(result.is_ok(), round == 1, "{result:?}");
    }
    let text = fs::read_to_string(&files.output).unwrap();
    let expected = format!("\"\",,NaN,{},inf,-0", 1e300_f64);
    assert_eq!(text.lines().nth(1), Some(&*expected));
}

/// The sixth of ten programs: named entities over the discharge summaries of NOTEEVENTS, no older versions, no repeats.
#[test]
fn named_entities_over_noteevents() {
    let header = "ROW_ID,SUBJECT_ID,CHARTTIME,STORETIME,CATEGORY,CGID,TEXT\n";
    let notes = "1,7,2150-01-01T08:00:00,2150-01-01T08:05:00,Discharge summary,3,draft fever\n\
        2,7,2150-01-01T08:00:00,2150-01-01T09:00:00,Discharge summary,3,\"fever, cough\"\n\
        3,8,,,Nursing,3,fever\n4,9,,,Discharge summary,,\"fever, cough\"\n5,9,,,Discharge summary,,no fever\n";
    let files = files(format!("{header}{notes}"), "entities.csv");
    let tag = |text: &str| {
        let found = text.match_indices("fever");
        found
            .map(|(at, word)| at..at + word.len())
            .collect::<Vec<_>>()
    };

    let open = || mimic_iii::Notes::open(&files.input, &CsvOptions::new()).unwrap();
    let older = Duplicates::find(open()).unwrap();
    let notes = open().with_category("Discharge summary");
    let kept = notes.filter(|note| note.as_ref().map_or(true, |note| !older.drops(note.row_id)));
    let columns = Columns::new()
        .integer("row_id")
        .integer("start")
        .integer("end")
        .text("text");
    let job = Job::new(columns).with_input(&files.input);
    job.run(unique(kept, |note| &note.text), &files.output, |notes| {
        let rows = |note: &mimic_iii::Note| {
            let spans = tag(&note.text).into_iter();
            spans
                .map(|span| row![note.row_id, span.start, span.end, &note.text[span]])
                .collect()
        };
        notes
            .iter()
            .map(|note| Ok::<Vec<Row>, Infallible>(rows(note)))
            .collect()
    })
    .unwrap();

    let text = fs::read_to_string(&files.output).unwrap();
    assert_eq!(text, "row_id,start,end,text\n2,0,5,fever\n5,3,8,fever\n");
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_needs_its_feature() {
    let files = files(NOTES, "rows.parquet");
    let message = run(&files, &job()).unwrap_err().to_string();
    assert!(message.contains("--features parquet"), "{message}");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_holds_the_same_values() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;

    let files = files(NOTES, "rows.parquet");
    run(&files, &job()).unwrap();
    assert_eq!(names(files.dir.path()), ["notes.csv", "rows.parquet"]);
    let reader = SerializedFileReader::new(fs::File::open(&files.output).unwrap()).unwrap();
    let rows: Vec<_> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), 15);
    let names: Vec<_> = rows[1]
        .get_column_iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        ["id", "word", "length", "score", "v", "long", "none"]
    );
    let fields: Vec<_> = rows[1]
        .get_column_iter()
        .map(|(_, field)| field.clone())
        .collect();
    let score = 6.0 * in_a_chunk_of(2);
    assert_eq!(fields[0], Field::Str("a".to_owned()));
    assert_eq!(fields[2], Field::Long(6));
    assert_eq!(fields[3], Field::Float(score));
    let Field::ListInternal(vector) = &fields[4] else {
        panic!("a list");
    };
    assert_eq!(vector.elements(), [Field::Float(score), Field::Float(1.0)]);
    assert_eq!(fields[5], Field::Bool(true));
    assert_eq!(fields[6], Field::Null);
    // None at all.
    let none = self::files("ROW,TEXT\n", "rows.parquet");
    run(&none, &job()).unwrap();
    let reader = SerializedFileReader::new(fs::File::open(&none.output).unwrap()).unwrap();
    assert_eq!(reader.get_row_iter(None).unwrap().count(), 0);
}

#[test]
fn values_know_what_they_came_from() {
    assert_eq!(
        row![1_u8, -1_i64, true],
        [Value::Integer(1), Value::Integer(-1), Value::Flag(true)]
    );
}
