//! Specifications, files and folders that cannot be used.

use std::fs;

use crate::common::{BERT, LLAMA, T5, look_alike, open, recipe, spec};
use clinical_study::{Comparison, Error, Report, SpecError, StudySpec};
use clinical_synth::study::Study as LookAlike;

#[test]
fn a_specification_without_meaning_is_refused() {
    let folder = std::path::Path::new("no-data");
    let trained = recipe(1, "adamw", "1e-3");
    for (task, more, wanted) in [
        ("mednli", "fractions = [0]", "percents from 1 to 100"),
        ("mednli", "fractions = [101]", "percents from 1 to 100"),
        ("mednli", "fractions = [5, 5]", "each once"),
        ("mednli", "fractions = []", "at least one percent"),
        ("mednli", "seeds = []", "at least one seed"),
        ("mednli", "seeds = [1, 1]", "each seed once"),
        ("mednli", "development = 0", "`development` is 0"),
        (
            "mednli",
            "metric = \"micro_f1\"",
            "has no metric micro_f1: it has accuracy, macro_f1",
        ),
        ("radqa", "metric = \"accuracy\"", "has f1, exact"),
        ("mednli", "surprise = 1", "unknown field `surprise`"),
        ("nonsense", "", "unknown variant `nonsense`"),
        ("mednli", "method = \"magic\"", "unknown variant `magic`"),
    ] {
        let text = spec(BERT, task, folder, &format!("{trained}\n{more}"));
        let error = StudySpec::from_toml(&text).unwrap_err();
        assert!(error.to_string().contains(wanted), "{more}: {error}");
    }
    for (more, wanted) in [
        ("recipe = \"no-such-recipe\"", "no recipe no-such-recipe"),
        ("recipe = { rate = 1.0 }", "cannot be read"),
        ("fractions = [1]", "nothing where there is no `recipe`"),
        ("seeds = [1]", "nothing where there is no `recipe`"),
    ] {
        let error = StudySpec::from_toml(&spec(BERT, "mednli", folder, more)).unwrap_err();
        assert!(error.to_string().contains(wanted), "{more}: {error}");
    }
    for (task, line) in [
        ("mednli", "files = [\"a\", \"b\", \"c\"]"),
        ("mednli", "max_tokens = 9"),
        ("entities", "deid = true"),
    ] {
        let text = spec(BERT, task, folder, &trained) + line;
        let error = StudySpec::from_toml(&text).unwrap_err();
        assert!(
            matches!(error, Error::Spec(SpecError::Setting { .. })),
            "{error}"
        );
    }
}

#[test]
fn what_a_model_cannot_do_is_said_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    look_alike(LookAlike::MedNli, dir.path(), 4, 2);
    look_alike(LookAlike::I2b2, dir.path(), 2, 1);
    let trained = recipe(1, "adamw", "1e-3");
    for (number, (model, task, more)) in [
        (BERT, "mednli", "recipe = \"t5-pairs\""),
        (BERT, "entities", "recipe = \"bert-classes\""),
        (BERT, "mednli", ""),
        (BERT, "mednli", &format!("{trained}\nmethod = \"scoring\"")),
        (BERT, "mednli", &format!("{trained}\nprompt = 3")),
        (T5, "mednli", "recipe = \"bert-classes\""),
        (T5, "mednli", &format!("{trained}\nmethod = \"head\"")),
        (T5, "entities", &trained),
        (LLAMA, "entities", ""),
        (LLAMA, "mednli", &format!("{trained}\nprompt = 3")),
        (LLAMA, "mednli", "recipe = \"llama-notes\""),
    ]
    .into_iter()
    .enumerate()
    {
        let out = dir.path().join(number.to_string());
        let error = open(&spec(model, task, dir.path(), more), &out).unwrap_err();
        assert!(matches!(error, Error::Spec(_)), "{more}: {error}");
        assert!(!out.join("cells").exists());
    }
    let spec = spec("no-such-model", "mednli", dir.path(), &trained);
    let error = open(&spec, &dir.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("no-such-model"));
}

