//! The scaling of Llama 3.1 and later. The converter leaves only its result in the file, one factor for each frequency,
//! so its numbers are found again by computing the factors from those that were published.

use std::f64::consts::PI;

use serde_json::{Value, json};

use super::Gguf;
use crate::Error;

/// Every published model has these: `low_freq_factor`, `high_freq_factor`, `original_max_position_embeddings`.
const LOW: f64 = 1.0;
const HIGH: f64 = 4.0;
const ORIGINAL: f64 = 8192.0;

/// How far a factor may be from the computed one: f32 on both sides.
const TOLERANCE: f64 = 1e-4;

const TENSOR: &str = "rope_freqs.weight";

pub(super) fn scaling(file: &Gguf, theta: f64, head_dim: u64) -> Result<Value, Error> {
    let wrong = |problem: &str| Error::GgufMetadata {
        key: TENSOR.to_owned(),
        problem: problem.to_owned(),
    };
    let factors = file
        .small_f32(TENSOR)
        .ok_or_else(|| wrong("is not in f32"))?;
    if factors.is_empty() || factors.len() as u64 != head_dim / 2 {
        return Err(wrong("does not have a factor for each frequency"));
    }
    // The slowest frequency is divided by the whole factor; a file of all ones changes nothing.
    let factor = factors.iter().copied().fold(1.0f32, f32::max);
    let factor = f64::from(factor).round();
    let known = factors.iter().enumerate().all(|(i, found)| {
        let expected = expected(factor, theta, 2.0 * i as f64 / head_dim as f64);
        (f64::from(*found) - expected).abs() <= TOLERANCE * expected
    });
    if !known {
        return Err(wrong("is not the scaling of any published Llama 3"));
    }
    if factor == 1.0 {
        return Ok(Value::Null);
    }
    Ok(json!({
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": LOW,
        "high_freq_factor": HIGH,
        "original_max_position_embeddings": ORIGINAL as u64,
    }))
}

/// What the frequency `theta^-exponent` is divided by.
fn expected(factor: f64, theta: f64, exponent: f64) -> f64 {
    let wavelength = 2.0 * PI * theta.powf(exponent);
    if wavelength < ORIGINAL / HIGH {
        1.0
    } else if wavelength > ORIGINAL / LOW {
        factor
    } else {
        let smooth = (ORIGINAL / wavelength - LOW) / (HIGH - LOW);
        1.0 / ((1.0 - smooth) / factor + smooth)
    }
}
