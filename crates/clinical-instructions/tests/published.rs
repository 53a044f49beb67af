//! The published files, hostile ones too: errors name file, row and column, and never the text.

use clinical_instructions::{
    CsvOptions, Error, Instruction, join_notes, read_instructions, read_mimic_questions,
};
use clinical_notes::corpus::mimic_iii::Notes;

const NOTES: &str = "\"ROW_ID\",\"SUBJECT_ID\",\"HADM_ID\",\"CHARTDATE\",\"CHARTTIME\",\"STORETIME\",\"CATEGORY\",\
    \"DESCRIPTION\",\"CGID\",\"ISERROR\",\"TEXT\"\n\
    1,10,100,2151-08-04,,,\"Discharge summary\",Report,,,\"first\nnote\"\n\
    2,11,101,2151-08-05,,,\"Discharge summary\",Report,,,\"no question\"\n\
    3,12,102,2151-08-06,,,\"Discharge summary\",Report,,,\"third\"\n";

fn read(text: &[u8]) -> Result<Vec<Instruction>, Error> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("synthetic.csv");
    std::fs::write(&path, text).unwrap();
    read_instructions(&path, &CsvOptions::new())?.collect()
}

#[test]
fn questions_find_their_notes() {
    let dir = tempfile::tempdir().unwrap();
    let (questions, notes) = (dir.path().join("q.csv"), dir.path().join("n.csv"));
    std::fs::write(&notes, NOTES).unwrap();
    let text = "ROW_ID,Question,Answer,Task\n3,A?,a,Summarization\n1,B?,b,Paraphrasing\n3,C?,c,Paraphrasing\n";
    let join = |text: &str| {
        std::fs::write(&questions, text).unwrap();
        let questions = read_mimic_questions(&questions, &CsvOptions::new()).unwrap();
        assert!(!questions.is_empty());
        let notes = Notes::open(&notes, &CsvOptions::new()).unwrap();
        let rows = join_notes(questions, notes, |text| match text.contains("third") {
            true => Ok(text.to_uppercase()),
            false => Ok(text.to_owned()),
        });
        rows.collect::<Result<Vec<_>, _>>()
    };
    let rows = join(text).unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (row.id.as_str(), row.note.as_str(), row.question.as_str()))
        .collect();
    assert_eq!(
        rows,
        [
            ("1", "first\nnote", "B?"),
            ("3", "THIRD", "A?"),
            ("3", "THIRD", "C?")
        ]
    );
    let error = join("ROW_ID,Question,Answer,Task\n9,A?,a,b\n1,B?,b,b\n9,C?,c,b\n").unwrap_err();
    assert!(
        matches!(
            error,
            Error::NoNote {
                missing: 2,
                first: 9
            }
        ),
        "{error}"
    );
    std::fs::write(
        &questions,
        "ROW_ID,Question,Answer,Task\n1,A?,a,b\nsecret,B?,b,b\n",
    )
    .unwrap();
    let error = read_mimic_questions(&questions, &CsvOptions::new()).unwrap_err();
    assert!(matches!(error, Error::RowId { row: 2 }));
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn columns_may_stand_anywhere() {
    let rows = read(b"Answer,NOTE,question\na,n,q\n").unwrap();
    let expected = Instruction {
        note: "n".into(),
        question: "q".into(),
        answer: "a".into(),
        ..Instruction::default()
    };
    assert_eq!(rows, [expected]);
}

#[test]
fn bad_files_are_refused_without_their_text() {
    let long = format!("note,question,answer\n\"{}", "secret ".repeat(1 << 20));
    for (text, word) in [
        (&b""[..], ""),
        (b"note,question\nsecret,secret\n", "answer"),
        (b"note,question,answer\nsecret,secret\n", "3"),
        (
            b"note,question,answer\n\"secret\"x,secret,secret\n",
            "quote",
        ),
        (b"note,question,answer\n\"secret,secret,secret\n", ""),
        (b"note,question,answer\nsecret,\xff,secret\n", "question"),
        (b"PK\x03\x04 secret", ""),
        (long.as_bytes(), ""),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert!(error.contains("synthetic.csv"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
