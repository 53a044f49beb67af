//! A beginning that several prompts share, read once.

use std::ops::ControlFlow;

use crate::decode::{host, read, run};
use crate::row::Budget;
use crate::{Cancel, EndTokens, GenerateError, Generated, Generation, ModelError, Step, StepModel};

/// A beginning that a decoder has read: one note with many questions, or the head of a prompt.
///
/// Each [`generate`](Self::generate) costs its own tokens only. For an encoder-decoder the whole prompt is the beginning,
/// and every continuation is empty.
#[derive(Debug, Clone)]
pub struct Prefix<C> {
    cache: C,
    ids: Vec<u32>,
    logits: Vec<f32>,
}

impl<C: Clone> Prefix<C> {
    /// Reads `ids`, which may not be empty.
    ///
    /// # Errors
    ///
    /// A beginning that is empty or too long, an id without an embedding row.
    pub fn read<M: StepModel<Cache = C>>(model: &M, ids: &[u32]) -> Result<Self, GenerateError> {
        // One new token must have room, or nothing can ever follow.
        Budget::new(model, 0, ids, &Generation::greedy())?;
        let (cache, logits) = read(model, &[ids], usize::MAX)?;
        Ok(Self {
            cache,
            ids: ids.to_vec(),
            logits,
        })
    }

    /// The tokens that were read.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// [`generate`](crate::generate) for the prompt that begins with [`ids`](Self::ids) and goes on with `continuation`.
    /// The result is that of the whole prompt, up to the rounding of the logits.
    ///
    /// # Errors
    ///
    /// As [`generate`](crate::generate); a continuation for an encoder-decoder is [`GenerateError::PromptIsWhole`].
    pub fn generate<M: StepModel<Cache = C>>(
        &self,
        model: &M,
        continuation: &[u32],
        end: &EndTokens<'_>,
        options: &Generation,
        on_token: impl FnMut(Step<'_>) -> ControlFlow<Cancel>,
    ) -> Result<Vec<Generated>, GenerateError> {
        if !model.prompt_counts() && !continuation.is_empty() {
            return Err(GenerateError::PromptIsWhole);
        }
        let prompt = [&self.ids, continuation].concat();
        run(model, &[&prompt], end, options, on_token, |_| {
            let mut cache = self.cache.clone();
            if continuation.is_empty() {
                return Ok((cache, self.logits.clone()));
            }
            ModelError::check_prompts(&[continuation], model.vocabulary())?;
            let logits = model.extend(&[continuation], true, &mut cache)?;
            let logits = logits.reshape([1, -1]);
            Ok((cache, host(logits, 1, model.vocabulary())?))
        })
    }
}
