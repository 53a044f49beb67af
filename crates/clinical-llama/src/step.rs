//! Reading prompts and giving one token after another, with a cache.

use burn::tensor::{Device, Int, Tensor, TensorData};
use clinical_generate::{ModelError, StepModel};
use clinical_nn::{KvCache, rows_to_tensor};

use crate::{Llama, LlamaCache};

/// Text is read in pieces of at most this many positions, so that the results inside a piece (the inner activations and
/// the scores) stay small whatever its length. On a CPU 256 to 1024 positions take the same time, and less than a whole
/// prompt of 1,500 at once, whose products with keys that are still to come are thrown away.
const PIECE: usize = 512;

/// The positions of all rows in one piece, before pieces get shorter.
const PIECE_TOKENS: usize = 4 * PIECE;

/// No piece is shorter than this: products with fewer rows read every weight for too little work.
const SHORTEST_PIECE: usize = 64;

/// The length of a piece of `rows` rows.
fn piece(rows: usize) -> usize {
    (PIECE_TOKENS / rows).clamp(SHORTEST_PIECE, PIECE)
}

impl StepModel for Llama {
    type Cache = LlamaCache;

    fn vocabulary(&self) -> usize {
        self.config().vocab_size
    }

    fn max_positions(&self) -> Option<usize> {
        Some(self.config().max_positions())
    }

    fn prompt_counts(&self) -> bool {
        true
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(LlamaCache, Tensor<2>), ModelError> {
        self.check(prompts)?;
        let longest = prompts.iter().map(|row| row.len()).max().unwrap_or(0);
        let cache = LlamaCache {
            layers: self.empty_cache(prompts.len(), longest, reserve),
            lengths: vec![0; prompts.len()],
        };
        Ok(self.read(prompts, cache))
    }

    fn prefill_after(
        &self,
        prefix: &LlamaCache,
        prompts: &[&[u32]],
        _reserve: usize,
    ) -> Result<(LlamaCache, Tensor<2>), ModelError> {
        if prefix.rows() != 1 {
            return Err(ModelError::RowMismatch {
                ids: 1,
                rows: prefix.rows(),
            });
        }
        ModelError::check_prompts(prompts, self.config().vocab_size)?;
        let longest = prompts.iter().map(|row| row.len()).max().unwrap_or(0);
        self.check_length(prefix.longest().saturating_add(longest))?;
        let mut cache = prefix.clone();
        cache.select(&vec![0; prompts.len()]);
        Ok(self.read(prompts, cache))
    }

    fn first_non_finite(&self, prompt: &[u32], new: &[u32]) -> Option<String> {
        self.non_finite_part(&[prompt, new].concat())
    }

    fn step(&self, ids: &[u32], cache: &mut LlamaCache) -> Result<Tensor<2>, ModelError> {
        let tokens: Vec<&[u32]> = ids.chunks(1).collect();
        Ok(self.extend(&tokens, true, cache)?.squeeze_dim(1))
    }

    fn extend(
        &self,
        tokens: &[&[u32]],
        last_only: bool,
        cache: &mut LlamaCache,
    ) -> Result<Tensor<3>, ModelError> {
        if tokens.len() != cache.rows() {
            return Err(ModelError::RowMismatch {
                ids: tokens.len(),
                rows: cache.rows(),
            });
        }
        let count = ModelError::check_even(tokens)?;
        ModelError::check_prompts(tokens, self.config().vocab_size)?;
        self.check_length(cache.longest().saturating_add(count))?;
        let device = self.device();
        let ids = rows_to_tensor(tokens, 0, &device);
        let read: Vec<usize> = cache.lengths().iter().map(|row| row + count).collect();
        let (mut kept, piece) = (Vec::new(), piece(tokens.len()));
        for start in (0..count).step_by(piece) {
            let length = piece.min(count - start);
            let context = self.next_context(cache, length, &read, &device);
            let x = self
                .model
                .embed_tokens
                .forward(ids.clone().narrow(1, start, length));
            let x = self.model.layers(x, &context, &mut cache.layers);
            for row in &mut cache.lengths {
                *row += length;
            }
            if !last_only {
                kept.push(x);
            } else if start + length == count {
                kept.push(x.narrow(1, length - 1, 1));
            }
        }
        Ok(self.last_logits(Tensor::cat(kept, 1)))
    }

    fn select(&self, cache: &mut LlamaCache, rows: &[usize]) {
        cache.select(rows);
    }

    fn reorder(&self, cache: &mut LlamaCache, rows: &[usize], differing: usize) {
        cache.reorder(rows, differing);
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn merge(&self, cache: &mut LlamaCache, other: LlamaCache) -> Result<(), ModelError> {
        cache.merge(other);
        Ok(())
    }
}

impl Llama {
    /// Reads checked prompts behind what the cache holds, which is the same for every row, and gives the logits after the
    /// last token of each.
    fn read(&self, prompts: &[&[u32]], mut cache: LlamaCache) -> (LlamaCache, Tensor<2>) {
        let device = self.device();
        let hidden = self.config().hidden_size as i64;
        let before = cache.longest();
        for (length, prompt) in cache.lengths.iter_mut().zip(prompts) {
            *length += prompt.len();
        }
        let LlamaCache { layers, lengths } = &mut cache;
        let ids = rows_to_tensor(prompts, 0, &device);
        let [rows, longest] = ids.dims();

        // Padding stands on the right here, so that no real token sees it. The last token of a row lies in one of the
        // pieces; only its vector goes on to the output projection.
        let (mut last, mut places) = (Vec::new(), vec![0; rows]);
        let (mut found, piece) = (0, piece(rows));
        for start in (0..longest).step_by(piece) {
            let length = piece.min(longest - start);
            let context = self.context(before + start, length, lengths, &device);
            let ids = ids.clone().narrow(1, start, length);
            let x = self.model.embed_tokens.forward(ids);
            let x = self.model.layers(x, &context, layers);
            let mut ends = Vec::new();
            for (row, prompt) in prompts.iter().enumerate() {
                if (start + 1..=start + length).contains(&prompt.len()) {
                    ends.push((row * length + prompt.len() - 1 - start) as i64);
                    places[row] = found;
                    found += 1;
                }
            }
            if !ends.is_empty() {
                last.push(x.reshape([-1, hidden]).select(0, indices(ends, &device)));
            }
        }
        let last = Tensor::cat(last, 0).select(0, indices(places, &device));

        // New tokens need the rows to end side by side.
        if lengths.iter().any(|&length| length < before + longest) {
            for layer in layers {
                layer.align_right(lengths);
            }
        }
        let logits = self.last_logits(last.unsqueeze_dim(1)).squeeze_dim(1);
        (cache, logits)
    }

    fn empty_cache(&self, rows: usize, longest: usize, reserve: usize) -> Vec<KvCache> {
        let config = self.config();
        // No row can have more positions than the model, so more slots are never needed.
        let capacity = longest
            .saturating_add(reserve)
            .min(config.max_positions())
            .max(longest);
        let options = (&self.device(), self.model.embed_tokens.dtype());
        (0..config.num_hidden_layers)
            .map(|_| {
                KvCache::new(
                    rows,
                    config.num_key_value_heads,
                    config.head_dim,
                    capacity,
                    options,
                )
            })
            .collect()
    }

    /// `[rows, length, hidden]` before the last norm to `[rows, length, vocabulary]`.
    fn last_logits(&self, x: Tensor<3>) -> Tensor<3> {
        self.logits(self.model.norm.forward(x))
    }
}

fn indices(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
