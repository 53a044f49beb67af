//! Runs on the demonstration T5: what they learn, what is in their folder, and how they go on.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clinical_t5::{ClinicalT5, LoadOptions, Precision, SaveOptions, T5Options};
use clinical_train::objective::seq2seq::PairSettings;
use clinical_train::{
    Adafactor, AdamW, Batching, Better, Development, Error, EvaluationReport, Every, FineTune,
    Lora, OptimizerConfig, PairSet, Progress, Recipe, StepReport, TextPair, TrainingSet, Weights,
    metric,
};

fn t5() -> ClinicalT5 {
    ClinicalT5::embedded().unwrap()
}

fn pairs() -> Vec<TextPair> {
    [
        ("expand: MI", "chest pain"),
        ("expand: HTN", "fever"),
        ("expand: COPD", "aspirin"),
        ("expand: UTI", "sepsis"),
        ("expand: CAD", "heparin"),
        ("expand: DM", "stable"),
        ("expand: CHF", "cough"),
    ]
    .map(|(input, target)| TextPair {
        input: input.to_owned(),
        target: target.to_owned(),
    })
    .to_vec()
}

fn set(t5: &ClinicalT5) -> PairSet {
    PairSet::new(t5, &pairs(), &PairSettings::default()).unwrap()
}

fn adamw() -> OptimizerConfig {
    OptimizerConfig::AdamW(AdamW::default())
}

/// Seven examples in batches of two, two batches a step: two steps an epoch.
fn recipe(epochs: u64) -> Recipe {
    let mut recipe = Recipe::new(epochs, 1e-3, adamw());
    recipe.batch = Batching::Rows(2);
    recipe.accumulate = 2;
    recipe.clip = Some(1.0);
    recipe.dropout = Some(0.1);
    recipe
}

/// Counts what is told, and breaks off after a step.
#[derive(Default)]
struct Told {
    steps: Vec<StepReport>,
    evaluations: Vec<EvaluationReport>,
    remarks: Vec<String>,
    begun: (u64, u64),
    break_after: Option<u64>,
}

impl Progress for Told {
    fn begin(&mut self, done: u64, steps: u64) {
        self.begun = (done, steps);
    }

    fn remark(&mut self, remark: &str) {
        self.remarks.push(remark.to_owned());
    }

    fn step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.steps.push(report.clone());
        match self.break_after == Some(report.step) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn evaluation(&mut self, report: &EvaluationReport) {
        self.evaluations.push(report.clone());
    }
}

fn train(recipe: &Recipe, dir: &Path, told: &mut Told) -> Result<ClinicalT5, Error> {
    let t5 = t5();
    let set = set(&t5);
    let run = FineTune::new(recipe.clone()).resume_or_start(dir)?;
    run.train(t5, &set, &Development::none(), told)
}

