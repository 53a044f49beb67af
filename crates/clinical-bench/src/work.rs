//! The workloads.

use std::ops::ControlFlow;
use std::time::Instant;

use burn::module::{ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};
use clinical_bert::{Bert, BertForPretraining, Row};
use clinical_generate::{EndTokens, Generation, StepModel, generate};
use clinical_kernels::top_k;
use clinical_llama::Llama;
use clinical_t5::{Seq2SeqBatch, T5};
use clinical_weights::{FromCheckpoint, LinearLayout, Precision, with_random_weights};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{Error, Report, Shape, train};

/// The most tokens of all rows together.
const MAX_TOKENS: usize = 1 << 26;

/// What is timed; see the crate's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Workload {
    /// The encoder of a T5 or a BERT.
    Encode,
    /// Reading a prompt into a cache.
    Prefill,
    /// One token after another.
    Decode,
    /// A prompt and then one token after another: what a user waits for.
    Greedy,
    /// All logits at once.
    Forward,
    /// One optimiser step.
    Train,
}

impl std::str::FromStr for Workload {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "encode" => Self::Encode,
            "prefill" => Self::Prefill,
            "decode" => Self::Decode,
            "greedy" => Self::Greedy,
            "forward" => Self::Forward,
            "train" => Self::Train,
            _ => {
                return Err(Error::UnknownWorkload {
                    name: name.to_owned(),
                });
            }
        })
    }
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Encode => "encode",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Greedy => "greedy",
            Self::Forward => "forward",
            Self::Train => "train",
        })
    }
}

/// One measurement to make.
#[derive(Debug, Clone)]
pub struct Plan {
    /// A name of [`Shape::NAMES`] or the path of a `config.json`.
    pub model: String,
    /// What to time.
    pub workload: Workload,
    /// Of the weights. [`Precision::F16`] and [`Precision::BF16`] are for GPUs; packed weights train with adapters
    /// alone.
    pub precision: Precision,
    /// How the matrices of layers lie in memory.
    pub layout: LinearLayout,
    /// Rows.
    pub batch: usize,
    /// Tokens of a row's input.
    pub length: usize,
    /// Steps of `decode` and `greedy`, target tokens of `train` on a T5.
    pub new_tokens: usize,
    /// Beams of `greedy`; 1 is greedy.
    pub beams: usize,
    /// `train` trains adapters of this rank beside all dense layers but the output, which stay as they are.
    pub lora_rank: Option<usize>,
    /// `train` keeps the inputs of layers alone, and computes each layer again in the backward pass.
    pub recompute: bool,
    /// Timed runs.
    pub runs: usize,
    /// Where to run.
    pub device: Device,
}

/// Makes one measurement: one run to warm up, then [`Plan::runs`] timed ones.
///
/// # Errors
///
/// [`Error`] for a plan that makes no sense.
pub fn run(plan: &Plan) -> Result<Report, Error> {
    for (field, value) in [
        ("batch", plan.batch),
        ("length", plan.length),
        ("runs", plan.runs),
        ("beams", plan.beams),
    ] {
        if value == 0 {
            return Err(Error::Zero { field });
        }
    }
    let tokens = plan.batch.checked_mul(plan.length);
    if tokens.is_none_or(|tokens| tokens > MAX_TOKENS) {
        return Err(Error::TooLarge {
            batch: plan.batch,
            length: plan.length,
        });
    }
    if plan.lora_rank == Some(0) {
        return Err(Error::Zero { field: "lora_rank" });
    }
    let trains_all = plan.workload == Workload::Train && plan.lora_rank.is_none();
    if plan.precision.packing().is_some() && trains_all {
        return Err(Error::Precision {
            precision: plan.precision,
        });
    }
    let shape = Shape::named(&plan.model)?;
    let rows = random_rows(plan.batch, plan.length, shape.vocabulary());
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let mut report = Report {
        model: plan.model.clone(),
        workload: plan.workload.to_string(),
        precision: plan.precision.to_string(),
        threads: clinical_kernels::threads(),
        batch: plan.batch,
        length: plan.length,
        new_tokens: 0,
        beams: plan.beams,
        runs: 0,
        median_s: 0.0,
        min_s: 0.0,
        max_s: 0.0,
        ms_per_token: 0.0,
        gflops_per_s: 0.0,
        peak_rss_mb: 0.0,
        lora_rank: plan.lora_rank.filter(|_| plan.workload == Workload::Train),
        recompute: plan.recompute && plan.workload == Workload::Train,
        step: None,
    };
    match &shape {
        Shape::T5(config) => {
            let device = device_for(plan);
            let model = config.init(&device).map_err(|error| build(&error))?;
            let model = random(model, plan);
            t5(plan, &shape, model, &rows, &mut report)?;
        }
        Shape::Llama(config) => {
            let device = device_for(plan);
            let model = config.init(&device).map_err(|error| build(&error))?;
            let model = random(model, plan);
            llama(plan, &shape, model, &rows, &mut report)?;
        }
        Shape::Bert(config) if plan.workload == Workload::Train => {
            let model = BertForPretraining::new(config, false, &train::device(plan));
            let model = random(model.map_err(|error| build(&error))?, plan);
            train::bert(plan, &shape, model, &rows, &mut report)?;
        }
        Shape::Bert(config) => {
            let model = Bert::new(config, false, &plan.device).map_err(|error| build(&error))?;
            let model = random(model, plan);
            bert(plan, &shape, &model, &rows, &mut report)?;
        }
    }
    Ok(report)
}

