//! The workload `train`: loss, gradients and an optimiser's step.

use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use clinical_bert::{BertForPretraining, IGNORED, Row, Targets};
use clinical_llama::Llama;
use clinical_nn::{Adapter, Linears, train_adapters_only};
use clinical_t5::{Seq2SeqBatch, T5};
use clinical_train::{Adafactor, AdamW, Flavour, OptimizerConfig};

use crate::report::{StepTimes, processor_time};
use crate::work::{build, random_rows};
use crate::{Error, Plan, Report, Shape};

/// One token in this many is masked.
const MASKED: usize = 7;

/// What an adapter's product is multiplied by, over its rank.
const ALPHA: f64 = 16.0;

pub(crate) fn t5(
    plan: &Plan,
    shape: &Shape,
    mut model: T5,
    rows: &[&[u32]],
    report: &mut Report,
) -> Result<(), Error> {
    report.new_tokens = plan.new_tokens.max(1);
    model.set_recompute(plan.recompute);
    let targets = random_rows(plan.batch, report.new_tokens, shape.vocabulary());
    let targets: Vec<&[u32]> = targets.iter().map(Vec::as_slice).collect();
    let batch = Seq2SeqBatch::from_rows(rows, &targets, 0, &model.device());
    let forward = shape.encoder_flops(plan.batch, plan.length)
        + shape.decoder_flops(plan.batch, report.new_tokens, plan.length);
    let optimizer = OptimizerConfig::Adafactor(Adafactor::new(Flavour::HuggingFace));
    run(plan, model, &optimizer, forward, report, |model| {
        let loss = model.loss(&batch);
        Ok(loss.map_err(|error| build(&error))?.mean)
    })
}

pub(crate) fn llama(
    plan: &Plan,
    shape: &Shape,
    mut model: Llama,
    rows: &[&[u32]],
    report: &mut Report,
) -> Result<(), Error> {
    model.set_recompute(plan.recompute);
    let labels: Vec<Vec<i64>> = rows
        .iter()
        .map(|row| row.iter().map(|&id| id.into()).collect())
        .collect();
    let labels: Vec<&[i64]> = labels.iter().map(Vec::as_slice).collect();
    let forward = shape.decoder_flops(plan.batch, plan.length, 0);
    let optimizer = OptimizerConfig::AdamW(AdamW::default());
    run(plan, model, &optimizer, forward, report, |model| {
        let loss = model.loss(rows, &labels);
        Ok(loss.map_err(|error| build(&error))?.mean)
    })
}

/// Masked tokens without next sentence. What stands in the place of a masked token does not matter for speed.
pub(crate) fn bert(
    plan: &Plan,
    shape: &Shape,
    mut model: BertForPretraining,
    rows: &[&[u32]],
    report: &mut Report,
) -> Result<(), Error> {
    model.bert.recompute = plan.recompute;
    let label = |(at, &id): (usize, &u32)| match at % MASKED {
        0 => i64::from(id),
        _ => IGNORED,
    };
    let labels: Vec<Vec<i64>> = rows
        .iter()
        .map(|row| row.iter().enumerate().map(label).collect())
        .collect();
    let rows: Vec<Row<'_>> = rows.iter().map(|&ids| Row::from(ids)).collect();
    let forward = shape.encoder_flops(plan.batch, plan.length);
    let optimizer = OptimizerConfig::AdamW(AdamW::default());
    run(plan, model, &optimizer, forward, report, |model| {
        let loss = model.loss(&rows, Targets::Tokens(&labels));
        Ok(loss.map_err(|error| build(&error))?.mean)
    })
}

/// The device that a plan trains on.
pub(crate) fn device(plan: &Plan) -> Device {
    plan.device.clone().autodiff()
}

/// The model with what is trained: everything, or adapters beside all dense layers but the output.
fn prepared<M: Module + Linears>(mut model: M, plan: &Plan) -> Result<M, Error> {
    let Some(rank) = plan.lora_rank else {
        return Ok(model);
    };
    let mut problem = None;
    model.linears("", &mut |path, layer| {
        if path == "lm_head" {
            return;
        }
        let adapter = Adapter::new(layer, path, rank, ALPHA / rank as f64, 0);
        if let Err(error) = layer.attach(path, adapter) {
            problem.get_or_insert(error);
        }
    });
    match problem {
        Some(error) => Err(build(&error)),
        None => Ok(train_adapters_only(model)),
    }
}

fn run<M: Module + Linears>(
    plan: &Plan,
    model: M,
    optimizer: &OptimizerConfig,
    forward: f64,
    report: &mut Report,
    loss: impl Fn(&M) -> Result<Tensor<1>, Error>,
) -> Result<(), Error> {
    let mut optimizer: ModuleOptimizer = optimizer.build().map_err(|error| build(&error))?;
    let mut model = prepared(model, plan)?;
    let mut seconds = Vec::new();
    let mut times = StepTimes::default();
    let mut before = None;
    for run in 0..=plan.runs {
        if run == 1 {
            before = processor_time();
        }
        let start = Instant::now();
        let mean = loss(&model)?;
        let _ = plan.device.sync();
        let forward = start.elapsed().as_secs_f64();
        let gradients = GradientsParams::from_grads(mean.backward(), &model);
        let _ = plan.device.sync();
        let backward = start.elapsed().as_secs_f64() - forward;
        model = optimizer.step(1e-4, model, gradients);
        let _ = plan.device.sync();
        let whole = start.elapsed().as_secs_f64();
        if run > 0 {
            let part = |seconds| seconds / plan.runs as f64;
            times.forward_s += part(forward);
            times.backward_s += part(backward);
            times.optimizer_s += part(whole - forward - backward);
            seconds.push(whole);
        }
    }
    let spent = processor_time().zip(before);
    times.cpu_s_per_run = spent.map(|(now, before)| (now - before) / plan.runs as f64);
    // Gradients of the inputs and of the weights are a product each; of frozen weights none is made.
    let passes = if plan.lora_rank.is_some() { 2.0 } else { 3.0 };
    report.fill(seconds, plan.batch * plan.length, passes * forward);
    report.step = Some(times);
    Ok(())
}
