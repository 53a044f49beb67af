//! This crate's kernels for GPUs beside sums on the CPU, in the shapes of real models; and tokens chosen on the device
//! beside those chosen from all logits.

use anyhow::Result;
use asclepius::{AnswerOptions, Asclepius};
use burn::tensor::{DType, Device, Distribution, Tensor};
use clinical_generate::Generation;
use clinical_kernels::{fused, top_k};
use clinical_nn::{AttentionOptions, attention};
use clinical_synth::Generator;
use clinical_weights::LoadOptions;

use crate::check::{Checks, values};

/// The largest difference, in parts of the largest value: a few roundings of the result.
const TOLERANCES: [(DType, f32); 3] = [
    (DType::F32, 1e-4),
    (DType::F16, 2e-3),
    (DType::BF16, 1.6e-2),
];

pub fn run(checks: &mut Checks) -> Result<()> {
    choices(checks)?;
    clinical_kernels::set_gpu_kernels(true);
    let device = checks.device.clone();
    if fused::gpu_kernels(&device) {
        for (dtype, tolerance) in TOLERANCES {
            if device.supports_dtype(dtype) {
                products(checks, dtype, tolerance);
                queries(checks, dtype, tolerance);
                firsts(checks, dtype);
            }
        }
    }
    clinical_kernels::set_gpu_kernels(checks.kernels);
    Ok(())
}

fn random<const D: usize>(shape: [usize; D], dtype: DType, device: &Device) -> Tensor<D> {
    Tensor::<D>::random(shape, Distribution::Normal(0.0, 1.0), device).cast(dtype)
}

/// The same numbers on the CPU.
fn on_cpu<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    let data = tensor.clone().cast(DType::F32).into_data();
    Tensor::from_data(data, &clinical_kernels::cpu())
}

fn close<const D: usize>(
    checks: &mut Checks,
    name: &str,
    found: Tensor<D>,
    expected: Tensor<D>,
    tolerance: f32,
) {
    let expected = values(expected);
    let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    checks.close(name, &values(found), &expected, tolerance * largest);
}

fn products(checks: &mut Checks, dtype: DType, tolerance: f32) {
    let device = checks.device.clone();
    for (rows, depth, n) in [
        (1, 4096, 11008),
        (1, 768, 32128),
        (2, 5120, 5120),
        (8, 3072, 768),
        (3, 33, 17),
    ] {
        let x = random([rows, depth], dtype, &device);
        for (layout, weight) in [
            ("rows", random([depth, n], dtype, &device)),
            ("transposed", random([n, depth], dtype, &device).transpose()),
        ] {
            let name = format!("kernel, {rows}x{depth} by {depth}x{n} {layout}, {dtype:?}");
            let expected = on_cpu(&x).matmul(on_cpu(&weight));
            match fused::few_rows(&x, &weight) {
                Some(found) => close(checks, &name, found, expected, tolerance),
                None => checks.same(&name, &"no kernel", &"a kernel"),
            }
        }
    }
}

fn queries(checks: &mut Checks, dtype: DType, tolerance: f32) {
    let device = checks.device.clone();
    for (rows, heads, key_heads, d, keys, has_bias) in [
        (1, 32, 32, 128, 2048, false),
        (4, 32, 8, 128, 700, false),
        (32, 12, 12, 64, 65, true),
        (2, 6, 2, 20, 37, true),
    ] {
        let query = random([rows, heads, 1, d], dtype, &device);
        let capacity = keys + 64;
        let cache = || random([rows, key_heads, capacity, d], dtype, &device);
        let (key, value) = (cache(), cache());
        let line = has_bias.then(|| random([1, heads, 1, capacity], DType::F32, &device));
        let lengths: Vec<usize> = (0..rows)
            .map(|row| keys - row * keys / (2 * rows))
            .collect();
        let hidden = clinical_nn::key_mask(&lengths, keys, &clinical_kernels::cpu());
        let mask = hidden.clone().map(|hidden| {
            let hidden = hidden.reshape([rows, keys]);
            let zeros = Tensor::<2>::zeros([rows, keys], &hidden.device());
            let mask = zeros.mask_fill(hidden, f32::NEG_INFINITY);
            Tensor::<2>::from_data(mask.into_data(), &device)
        });
        let filled = |cache: &Tensor<4>| on_cpu(cache).narrow(2, 0, keys);
        let bias = line
            .as_ref()
            .map(|line| on_cpu(line).narrow(3, capacity - keys, keys));
        let expected = attention(
            on_cpu(&query),
            filled(&key),
            filled(&value),
            AttentionOptions {
                hidden,
                bias,
                ..AttentionOptions::scaled(0.1)
            },
        );
        let found = fused::one_query(
            &query,
            [&key, &value],
            keys,
            line.as_ref(),
            mask.as_ref(),
            0.1,
        );
        let name = format!("kernel, {rows} queries of {heads} heads, {keys} keys, {dtype:?}");
        match found {
            Some(found) => close(checks, &name, found, expected, tolerance),
            None => checks.same(&name, &"no kernel", &"a kernel"),
        }
    }
}

fn firsts(checks: &mut Checks, dtype: DType) {
    let device = checks.device.clone();
    for (rows, n) in [(1, 128_256), (32, 32_000), (5, 33)] {
        let scores = random([rows, n], dtype, &device);
        let found = top_k::argmax(scores.clone(), None).into_data();
        let expected = top_k::argmax(on_cpu(&scores), None).into_data();
        let name = format!("kernel, the best of {n}, {rows} rows, {dtype:?}");
        checks.same(
            &name,
            &found.iter::<i64>().collect::<Vec<_>>(),
            &expected.iter::<i64>().collect(),
        );
    }
}

/// The demonstration LLaMA with each way of choosing.
fn choices(checks: &mut Checks) -> Result<()> {
    let on = LoadOptions::new().with_device(checks.device.clone());
    let model = Asclepius::embedded_with(&on)?;
    let cases: Vec<_> = Generator::held_out(3).take(4).collect();
    let asked: Vec<(&str, &str)> = cases
        .iter()
        .map(|case| (case.note.as_str(), case.pairs[0].question.as_str()))
        .collect();
    for (name, way) in [
        ("greedy", Generation::greedy()),
        (
            "greedy without repeats",
            Generation::greedy().with_no_repeat_ngram(3),
        ),
        ("sampling", Generation::sample().with_seed(5)),
        ("three beams", Generation::beam(3)),
    ] {
        let [short, all] = [true, false].map(|short| {
            let way = way.clone().with_max_new_tokens(24).with_shortlist(short);
            let options = AnswerOptions::new().with_generation(way);
            let answers = model.answer_batch(&asked, &options).into_iter();
            answers
                .map(|answer| Ok(answer?.text))
                .collect::<Result<Vec<String>>>()
        });
        let (short, all) = (short?, all?);
        checks.same(&format!("choosing on the device, {name}"), &short, &all);
    }
    Ok(())
}
