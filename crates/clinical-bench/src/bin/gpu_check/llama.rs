//! The LLaMA and Mistral fixtures (`scripts/llama_reference.py`).

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use clinical_generate::{EndTokens, Generation, StepModel, generate};
use clinical_llama::{Llama, LlamaConfig};
use clinical_weights::LoadOptions;
use serde::Deserialize;

use crate::check::{Checks, TOLERANCE, Values, read_json, slices, values};

const FOLDER: &str = "crates/clinical-llama/tests/data";
const VARIANTS: [&str; 9] = [
    "mha",
    "gqa",
    "tied",
    "llama3",
    "linear",
    "dynamic",
    "mistral",
    "bias",
    "mistral_window",
];

#[derive(Deserialize)]
struct Expected {
    ids: Vec<u32>,
    logits: Vec<Logits>,
    loss: Loss,
    rows: Rows,
    greedy: Greedy,
}

#[derive(Deserialize)]
struct Logits {
    length: usize,
    positions: Vec<usize>,
    values: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Loss {
    ids: Vec<Vec<u32>>,
    labels: Vec<Vec<i64>>,
    value: f32,
}

#[derive(Deserialize)]
struct Rows {
    ids: Vec<Vec<u32>>,
    last: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Greedy {
    prompt: usize,
    ids: Vec<u32>,
}

pub fn run(checks: &mut Checks) -> Result<()> {
    let folder = checks.path(FOLDER);
    for variant in VARIANTS {
        let expected: Expected = read_json(&folder.join(variant).join("expected.json"))?;
        let open = |options: &LoadOptions, longest: Option<usize>| {
            open(&folder, variant, options, longest)
        };
        let name = format!("llama {variant}");
        checks.model(&name, &reference(&expected), |options| {
            found(&open(options, None)?, &expected)
        })?;
        let on = LoadOptions::new().with_device(checks.device.clone());
        let ids = greedy(&open(&on, None)?, &expected)?;
        checks.same(&format!("{name}, greedy"), &ids, &expected.greedy.ids);
    }
    long(checks, &folder)
}

fn open(
    folder: &Path,
    variant: &str,
    options: &LoadOptions,
    longest: Option<usize>,
) -> Result<Llama> {
    let mut config = LlamaConfig::from_file(folder.join(variant).join("config.json"))?;
    if let Some(longest) = longest {
        config.max_position_embeddings = longest;
    }
    let mut model = config.init(&options.device)?;
    // The window is the only difference of this variant.
    let weights = folder.join(variant.strip_suffix("_window").unwrap_or(variant));
    clinical_weights::load(&mut model, weights, options)?;
    Ok(model)
}

fn reference(expected: &Expected) -> Values {
    let mut found = Values::new();
    for case in &expected.logits {
        found.insert(format!("logits {}", case.length), case.values.concat());
    }
    found.insert("loss".to_owned(), vec![expected.loss.value]);
    found.insert("batch".to_owned(), expected.rows.last.concat());
    let alone = expected.rows.last.iter().enumerate();
    found.extend(alone.map(|(row, last)| (format!("row {row} alone"), last.clone())));
    found
}

fn found(model: &Llama, expected: &Expected) -> Result<Values> {
    let vocabulary = model.vocabulary();
    let mut found = Values::new();
    for case in &expected.logits {
        let logits = values(model.forward(&[&expected.ids[..case.length]])?);
        let kept = case.positions.iter();
        let kept = kept.flat_map(|&at| &logits[at * vocabulary..(at + 1) * vocabulary]);
        found.insert(format!("logits {}", case.length), kept.copied().collect());
    }
    let (ids, labels) = (&expected.loss.ids, &expected.loss.labels);
    let loss: f32 = model
        .loss(&slices(ids), &slices(labels))?
        .mean
        .into_scalar();
    found.insert("loss".to_owned(), vec![loss]);
    let rows = slices(&expected.rows.ids);
    found.insert("batch".to_owned(), values(model.prefill(&rows, 0)?.1));
    for (i, row) in rows.iter().enumerate() {
        let last = values(model.prefill(&[row], 0)?.1);
        found.insert(format!("row {i} alone"), last);
    }
    Ok(found)
}

fn greedy(model: &Llama, expected: &Expected) -> Result<Vec<u32>> {
    let greedy = &expected.greedy;
    let options = Generation::greedy().with_max_new_tokens(greedy.ids.len());
    let prompt = &expected.ids[..greedy.prompt];
    let mut found = generate(model, &[prompt], &EndTokens::new([]), &options, |_| {
        ControlFlow::Continue(())
    })?;
    Ok(found.swap_remove(0).ids)
}

/// Far beyond the fixtures, where only the CPU can be asked: 4,000 tokens read at once, then 40 steps.
fn long(checks: &mut Checks, folder: &Path) -> Result<()> {
    let logits = |device: Device| -> Result<Vec<f32>> {
        let model = open(
            folder,
            "gqa",
            &LoadOptions::new().with_device(device),
            Some(8192),
        )?;
        let ids: Vec<u32> = (0..4000u32)
            .map(|i| 3 + i * i % (model.vocabulary() as u32 - 3))
            .collect();
        let (mut cache, logits) = model.prefill(&[&ids], 8)?;
        let mut found = values(logits);
        for id in 3..43 {
            found.extend(values(model.step(&[id], &mut cache)?));
        }
        Ok(found)
    };
    let (found, expected) = (
        logits(checks.device.clone())?,
        logits(clinical_kernels::cpu())?,
    );
    checks.close("llama gqa, 4,040 tokens, f32", &found, &expected, TOLERANCE);
    Ok(())
}
