//! Reading prompts and giving one token after another, with a cache.

use burn::tensor::{Device, Int, Tensor, TensorData};
use clinical_generate::{ModelError, StepModel};
use clinical_nn::{KvCache, KvKind, KvSizes, rows_to_tensor};

use crate::model::positions;
use crate::{Gpt2, Gpt2Cache};

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

impl StepModel for Gpt2 {
    type Cache = Gpt2Cache;

    fn vocabulary(&self) -> usize {
        self.config().vocab_size
    }

    fn max_positions(&self) -> Option<usize> {
        Some(self.config().n_positions)
    }

    fn prompt_counts(&self) -> bool {
        true
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(Gpt2Cache, Tensor<2>), ModelError> {
        self.check(prompts)?;
        let longest = prompts.iter().map(|row| row.len()).max().unwrap_or(0);
        let cache = self.empty_cache(prompts.len(), longest, reserve);
        Ok(self.read_prompts(prompts, cache))
    }

    fn prefill_after(
        &self,
        prefix: &Gpt2Cache,
        prompts: &[&[u32]],
        _reserve: usize,
    ) -> Result<(Gpt2Cache, Tensor<2>), ModelError> {
        self.check_cache(prefix)?;
        if prefix.rows() != 1 {
            return Err(ModelError::RowMismatch {
                ids: 1,
                rows: prefix.rows(),
            });
        }
        ModelError::check_prompts(prompts, self.config().vocab_size)?;
        let longest = prompts.iter().map(|row| row.len()).max().unwrap_or(0);
        self.check_length(prefix.kv.longest().saturating_add(longest))?;
        let mut cache = prefix.clone();
        cache.kv.select(&vec![0; prompts.len()]);
        Ok(self.read_prompts(prompts, cache))
    }

    fn first_non_finite(&self, prompt: &[u32], new: &[u32]) -> Option<String> {
        self.non_finite_part(&[prompt, new].concat())
    }

    fn step(&self, ids: &[u32], cache: &mut Gpt2Cache) -> Result<Tensor<2>, ModelError> {
        let tokens: Vec<&[u32]> = ids.chunks(1).collect();
        Ok(self.extend(&tokens, true, cache)?.squeeze_dim(1))
    }

    fn extend(
        &self,
        tokens: &[&[u32]],
        last_only: bool,
        cache: &mut Gpt2Cache,
    ) -> Result<Tensor<3>, ModelError> {
        self.check_cache(cache)?;
        if tokens.len() != cache.rows() {
            return Err(ModelError::RowMismatch {
                ids: tokens.len(),
                rows: cache.rows(),
            });
        }
        let count = ModelError::check_even(tokens)?;
        ModelError::check_prompts(tokens, self.config().vocab_size)?;
        self.check_length(cache.kv.longest().saturating_add(count))?;
        let width = self.config().n_embd;
        let (mut kept, rows, piece) = (Vec::new(), tokens.len(), piece(tokens.len()));
        for start in (0..count).step_by(piece) {
            let end = count.min(start + piece);
            let part: Vec<&[u32]> = tokens.iter().map(|row| &row[start..end]).collect();
            let x = self.pass(&part, &mut cache.kv);
            let x = x.reshape([rows, end - start, width]);
            if !last_only {
                kept.push(x);
            } else if end == count {
                kept.push(x.narrow(1, end - start - 1, 1));
            }
        }
        Ok(self.last_logits(Tensor::cat(kept, 1)))
    }

    fn select(&self, cache: &mut Gpt2Cache, rows: &[usize]) {
        cache.kv.select(rows);
    }

    fn reorder(&self, cache: &mut Gpt2Cache, rows: &[usize], differing: usize) {
        cache.kv.reorder(rows, differing);
    }

    fn can_share(&self) -> bool {
        true
    }

    fn can_merge(&self) -> bool {
        true
    }

    fn can_extend(&self) -> bool {
        true
    }

    fn check_cache(&self, cache: &Gpt2Cache) -> Result<(), ModelError> {
        match *cache.kv.kind() == self.kind() {
            true => Ok(()),
            false => Err(ModelError::OtherModel),
        }
    }

    fn cache_bytes(&self, tokens: usize) -> u64 {
        self.kind().bytes(tokens)
    }

    fn copies_share(&self) -> bool {
        self.kind().is_ragged()
    }

    fn merge(&self, cache: &mut Gpt2Cache, other: Gpt2Cache) -> Result<(), ModelError> {
        self.check_cache(cache)?;
        self.check_cache(&other)?;
        cache.kv.merge(other.kv)
    }
}

impl Gpt2 {
    /// Reads checked prompts after what the cache holds, which is the same for every row, and gives the logits after
    /// the last token of each.
    fn read_prompts(&self, prompts: &[&[u32]], mut cache: Gpt2Cache) -> (Gpt2Cache, Tensor<2>) {
        let device = self.device();
        let longest = prompts.iter().map(|row| row.len()).max().unwrap_or(0);
        // The last token of a row lies in one of the pieces; only its vector goes on to the output projection.
        let (mut last, mut found_at) = (Vec::new(), vec![0; prompts.len()]);
        let (mut found, mut start) = (0, 0);
        while start < longest {
            let reading = prompts.iter().filter(|row| row.len() > start).count();
            let end = longest.min(start + piece(reading));
            let part = |row: &&[u32]| start.min(row.len())..end.min(row.len());
            let tokens: Vec<&[u32]> = prompts.iter().map(|row| &row[part(row)]).collect();
            let x = self.pass(&tokens, &mut cache.kv);
            let (mut ends, mut before) = (Vec::new(), 0);
            for (row, tokens) in tokens.iter().enumerate() {
                before += tokens.len();
                if (start + 1..=end).contains(&prompts[row].len()) {
                    ends.push(before as i64 - 1);
                    found_at[row] = found;
                    found += 1;
                }
            }
            if !ends.is_empty() {
                last.push(x.select(1, indices(ends, &device)));
            }
            start = end;
        }
        let last = Tensor::cat(last, 1).select(1, indices(found_at, &device));
        (cache, self.last_logits(last).squeeze_dim(0))
    }

