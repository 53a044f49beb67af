//! A model small enough to know by heart: its logits are a hash of the last three tokens.
//! `scripts/generate_reference.py` has the same one in Python.
#![allow(dead_code)] // each test binary uses its own part

pub mod named;

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use clinical_generate::{
    EarlyStopping, EndTokens, Generated, Generation, ModelError, StepModel, generate,
};

/// Token 0 pads and starts an encoder-decoder's answer; token 1 ends an answer.
pub const END: u32 = 1;

/// See the module.
pub struct TableModel {
    pub vocabulary: usize,
    pub limit: Option<usize>,
    /// Whether the prompt is read by an encoder instead of being continued.
    pub encoder: bool,
    /// Added to the logit of the end token.
    pub end_bias: f32,
    /// `(step, value)`: from this step on the last logit of every row is this value.
    pub broken: Option<(usize, f32)>,
    /// Logits are rounded to multiples of this, which makes many of them equal.
    pub grid: Option<f32>,
    pub device: Device,
    /// Whether new rows can join those that run.
    pub merges: bool,
    /// Whether what prompts begin with can be read once.
    pub shares: bool,
    /// Tokens of prompts that were read.
    pub read: Cell<usize>,
    /// The most new tokens that a cache was to have room for.
    pub reserved: Cell<usize>,
    /// Rows at each call of the model, the prefill first.
    pub calls: RefCell<Vec<usize>>,
}

/// The last three tokens of each row, and the hash of its prompt for an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct TableCache {
    pub rows: Vec<([u32; 3], u32)>,
    pub steps: usize,
}

impl TableModel {
    pub fn decoder(vocabulary: usize) -> Self {
        Self {
            vocabulary,
            limit: None,
            encoder: false,
            end_bias: 0.0,
            broken: None,
            grid: None,
            merges: false,
            shares: false,
            read: Cell::new(0),
            reserved: Cell::new(0),
            device: clinical_kernels::cpu(),
            calls: RefCell::default(),
        }
    }

    pub fn encoder_decoder(vocabulary: usize) -> Self {
        Self {
            encoder: true,
            ..Self::decoder(vocabulary)
        }
    }

    /// Logits between -4 and 4 in steps of 2^-17, which f32 holds exactly.
    pub fn row(&self, last: [u32; 3], salt: u32) -> Vec<f32> {
        let state = mix(last[2].wrapping_mul(0x9e37_79b1)
            ^ last[1].wrapping_mul(0x85eb_ca77)
            ^ last[0].wrapping_mul(0xc2b2_ae3d)
            ^ salt);
        let mut row: Vec<f32> = (0..self.vocabulary as u32)
            .map(|id| (mix(state ^ id.wrapping_mul(0x27d4_eb2f)) >> 12) as f32 / 131_072.0 - 4.0)
            .collect();
        if let Some(grid) = self.grid {
            row.iter_mut().for_each(|x| *x = (*x / grid).round() * grid);
        }
        // Padding never comes up.
        row[0] = -20.0;
        if let Some(end) = row.get_mut(END as usize) {
            *end += self.end_bias;
        }
        row
    }

    fn count(&self, prompts: &[&[u32]], reserve: usize) {
        self.reserved.set(self.reserved.get().max(reserve));
        let tokens: usize = prompts.iter().map(|prompt| prompt.len()).sum();
        self.read.set(self.read.get() + tokens);
    }

    fn logits(&self, cache: &TableCache) -> Tensor<2> {
        let mut numbers = Vec::with_capacity(cache.rows.len() * self.vocabulary);
        for &(last, salt) in &cache.rows {
            numbers.extend(self.row(last, salt));
            if let (Some((step, value)), Some(last)) = (self.broken, numbers.last_mut())
                && cache.steps >= step
            {
                *last = value;
            }
        }
        self.calls.borrow_mut().push(cache.rows.len());
        let shape = [cache.rows.len(), self.vocabulary];
        Tensor::from_data(TensorData::new(numbers, shape), &self.device)
    }
}

fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

impl StepModel for TableModel {
    type Cache = TableCache;

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn max_positions(&self) -> Option<usize> {
        self.limit
    }

    fn prompt_counts(&self) -> bool {
        !self.encoder
    }

    fn decoder_start(&self) -> Option<u32> {
        self.encoder.then_some(0)
    }

