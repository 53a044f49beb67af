//! Gradients and training steps.

use anyhow::{Context, Result};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use clinical_t5::T5;
use clinical_weights::LoadOptions;

use crate::check::{Checks, TOLERANCE, values};
use crate::t5::{FOLDER, Fixture, open};

const STEPS: usize = 10;

pub fn run(checks: &mut Checks) -> Result<()> {
    let dir = checks.path(FOLDER).join("v1_0");
    let fixture = Fixture::open(&dir)?;
    let on = |device: &Device| {
        open(
            &dir,
            &LoadOptions::new().with_device(device.clone().autodiff()),
        )
    };

    let device = checks.device.clone();
    let model = on(&device)?;
    let batch = fixture.batch(&device.clone().autodiff())?;
    let gradients = model.loss(&batch)?.mean.backward();
    for (key, weight) in parameters(&model) {
        let gradient = weight.grad(&gradients);
        let gradient = gradient.with_context(|| format!("no gradient of {key}"))?;
        // A checkpoint's matrices are [out, in], ours are [in, out].
        let gradient = if key.ends_with(".k.weight") {
            gradient.transpose()
        } else {
            gradient
        };
        let expected = fixture.floats(&format!("grad.{key}"))?;
        let largest = expected.iter().fold(1.0f32, |a, b| a.max(b.abs()));
        let check = format!("t5 v1_0, gradient of {key}");
        checks.close(&check, &values(gradient), expected, TOLERANCE * largest);
    }

    let found = losses(on(&device)?, &fixture, &device)?;
    let cpu = clinical_kernels::cpu();
    let expected = losses(on(&cpu)?, &fixture, &cpu)?;
    checks.close("t5 v1_0, ten steps of Adam", &found, &expected, TOLERANCE);
    Ok(())
}

/// Some weights, by their names in a checkpoint.
fn parameters(model: &T5) -> Vec<(String, Tensor<2>)> {
    let blocks = model
        .decoder
        .as_ref()
        .map_or(&[][..], |decoder| &decoder.block);
    let last = blocks.len() - 1;
    vec![
        ("shared.weight".to_owned(), model.shared.weight.val()),
        (
            format!("decoder.block.{last}.layer.1.EncDecAttention.k.weight"),
            blocks[last].cross_attention.k.weight.val(),
        ),
    ]
}

fn losses(mut model: T5, fixture: &Fixture, device: &Device) -> Result<Vec<f32>> {
    let batch = fixture.batch(&device.clone().autodiff())?;
    let mut optimizer = AdamConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..STEPS {
        let loss = model.loss(&batch)?.mean;
        losses.push(loss.clone().into_scalar());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
    }
    Ok(losses)
}