fn checkpoints(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn last(dir: &Path) -> PathBuf {
    dir.join("checkpoints")
        .join(checkpoints(dir).last().unwrap())
}

/// The trained weights, bit for bit. (The state of the optimizer is filed under numbers that each process draws anew.)
fn weights(dir: &Path) -> Vec<u8> {
    fs::read(last(dir).join("parameters.safetensors")).unwrap()
}

#[test]
fn a_model_learns_its_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = recipe(60);
    recipe.rate = 2e-3;
    recipe.dropout = Some(0.0);
    // What is left of a checkpoint that was being removed when a run was killed.
    fs::create_dir_all(dir.path().join("checkpoints/step-00000000")).unwrap();
    let mut told = Told::default();
    let trained = train(&recipe, dir.path(), &mut told).unwrap();
    assert_eq!((told.begun, told.steps.len()), ((0, 120), 120));
    assert!(!trained.device().is_autodiff());
    let (first, end) = (&told.steps[0], told.steps.last().unwrap());
    assert!(
        end.loss < 0.2 * first.loss,
        "{} to {}",
        first.loss,
        end.loss
    );
    // Every example once an epoch.
    let targets: u64 = told.steps.iter().take(2).map(|step| step.targets).sum();
    let set = set(&trained);
    let all: u64 = (0..set.len())
        .map(|row| set.preview(row, 0).unwrap().targets() as u64)
        .sum();
    assert_eq!(targets, all);
    let found = metric::exact_match(&trained, &pairs(), &T5Options::default()).unwrap();
    assert_eq!(found, 1.0);
    // The folder.
    assert_eq!(checkpoints(dir.path()), ["step-00000118", "step-00000120"]);
    let metrics = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 120);
    let svg = fs::read_to_string(dir.path().join("loss.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("training"));
    assert_eq!(
        Recipe::open(dir.path().join("recipe.toml")).unwrap(),
        recipe
    );
    // A run that has come to its end gives its result again.
    let mut told = Told::default();
    let again = train(&recipe, dir.path(), &mut told).unwrap();
    assert!(told.steps.is_empty());
    let loss = |t5: &ClinicalT5| t5.loss("expand: MI", "chest pain").unwrap();
    assert_eq!(loss(&again).to_bits(), loss(&trained).to_bits());
}

/// Bit for bit, for each optimizer, wherever the run is broken off.
#[test]
fn a_run_that_goes_on_ends_with_the_same_weights() {
    for optimizer in [adamw(), OptimizerConfig::Adafactor(Adafactor::default())] {
        let mut recipe = recipe(3);
        recipe.optimizer = optimizer;
        let alone = tempfile::tempdir().unwrap();
        let mut told = Told::default();
        train(&recipe, alone.path(), &mut told).unwrap();
        for after in 1..6 {
            let dir = tempfile::tempdir().unwrap();
            let mut first = Told {
                break_after: Some(after),
                ..Told::default()
            };
            train(&recipe, dir.path(), &mut first).unwrap();
            let mut second = Told::default();
            train(&recipe, dir.path(), &mut second).unwrap();
            assert_eq!(second.begun, (after, 6));
            assert!(
                weights(dir.path()) == weights(alone.path()),
                "after step {after}"
            );
            let losses = |told: &Told| -> Vec<u64> {
                told.steps.iter().map(|step| step.loss.to_bits()).collect()
            };
            assert_eq!([losses(&first), losses(&second)].concat(), losses(&told));
            // No line twice.
            let metrics = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
            assert_eq!(metrics.lines().count(), 6);
        }
    }
}

/// `k` batches of `b` examples are one of `k b`, whatever their numbers of targets.
#[test]
fn accumulated_batches_weigh_by_their_targets() {
    let gradient = |rows, accumulate| {
        let dir = tempfile::tempdir().unwrap();
        let mut recipe = recipe(1);
        (recipe.batch, recipe.accumulate) = (Batching::Rows(rows), accumulate);
        (recipe.dropout, recipe.clip) = (Some(0.0), None);
        let mut told = Told::default();
        train(&recipe, dir.path(), &mut told).unwrap();
        assert_eq!(told.steps.len(), 1);
        (told.steps[0].loss, told.steps[0].gradient_norm)
    };
    let (loss, norm) = gradient(7, 1);
    for (rows, accumulate) in [(2, 4), (3, 3), (1, 7)] {
        let (found, found_norm) = gradient(rows, accumulate);
        assert!((found / loss - 1.0).abs() < 1e-6, "{found} {loss}");
        assert!(
            (found_norm / norm - 1.0).abs() < 1e-5,
            "{found_norm} {norm}"
        );
    }
}

#[test]
fn the_best_weights_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let t5 = t5();
    let set = set(&t5);
    let mut recipe = recipe(8);
    recipe.keep = 1;
    recipe.patience = Some(2);
    // Better until the third evaluation.
    let calls = std::cell::Cell::new(0);
    let metric = |_: &ClinicalT5| {
        calls.set(calls.get() + 1);
        Ok(-(f64::from(calls.get()) - 3.0).abs())
    };
    let development = Development::loss(&set).with_metric("calls", Better::Higher, metric);
    let run = FineTune::new(recipe.clone())
        .resume_or_start(dir.path())
        .unwrap();
    let mut told = Told::default();
    let best = run.train(t5, &set, &development, &mut told).unwrap();
    // Two evaluations without a better one end the run.
    assert_eq!(told.evaluations.len(), 5);
    let bests: Vec<bool> = told.evaluations.iter().map(|one| one.best).collect();
    assert_eq!(bests, [true, true, true, false, false]);
    assert_eq!(checkpoints(dir.path()), ["step-00000006", "step-00000010"]);
    // The loss at the third evaluation is that of the weights that were given back.
    let alone = tempfile::tempdir().unwrap();
    let mut short = recipe.clone();
    short.epochs = Some(3);
    let after = train(&short, alone.path(), &mut Told::default()).unwrap();
    let loss = |t5: &ClinicalT5| t5.loss("expand: UTI", "sepsis").unwrap().to_bits();
    assert_eq!(loss(&best), loss(&after));
    // The last weights, where the recipe asks for them.
    drop(run);
    let other = tempfile::tempdir().unwrap();
    recipe.weights = Weights::Last;
    recipe.patience = None;
    recipe.evaluate = Every::Steps(3);
    let run = FineTune::new(recipe).resume_or_start(other.path()).unwrap();
    let mut told = Told::default();
    calls.set(2);
    run.train(self::t5(), &set, &development, &mut told)
        .unwrap();
    let steps: Vec<u64> = told.evaluations.iter().map(|one| one.step).collect();
    assert_eq!(steps, [3, 6, 9, 12, 15, 16]);
    assert_eq!(
        checkpoints(other.path()),
        ["step-00000003", "step-00000016"]
    );
}