    fn prefill(
        &self,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(TableCache, Tensor<2>), ModelError> {
        ModelError::check_prompts(prompts, self.vocabulary)?;
        self.count(prompts, reserve);
        let rows = prompts
            .iter()
            .map(|prompt| {
                if self.encoder {
                    let salt = prompt.iter().fold(17u32, |hash, &id| mix(hash ^ id));
                    return ([0; 3], salt);
                }
                let mut last = [0; 3];
                for &id in *prompt {
                    last = [last[1], last[2], id];
                }
                (last, 0)
            })
            .collect();
        let cache = TableCache { rows, steps: 1 };
        let logits = self.logits(&cache);
        Ok((cache, logits))
    }

    fn step(&self, ids: &[u32], cache: &mut TableCache) -> Result<Tensor<2>, ModelError> {
        if ids.len() != cache.rows.len() {
            return Err(ModelError::RowMismatch {
                ids: ids.len(),
                rows: cache.rows.len(),
            });
        }
        cache.steps += 1;
        for (row, &id) in cache.rows.iter_mut().zip(ids) {
            row.0 = [row.0[1], row.0[2], id];
        }
        Ok(self.logits(cache))
    }

    fn select(&self, cache: &mut TableCache, rows: &[usize]) {
        cache.rows = rows.iter().map(|&row| cache.rows[row]).collect();
    }

    fn reorder(&self, cache: &mut TableCache, rows: &[usize], differing: usize) {
        // What is not among the last `differing` tokens must be the same already.
        for (at, &row) in rows.iter().enumerate() {
            let (there, wanted) = (&cache.rows[at], &cache.rows[row]);
            let same = 3usize.saturating_sub(differing);
            assert_eq!(there.0[..same], wanted.0[..same], "{differing}");
            assert_eq!(there.1, wanted.1, "the same prompt");
        }
        self.select(cache, rows);
    }

    fn prefill_after(
        &self,
        prefix: &TableCache,
        prompts: &[&[u32]],
        reserve: usize,
    ) -> Result<(TableCache, Tensor<2>), ModelError> {
        ModelError::check_prompts(prompts, self.vocabulary)?;
        self.count(prompts, reserve);
        let rows = prompts
            .iter()
            .map(|prompt| {
                let (mut last, salt) = prefix.rows[0];
                for &id in *prompt {
                    last = [last[1], last[2], id];
                }
                (last, salt)
            })
            .collect();
        let cache = TableCache { rows, steps: 1 };
        let logits = self.logits(&cache);
        Ok((cache, logits))
    }

    fn first_non_finite(&self, prompt: &[u32], new: &[u32]) -> Option<String> {
        self.broken?;
        Some(format!(
            "table after {} and {} tokens",
            prompt.len(),
            new.len()
        ))
    }

    fn can_share(&self) -> bool {
        self.shares
    }

    fn can_merge(&self) -> bool {
        self.merges
    }

    fn merge(&self, cache: &mut TableCache, other: TableCache) -> Result<(), ModelError> {
        if !self.merges {
            return Err(ModelError::CannotMerge);
        }
        cache.rows.extend(other.rows);
        Ok(())
    }
}

/// `count` prompts of 3 to 9 tokens between 2 and `vocabulary`, the same in Python.
pub fn prompts(count: usize, vocabulary: u32) -> Vec<Vec<u32>> {
    let mut state = 12_345u32;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9);
        mix(state)
    };
    (0..count)
        .map(|_| {
            let length = 3 + next() % 7;
            (0..length).map(|_| 2 + next() % (vocabulary - 2)).collect()
        })
        .collect()
}

/// The prompts as slices.
pub fn slices(prompts: &[Vec<u32>]) -> Vec<&[u32]> {
    prompts.iter().map(Vec::as_slice).collect()
}

/// [`generate`] with the table's end token and without a closure.
pub fn run(model: &TableModel, prompts: &[&[u32]], options: &Generation) -> Vec<Generated> {
    let end = EndTokens::new([END]);
    generate(model, prompts, &end, options, |_| ControlFlow::Continue(())).unwrap()
}

/// One option set for each strategy, with many other options on.
pub fn strategies() -> Vec<Generation> {
    let short = |options: Generation| options.with_max_new_tokens(20).with_log_probs(true);
    vec![
        short(Generation::greedy()),
        short(Generation::greedy())
            .with_no_repeat_ngram(2)
            .with_repetition_penalty(1.3),
        short(Generation::sample()).with_seed(3),
        short(Generation::sample())
            .with_seed(4)
            .with_top_p(0.8)
            .with_num_return_sequences(3),
        short(Generation::beam(4)).with_num_return_sequences(2),
        short(Generation::beam(3))
            .with_early_stopping(EarlyStopping::Never)
            .with_length_penalty(2.0),
        short(Generation::beam(5)).with_sampling(true).with_seed(5),
    ]
}
