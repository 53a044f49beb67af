//! Readers and rules of the MIMIC note files, on invented records.

use std::collections::HashSet;
use std::io::{self, Read};

use clinical_files::Error as Files;
use clinical_files::csv::MAX_ROW_BYTES;
use clinical_notes::corpus::{
    CsvOptions, Duplicates, Encoding, PretrainingPatients, Quoting, RowAt, Separator,
    is_asclepius_r_note, mimic_iii, mimic_iv, row_ids,
};
use clinical_notes::{Error, Result};
use proptest::prelude::*;

const HEADER: &str = "\"ROW_ID\",\"SUBJECT_ID\",\"HADM_ID\",\"CHARTDATE\",\"CHARTTIME\",\"STORETIME\",\"CATEGORY\",\"DESCRIPTION\",\"CGID\",\"ISERROR\",\"TEXT\"\n";

const NOTES: &str = "\
1,10,100,2150-01-02,,,\"Discharge summary\",\"Report\",,,\"Admission Date: x

He said \"\"fine\"\", then left.
\"
2,11,101,2150-01-02,2150-01-02 10:00:00,2150-01-02 10:05:00,\"Respiratory \",\"Note\",7,,\"RR 16\"
3,11,101.0,2150-01-02,2150-01-02 10:00:00,2150-01-02 10:09:00,\"Respiratory \",\"Note\",7,1,\"RR 18\"
4,12,,2150-01-02,,,Radiology,CHEST,,,\"Clear.\"
";

fn file(records: &str) -> String {
    format!("{HEADER}{records}")
}

fn read(file: &str) -> Vec<Result<mimic_iii::Note>> {
    mimic_iii::Notes::new(file.as_bytes()).unwrap().collect()
}

fn ids(notes: impl Iterator<Item = Result<mimic_iii::Note>>) -> Vec<u64> {
    notes.map(|note| note.unwrap().row_id).collect()
}

#[test]
fn noteevents_fields() {
    let file = file(NOTES);
    let notes: Vec<_> = read(&file).into_iter().map(Result::unwrap).collect();
    assert_eq!(notes.len(), 4);
    assert_eq!(
        notes[0].text,
        "Admission Date: x\n\nHe said \"fine\", then left.\n"
    );
    assert_eq!(
        (notes[0].row_id, notes[0].subject_id, notes[0].hadm_id),
        (1, 10, Some(100))
    );
    assert_eq!((notes[0].chart_time, notes[0].caregiver_id), (None, None));
    assert_eq!(
        notes[1].store_time.unwrap().to_string(),
        "2150-01-02 10:05:00"
    );
    assert_eq!((notes[2].hadm_id, notes[2].is_error), (Some(101), true));
    assert_eq!(
        (&*notes[2].category, &*notes[2].description),
        ("Respiratory ", "Note")
    );
    assert!(!format!("{:?}", notes[0]).contains("fine"));
}

#[test]
fn noteevents_filters() {
    let file = file(NOTES);
    let notes = || mimic_iii::Notes::new(file.as_bytes()).unwrap();
    assert_eq!(ids(notes().with_category("Respiratory")), [2, 3]);
    assert_eq!(
        ids(notes().with_category("Respiratory").with_skip_errors(true)),
        [2]
    );
    assert_eq!(ids(notes().with_category("discharge summary")), [0; 0]);
    let held_out = row_ids("4\n9\n").unwrap();
    let chosen = notes().filter(|note| is_asclepius_r_note(note.as_ref().unwrap(), &held_out));
    assert_eq!(ids(chosen), [1]);
    let held_out = row_ids("1").unwrap();
    let chosen = notes().filter(|note| is_asclepius_r_note(note.as_ref().unwrap(), &held_out));
    assert_eq!(ids(chosen), [0; 0]);
}

