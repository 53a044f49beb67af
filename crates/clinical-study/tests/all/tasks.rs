//! Every kind of model on the tasks that it can do, in folders that go on.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use crate::common::{BERT, LLAMA, T5, gpt2, look_alike, open, recipe, spec};
use clinical_study::{Comparison, Error, Found, Report, StudyProgress};
use clinical_synth::study::Study as LookAlike;

/// Breaks off after some steps.
struct Steps(u64);

impl StudyProgress for Steps {
    fn step(&mut self, _: &clinical_train::StepReport) -> ControlFlow<()> {
        self.0 = self.0.saturating_sub(1);
        match self.0 {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn predictions(out: &Path, cell: &str) -> Vec<clinical_study::Prediction> {
    let path = out.join("cells").join(cell).join("predictions.jsonl");
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Words of notes that no report and no prediction may hold.
fn is_free_of(text: &str, words: &[String]) {
    for word in words {
        assert!(
            !text.contains(word.as_str()),
            "a text of the data set is in it"
        );
    }
}

#[test]
fn a_study_that_was_stopped_often_has_the_report_of_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    look_alike(LookAlike::MedNli, &data, 40, 12);
    let more = format!(
        "fractions = [10, 100]\nseeds = [3, 1]\n{}",
        recipe(5, "adamw", "1e-3")
    );
    let spec = spec(BERT, "mednli", &data, &more);
    let alone = dir.path().join("alone");
    let whole = open(&spec, &alone).unwrap().run(&mut ()).unwrap();
    assert_eq!(
        (whole.rows.len(), whole.cells.len(), whole.unfinished),
        (2, 4, 0)
    );
    assert_eq!(whole.rows[0].examples, 4);
    assert_eq!(whole.rows[0].seeds, [3, 1]);
    assert!(whole.baseline().unwrap() >= 1.0 / 3.0 - 0.2);
    assert!(
        !alone
            .join("cells/percent-100-seed-1/run/checkpoints")
            .exists()
    );

    let taken_up = dir.path().join("taken-up");
    let mut stops = 0;
    let report = loop {
        match open(&spec, &taken_up).unwrap().run(&mut Steps(3)) {
            Err(Error::Stopped) => stops += 1,
            other => break other.unwrap(),
        }
        if let Ok(partial) = Report::of(&taken_up) {
            assert!(partial.unfinished > 0);
        }
    };
    assert!(stops > 3);
    let [one, other] = [whole, report].map(Report::without_seconds);
    assert_eq!(one, other);
    assert_eq!(one.markdown(), other.markdown());
    assert_eq!(one.html().unwrap(), other.html().unwrap());
    for cell in ["percent-010-seed-3", "percent-100-seed-1"] {
        assert_eq!(predictions(&alone, cell), predictions(&taken_up, cell));
    }
    for name in ["curve.svg", "curve.png"] {
        let [one, other] = [&alone, &taken_up].map(|dir| fs::read(dir.join(name)).unwrap());
        assert_eq!(one, other);
    }

    // What is finished is not run again, and compared with itself it does not differ.
    let again = open(&spec, &alone).unwrap().run(&mut Steps(1)).unwrap();
    assert_eq!(again.cells.len(), 4);
    let comparison = Comparison::of(&alone, &taken_up).unwrap();
    assert_eq!(comparison.rows.len(), 2);
    assert!(
        comparison
            .rows
            .iter()
            .all(|row| row.significance.p_value == 1.0)
    );
    comparison.write(dir.path().join("comparison")).unwrap();

    // Texts only where they are asked for, and then in a file of their own.
    let words: Vec<String> = fs::read_to_string(data.join("mli_test_v1.jsonl"))
        .unwrap()
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            row["sentence2"].as_str().unwrap().to_owned()
        })
        .collect();
    open(&spec, &taken_up)
        .unwrap()
        .with_text(true)
        .run(&mut ())
        .unwrap();
    let mut with_text = 0;
    for path in crate::common::files(dir.path()) {
        if path.starts_with(&data) || path.extension().is_some_and(|end| end == "png") {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        if path.ends_with("predictions-text.jsonl") {
            with_text += 1;
            assert!(words.iter().all(|word| text.contains(word.as_str())));
        } else {
            is_free_of(&text, &words);
        }
    }
    assert_eq!(with_text, 4);
}

#[test]
fn bert_does_the_other_tasks() {
    let dir = tempfile::tempdir().unwrap();
    for (task, kind, data_more, keys) in [
        (
            "clip",
            LookAlike::Clip,
            "max_tokens = 64",
            ["macro_f1", "macro_roc_auc"],
        ),
        ("radqa", LookAlike::RadQa, "deid = true", ["f1", "exact"]),
        ("entities", LookAlike::I2b2, "", ["f1", "macro_f1"]),
    ] {
        let data = dir.path().join(task);
        look_alike(kind, &data, 4, 2);
        let more = format!(
            "fractions = [50]\nseeds = [1]\ndevelopment = 5\n{}",
            recipe(2, "adamw", "1e-3")
        );
        let spec = spec(BERT, task, &data, &more) + data_more;
        let out = dir.path().join(format!("{task}-study"));
        let report = open(&spec, &out).unwrap().run(&mut ()).unwrap();
        let row = &report.rows[0];
        for key in keys {
            // An area under a curve has no value where a label is never there.
            assert!(
                row.mean.contains_key(key) || key.ends_with("auc"),
                "{task} {key}"
            );
        }
        assert_eq!(report.development, 5);
        assert!(row.interval.low <= row.interval.high);
        let cost = &report.cells[0].cost;
        assert_eq!((cost.steps, cost.evaluations), (2, 2));
        assert!(cost.training_tokens > 0 && cost.test_tokens > 0);
        let flops = 6.0 * cost.parameters as f64 * cost.training_tokens as f64;
        assert_eq!(cost.training_flops, flops);
        assert_eq!(predictions(&out, "percent-050-seed-1").len(), report.test);
        if task == "entities" {
            // The same words and labels as a folder of notes, whose offsets are the notes' own.
            for part in ["train", "dev", "test"] {
                fs::remove_file(data.join(format!("{part}.conll"))).unwrap();
            }
            let notes = dir.path().join("notes-study");
            open(&spec, &notes).unwrap().run(&mut ()).unwrap();
            let mut checked = 0;
            for prediction in predictions(&notes, "percent-050-seed-1") {
                let (name, _) = prediction.id.rsplit_once(':').unwrap();
                let path = data.join(format!("test/txt/{name}.txt"));
                let text = fs::read_to_string(path).unwrap();
                let Found::Entities { truth, .. } = prediction.found else {
                    panic!("not entities");
                };
                for entity in truth {
                    let words = text[entity.bytes].split_whitespace().count();
                    assert_eq!(words, entity.words.len());
                    checked += 1;
                }
            }
            assert!(checked > 0);
        }
    }
}

#[test]
fn t5_writes_and_scores() {
    let dir = tempfile::tempdir().unwrap();
    for (task, kind, method) in [
        ("mednli", LookAlike::MedNli, "generation"),
        ("mednli", LookAlike::MedNli, "scoring"),
        ("radqa", LookAlike::RadQa, "generation"),
        ("radqa", LookAlike::RadQa, "scoring"),
        ("clip", LookAlike::Clip, "generation"),
    ] {
        let data = dir.path().join(task);
        look_alike(kind, &data, 4, 2);
        let more = format!(
            "fractions = [100]\nseeds = [1]\ndevelopment = 4\nmethod = \"{method}\"\n\
             recipe = {{ steps = 2, rate = 1e-3, batch = {{ rows = 4 }}, optimizer = {{ name = \"adamw\" }}, \
             task = {{ kind = \"pairs\", target_limit = 8 }} }}"
        );
        let out = dir.path().join(format!("{task}-{method}"));
        let study = open(&spec(T5, task, &data, &more), &out).unwrap();
        let report = study.with_text(true).run(&mut ()).unwrap();
        assert_eq!(report.method, method);
        assert_eq!(report.cells[0].examples, report.training);
        let path = out.join("cells/percent-100-seed-1/predictions-text.jsonl");
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), report.test);
        assert_eq!(
            text.contains("\"written\":"),
            (task, method) != ("mednli", "scoring")
        );
    }
}

