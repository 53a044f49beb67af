//! Wrong files of words with labels; and files of every kind that are damaged at random.

mod common;

use std::path::Path;
use std::sync::LazyLock;

use clinical_synth::study::{Study, StudySizes};
use clinical_tasks::entities::{I2B2_2010, conll, i2b2};
use clinical_tasks::{Error, clip, mednli, radqa};
use common::{Files, SECRET, fails};
use proptest::prelude::*;

#[test]
fn entity_files() {
    let read = |text: &str, parts: &[&str]| {
        let files = Files::new().with("train.conll", text);
        fails(
            conll::read(files.path("train.conll"), Some(&I2B2_2010)),
            "train.conll",
            parts,
        )
    };
    read(
        &format!("{SECRET} B-problem\n{SECRET}\n"),
        &["line 2", "a word and its label"],
    );
    let error = read(
        &format!("x O\n\n{SECRET} B-Problem\n"),
        &["line 3", "\"Problem\"", "treatment"],
    );
    assert!(matches!(error, Error::UnknownLabel { .. }));
    read(
        &format!("{SECRET} Q-problem\n"),
        &["line 1", "\"Q-problem\""],
    );
    read(&format!("{SECRET} B-\n"), &["line 1", "\"B-\""]);
    read(
        &format!("x {SECRET}\n"),
        &["line 1", "a text of 11 characters"],
    );
    read("\n\n", &["no word"]);
    read(
        &format!("{} O\n", "x".repeat(10 << 20)),
        &["line 1", "word", "10485760"],
    );
    let files = Files::new().with("a", "-DOCSTART- O\n\na b\tNN\tO\nc\tB-x\n \nd\tO");
    let rows = conll::read(files.path("a"), None).unwrap();
    assert_eq!(rows[0].words, ["a b", "c"]);
    assert_eq!((rows.len(), &*rows[0].labels[1]), (2, "B-x"));

    let read = |concepts: &str, parts: &[&str]| {
        let files = Files::new()
            .with("a.txt", format!("{SECRET} has\nno Chest  pain .\n"))
            .with("a.con", concepts);
        fails(
            i2b2::read(files.path("a.txt"), files.path("a.con"), Some(&I2B2_2010)),
            "a.con",
            parts,
        )
    };
    let good = "c=\"chest pain\" 2:1 2:2||t=\"problem\"";
    let files = Files::new()
        .with("txt/a.txt", format!("{SECRET}\r\nno Chest  pain .\n"))
        .with("concept/a.con", format!("{good}||a=\"absent\"\n"));
    let notes = i2b2::read_folder(files.0.path(), Some(&I2B2_2010)).unwrap();
    let note = &notes[0].1;
    assert_eq!(&note.text[note.concepts[0].range.clone()], "Chest  pain");
    assert_eq!(
        note.word_rows()[1].labels,
        ["O", "B-problem", "I-problem", "O"]
    );

    for (line, part) in [
        (good.replace("2:1", "3:1"), "is not a concept"),
        (
            good.replace("2:1 2:2", "9:1 9:2"),
            "is not what the note has there",
        ),
        (good.replace("2:2", "2:9"), "is not what the note has there"),
        (
            good.replace("chest", SECRET),
            "is not what the note has there",
        ),
        (
            good.replace("2:1 2:2", &format!("2:1 2:{}", u64::MAX)),
            "is not",
        ),
        (
            good.replace("2:1", "0:1").replace("2:2", "0:2"),
            "is not a concept",
        ),
        (good.replace("problem", "symptom"), "\"symptom\""),
        (SECRET.to_owned(), "is not a concept"),
        (
            format!("{good}\nc=\"pain .\" 2:2 2:3||t=\"test\""),
            "line 2 shares a word",
        ),
    ] {
        read(&line, &[part]);
    }
    let lone = files.with("concept/b.con", "");
    fails(
        i2b2::read_folder(lone.0.path(), None),
        "b.con",
        &["no partner"],
    );
}

/// Reads what is in a folder with every reader; whatever happens, no panic.
fn read_all(folder: &Path) {
    let path = |name: &str| folder.join(name);
    let messages = [
        mednli::read_folder(folder).err(),
        radqa::read_folder(folder).err(),
        radqa::read_csv(path("sentence_level.csv")).err(),
        clip::read_folder(folder).err(),
        conll::read(path("train.conll"), None).err(),
        i2b2::read_folder(path("train"), None).err(),
    ];
    for error in messages.into_iter().flatten() {
        assert!(error.to_string().len() < 1000);
    }
}

static LOOK_ALIKES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let sizes = StudySizes {
        train: 2,
        development: 1,
        test: 1,
    };
    let studies = [Study::MedNli, Study::RadQa, Study::Clip, Study::I2b2];
    let files = studies.into_iter().flat_map(|study| study.files(1, sizes));
    files
        .map(|file| (file.name, file.text.into_bytes()))
        .collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn damaged_files_are_errors_or_read(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
        which in any::<prop::sample::Index>(),
    ) {
        let mut files = LOOK_ALIKES.clone();
        let bytes = &mut which.get_mut(&mut files).1;
        for (at, byte) in damage {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if !whole {
            let most = bytes.len() + 1;
            bytes.truncate(cut.index(most));
        }
        let folder = files.into_iter().fold(Files::new(), |folder, (name, bytes)| folder.with(&name, bytes));
        read_all(folder.0.path());
    }
}