    /// Reads checked new tokens of each row after what the cache holds of it: `[1, tokens, n_embd]` before the last
    /// norm, those of the first row first.
    fn pass(&self, tokens: &[&[u32]], kv: &mut KvCache) -> Tensor<3> {
        let device = self.device();
        let counts: Vec<usize> = tokens.iter().map(|row| row.len()).collect();
        let rows = kv.lengths().iter().zip(&counts);
        // No row has more positions than the model, which are far fewer than 32 bits.
        let places: Vec<u32> = rows
            .flat_map(|(&length, count)| length as u32..(length + count) as u32)
            .collect();
        let pass = kv.read(&counts, None);
        let ids = rows_to_tensor(&[&tokens.concat()], 0, &device);
        let x = self
            .transformer
            .embed(ids, positions(places.into_iter(), &device));
        let context = self.still();
        self.transformer.layers(x, &context, Some((kv, &pass)))
    }

    /// What its keys and values are.
    fn kind(&self) -> KvKind {
        let config = self.config();
        KvKind {
            sizes: KvSizes {
                layers: config.n_layer,
                heads: config.n_head,
                d: config.head_dim(),
                half: self.transformer.is_quantised(),
            },
            dtype: self.transformer.wte.dtype(),
            device: self.device(),
        }
    }

    fn empty_cache(&self, rows: usize, longest: usize, reserve: usize) -> Gpt2Cache {
        // No row can have more positions than the model, so more room is never needed.
        let reserve = reserve.min(self.config().n_positions.saturating_sub(longest));
        let KvKind {
            sizes,
            dtype,
            device,
        } = self.kind();
        let mut kv = KvCache::new(sizes, reserve, &device, dtype);
        kv.add_rows(rows);
        Gpt2Cache { kv }
    }

    /// `[rows, length, n_embd]` before the last norm to `[rows, length, vocabulary]`.
    fn last_logits(&self, x: Tensor<3>) -> Tensor<3> {
        self.logits(self.transformer.ln_f.forward(x))
    }
}

fn indices(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