#[test]
fn columns_in_any_order_and_case() {
    let file = "\u{feff}text,extra,cgid,category,storetime,charttime,subject_id,row_id\r\n\"a\r\nb\",x,,Nursing,,,2,1\r\n";
    let notes = read(file);
    let note = notes[0].as_ref().unwrap();
    assert_eq!(
        (note.row_id, note.subject_id, &*note.text),
        (1, 2, "a\r\nb")
    );
    assert_eq!(
        (note.hadm_id, note.is_error, &*note.description),
        (None, false, "")
    );
}

#[test]
fn broken_records_are_errors_and_reading_goes_on() {
    let file = file(
        "x,10,,,,,c,d,,,t\n\
         2,10,,,,,c,d,,,t,more\n\
         3,10,,,2150-02-30 00:00:00,,c,d,,,t\n\
         4,10,-1,,,,c,d,,,t\n\
         ,10,,,,,c,d,,,t\n\
         6,10,,,,,c,d,,,t\n",
    );
    let notes = read(&file);
    assert!(matches!(
        notes[0],
        Err(Error::NotANumber {
            at: RowAt { row: 1, .. },
            column: "ROW_ID"
        })
    ));
    assert!(matches!(
        notes[1],
        Err(Error::Files(Files::RowWidth {
            at: RowAt { row: 2, line: 3 },
            expected: 11,
            found: 12
        }))
    ));
    assert!(matches!(
        notes[2],
        Err(Error::NotATime {
            at: RowAt { row: 3, .. },
            column: "CHARTTIME"
        })
    ));
    assert!(matches!(
        notes[3],
        Err(Error::NotANumber {
            at: RowAt { row: 4, .. },
            column: "HADM_ID"
        })
    ));
    assert!(matches!(
        notes[4],
        Err(Error::NotANumber {
            at: RowAt { row: 5, .. },
            column: "ROW_ID"
        })
    ));
    assert_eq!(notes[5].as_ref().unwrap().row_id, 6);
    assert_eq!(notes.len(), 6);
}

#[test]
fn wrong_files_are_errors() {
    let missing = mimic_iii::Notes::new(&b"ROW_ID,TEXT\n"[..]).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "the header has 2 columns and none is named SUBJECT_ID: name one that is there"
    );
    assert!(mimic_iii::Notes::new(&b""[..]).is_err());
    assert!(mimic_iv::Notes::new(HEADER.as_bytes()).is_err());
    let mut bytes = HEADER.as_bytes().to_vec();
    bytes.extend_from_slice(b"1,2,,,,,c,d,,,\xff\n");
    let mut notes = mimic_iii::Notes::new(&bytes[..]).unwrap();
    assert!(matches!(
        notes.next(),
        Some(Err(Error::Files(Files::NotText { at: RowAt { row: 1, .. }, ref column, .. })))
            if column == "TEXT"
    ));
    assert!(notes.next().is_none());
}

#[test]
fn a_failing_source_ends_the_notes() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let file = file("1,2,,,,,c,d,,,t\n");
    let mut notes = mimic_iii::Notes::new(file.as_bytes().chain(Failing)).unwrap();
    assert_eq!(notes.next().unwrap().unwrap().row_id, 1);
    assert!(matches!(
        notes.next(),
        Some(Err(Error::Files(Files::Read { .. })))
    ));
    assert!(notes.next().is_none());
}

#[test]
fn a_missing_quote_never_joins_two_patients() {
    let file =
        file("1,2,,,,,c,d,,,\"no pain\n2,3,,,,,c,d,,,\"fever\ncough\"\n3,4,,,,,c,d,,,\"well\"\n");
    let mut notes = mimic_iii::Notes::new(file.as_bytes()).unwrap();
    let error = notes.next().unwrap().unwrap_err();
    assert!(!error.is_about_one_row());
    assert!(matches!(
        error,
        Error::Files(Files::TextAfterQuote {
            at: RowAt { row: 1, line: 2 },
            line: 3,
            backslash: false
        })
    ));
    assert!(notes.next().is_none());
}

/// Chart time, store time and `ISERROR` of one record.
fn exported(chart: &str, store: &str, number: &str, error: &str) -> Result<mimic_iii::Note> {
    let file = file(&format!(
        "1,2,{number},,{chart},{store},Nursing,d,{number},{error},t\n"
    ));
    let mut notes = mimic_iii::Notes::new(file.as_bytes()).unwrap();
    let note = notes.next().unwrap();
    assert!(notes.next().is_none());
    note
}

