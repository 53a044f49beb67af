//! A run whose process is killed at random moments ends with the same weights as one that is left alone.
//!
//! CI kills a few times; `CLINICAL_KILLS=20 cargo test --release --workspace --test killed` as often as it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clinical_t5::ClinicalT5;
use clinical_train::objective::seq2seq::PairSettings;
use clinical_train::{
    AdamW, Batching, Development, Every, FineTune, OptimizerConfig, PairSet, Recipe, TextPair,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const CHILD: &str = "CLINICAL_TRAIN_CHILD";
const STEPS: u64 = 40;

/// 40 steps with dropout; a checkpoint after every second one.
fn train(dir: &Path) {
    let t5 = ClinicalT5::embedded().unwrap();
    let pairs: Vec<TextPair> = (0..20)
        .map(|number| TextPair {
            input: format!("expand: Q{number}"),
            target: format!("pain number {number}"),
        })
        .collect();
    let set = PairSet::new(&t5, &pairs, &PairSettings::default()).unwrap();
    let mut recipe = Recipe::new(4, 1e-3, OptimizerConfig::AdamW(AdamW::default()));
    recipe.batch = Batching::Rows(2);
    recipe.dropout = Some(0.1);
    recipe.evaluate = Every::Steps(2);
    let run = FineTune::new(recipe).resume_or_start(dir).unwrap();
    run.train(t5, &set, &Development::none(), &mut ()).unwrap();
}

/// What the other test starts as a process of its own.
#[test]
fn child() {
    if let Some(dir) = std::env::var_os(CHILD) {
        train(Path::new(&dir));
    }
}

fn checkpoint(dir: &Path) -> PathBuf {
    dir.join(format!("checkpoints/step-{STEPS:08}"))
}

#[test]
fn killed_at_any_moment_a_run_ends_with_the_same_weights() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let kills: u64 = std::env::var("CLINICAL_KILLS").map_or(4, |kills| kills.parse().unwrap());
    let alone = tempfile::tempdir().unwrap();
    let began = std::time::Instant::now();
    train(alone.path());
    let length = began.elapsed().as_millis() as u64;
    let dir = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut killed = 0;
    for _ in 0..kills {
        let mut process = start();
        std::thread::sleep(Duration::from_millis(random.next_u64() % length.max(1)));
        process.kill().unwrap();
        killed += u64::from(!process.wait().unwrap().success());
        if killed % 5 == 0 && checkpoint(dir.path()).is_dir() {
            // It came to its end between two kills: begin anew, so that each kill meets a run.
            fs::remove_dir_all(dir.path().join("checkpoints")).unwrap();
        }
    }
    assert!(killed > 0);
    assert!(start().wait().unwrap().success());
    let [left, taken_up] = [alone.path(), dir.path()]
        .map(|dir| fs::read(checkpoint(dir).join("parameters.safetensors")).unwrap());
    assert!(left == taken_up, "after {killed} kills");
    // Each step has one line.
    let lines = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count() as u64, STEPS);
}