#[test]
fn an_adapter_is_trained_beside_weights_of_any_precision() {
    for precision in [Precision::F32, Precision::Int8] {
        let load = LoadOptions::new().with_precision(precision);
        let from = concat!(env!("CARGO_MANIFEST_DIR"), "/../clinical-t5/demo");
        let base = ClinicalT5::load(from, &load).unwrap();
        let set = set(&base);
        let mut recipe = recipe(40);
        recipe.rate = 1e-2;
        let mut lora = Lora::default();
        lora.targets = vec!["q".to_owned(), "v".to_owned(), "wo".to_owned()];
        lora.dropout = 0.05;
        recipe.lora = Some(lora);
        let dir = tempfile::tempdir().unwrap();
        let run = FineTune::new(recipe.clone())
            .resume_or_start(dir.path())
            .unwrap();
        let before = base.loss("expand: MI", "chest pain").unwrap();
        let trained = run
            .train(base, &set, &Development::none(), &mut ())
            .unwrap();
        let after = trained.loss("expand: MI", "chest pain").unwrap();
        assert!(after < 0.5 * before, "{precision:?}: {before} to {after}");
        // Only the adapter is in the checkpoint.
        let file = fs::read(last(dir.path()).join("parameters.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert!(file.names().iter().all(|name| name.contains(".adapter.")));
        // Put beside the weights of the directory it is the same model.
        let out = dir.path().join("adapter");
        trained.save_adapter(&out).unwrap();
        let again = ClinicalT5::load(from, &load).unwrap();
        let again = again.with_adapter(&out).unwrap();
        let found = again.loss("expand: MI", "chest pain").unwrap();
        assert!((found - after).abs() < 1e-5, "{found} {after}");
        // Packed weights cannot be trained.
        if precision == Precision::Int8 {
            recipe.lora = None;
            let dir = tempfile::tempdir().unwrap();
            let run = FineTune::new(recipe).resume_or_start(dir.path()).unwrap();
            let base = ClinicalT5::load(from, &load).unwrap();
            let found = run.train(base, &set, &Development::none(), &mut ());
            assert!(matches!(found, Err(Error::Packed)));
        }
    }
}

#[test]
fn layers_that_are_not_there_are_told() {
    let mut recipe = recipe(1);
    let mut lora = Lora::default();
    lora.targets = vec!["q".to_owned(), "q_proj".to_owned()];
    recipe.lora = Some(lora);
    let dir = tempfile::tempdir().unwrap();
    let found = train(&recipe, dir.path(), &mut Told::default()).unwrap_err();
    assert!(matches!(found, Error::NoLayer { .. }), "{found}");
    assert!(found.to_string().contains("wo"), "{found}");
}

#[test]
fn a_folder_belongs_to_one_recipe_one_set_and_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe(2);
    let mut told = Told {
        break_after: Some(1),
        ..Told::default()
    };
    train(&recipe, dir.path(), &mut told).unwrap();
    // Another rate.
    let mut other = recipe.clone();
    other.rate = 2e-3;
    let found = FineTune::new(other)
        .resume_or_start(dir.path())
        .unwrap_err();
    let Error::OtherRecipe {
        key, found, wanted, ..
    } = &found
    else {
        panic!("{found}");
    };
    assert_eq!(
        (key.as_str(), found.as_str(), wanted.as_str()),
        ("rate", "0.001", "0.002")
    );
    // Other examples.
    let run = FineTune::new(recipe.clone())
        .resume_or_start(dir.path())
        .unwrap();
    let mut changed = pairs();
    changed[3].target.push('s');
    let t5 = t5();
    let changed = PairSet::new(&t5, &changed, &PairSettings::default()).unwrap();
    let found = run
        .train(t5, &changed, &Development::none(), &mut ())
        .unwrap_err();
    assert!(matches!(found, Error::OtherData { .. }), "{found}");
    // A second process.
    let found = FineTune::new(recipe.clone())
        .resume_or_start(dir.path())
        .unwrap_err();
    assert!(matches!(found, Error::InUse { .. }), "{found}");
    drop(run);
    // Another model.
    let mut larger = self::t5();
    larger
        .add_tokens(&[clinical_t5::AddedToken::new("[New]")])
        .unwrap();
    let set = set(&larger);
    let run = FineTune::new(recipe).resume_or_start(dir.path()).unwrap();
    let found = run
        .train(larger, &set, &Development::none(), &mut ())
        .unwrap_err();
    assert!(matches!(found, Error::OtherModel { .. }), "{found}");
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_serves() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe(3);
    let alone = tempfile::tempdir().unwrap();
    train(&recipe, alone.path(), &mut Told::default()).unwrap();
    for name in ["parameters.safetensors", "optimizer.bpk", "state.json"] {
        let mut told = Told {
            break_after: Some(5),
            ..Told::default()
        };
        train(&recipe, dir.path(), &mut told).unwrap();
        let path = last(dir.path()).join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let found = train(&recipe, dir.path(), &mut Told::default()).unwrap_err();
        assert!(matches!(found, Error::Checkpoint { .. }), "{name}: {found}");
        fs::remove_dir_all(last(dir.path())).unwrap();
        let mut told = Told::default();
        train(&recipe, dir.path(), &mut told).unwrap();
        assert_eq!(told.begun.0, 4);
        assert!(weights(dir.path()) == weights(alone.path()), "{name}");
        fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_leaves_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = recipe(20);
    recipe.rate = 1e30;
    recipe.clip = None;
    recipe.evaluate = Every::Steps(1);
    let found = train(&recipe, dir.path(), &mut Told::default()).unwrap_err();
    let Error::NotFinite { step, .. } = found else {
        panic!("{found}");
    };
    assert!(step > 1);
    assert_eq!(
        last(dir.path()),
        dir.path().join(format!("checkpoints/step-{:08}", step - 1))
    );
}

#[test]
fn nothing_to_learn_from_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let t5 = t5();
    let set = PairSet::new(&t5, &[], &PairSettings::default()).unwrap();
    let run = FineTune::new(recipe(1))
        .resume_or_start(dir.path())
        .unwrap();
    let found = run
        .train(t5, &set, &Development::none(), &mut ())
        .unwrap_err();
    assert!(
        matches!(found, Error::NoExamples { what: "training" }),
        "{found}"
    );
}

/// The trained facade is saved and loaded as any other.
#[test]
fn a_trained_model_is_saved() {
    let dir = tempfile::tempdir().unwrap();
    let trained = train(&recipe(1), &dir.path().join("run"), &mut Told::default()).unwrap();
    let out = dir.path().join("model");
    trained.save(&out, &SaveOptions::new()).unwrap();
    let again = ClinicalT5::load(&out, &LoadOptions::new()).unwrap();
    let loss = |t5: &ClinicalT5| t5.loss("expand: CHF", "cough").unwrap();
    let (found, expected) = (loss(&again), loss(&trained));
    assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
}
