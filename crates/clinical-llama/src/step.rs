//! Reading prompts and giving one token after another, with a cache.

use burn::tensor::{Int, Tensor, TensorData};
use clinical_generate::{ModelError, StepModel};
use clinical_nn::{KvCache, rows_to_tensor};

use crate::{Llama, LlamaCache};

/// A prompt is read in pieces of at most this many positions. The largest results of a piece (the inner activations and
/// the scores) then stay in a few megabytes whatever the length, at the speed of one long piece.
const PIECE: usize = 512;

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
        let device = self.device();
        let config = self.config();
        let rows = prompts.len();
        let lengths: Vec<usize> = prompts.iter().map(|row| row.len()).collect();
        let ids = rows_to_tensor(prompts, 0, &device);
        let [_, longest] = ids.dims();
        // No row can have more positions than the model, so more slots are never needed.
        let capacity = longest
            .saturating_add(reserve)
            .min(config.max_positions())
            .max(longest);
        let dtype = self.model.embed_tokens.weight.val().dtype();
        let mut layers: Vec<KvCache> = (0..config.num_hidden_layers)
            .map(|_| {
                KvCache::new(
                    rows,
                    config.num_key_value_heads,
                    config.head_dim,
                    capacity,
                    (&device, dtype),
                )
            })
            .collect();

        // The last token of a row lies in one of the pieces; only its vector goes on to the output projection.
        let mut order = Vec::with_capacity(rows);
        let mut last = Vec::new();
        for start in (0..longest).step_by(PIECE) {
            let length = PIECE.min(longest - start);
            let context = self.context(start, length, &lengths, &device);
            let x = self
                .model
                .embed_tokens
                .forward(ids.clone().narrow(1, start, length));
            let x = self.model.layers(x, &context, &mut layers);
            let ends: Vec<(usize, i64)> = lengths
                .iter()
                .enumerate()
                .filter(|&(_, &row)| (start..start + length).contains(&(row - 1)))
                .map(|(row, &tokens)| (row, (row * length + tokens - 1 - start) as i64))
                .collect();
            if !ends.is_empty() {
                let places: Vec<i64> = ends.iter().map(|&(_, place)| place).collect();
                let places = indices(&places, &device);
                last.push(x.reshape([-1, config.hidden_size as i64]).select(0, places));
                order.extend(ends.iter().map(|&(row, _)| row));
            }
        }
        let mut places = vec![0i64; rows];
        for (place, &row) in order.iter().enumerate() {
            places[row] = place as i64;
        }
        let last = Tensor::cat(last, 0).select(0, indices(&places, &device));
        let cache = LlamaCache {
            layers,
            prompts: lengths,
            prompt_slots: longest,
            steps: 0,
        };
        Ok((cache, self.last_logits(last)))
    }

    fn step(&self, ids: &[u32], cache: &mut LlamaCache) -> Result<Tensor<2>, ModelError> {
        let rows = cache.rows();
        if ids.len() != rows {
            return Err(ModelError::RowMismatch {
                ids: ids.len(),
                rows,
            });
        }
        let columns: Vec<&[u32]> = ids.chunks(1).collect();
        ModelError::check_prompts(&columns, self.config().vocab_size)?;
        let longest = cache.prompts.iter().max().map_or(0, |&row| row);
        self.check_length(longest + cache.steps + 1)?;
        let device = self.device();
        let context = self.step_context(cache, &device);
        let x = self
            .model
            .embed_tokens
            .forward(rows_to_tensor(&columns, 0, &device));
        let x = self.model.layers(x, &context, &mut cache.layers);
        cache.steps += 1;
        Ok(self.last_logits(x.reshape([rows, self.config().hidden_size])))
    }

    fn select(&self, cache: &mut LlamaCache, rows: &[usize]) {
        cache.select(rows);
    }
}

impl Llama {
    /// `[rows, hidden]` before the last norm to `[rows, vocabulary]`.
    fn last_logits(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.model.norm.forward(x);
        self.logits(x.unsqueeze_dim(1)).squeeze_dim(1)
    }
}

fn indices(values: &[i64], device: &burn::tensor::Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}
