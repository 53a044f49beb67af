//! What a reduced precision costs: a model in f32 beside the same model in another precision, on the same text.

use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use clinical_generate::StepModel;
use clinical_llama::Llama;
use clinical_t5::{Seq2SeqBatch, T5, T5Config};
use clinical_tokenizer::Tokenizer;
use clinical_weights::{LoadOptions, Precision};

use crate::Error;
use rayon::prelude::*;
use serde::Serialize;

/// Tokens of a window of running text. Each window is read alone, so the first tokens of one have little context; that
/// is so for both models.
pub const WINDOW: usize = 512;

/// What was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Quality {
    /// The precision that was compared with f32.
    pub precision: String,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Perplexity in f32.
    pub perplexity_f32: f64,
    /// Perplexity in the other precision.
    pub perplexity: f64,
    /// How much larger it is, in percent.
    pub perplexity_change_percent: f64,
    /// How often both models prefer the same next token, given the same text before it, in percent.
    pub agreement_percent: f64,
    /// The largest distance of two logits.
    pub largest_logit_distance: f64,
    /// The root of the mean square of all distances of logits.
    pub rms_logit_distance: f64,
}

/// Sums over positions, of which [`Quality`] is made.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    tokens: usize,
    loss: f64,
    other_loss: f64,
    same: usize,
    largest: f32,
    squares: f64,
    logits: usize,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Quality(error.to_string())
}

/// Measures a LLaMA directory on pairs of a text that is only read and a text that is predicted, until `limit` tokens
/// were. The other precision reads through its cache, as in generation, f32 without one.
/// Where nothing is only read, the other text is cut into windows of [`WINDOW`] tokens.
///
/// # Errors
///
/// When the model or its tokenizer cannot be loaded or a window not be read.
pub fn llama(
    dir: &Path,
    precision: Precision,
    texts: impl Iterator<Item = (String, String)>,
    limit: usize,
) -> Result<Quality, Error> {
    let tokenizer = Tokenizer::from_dir(dir).map_err(failed)?;
    let load = |precision| {
        let options = LoadOptions::default().with_precision(precision);
        Llama::load(dir, &options).map(|(model, _)| model)
    };
    let reference = load(Precision::F32).map_err(failed)?;
    let other = load(precision).map_err(failed)?;
    let window = WINDOW.min(reference.config().max_positions());
    let mut sums = Sums::default();
    let encode = |text: &str| {
        let ids = tokenizer.encode(text, true).map_err(failed)?;
        Ok::<_, Error>(ids.ids().to_vec())
    };
    for (read, text) in texts {
        let ids = encode(&format!("{read}{text}"))?;
        let (mut start, mut length) = (1, window);
        if !read.is_empty() {
            let before = encode(&read)?;
            let shared = before.iter().zip(&ids).take_while(|(a, b)| a == b).count();
            (start, length) = (shared.max(1), ids.len().max(1));
        }
        for ids in ids.chunks(length).filter(|ids| ids.len() > start) {
            let targets = &ids[start..];
            let exact = reference.forward(&[ids]).map_err(failed)?;
            let [exact, found] = [exact, through_cache(&other, ids)?]
                .map(|logits| logits.narrow(1, start - 1, targets.len()));
            sums.add(exact, found, targets)?;
            if sums.tokens >= limit {
                return Ok(sums.finish(precision));
            }
        }
    }
    Ok(sums.finish(precision))
}

/// Logits `[1, ids, vocabulary]` as generation computes them, with keys and values from the cache.
fn through_cache(model: &Llama, ids: &[u32]) -> Result<Tensor<3>, Error> {
    let (first, rest) = ids.split_at(1);
    let (mut cache, logits) = model.prefill(&[first], rest.len()).map_err(failed)?;
    let rest = model.extend(&[rest], false, &mut cache).map_err(failed)?;
    Ok(Tensor::cat(vec![logits.unsqueeze_dim(1), rest], 1))
}

/// Measures a T5 directory on pairs of input and target, until `limit` target tokens were predicted.
///
/// # Errors
///
/// Those of [`llama`].
pub fn t5(
    dir: &Path,
    precision: Precision,
    pairs: impl Iterator<Item = (String, String)>,
    limit: usize,
) -> Result<Quality, Error> {
    let tokenizer = Tokenizer::from_dir(dir).map_err(failed)?;
    let config = T5Config::from_file(dir.join("config.json")).map_err(failed)?;
    let device = clinical_kernels::cpu();
    let load = |precision| {
        let mut model: T5 = config.init(&device).map_err(failed)?;
        let options = LoadOptions::default().with_precision(precision);
        clinical_weights::load(&mut model, dir, &options).map_err(failed)?;
        Ok::<_, Error>(model)
    };
    let reference = load(Precision::F32)?;
    let other = load(precision)?;
    let encode = |text: &str| tokenizer.encode(text, true).map(|ids| ids.ids().to_vec());
    let mut sums = Sums::default();
    for (input, target) in pairs {
        let (input, target) = (
            encode(&input).map_err(failed)?,
            encode(&target).map_err(failed)?,
        );
        if input.is_empty() || target.is_empty() {
            continue;
        }
        let mut before = vec![config.decoder_start()];
        before.extend(&target[..target.len() - 1]);
        let batch = Seq2SeqBatch::from_rows(&[&input], &[&before], config.pad_token_id, &device);
        let logits = |model: &T5| {
            model
                .forward(&batch.input_ids, &batch.input_mask, &batch.labels)
                .map_err(failed)
        };
        sums.add(logits(&reference)?, logits(&other)?, &target)?;
        if sums.tokens >= limit {
            break;
        }
    }
    Ok(sums.finish(precision))
}

