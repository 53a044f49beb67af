//! A model for many threads whose logits are a hash of the last three tokens of a row, and which fails on purpose.
#![allow(dead_code)] // each test uses its own part

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Tensor, TensorData};
use clinical_generate::{ModelError, StepModel};

pub const VOCABULARY: usize = 40;

/// Ends an answer.
pub const END: u32 = 1;

/// Reading this token is an error of the whole pass.
pub const ERROR: u32 = 37;

/// Logits after this token are not finite.
pub const NAN: u32 = 38;

/// Reading this token is a panic.
pub const PANIC: u32 = 39;

/// Bytes of keys and values of a token, as it claims.
pub const BYTES: u64 = 10;

/// See the module.
#[derive(Debug, Clone)]
pub struct Chain {
    pub merges: bool,
    pub shares: bool,
    pub extends: bool,
    pub encoder: bool,
    /// Every pass for several rows fails.
    pub fails_together: bool,
    /// Whether the tokens that fail do.
    pub poisoned: bool,
    /// Rows of caches that are alive.
    pub live: Arc<AtomicUsize>,
    /// The most tokens that one call has read.
    pub longest_call: Arc<AtomicUsize>,
    /// Calls of the model.
    pub calls: Arc<AtomicUsize>,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            merges: true,
            shares: true,
            extends: true,
            encoder: false,
            fails_together: false,
            poisoned: true,
            live: Arc::default(),
            longest_call: Arc::default(),
            calls: Arc::default(),
        }
    }
}

/// A row: its last three tokens, and the hash of its prompt for an encoder.
#[derive(Debug)]
pub struct Row {
    last: [u32; 3],
    salt: u32,
    live: Arc<AtomicUsize>,
}

impl Row {
    fn new(live: &Arc<AtomicUsize>, salt: u32) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self {
            last: [0; 3],
            salt,
            live: Arc::clone(live),
        }
    }

    fn read(&mut self, id: u32) {
        self.last = [self.last[1], self.last[2], id];
    }
}

impl Clone for Row {
    fn clone(&self) -> Self {
        let mut row = Self::new(&self.live, self.salt);
        row.last = self.last;
        row
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Chain {
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    fn check(&self, ids: &[u32]) -> Result<(), ModelError> {
        if !self.poisoned {
            return Ok(());
        }
        assert!(!ids.contains(&PANIC), "on purpose");
        match ids.contains(&ERROR) {
            true => Err(ModelError::TooLong {
                positions: 7,
                limit: 7,
            }),
            false => Ok(()),
        }
    }

    fn count(&self, tokens: usize) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.longest_call.fetch_max(tokens, Ordering::Relaxed);
    }

    fn logits(&self, rows: &[Row]) -> Tensor<2> {
        let mut numbers = Vec::with_capacity(rows.len() * VOCABULARY);
        for row in rows {
            let [a, b, c] = row.last;
            let state = mix(c.wrapping_mul(0x9e37_79b1)
                ^ b.wrapping_mul(0x85eb_ca77)
                ^ a.wrapping_mul(0xc2b2_ae3d)
                ^ row.salt);
            let logit = |id: u32| {
                let bias = if id == END { 1.0 } else { 0.0 };
                bias + (mix(state ^ id.wrapping_mul(0x27d4_eb2f)) >> 12) as f32 / 131_072.0 - 4.0
            };
            numbers.extend((0..VOCABULARY as u32).map(logit));
            if let (true, true, Some(number)) = (self.poisoned, c == NAN, numbers.last_mut()) {
                *number = f32::NAN;
            }
        }
        let shape = [rows.len(), VOCABULARY];
        Tensor::from_data(TensorData::new(numbers, shape), &clinical_kernels::cpu())
    }
}

fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

impl StepModel for Chain {
    type Cache = Vec<Row>;

    fn vocabulary(&self) -> usize {
        VOCABULARY
    }

    fn max_positions(&self) -> Option<usize> {
        Some(500)
    }

    fn prompt_counts(&self) -> bool {
        !self.encoder
    }

    fn decoder_start(&self) -> Option<u32> {
        self.encoder.then_some(0)
    }

    fn prefill(&self, prompts: &[&[u32]], _: usize) -> Result<(Vec<Row>, Tensor<2>), ModelError> {
        ModelError::check_prompts(prompts, VOCABULARY)?;
        self.count(prompts.iter().map(|prompt| prompt.len()).sum());
        let mut rows = Vec::new();
        for prompt in prompts {
            self.check(prompt)?;
            let salt = prompt.iter().fold(17, |hash, &id| mix(hash ^ id));
            let mut row = Row::new(&self.live, if self.encoder { salt } else { 0 });
            if !self.encoder {
                prompt.iter().for_each(|&id| row.read(id));
            }
            rows.push(row);
        }
        let logits = self.logits(&rows);
        Ok((rows, logits))
    }

    fn step(&self, ids: &[u32], cache: &mut Vec<Row>) -> Result<Tensor<2>, ModelError> {
        if ids.len() != cache.len() {
            let (ids, rows) = (ids.len(), cache.len());
            return Err(ModelError::RowMismatch { ids, rows });
        }
        self.count(ids.len());
        for (row, &id) in cache.iter_mut().zip(ids) {
            // Some rows have read already when another fails.
            self.check(&[id])?;
            row.read(id);
        }
        match self.fails_together && ids.len() > 1 {
            true => Err(ModelError::CannotShare),
            false => Ok(self.logits(cache)),
        }
    }

    fn extend(
        &self,
        tokens: &[&[u32]],
        last_only: bool,
        cache: &mut Vec<Row>,
    ) -> Result<Tensor<3>, ModelError> {
        let count = ModelError::check_even(tokens)?;
        self.count(count * tokens.len());
        let mut logits = Vec::new();
        for at in 0..count {
            for (row, tokens) in cache.iter_mut().zip(tokens) {
                self.check(&tokens[at..=at])?;
                row.read(tokens[at]);
            }
            if at + 1 == count || !last_only {
                logits.push(self.logits(cache).unsqueeze_dim(1));
            }
        }
        Ok(Tensor::cat(logits, 1))
    }

    fn select(&self, cache: &mut Vec<Row>, rows: &[usize]) {
        *cache = rows.iter().map(|&row| cache[row].clone()).collect();
    }

    fn prefill_after(
        &self,
        prefix: &Vec<Row>,
        prompts: &[&[u32]],
        _: usize,
    ) -> Result<(Vec<Row>, Tensor<2>), ModelError> {
        ModelError::check_prompts(prompts, VOCABULARY)?;
        self.count(prompts.iter().map(|prompt| prompt.len()).sum());
        let mut rows = Vec::new();
        for prompt in prompts {
            self.check(prompt)?;
            let mut row = prefix[0].clone();
            prompt.iter().for_each(|&id| row.read(id));
            rows.push(row);
        }
        let logits = self.logits(&rows);
        Ok((rows, logits))
    }

    fn can_share(&self) -> bool {
        self.shares
    }

    fn can_merge(&self) -> bool {
        self.merges
    }

    fn merge(&self, cache: &mut Vec<Row>, other: Vec<Row>) -> Result<(), ModelError> {
        if !self.merges {
            return Err(ModelError::CannotMerge);
        }
        cache.extend(other);
        Ok(())
    }

    fn can_extend(&self) -> bool {
        self.extends && !self.encoder
    }

    fn cache_bytes(&self, tokens: usize) -> u64 {
        tokens as u64 * BYTES
    }

    fn copies_share(&self) -> bool {
        self.shares
    }
}

/// Random numbers from a seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}