/// Random weights in a precision, made one parameter after another where the model lies.
fn random<M: FromCheckpoint>(model: M, plan: &Plan) -> M {
    match plan.precision.dtype() {
        Some(dtype) if dtype != DType::F32 => model.map(&mut Cast(dtype)),
        _ => with_random_weights(model, plan.precision, plan.layout),
    }
}

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0))
    }
}

pub(crate) fn build(error: &dyn std::fmt::Display) -> Error {
    Error::Build(error.to_string())
}

fn device_for(plan: &Plan) -> Device {
    match plan.workload {
        Workload::Train => train::device(plan),
        _ => plan.device.clone(),
    }
}

fn t5(
    plan: &Plan,
    shape: &Shape,
    model: T5,
    rows: &[&[u32]],
    report: &mut Report,
) -> Result<(), Error> {
    let tokens = plan.batch * plan.length;
    match plan.workload {
        Workload::Encode => {
            let seconds = time(plan, || {
                Ok(sync(
                    model.encode(rows).map_err(|error| build(&error))?.states,
                ))
            })?;
            report.fill(
                seconds,
                tokens,
                shape.encoder_flops(plan.batch, plan.length),
            );
        }
        Workload::Decode => decode(plan, shape, &model, rows, report)?,
        Workload::Train => train::t5(plan, shape, model, rows, report)?,
        Workload::Forward => {
            report.new_tokens = plan.new_tokens.max(1);
            let targets = random_rows(plan.batch, report.new_tokens, shape.vocabulary());
            let targets: Vec<&[u32]> = targets.iter().map(Vec::as_slice).collect();
            let batch = Seq2SeqBatch::from_rows(rows, &targets, 0, &model.device());
            let flops = shape.encoder_flops(plan.batch, plan.length)
                + shape.decoder_flops(plan.batch, report.new_tokens, plan.length);
            let seconds = time(plan, || {
                let logits = model.forward(&batch.input_ids, &batch.input_mask, &batch.labels);
                Ok(sync(logits.map_err(|error| build(&error))?))
            })?;
            report.fill(seconds, tokens, flops);
        }
        Workload::Greedy => greedy(plan, shape, &model, rows, report)?,
        Workload::Prefill => return Err(not_for(plan)),
    }
    Ok(())
}

fn bert(
    plan: &Plan,
    shape: &Shape,
    model: &Bert,
    rows: &[&[u32]],
    report: &mut Report,
) -> Result<(), Error> {
    if plan.workload != Workload::Forward {
        return Err(not_for(plan));
    }
    let rows: Vec<Row<'_>> = rows.iter().map(|&ids| Row::from(ids)).collect();
    let seconds = time(plan, || Ok(sync(model.forward(&rows)?)))?;
    let flops = shape.encoder_flops(plan.batch, plan.length);
    report.fill(seconds, plan.batch * plan.length, flops);
    Ok(())
}

