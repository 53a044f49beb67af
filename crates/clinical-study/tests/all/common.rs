//! Look-alike data and small studies.

use std::path::{Path, PathBuf};

use clinical_gpt2::{ClinicalGpt2, Gpt2Config, Parts, SaveOptions};
use clinical_study::{LoadOptions, Study, StudySpec};
use clinical_synth::study::{Study as LookAlike, StudySizes};

pub const BERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../clinical-bert/demo");
pub const T5: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../clinical-t5/demo");
pub const LLAMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../asclepius/demo");

/// A tiny GPT-2 of fresh weights in a folder, with the tokenizer of its crate's reference script.
pub fn gpt2(folder: &Path) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clinical-gpt2/tests/data/published");
    let published = ClinicalGpt2::load(path, &LoadOptions::new()).unwrap();
    let config = Gpt2Config {
        n_positions: 1024,
        ..published.config().clone()
    };
    let model = config.init(&LoadOptions::new().device).unwrap();
    let parts = Parts::new(config, model, published.tokenizer().clone());
    let saved = ClinicalGpt2::from_parts(parts);
    saved.save(folder, &SaveOptions::new()).unwrap();
}

/// A look-alike data set in a folder.
pub fn look_alike(kind: LookAlike, folder: &Path, train: usize, test: usize) {
    let sizes = StudySizes {
        train,
        development: test,
        test,
    };
    for file in kind.files(7, sizes) {
        let path = folder.join(&file.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, file.text).unwrap();
    }
}

/// A specification of a model and a task, with more lines of TOML.
pub fn spec(model: &str, task: &str, data: &Path, more: &str) -> String {
    format!(
        "model = {model:?}\n{more}\n[task]\nkind = \"{task}\"\ndata = {:?}\n",
        data.display().to_string()
    )
}

/// A recipe that is over soon.
pub fn recipe(steps: u64, optimizer: &str, rate: &str) -> String {
    format!(
        "recipe = {{ steps = {steps}, rate = {rate}, evaluate = {{ steps = 2 }}, dropout = 0.1, \
         batch = {{ rows = 4 }}, optimizer = {{ name = \"{optimizer}\" }} }}"
    )
}

pub fn open(spec: &str, out: &Path) -> clinical_study::Result<Study> {
    Study::resume_or_start(StudySpec::from_toml(spec)?, out, &LoadOptions::new())
}

/// All files below a folder that are no weights.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => all.push(path),
            }
        }
    }
    all.sort();
    all
}
