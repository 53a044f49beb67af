//! One token after another.

use burn::tensor::{Bool, DType, Int, Tensor, TensorData};
use clinical_generate::{ModelError, StepModel};
use clinical_nn::KvCache;

use crate::T5;
use crate::bucket::StepBias;
use crate::pooling::Encoded;

/// New tokens that a cache has room for at the start, whatever the caller reserves; beyond them it grows.
const MAX_RESERVED: usize = 4096;

/// What the decoder remembers of the rows in flight: keys and values of the tokens so far, and those of the prompts,
/// which are computed once.
///
/// Rows that share a prompt (beams) share its keys and values as long as they lie beside each other in groups of equal
/// size; then re-ordering them within a group moves no prompt.
#[derive(Debug, Clone)]
pub struct T5Cache {
    own: Vec<KvCache>,
    /// `[prompts, heads, input, d_kv]` of each block.
    prompts: Vec<(Tensor<4>, Tensor<4>)>,
    hidden: Option<Tensor<4, Bool>>,
    bias: Option<StepBias>,
    rows: usize,
    /// Rows beside each other that share a prompt: row `r` has prompt `r / group`.
    group: usize,
}

impl T5Cache {
    /// The rows in flight.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Decoder positions so far, the start token included.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.own.first().map_or(0, KvCache::len)
    }
}

impl T5 {
    /// A cache for rows whose prompts are encoded already, before the start token.
    #[must_use]
    pub fn new_cache(&self, encoded: &Encoded, reserve: usize) -> T5Cache {
        let rows = encoded.lengths.len();
        let capacity = reserve.clamp(1, MAX_RESERVED);
        let (mut own, mut prompts) = (Vec::new(), Vec::new());
        for block in &self.decoder.block {
            let (key, value) = block.cross_attention.keys_values(encoded.states.clone());
            let [_, heads, _, d_kv] = key.dims();
            own.push(KvCache::new(
                rows,
                heads,
                d_kv,
                capacity,
                (&key.device(), key.dtype()),
            ));
            prompts.push((dense(key), dense(value)));
        }
        T5Cache {
            own,
            prompts,
            hidden: encoded.hidden.clone(),
            bias: self.step_bias(capacity),
            rows,
            group: 1,
        }
    }

    fn step_bias(&self, capacity: usize) -> Option<StepBias> {
        let first = &self.decoder.block.first()?.self_attention;
        let table = first.relative_attention_bias.as_ref()?;
        Some(StepBias::new(table, self.decoder.max_distance(), capacity))
    }
}

impl StepModel for T5 {
    type Cache = T5Cache;

    fn vocabulary(&self) -> usize {
        self.vocabulary_out()
    }

    /// None: positions are relative, and all distances beyond the last bucket are alike.
    fn max_positions(&self) -> Option<usize> {
        None
    }

    fn prompt_counts(&self) -> bool {
        false
    }

    fn decoder_start(&self) -> Option<u32> {
        Some(self.start())
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(T5Cache, Tensor<2>), ModelError> {
        ModelError::check_prompts(prompts, self.shared.vocabulary())?;
        let encoded = self.encode_checked(prompts);
        let mut cache = self.new_cache(&encoded, reserve);
        let logits = self.step(&vec![self.start(); prompts.len()], &mut cache)?;
        Ok((cache, logits))
    }

    fn step(&self, ids: &[u32], cache: &mut T5Cache) -> Result<Tensor<2>, ModelError> {
        if ids.len() != cache.rows {
            return Err(ModelError::RowMismatch {
                ids: ids.len(),
                rows: cache.rows,
            });
        }
        let vocabulary = self.shared.vocabulary();
        if let Some(row) = ids.iter().position(|&id| id as usize >= vocabulary) {
            return Err(ModelError::TokenOutOfRange {
                id: ids[row],
                row,
                vocabulary,
            });
        }
        let positions = cache.positions() + 1;
        if cache
            .bias
            .as_ref()
            .is_some_and(|bias| bias.capacity() < positions)
        {
            cache.bias = self.step_bias(positions.saturating_mul(2));
        }
        let bias = cache.bias.as_ref().map(|bias| bias.last_query(positions));

        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let ids =
            Tensor::<2, Int>::from_data(TensorData::new(ids, [cache.rows, 1]), &self.device());
        let mut x = self.shared.forward(ids).cast(DType::F32);
        let none = burn::nn::DropoutConfig::new(0.0).init();
        for (i, block) in self.decoder.block.iter().enumerate() {
            x = block
                .self_attention
                .step(x, bias.clone(), &mut cache.own[i]);
            let (prompt, hidden) = (cache.prompts[i].clone(), cache.hidden.clone());
            x = block
                .cross_attention
                .step_to_other(x, prompt, hidden, cache.group);
            x = block.feed_forward.forward(x, &none);
        }
        let logits = self.project(self.decoder.final_layer_norm.forward(x));
        let [rows, _, vocabulary] = logits.dims();
        Ok(logits.reshape([rows, vocabulary]).cast(DType::F32))
    }

    fn first_non_finite(&self, prompt: &[u32], new: &[u32]) -> Option<String> {
        self.non_finite_part(prompt, &[&[self.start()], new].concat())
    }

    fn reorder(&self, cache: &mut T5Cache, rows: &[usize], differing: usize) {
        for own in &mut cache.own {
            own.reorder(rows, differing);
        }
    }

    fn select(&self, cache: &mut T5Cache, rows: &[usize]) {
        for own in &mut cache.own {
            own.select(rows);
        }
        let prompts: Vec<usize> = rows.iter().map(|&row| row / cache.group).collect();
        let before = cache.rows / cache.group;
        cache.rows = rows.len();
        cache.group = equal_runs(&prompts);
        let kept: Vec<usize> = prompts.chunks(cache.group).map(|run| run[0]).collect();
        if kept.iter().copied().eq(0..before) {
            return;
        }
        let kept: Vec<i64> = kept.into_iter().map(|prompt| prompt as i64).collect();
        let count = kept.len();
        let kept = Tensor::<1, Int>::from_data(TensorData::new(kept, [count]), &self.device());
        for (key, value) in &mut cache.prompts {
            key.inplace(|all| all.select(0, kept.clone()));
            value.inplace(|all| all.select(0, kept.clone()));
        }
        cache.hidden = cache.hidden.take().map(|hidden| hidden.select(0, kept));
    }
}

/// The largest `n` such that the values come in runs of `n` equal ones; at least 1.
fn equal_runs(values: &[usize]) -> usize {
    let mut runs = 0;
    let mut length = 0;
    for (i, value) in values.iter().enumerate() {
        length += 1;
        if values.get(i + 1) != Some(value) {
            runs = gcd(runs, length);
            length = 0;
        }
    }
    runs.max(1)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The same values in row-major order, so that no step has to copy them: a transposed view cannot be flattened without a
/// copy.
fn dense(x: Tensor<4>) -> Tensor<4> {
    let shape = x.dims();
    x.reshape::<1, _>([-1]).reshape(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_equal_prompts() {
        assert_eq!(equal_runs(&[0, 0, 0, 0]), 4);
        assert_eq!(equal_runs(&[0, 0, 1, 1, 2, 2]), 2);
        assert_eq!(equal_runs(&[0, 0, 0, 0, 1, 1]), 2);
        assert_eq!(equal_runs(&[0, 0, 1]), 1);
        assert_eq!(equal_runs(&[1, 0, 1]), 1);
        assert_eq!(equal_runs(&[]), 1);
    }
}