fn llama(
    plan: &Plan,
    shape: &Shape,
    model: Llama,
    rows: &[&[u32]],
    report: &mut Report,
) -> Result<(), Error> {
    let tokens = plan.batch * plan.length;
    match plan.workload {
        Workload::Prefill => {
            let seconds = time(plan, || Ok(sync(model.prefill(rows, 1)?.1)))?;
            report.fill(
                seconds,
                tokens,
                shape.prefill_flops(plan.batch, plan.length),
            );
        }
        Workload::Forward => {
            let seconds = time(plan, || Ok(sync(model.forward(rows)?)))?;
            report.fill(
                seconds,
                tokens,
                shape.decoder_flops(plan.batch, plan.length, 0),
            );
        }
        Workload::Decode => decode(plan, shape, &model, rows, report)?,
        Workload::Greedy => greedy(plan, shape, &model, rows, report)?,
        Workload::Train => train::llama(plan, shape, model, rows, report)?,
        Workload::Encode => return Err(not_for(plan)),
    }
    Ok(())
}

pub(crate) fn not_for(plan: &Plan) -> Error {
    Error::NotForThisModel {
        workload: plan.workload,
        model: plan.model.clone(),
    }
}

/// Steps after a prompt. Each takes the greedy token, so that the host reads the logits as a generation does.
fn decode<M: StepModel>(
    plan: &Plan,
    shape: &Shape,
    model: &M,
    rows: &[&[u32]],
    report: &mut Report,
) -> Result<(), Error> {
    report.new_tokens = plan.new_tokens.max(1);
    let mut seconds = Vec::new();
    for run in 0..=plan.runs {
        let (mut cache, mut logits) = model.prefill(rows, report.new_tokens + 1)?;
        logits = sync(logits);
        let start = Instant::now();
        for _ in 0..report.new_tokens {
            // As the engine does: on the host all logits are at hand, elsewhere they stay where they are.
            let best = match clinical_kernels::is_host(&logits.device()) {
                true => logits.argmax(1).into_data(),
                false => top_k::argmax(logits, None).into_data(),
            };
            let ids: Vec<u32> = best.iter::<i64>().map(|id| id as u32).collect();
            logits = model.step(&ids, &mut cache)?;
        }
        let _ = sync(logits);
        if run > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let flops = shape.decode_flops(plan.batch, plan.length, report.new_tokens);
    report.fill(seconds, report.new_tokens, flops);
    Ok(())
}

/// A prompt and `new_tokens` tokens through the engine, as a user waits for them.
fn greedy<M: StepModel>(
    plan: &Plan,
    shape: &Shape,
    model: &M,
    rows: &[&[u32]],
    report: &mut Report,
) -> Result<(), Error> {
    report.new_tokens = plan.new_tokens.max(1);
    let steps = report.new_tokens - 1;
    let options = Generation::beam(plan.beams).with_max_new_tokens(report.new_tokens);
    let seconds = time(plan, || {
        let next = |_: clinical_generate::Step<'_>| ControlFlow::Continue(());
        Ok(generate(model, rows, &EndTokens::none(), &options, next)?)
    })?;
    let prompt = match shape {
        Shape::T5(_) => {
            shape.encoder_flops(plan.batch, plan.length)
                + shape.decoder_flops(plan.batch, 1, plan.length)
        }
        _ => shape.prefill_flops(plan.batch, plan.length),
    };
    let flops = prompt + shape.decode_flops(plan.batch * plan.beams, plan.length, steps);
    report.fill(seconds, report.new_tokens, flops);
    Ok(())
}

fn time<T>(plan: &Plan, mut work: impl FnMut() -> Result<T, Error>) -> Result<Vec<f64>, Error> {
    let mut seconds = Vec::with_capacity(plan.runs);
    for run in 0..=plan.runs {
        let start = Instant::now();
        let result = work()?;
        let elapsed = start.elapsed().as_secs_f64();
        drop(result);
        if run > 0 {
            seconds.push(elapsed);
        }
    }
    Ok(seconds)
}

/// Waits until the result is there: devices compute asynchronously.
pub(crate) fn sync<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let _ = tensor.device().sync();
    tensor
}

/// Ids from 3 on (below are special tokens), the same for every run.
pub(crate) fn random_rows(batch: usize, length: usize, vocabulary: usize) -> Vec<Vec<u32>> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let last = (vocabulary as u32).max(4);
    (0..batch)
        .map(|_| (0..length).map(|_| random.random_range(3..last)).collect())
        .collect()
}