impl Sums {
    /// Adds the positions of one row of logits `[1, positions, vocabulary]` that have a target.
    fn add(&mut self, first: Tensor<3>, second: Tensor<3>, targets: &[u32]) -> Result<(), Error> {
        let vocabulary = first.dims()[2];
        let (first, second) = (host(first)?, host(second)?);
        let sums = first
            .par_chunks(vocabulary)
            .zip(second.par_chunks(vocabulary))
            .zip(targets)
            .map(|((first, second), target)| position(first, second, *target as usize))
            .reduce(Self::default, Self::and);
        *self = self.and(sums);
        Ok(())
    }

    fn and(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            loss: self.loss + other.loss,
            other_loss: self.other_loss + other.other_loss,
            same: self.same + other.same,
            largest: self.largest.max(other.largest),
            squares: self.squares + other.squares,
            logits: self.logits + other.logits,
        }
    }

    fn finish(self, precision: Precision) -> Quality {
        let tokens = self.tokens.max(1) as f64;
        let (f32, other) = ((self.loss / tokens).exp(), (self.other_loss / tokens).exp());
        Quality {
            precision: precision.to_string(),
            tokens: self.tokens,
            perplexity_f32: f32,
            perplexity: other,
            perplexity_change_percent: 100.0 * (other / f32 - 1.0),
            agreement_percent: 100.0 * self.same as f64 / tokens,
            largest_logit_distance: self.largest.into(),
            rms_logit_distance: (self.squares / self.logits.max(1) as f64).sqrt(),
        }
    }
}

fn host(logits: Tensor<3>) -> Result<Vec<f32>, Error> {
    let data: TensorData = logits.try_into_data().map_err(failed)?;
    data.try_into_vec::<f32>()
        .map_err(|error| Error::Quality(format!("{error:?}")))
}

fn position(first: &[f32], second: &[f32], target: usize) -> Sums {
    let distances = first.iter().zip(second).map(|(a, b)| (a - b).abs());
    let (mut largest, mut squares) = (0.0f32, 0.0f32);
    for distance in distances {
        largest = largest.max(distance);
        squares += distance * distance;
    }
    let (loss, best) = surprise(first, target);
    let (other_loss, other_best) = surprise(second, target);
    Sums {
        tokens: 1,
        loss,
        other_loss,
        same: usize::from(best == other_best),
        largest,
        squares: squares.into(),
        logits: first.len(),
    }
}

/// `-log softmax(logits)[target]`, and the index of the largest logit.
fn surprise(logits: &[f32], target: usize) -> (f64, usize) {
    let (best, largest) =
        logits
            .iter()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), |best, (i, &v)| match v > best.1 {
                true => (i, v),
                false => best,
            });
    let sum: f32 = logits.iter().map(|v| (v - largest).exp()).sum();
    let target = logits.get(target).copied().unwrap_or(f32::NEG_INFINITY);
    (f64::from(sum.ln()) + f64::from(largest - target), best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprise_of_known_logits() {
        let (loss, best) = surprise(&[0.0, 0.0, 2f32.ln()], 0);
        assert!((loss - 4f64.ln()).abs() < 1e-6);
        assert_eq!(best, 2);
    }

    #[test]
    fn sums_become_a_report() {
        let device = clinical_kernels::cpu();
        let first = Tensor::<3>::from_floats([[[0.0, 0.0], [0.0, 1.0], [9.0, 9.0]]], &device);
        let second = Tensor::<3>::from_floats([[[0.0, 0.0], [2.0, 1.0], [9.0, 9.0]]], &device);
        let mut sums = Sums::default();
        sums.add(first, second, &[0, 1]).unwrap();
        let quality = sums.finish(Precision::Int8);
        assert_eq!(quality.tokens, 2);
        assert_eq!(quality.agreement_percent, 50.0);
        assert_eq!(quality.largest_logit_distance, 2.0);
        assert!((quality.rms_logit_distance - 1.0).abs() < 1e-6);
        let mean = |second: f64| ((2f64.ln() + second) / 2.0).exp();
        assert!((quality.perplexity_f32 - mean((1.0 + (-1f64).exp()).ln())).abs() < 1e-5);
        assert!((quality.perplexity - mean((1.0 + 1f64.exp()).ln())).abs() < 1e-5);
    }
}