#[test]
fn a_file_that_is_cut_off_is_named_with_its_row_and_without_its_text() {
    let dir = tempfile::tempdir().unwrap();
    let trained = recipe(1, "adamw", "1e-3");
    for (task, kind, file) in [
        ("mednli", LookAlike::MedNli, "mli_dev_v1.jsonl"),
        ("radqa", LookAlike::RadQa, "test.json"),
        ("clip", LookAlike::Clip, "sentence_level.csv"),
        ("entities", LookAlike::I2b2, "test.conll"),
    ] {
        let data = dir.path().join(task);
        look_alike(kind, &data, 4, 3);
        let spec = spec(BERT, task, &data, &trained);
        let path = data.join(file);
        let whole = fs::read(&path).unwrap();
        for cut in [whole.len() / 2, whole.len() * 9 / 10, 1, 0] {
            let mut bytes = whole[..cut].to_vec();
            // A line of CoNLL that is cut off after its word.
            bytes.extend_from_slice(if task == "entities" {
                b"\nsecretword"
            } else {
                b""
            });
            fs::write(&path, &bytes).unwrap();
            let out = dir.path().join(format!("{task}-study"));
            let error = open(&spec, &out).unwrap_err();
            assert!(matches!(error, Error::Task(_)), "{error}");
            let message = error.to_string();
            // A list of notes may name one whose sentences were cut off.
            assert!(
                message.contains(file) || task == "clip" && message.contains("_ids.csv"),
                "{message}"
            );
            assert!(
                !message.contains("secretword") && message.len() < 400,
                "{message}"
            );
        }
        fs::remove_file(&path).unwrap();
        let error = open(&spec, &dir.path().join("none"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(file), "{error}");
    }
}

#[test]
fn a_folder_goes_on_with_its_own_study_only() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    look_alike(LookAlike::MedNli, &data, 8, 4);
    let more = format!(
        "fractions = [50]\nseeds = [1]\n{}",
        recipe(1, "adamw", "1e-3")
    );
    let text = spec(BERT, "mednli", &data, &more);
    let out = dir.path().join("study");
    let nothing = Comparison::of(&out, &out).unwrap_err();
    assert!(matches!(nothing, Error::Nothing { .. }));
    let study = open(&text, &out).unwrap();
    assert!(matches!(
        open(&text, &out).unwrap_err(),
        Error::InUse { .. }
    ));
    study.run(&mut ()).unwrap();
    drop(study);

    for (from, to, key) in [
        ("seeds = [1]", "seeds = [2]", "seeds"),
        ("fractions = [50]", "fractions = [100]", "fractions"),
        ("rate = 1e-3", "rate = 2e-3", "recipe"),
        (
            "kind = \"mednli\"",
            "kind = \"mednli\"\ndeid = true",
            "task",
        ),
    ] {
        let other = text.replace(from, to);
        match open(&other, &out).unwrap_err() {
            Error::OtherStudy { key: found, .. } => assert_eq!(found, key),
            error => panic!("{error}"),
        }
    }
    // The same files elsewhere are the same study; other files are not.
    let moved = dir.path().join("moved");
    fs::rename(&data, &moved).unwrap();
    open(&spec(BERT, "mednli", &moved, &more), &out).unwrap();
    let path = moved.join("mli_test_v1.jsonl");
    let lines = fs::read_to_string(&path).unwrap();
    fs::write(&path, lines.lines().next().unwrap()).unwrap();
    let error = open(&spec(BERT, "mednli", &moved, &more), &out).unwrap_err();
    assert!(
        matches!(
            error,
            Error::OtherFiles {
                what: "data set",
                ..
            }
        ),
        "{error}"
    );

    // Damaged files of the study itself.
    let cell = out.join("cells/percent-050-seed-1");
    let path = cell.join("predictions.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    match Report::of(&out).unwrap_err() {
        Error::Damaged {
            path: found, line, ..
        } => assert_eq!((found, line), (path, 4)),
        error => panic!("{error}"),
    }
    fs::write(cell.join("result.json"), "{").unwrap();
    assert!(matches!(
        Report::of(&out).unwrap_err(),
        Error::Damaged { .. }
    ));
}
