//! A study whose process is killed at random moments ends with the figures of one that is left alone.
//!
//! CI kills a few times; `CLINICAL_KILLS=20 cargo test --release -p clinical-study --test all killed` as often as it says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{BERT, look_alike, open, recipe, spec};
use clinical_study::Report;
use clinical_synth::study::Study as LookAlike;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const CHILD: &str = "CLINICAL_STUDY_CHILD";

fn run(dir: &Path) {
    let more = format!(
        "fractions = [20, 100]\nseeds = [1, 2]\n{}",
        recipe(6, "adamw", "1e-3")
    );
    let text = spec(BERT, "mednli", &dir.join("../data"), &more);
    open(&text, dir).unwrap().run(&mut ()).unwrap();
}

/// What the other test starts as a process of its own.
#[test]
fn child() {
    if let Some(dir) = std::env::var_os(CHILD) {
        run(Path::new(&dir));
    }
}

#[test]
fn killed_at_any_moment_a_study_ends_with_the_same_figures() {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let kills: u64 = std::env::var("CLINICAL_KILLS").map_or(4, |kills| kills.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    look_alike(LookAlike::MedNli, &dir.path().join("data"), 30, 12);
    let [alone, often] = ["alone", "often"].map(|name| dir.path().join(name));
    fs::create_dir_all(&often).unwrap();
    let began = Instant::now();
    fs::create_dir_all(&alone).unwrap();
    run(&alone);
    let length = began.elapsed().as_millis() as u64;
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child"])
            .env(CHILD, &often)
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
        if often.join("report.json").exists() {
            // It came to its end between two kills: begin anew, so that each kill meets a study.
            fs::remove_dir_all(&often).unwrap();
            fs::create_dir_all(&often).unwrap();
        }
    }
    assert!(killed > 0);
    assert!(start().wait().unwrap().success());
    let [one, other] = [&alone, &often].map(|dir| Report::of(dir).unwrap().without_seconds());
    assert_eq!(one, other, "after {killed} kills");
    for cell in ["percent-020-seed-1", "percent-100-seed-2"] {
        let [one, other] = [&alone, &often]
            .map(|dir| fs::read(dir.join("cells").join(cell).join("predictions.jsonl")).unwrap());
        assert_eq!(one, other);
    }
}
