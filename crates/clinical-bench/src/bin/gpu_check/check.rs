//! What every group of checks shares: devices, files, tolerances, lines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::{DType, Device, Tensor};
use clinical_weights::{LoadOptions, Precision};
use serde::de::DeserializeOwned;
use serde_json::json;

/// The largest difference from `transformers` at f32 on another device: its sums run in another order.
pub const TOLERANCE: f32 = 1e-3;

/// Named values of one run of a model.
pub type Values = BTreeMap<String, Vec<f32>>;

/// Where checks run, and how many passed.
pub struct Checks {
    root: PathBuf,
    /// The device under test.
    pub device: Device,
    /// Whether models run with this crate's kernels for GPUs.
    pub kernels: bool,
    passed: usize,
    failed: usize,
}

impl Checks {
    pub fn new(root: PathBuf, device: Device, kernels: bool) -> Self {
        Self {
            root,
            device,
            kernels,
            passed: 0,
            failed: 0,
        }
    }

    /// A file or folder of the repository.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    pub fn counts(&self) -> (usize, usize) {
        (self.passed, self.failed)
    }

    /// The device, such that weights of reduced precision meet activations as they are: kernels of the CPU, which round
    /// those, are for where no gradients flow.
    pub fn exact_device(&self) -> Device {
        unrounded(&self.device)
    }

    fn line(&mut self, ok: bool, mut line: serde_json::Value) {
        line["ok"] = ok.into();
        // Nobody may read it; the exit code still tells.
        let _ = crate::common::print(&line);
        if ok {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Two runs that must agree within `tolerance`.
    pub fn close(&mut self, check: &str, found: &[f32], expected: &[f32], tolerance: f32) {
        let worst = distance(found, expected);
        self.line(
            worst <= tolerance,
            json!({"check": check, "worst": worst, "tolerance": tolerance}),
        );
    }

    /// Two results that must be the same.
    pub fn same<T: PartialEq>(&mut self, check: &str, found: &T, expected: &T) {
        self.line(found == expected, json!({"check": check}));
    }

    /// A model on the device: at f32 within [`TOLERANCE`] of the reference, at bf16 and f16 as close to it as the CPU
    /// is at the same precision, twice over; at int8 and int4 within [`TOLERANCE`] of the CPU with the same integers
    /// and activations in f32; and the same numbers when it runs again.
    pub fn model(
        &mut self,
        name: &str,
        expected: &Values,
        run: impl Fn(&LoadOptions) -> Result<Values>,
    ) -> Result<()> {
        let on = |device: &Device, precision| {
            let options = LoadOptions::new()
                .with_device(device.clone())
                .with_precision(precision);
            let found = run(&options).with_context(|| format!("{name} in {precision:?}"))?;
            ensure!(
                found.keys().eq(expected.keys()),
                "{name}: other values than expected"
            );
            Ok(found)
        };
        let exact = on(&self.device, Precision::F32)?;
        for (key, expected) in expected {
            self.close(
                &format!("{name}, {key}, f32"),
                &exact[key],
                expected,
                TOLERANCE,
            );
        }
        for (precision, dtype) in [(Precision::BF16, DType::BF16), (Precision::F16, DType::F16)] {
            if !self.device.supports_dtype(dtype) {
                continue;
            }
            let found = on(&self.device, precision)?;
            let cpu = on(&clinical_kernels::cpu(), precision)?;
            for (key, expected) in expected {
                let tolerance = 2.0 * distance(&cpu[key], expected) + TOLERANCE;
                let check = format!("{name}, {key}, {}", precision.name());
                self.close(&check, &found[key], expected, tolerance);
            }
        }
        for precision in [Precision::Int8, Precision::Int4] {
            let found = on(&self.exact_device(), precision)?;
            for (key, expected) in on(&unrounded(&clinical_kernels::cpu()), precision)? {
                let check = format!("{name}, {key}, {}", precision.name());
                self.close(&check, &found[&key], &expected, TOLERANCE);
            }
        }
        // The first run may have tried several kernels to find the fastest.
        let [second, third] = [(); 2].map(|()| on(&self.device, Precision::F32));
        self.same(&format!("{name}, again"), &second?, &third?);
        Ok(())
    }
}

fn unrounded(device: &Device) -> Device {
    match clinical_kernels::is_host(device) {
        true => device.clone().autodiff(),
        false => device.clone(),
    }
}

/// The largest difference; infinite if a value is not a number or the lengths differ.
pub fn distance(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    found.iter().zip(expected).fold(0.0, |worst: f32, (a, b)| {
        let difference = (a - b).abs();
        if difference.is_nan() {
            f32::INFINITY
        } else {
            worst.max(difference)
        }
    })
}

/// The values of a tensor, as f32.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(DType::F32).into_data().iter::<f32>().collect()
}

/// A JSON file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path)
        .with_context(|| format!("cannot read the fixture {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))
}

/// Rows as slices.
pub fn slices<T>(rows: &[Vec<T>]) -> Vec<&[T]> {
    rows.iter().map(Vec::as_slice).collect()
}