#[test]
fn llama_is_asked_as_it_is_and_with_an_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    look_alike(LookAlike::MedNli, &data, 6, 4);
    for prompt in ["", "prompt = 3", "prompt = 14"] {
        let out = dir.path().join(format!("untrained {prompt}"));
        let report = open(&spec(LLAMA, "mednli", &data, prompt), &out)
            .unwrap()
            .run(&mut ())
            .unwrap();
        assert_eq!(
            (report.rows[0].percent, report.cost.training_tokens),
            (0, 0)
        );
        assert_eq!(predictions(&out, "untrained").len(), 4);
        assert!(report.markdown().contains("no training"));
    }
    let more = "fractions = [50]\nseeds = [1]\nrecipe = { steps = 2, rate = 1e-3, batch = { rows = 2 }, \
                optimizer = { name = \"adamw\" }, lora = { rank = 2, targets = [\"q_proj\"] } }";
    let out = dir.path().join("adapter");
    let report = open(&spec(LLAMA, "mednli", &data, more), &out)
        .unwrap()
        .run(&mut ())
        .unwrap();
    let cost = &report.cells[0].cost;
    let flops = 4.0 * cost.parameters as f64 * cost.training_tokens as f64;
    assert_eq!(cost.training_flops, flops);
    let other = Comparison::of(dir.path().join("untrained "), &out);
    assert!(matches!(other, Err(Error::NotComparable { .. })));
}

#[test]
fn gpt2_has_heads_and_scores() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("model");
    gpt2(&model);
    let model = model.to_str().unwrap();
    let recipe = recipe(2, "adamw", "1e-3");
    for (task, kind, more) in [
        ("mednli", LookAlike::MedNli, ""),
        ("mednli", LookAlike::MedNli, "prompt = 3"),
        ("mednli", LookAlike::MedNli, recipe.as_str()),
        ("clip", LookAlike::Clip, recipe.as_str()),
        ("radqa", LookAlike::RadQa, recipe.as_str()),
    ] {
        let data = dir.path().join(task);
        if !data.exists() {
            look_alike(kind, &data, 4, 2);
        }
        let out = dir.path().join(format!("{task}-{}", more.len()));
        let more = match more.starts_with("recipe") {
            true => format!("fractions = [100]\nseeds = [1]\ndevelopment = 4\n{more}"),
            false => more.to_owned(),
        };
        let study = open(&spec(model, task, &data, &more), &out).unwrap();
        let report = study.run(&mut ()).unwrap();
        let cell = match more.contains("recipe") {
            true => "percent-100-seed-1",
            false => "untrained",
        };
        assert_eq!(predictions(&out, cell).len(), report.test, "{task}");
    }
    let entities = dir.path().join("entities");
    look_alike(LookAlike::I2b2, &entities, 4, 2);
    let more = format!("fractions = [100]\nseeds = [1]\n{recipe}");
    let refused = open(
        &spec(model, "entities", &entities, &more),
        &dir.path().join("no"),
    );
    assert!(refused.unwrap_err().to_string().contains("GPT-2"));
}
