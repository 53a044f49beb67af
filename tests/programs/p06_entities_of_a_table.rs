//! Named entities of the discharge summaries of NOTEEVENTS, each text once, as a table; a run that is interrupted goes
//! on.

use std::error::Error;
use std::path::Path;

use clinical_bert::{ClinicalBert, Entity};
use clinical_corpus::{Columns, CsvOptions, Job, Row, row, unique};
use clinical_notes::corpus::mimic_iii::{Note, Notes};

fn entities(bert: &ClinicalBert, notes: &Path, output: &Path) -> Result<u64, Box<dyn Error>> {
    let records = Notes::open(notes, &CsvOptions::new())?.with_category("Discharge summary");
    let columns = Columns::new().integer("ROW_ID").text("label");
    let columns = columns.integer("start").integer("end").float("score");
    let job = Job::new(columns).with_input(notes).with_chunk(2);
    let done = job.run(unique(records, |note| &note.text), output, |notes| {
        let texts: Vec<&str> = notes.iter().map(|note| note.text.as_str()).collect();
        let tagged = bert.tag(&texts).into_iter().zip(notes);
        tagged
            .map(|(found, note)| found.map(|found| rows(note, found)))
            .collect()
    })?;
    Ok(done.rows)
}

fn rows(note: &Note, found: Vec<Entity>) -> Vec<Row> {
    let row = |e: Entity| row![note.row_id, e.label, e.range.start, e.range.end, e.score];
    found.into_iter().map(row).collect()
}

/// A table of six records: a summary that comes twice, another kind of note, and `fourth` as the number of the fourth.
fn table(fourth: &str) -> String {
    let mut table = String::from(
        "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT\n",
    );
    for (row, (patient, time, category, text)) in [
        (
            1,
            "08:00:00",
            "Discharge summary",
            "The patient has chest pain.",
        ),
        (
            1,
            "09:00:00",
            "Discharge summary",
            "The patient has chest pain.",
        ),
        (
            2,
            "08:00:00",
            "Discharge summary",
            "No acute distress. He denies cough.",
        ),
        (
            3,
            "08:00:00",
            "Discharge summary",
            "Severe pain in the left arm.",
        ),
        (4, "08:00:00", "Nursing", "The patient slept well."),
        (
            5,
            "08:00:00",
            "Discharge summary",
            "Blood pressure was stable.",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let id = if row == 3 {
            fourth.to_owned()
        } else {
            (row + 1).to_string()
        };
        table += &format!(
            "{id},{patient},{patient}0,2150-01-01,2150-01-01 {time},,{category},Report,,,\"{text}\"\n"
        );
    }
    table
}

#[test]
fn entities_of_a_table() {
    let dir = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/clinical-bert/tests/data/bert_token"
    );
    let bert = ClinicalBert::load(dir, &Default::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [notes, whole, output] =
        ["NOTEEVENTS.csv", "whole.csv", "entities.csv"].map(|name| folder.path().join(name));
    std::fs::write(&notes, table("4")).unwrap();
    let rows = entities(&bert, &notes, &whole).unwrap();
    let expected = std::fs::read_to_string(&whole).unwrap();
    assert_eq!(expected.lines().count() as u64, rows + 1);
    assert!(
        expected.starts_with("ROW_ID,label,start,end,score\n") && rows > 0,
        "{expected}"
    );
    let ids = expected
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').next());
    let mut ids: Vec<&str> = ids.collect();
    ids.dedup();
    assert!(
        ids.iter().all(|id| ["1", "3", "4", "6"].contains(id)),
        "{ids:?}"
    );
    // The fourth record cannot be read: what is done is kept, and the next run goes on.
    std::fs::write(&notes, table("four")).unwrap();
    assert!(entities(&bert, &notes, &output).is_err() && !output.exists());
    std::fs::write(&notes, table("4")).unwrap();
    assert_eq!(entities(&bert, &notes, &output).unwrap(), rows);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), expected);
}

/// The same function writes Parquet, by the name of its output; an interrupted run goes on there too.
#[cfg(feature = "parquet")]
#[test]
fn entities_of_a_table_as_parquet() {
    let bert = ClinicalBert::embedded().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [notes, table, output] =
        ["NOTEEVENTS.csv", "entities.csv", "entities.parquet"].map(|name| folder.path().join(name));
    std::fs::write(&notes, self::table("4")).unwrap();
    let rows = entities(&bert, &notes, &table).unwrap();
    std::fs::write(&notes, self::table("four")).unwrap();
    assert!(entities(&bert, &notes, &output).is_err() && !output.exists());
    std::fs::write(&notes, self::table("4")).unwrap();
    assert_eq!(entities(&bert, &notes, &output).unwrap(), rows);
    assert!(rows > 0);
    let bytes = std::fs::read(&output).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    // The columns are there by name.
    for column in ["ROW_ID", "label", "start", "end", "score"] {
        let name = column.as_bytes();
        assert!(
            bytes.windows(name.len()).any(|window| window == name),
            "{column}"
        );
    }
}