#[test]
fn exports_of_databases_r_and_pandas_are_read() {
    for (chart, store) in [
        ("2150-01-01T08:00:00", "2150-01-01T08:05:00"),
        ("2150-01-01 08:00:00 UTC", "2150-01-01 08:05:00.123 UTC"),
        ("2150-01-01 08:00:00.000", "2150-01-01 08:05:00.000"),
        (
            "2150-01-01T08:00:00.000-05:00",
            "2150-01-01T08:05:00.000-05:00",
        ),
    ] {
        let note = exported(chart, store, "7.0", "").unwrap();
        assert_eq!(note.chart_time.unwrap().to_string(), "2150-01-01 08:00:00");
        assert_eq!(note.store_time.unwrap().to_string(), "2150-01-01 08:05:00");
        assert_eq!((note.hadm_id, note.caregiver_id), (Some(7), Some(7)));
    }
    for missing in ["", "NA", "NaN", "NULL", "null", "None", "\\N"] {
        let note = exported(missing, "NaT", missing, missing).unwrap();
        assert_eq!(
            (note.chart_time, note.store_time),
            (None, None),
            "{missing}"
        );
        assert_eq!((note.hadm_id, note.is_error), (None, false), "{missing}");
    }
    for yes in ["1", "1.0", "TRUE", "True", "t", "Y"] {
        assert!(exported("", "", "", yes).unwrap().is_error, "{yes}");
    }
    let error = exported("", "", "", "perhaps").unwrap_err();
    assert!(error.is_about_one_row());
    assert!(matches!(
        error,
        Error::NotAFlag {
            column: "ISERROR",
            ..
        }
    ));
}

#[test]
fn files_are_read_as_they_were_exported() {
    let file = "row_id;subject_id;charttime;storetime;category;cgid;text\n1;2;;;Nursing;;\"a \\\"b\\\" \u{e9}\"\n";
    let latin1: Vec<u8> = file.chars().map(|c| c as u8).collect();
    let options = CsvOptions::new()
        .with_separator(Separator::Semicolon)
        .with_quoting(Quoting::Backslash)
        .with_encoding(Encoding::Latin1);
    let mut notes = mimic_iii::Notes::with_options(&latin1[..], &options).unwrap();
    assert_eq!(notes.next().unwrap().unwrap().text, "a \"b\" é");
    assert_eq!(notes.at(), RowAt { row: 1, line: 2 });
    assert_eq!(notes.bytes_read(), latin1.len() as u64);
    let error = mimic_iii::Notes::new(&latin1[..]).unwrap_err().to_string();
    assert!(error.contains("choose the separator semicolon"), "{error}");
    assert!(mimic_iv::Notes::open("missing.csv", &options).is_err());
}

#[test]
fn a_missing_quote_does_not_fill_the_memory() {
    let file = file("1,2,,,,,c,d,,,\"open");
    let endless = io::repeat(b'x').take(MAX_ROW_BYTES as u64 * 4);
    let mut notes = mimic_iii::Notes::new(file.as_bytes().chain(endless)).unwrap();
    assert!(matches!(
        notes.next(),
        Some(Err(Error::Files(Files::RowTooLong {
            at: RowAt { row: 1, .. },
            ..
        })))
    ));
    assert!(notes.next().is_none());
}

#[test]
fn mimic_iv_fields() {
    let file = "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n\
                10-DS-1,10,20,DS,1,2150-01-02 00:00:00,2150-01-05 10:05:00,\" \nName:  ___\n\"\n";
    let notes: Vec<_> = mimic_iv::Notes::new(file.as_bytes())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        (&*notes[0].note_id, notes[0].subject_id, notes[0].hadm_id),
        ("10-DS-1", 10, Some(20))
    );
    assert_eq!(
        (&*notes[0].note_type, &*notes[0].text),
        ("DS", " \nName:  ___\n")
    );
    assert!(notes[0].chart_time < notes[0].store_time);
    assert!(!format!("{:?}", notes[0]).contains("Name"));
}

