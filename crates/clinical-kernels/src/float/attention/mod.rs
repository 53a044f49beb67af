//! `softmax(q k^T * scale + bias) v`, head by head: the scores of a few queries stay in the cache and are never
//! tensors.

#[cfg(target_arch = "x86_64")]
mod bf16;
mod learn;
mod rows;
mod task;

use super::product::{Matrix, THIN, Target, part};
use super::simd::Level;
use crate::pool;

pub(crate) use learn::{Slopes, attention_backward, attention_forward};
pub(crate) use rows::{Part, RowOf, Shared, attention_of_rows};
pub(crate) use task::{Kept, Vectors};
use task::{Run, Sight, Task};

/// Queries whose scores are held at once.
const QUERIES: usize = 128;

/// A tensor `[batch, heads, rows, columns]` somewhere in memory, the last stride one. A stride of zero repeats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads<T> {
    pub data: *const T,
    pub strides: [isize; 3],
}

// SAFETY: a pointer to values that nobody writes while a kernel runs, which is the promise of every caller.
unsafe impl<T> Sync for Heads<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Heads<T> {}

impl<T> Heads<T> {
    pub(crate) unsafe fn at(&self, batch: usize, head: usize, row: usize) -> *const T {
        let [b, h, r] = self.strides;
        unsafe {
            self.data
                .offset(batch as isize * b + head as isize * h + row as isize * r)
        }
    }
}

/// The sizes of one attention.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub heads: usize,
    pub key_heads: usize,
    pub queries: usize,
    pub keys: usize,
    /// Values of a query or key.
    pub d: usize,
    /// Values of a value.
    pub d_value: usize,
}

/// What is attended to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inputs {
    pub query: Heads<f32>,
    pub key: Heads<f32>,
    pub value: Heads<f32>,
    /// Added to the scaled scores.
    pub bias: Option<Heads<f32>>,
    /// Not zero where a query must not look.
    pub hidden: Option<Heads<u8>>,
    pub causal: bool,
    pub scale: f32,
    /// Whether products may be of values rounded to bf16.
    pub bf16: bool,
}

/// Attention on all threads; `out` is `[batch, queries, heads, d_value]`.
///
/// # Safety
///
/// The tensors must be as large as said, and `out` must not overlap them.
pub(crate) unsafe fn attention(level: Level, sizes: Sizes, inputs: Inputs, out: Target) {
    let group = sizes.heads / sizes.key_heads;
    let single = sizes.queries == 1;
    // One query: the heads that share keys are one product. Otherwise a head is on its own.
    let heads = if single { sizes.key_heads } else { sizes.heads };
    let blocks = sizes.queries.div_ceil(QUERIES);
    let before = sizes.keys as isize - sizes.queries as isize;
    // The keys that a query sees.
    let seen = |query: usize| match inputs.causal {
        true => 0..(before + query as isize + 1).clamp(0, sizes.keys as isize) as usize,
        false => 0..sizes.keys,
    };
    let see = |batch, head, query| {
        // SAFETY: the caller's promise.
        let bias = inputs.bias.map(|of| unsafe { of.at(batch, head, query) });
        let hidden = inputs.hidden.map(|of| unsafe { of.at(batch, head, query) });
        Sight {
            keys: seen(query),
            bias: bias.unwrap_or(std::ptr::null()),
            hidden: hidden.unwrap_or(std::ptr::null()),
        }
    };
    #[cfg(target_arch = "x86_64")]
    if inputs.bf16 && sizes.queries > THIN && level == Level::Avx512 && bf16::available() {
        // SAFETY: the caller's promise; the instructions are there.
        return unsafe { bf16::attention(sizes, inputs, see, out) };
    }
    pool::run(sizes.batch * heads * blocks, |i| {
        // The last blocks see most keys, so they come first.
        let block = blocks - 1 - i % blocks;
        let (batch, head) = (i / blocks / heads, i / blocks % heads);
        let first = part(block, blocks, sizes.queries);
        let (head, key_head, rows) = match single {
            true => (head * group, head, group),
            false => {
                let end = part(block + 1, blocks, sizes.queries);
                (head, head / group, end - first)
            }
        };
        // Head and query of a row.
        let place = |row| match single {
            true => (head + row, 0),
            false => (head, first + row),
        };
        // SAFETY: the caller's promise; tasks write different rows or heads.
        unsafe {
            let width = sizes.heads * sizes.d_value;
            let start = (batch * sizes.queries + first) * width + head * sizes.d_value;
            let task = Task {
                rows,
                d: sizes.d,
                d_value: sizes.d_value,
                scale: inputs.scale,
                query: Matrix {
                    data: inputs.query.at(batch, head, first),
                    row: inputs.query.strides[if single { 1 } else { 2 }],
                    column: 1,
                },
                out: Target {
                    data: out.from(0, start).data,
                    row: if single { sizes.d_value } else { width },
                },
            };
            let run = Run {
                key: Vectors::F32(inputs.key.at(batch, key_head, 0)),
                key_row: inputs.key.strides[2],
                value: Vectors::F32(inputs.value.at(batch, key_head, 0)),
                value_row: inputs.value.strides[2],
                len: sizes.keys,
            };
            let see = |row| {
                let (head, query) = place(row);
                see(batch, head, query)
            };
            task.run(level, std::iter::once(run), see);
        }
    });
}
