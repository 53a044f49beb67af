//! The distribution that a token is drawn from.

use crate::error::OUTPUT_LAYER;
use crate::processors::{Position, Processors};
use crate::sampler::Sampler;
use crate::{EndTokens, Error, Generation, math};

/// The probabilities that the next token is drawn with, `[vocabulary]`, for callers who write their own loop or want to
/// look inside.
///
/// `context` is what stood before the first new token (the prompt of a decoder, the start token of an encoder-decoder),
/// `new` the new tokens so far, `logits` the model's, `[vocabulary]`. Without sampling all of the probability is on the
/// token that is taken. With more than one beam this is one beam's share of the search: processors see
/// log-probabilities, and each filter keeps at least one token more than there are end tokens.
///
/// # Errors
///
/// The same as [`generate`](crate::generate) for the options, the logits, and options that leave no token to choose.
pub fn distribution(
    options: &Generation,
    end: &EndTokens<'_>,
    context: &[u32],
    new: &[u32],
    logits: &[f32],
) -> Result<Vec<f32>, Error> {
    options.check(end, logits.len())?;
    let (row, step) = (0, new.len() + 1);
    let max = math::max_if_finite(logits).ok_or_else(|| Error::NonFinite {
        layer: OUTPUT_LAYER.to_owned(),
        row,
        step,
    })?;
    let mut scores = logits.to_vec();
    if options.beams > 1 {
        let normaliser = math::log_sum_exp(&scores, max);
        scores.iter_mut().for_each(|score| *score -= normaliser);
    }
    let mut matcher = options.constraint.as_ref().map(|c| c.start(row));
    if let Some(matcher) = &mut matcher {
        new.iter().for_each(|&id| matcher.accept(id));
    }
    let position = Position {
        history: &[context, new].concat(),
        start: context.len(),
        last: step >= options.max_new_tokens,
    };
    let mut processors = Processors::new(options, &end.ids, logits.len());
    processors.apply(&position, matcher.as_deref_mut(), &mut scores);
    let max = math::max(&scores);
    let mut probabilities = vec![0.0; scores.len()];
    if !options.sample {
        let at = math::position(&scores, max).filter(|_| max > f32::NEG_INFINITY);
        probabilities[at.ok_or(Error::NothingAllowed { row, step })?] = 1.0;
        return Ok(probabilities);
    }
    let mut sampler = Sampler::for_options(options, &end.ids);
    let kept = sampler.filter(&scores);
    let total: f64 = kept.iter().map(|c| f64::from(c.weight)).sum();
    if total.is_nan() || total <= 0.0 {
        return Err(Error::NothingAllowed { row, step });
    }
    for candidate in kept {
        probabilities[candidate.id as usize] = (f64::from(candidate.weight) / total) as f32;
    }
    Ok(probabilities)
}