/// One row: chart time, caregiver, store time.
fn dropped(rows: &[(&str, &str, &str)]) -> Vec<u64> {
    let records: String = rows
        .iter()
        .enumerate()
        .map(|(i, (chart, caregiver, store))| {
            format!("{i},1,,,{chart},{store},Nursing,d,{caregiver},,t\n")
        })
        .collect();
    let duplicates = Duplicates::find(read(&file(&records))).unwrap();
    let dropped: Vec<_> = (0..rows.len() as u64)
        .filter(|&row| duplicates.drops(row))
        .collect();
    assert_eq!(
        (duplicates.len(), duplicates.is_empty()),
        (dropped.len(), dropped.is_empty())
    );
    dropped
}

const T1: &str = "2150-01-01 08:00:00";
const T2: &str = "2150-01-01 09:00:00";
const T3: &str = "2150-01-01 10:00:00";

#[test]
fn only_the_latest_version_is_kept() {
    assert_eq!(
        dropped(&[(T1, "7", T2), (T1, "7", T3), (T1, "7", T1)]),
        [0, 2]
    );
    // The first of equals.
    assert_eq!(dropped(&[(T1, "7", T2), (T1, "7", T2)]), [1]);
}

#[test]
fn groups_that_are_not_comparable_are_kept() {
    assert_eq!(dropped(&[(T1, "7", T2)]), [0; 0]);
    assert_eq!(dropped(&[(T1, "7", T2), (T1, "8", T3)]), [0; 0]);
    assert_eq!(dropped(&[(T1, "7", T2), (T2, "7", T3)]), [0; 0]);
    assert_eq!(dropped(&[("", "7", T2), ("", "7", T3)]), [0; 0]);
    assert_eq!(dropped(&[(T1, "", T2), (T1, "", T3)]), [0; 0]);
    assert_eq!(dropped(&[(T1, "7", ""), (T1, "7", "")]), [0; 0]);
    for missing in 0..3 {
        let mut rows = [(T1, "7", T1), (T1, "7", T2), (T1, "7", T3)];
        rows[missing].2 = "";
        assert_eq!(dropped(&rows), [0; 0]);
    }
}

#[test]
fn patients_of_the_pretraining_corpus() {
    let file = file(
        "1,10,,,,,Discharge summary,d,,,t\n2,11,,,,,Discharge summary,d,,,t\n3,11,,,,,Nursing,d,,,t\n\
         4,12,,,,,Nursing,d,,,t\n5,11,,,,,Radiology,d,,,t\n6,13,,,,,Radiology,d,,,t\n",
    );
    let patients = PretrainingPatients {
        carevue: HashSet::from([10, 13]),
        left_out: HashSet::from([12, 13]),
    };
    let kept = mimic_iii::Notes::new(file.as_bytes()).unwrap();
    assert_eq!(
        ids(kept.filter(|note| patients.keeps(note.as_ref().unwrap()))),
        [1, 3]
    );
    assert!(patients.keeps_patient(10_000_032) && !patients.keeps_patient(12));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop_oneof![
        any::<u8>(), prop::sample::select(b"\",\n\r0123456789 -:".to_vec())
    ], 0..300)) {
        let mut file = HEADER.as_bytes().to_vec();
        file.extend_from_slice(&bytes);
        let _ = mimic_iii::Notes::new(&file[..]).unwrap().count();
        let _ = mimic_iii::Notes::new(&bytes[..]).map(Iterator::count);
        let _ = mimic_iv::Notes::new(&bytes[..]).map(Iterator::count);
    }

    #[test]
    fn texts_come_through_unchanged(text in any::<String>()) {
        let file = file(&format!("1,2,,,,,c,d,,,\"{}\"\n", text.replace('"', "\"\"")));
        let notes = read(&file);
        prop_assert_eq!(&notes[0].as_ref().unwrap().text, &text);
    }
}
