//! The T5 fixtures (`scripts/t5_reference.py`).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use clinical_generate::{EndTokens, Generation, StepModel, generate};
use clinical_t5::{Seq2SeqBatch, T5, T5Config};
use clinical_weights::LoadOptions;
use safetensors::{Dtype, SafeTensors};

use crate::check::{Checks, Values, read_json, slices, values};

pub const FOLDER: &str = "crates/clinical-t5/tests/data";
const VARIANTS: [&str; 3] = ["v1_0", "v1_1", "uneven"];

/// `expected.safetensors` of a fixture.
pub struct Fixture {
    floats: HashMap<String, Vec<f32>>,
    ints: HashMap<String, (Vec<usize>, Vec<i64>)>,
}

impl Fixture {
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("expected.safetensors");
        let bytes = std::fs::read(&path)
            .with_context(|| format!("cannot read the fixture {}", path.display()))?;
        let (mut floats, mut ints) = (HashMap::new(), HashMap::new());
        for (key, view) in SafeTensors::deserialize(&bytes)?.iter() {
            let words = view.data().as_chunks::<4>().0.iter();
            match view.dtype() {
                Dtype::F32 => {
                    let values = words.map(|&word| f32::from_le_bytes(word)).collect();
                    floats.insert(key.to_owned(), values);
                }
                Dtype::I32 => {
                    let values = words.map(|&word| i32::from_le_bytes(word).into()).collect();
                    ints.insert(key.to_owned(), (view.shape().to_vec(), values));
                }
                other => bail!("{key} of {} is of type {other:?}", path.display()),
            }
        }
        Ok(Self { floats, ints })
    }

    pub fn floats(&self, key: &str) -> Result<&[f32]> {
        let found = self.floats.get(key);
        Ok(found.with_context(|| format!("no {key} in the fixture"))?)
    }

    fn ints(&self, key: &str) -> Result<&(Vec<usize>, Vec<i64>)> {
        let found = self.ints.get(key);
        found.with_context(|| format!("no {key} in the fixture"))
    }

    fn row(&self, key: &str) -> Result<Vec<u32>> {
        Ok(self.ints(key)?.1.iter().map(|&id| id as u32).collect())
    }

    fn ids(&self, key: &str, device: &Device) -> Result<Tensor<2, Int>> {
        let (shape, values) = self.ints(key)?;
        let data = TensorData::new(values.clone(), shape.clone());
        Ok(Tensor::from_data(data, device))
    }

    fn mask(&self, key: &str, device: &Device) -> Result<Tensor<2, Bool>> {
        Ok(self.ids(key, device)?.not_equal_elem(0))
    }

    pub fn batch(&self, device: &Device) -> Result<Seq2SeqBatch> {
        Ok(Seq2SeqBatch {
            input_ids: self.ids("loss.input_ids", device)?,
            input_mask: self.mask("loss.mask", device)?,
            labels: self.ids("loss.labels", device)?,
        })
    }
}

pub fn run(checks: &mut Checks) -> Result<()> {
    for variant in VARIANTS {
        let dir = checks.path(FOLDER).join(variant);
        let fixture = Fixture::open(&dir)?;
        let mut expected = Values::new();
        for key in [
            "batch.logits",
            "long.logits",
            "encoder.states",
            "loss.value",
        ] {
            expected.insert(key.to_owned(), fixture.floats(key)?.to_vec());
        }
        let name = format!("t5 {variant}");
        checks.model(&name, &expected, |options| {
            found(&open(&dir, options)?, &fixture, &options.device)
        })?;
        let on = LoadOptions::new().with_device(checks.device.clone());
        greedy(checks, &name, &dir, &open(&dir, &on)?)?;
    }
    Ok(())
}

pub fn open(dir: &Path, options: &LoadOptions) -> Result<T5> {
    let config = T5Config::from_file(dir.join("config.json"))?;
    let mut model = config.init(&options.device)?;
    clinical_weights::load(&mut model, dir, options)?;
    Ok(model)
}

fn found(model: &T5, fixture: &Fixture, device: &Device) -> Result<Values> {
    let mut found = Values::new();
    let logits = model.forward(
        &fixture.ids("batch.input_ids", device)?,
        &fixture.mask("batch.mask", device)?,
        &fixture.ids("batch.decoder_ids", device)?,
    )?;
    found.insert("batch.logits".to_owned(), values(logits));

    // Step by step, so that the cache and the relative positions grow.
    let (prompt, decoder) = (
        fixture.row("long.input_ids")?,
        fixture.row("long.decoder_ids")?,
    );
    let lengths = &fixture.ints("long.lengths")?.1;
    let (mut cache, mut logits) = model.prefill(&[&prompt], 3)?;
    let mut long = Vec::new();
    for length in 1..=300 {
        if lengths.contains(&length) {
            long.extend(values(logits.clone()));
        }
        if let Some(&id) = decoder.get(length as usize) {
            logits = model.step(&[id], &mut cache)?;
        }
    }
    found.insert("long.logits".to_owned(), long);

    let states = values(model.encode(&[&fixture.row("encoder.input_ids")?])?.states);
    let width = states.len() / 300;
    let kept = fixture.ints("encoder.positions")?.1.iter();
    let kept = kept.flat_map(|&at| &states[at as usize * width..(at as usize + 1) * width]);
    found.insert("encoder.states".to_owned(), kept.copied().collect());

    let loss: f32 = model.loss(&fixture.batch(device)?)?.mean.into_scalar();
    found.insert("loss.value".to_owned(), vec![loss]);
    Ok(found)
}

fn greedy(checks: &mut Checks, name: &str, dir: &Path, model: &T5) -> Result<()> {
    let facts: serde_json::Value = read_json(&dir.join("expected.json"))?;
    let rows = |key: &str| -> Result<Vec<Vec<u32>>> {
        Ok(serde_json::from_value(facts["greedy"][key].clone())?)
    };
    let end = EndTokens::new(T5Config::from_file(dir.join("config.json"))?.eos_token_ids);
    let options = Generation::greedy().with_max_new_tokens(40);
    let prompts = rows("prompts")?;
    let found = generate(model, &slices(&prompts), &end, &options, |_| {
        ControlFlow::Continue(())
    })?;
    let found: Vec<Vec<u32>> = found.into_iter().map(|row| row.ids).collect();
    checks.same(&format!("{name}, greedy"), &found, &rows("ids")?);
    Ok(())
}
