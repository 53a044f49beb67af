//! `softmax(q k^T * scale + bias) v`, head by head: the scores of a few queries stay in the cache and are never tensors.

use super::math::exp;
use super::product::{Matrix, THIN, Target, dots, product_alone, thin};
use super::scratch::scratch;
use super::simd::{Level, Simd, dispatch};
use crate::pool;

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
    pool::run(sizes.batch * heads * blocks, |i| {
        // The last blocks see most keys, so they come first.
        let block = blocks - 1 - i % blocks;
        let (batch, head) = (i / blocks / heads, i / blocks % heads);
        let task = if single {
            Task {
                batch,
                head: head * group,
                key_head: head,
                first: 0,
                rows: group,
                over_heads: true,
            }
        } else {
            let first = block * sizes.queries / blocks;
            Task {
                batch,
                head,
                key_head: head / group,
                first,
                rows: (block + 1) * sizes.queries / blocks - first,
                over_heads: false,
            }
        };
        // SAFETY: the caller's promise; tasks write different rows or heads.
        unsafe { task.run(level, sizes, inputs, out) };
    });
}

/// Rows that share keys: queries of one head, or heads of one query.
#[derive(Debug, Clone, Copy)]
struct Task {
    batch: usize,
    head: usize,
    key_head: usize,
    first: usize,
    rows: usize,
    over_heads: bool,
}

impl Task {
    /// Head and query of a row.
    fn place(&self, row: usize) -> (usize, usize) {
        if self.over_heads {
            (self.head + row, 0)
        } else {
            (self.head, self.first + row)
        }
    }

    unsafe fn run(self, level: Level, sizes: Sizes, inputs: Inputs, out: Target) {
        let before = sizes.keys as isize - sizes.queries as isize;
        // The keys that a query sees, from the first on.
        let seen = |query: usize| match inputs.causal {
            true => (before + query as isize + 1).clamp(0, sizes.keys as isize) as usize,
            false => sizes.keys,
        };
        let (rows, keys) = (self.rows, seen(self.place(self.rows - 1).1));
        unsafe {
            let query = Matrix {
                data: inputs.query.at(self.batch, self.head, self.first),
                row: inputs.query.strides[if self.over_heads { 1 } else { 2 }],
                column: 1,
            };
            let key = Matrix {
                data: inputs.key.at(self.batch, self.key_head, 0),
                row: 1,
                column: inputs.key.strides[2],
            };
            let value = Matrix {
                data: inputs.value.at(self.batch, self.key_head, 0),
                row: inputs.value.strides[2],
                column: 1,
            };
            let width = sizes.heads * sizes.d_value;
            let start =
                (self.batch * sizes.queries + self.first) * width + self.head * sizes.d_value;
            let out = Target {
                data: out.data.add(start),
                row: if self.over_heads {
                    sizes.d_value
                } else {
                    width
                },
            };
            scratch(rows * keys, |scores| {
                let scores = Target {
                    data: scores,
                    row: keys,
                };
                if rows <= THIN {
                    dots(level, rows, keys, sizes.d, query, key, scores);
                } else {
                    product_alone(level, [rows, keys, sizes.d], query, key, scores);
                }
                for row in 0..rows {
                    let (head, query) = self.place(row);
                    let bias = match &inputs.bias {
                        Some(bias) => bias.at(self.batch, head, query),
                        None => std::ptr::null(),
                    };
                    let hidden = match &inputs.hidden {
                        Some(hidden) => hidden.at(self.batch, head, query),
                        None => std::ptr::null(),
                    };
                    let to = scores.at(row, 0);
                    soften(level, to, keys, seen(query), inputs.scale, bias, hidden);
                }
                let weights = Matrix {
                    data: scores.data,
                    row: keys as isize,
                    column: 1,
                };
                if rows <= THIN {
                    thin(level, rows, sizes.d_value, keys, weights, value, out);
                } else {
                    product_alone(level, [rows, sizes.d_value, keys], weights, value, out);
                }
            });
        }
    }
}

dispatch! {
    /// `softmax(row * scale + bias)` over the first `seen` of `keys` values, zeros behind them and where `hidden`; all zeros
    /// if nothing is left.
    unsafe fn soften = soften_kernel(
        row: *mut f32, keys: usize, seen: usize, scale: f32, bias: *const f32, hidden: *const u8
    )
}

#[inline(always)]
unsafe fn soften_kernel<S: Simd>(
    row: *mut f32,
    keys: usize,
    seen: usize,
    scale: f32,
    bias: *const f32,
    hidden: *const u8,
) {
    unsafe {
        for j in (0..seen).step_by(S::LANES) {
            let count = S::LANES.min(seen - j);
            let mut x = S::mul(S::load_some(row.add(j), count), S::splat(scale));
            if !bias.is_null() {
                x = S::add(x, S::load_some(bias.add(j), count));
            }
            S::store_some(row.add(j), x, count);
        }
        if !hidden.is_null() {
            for j in 0..seen {
                if *hidden.add(j) != 0 {
                    *row.add(j) = f32::MIN;
                }
            }
        }
        let mut largest = S::splat(f32::MIN);
        let whole = seen - seen % S::LANES;
        for j in (0..whole).step_by(S::LANES) {
            largest = S::max(largest, S::load(row.add(j)));
        }
        let mut top = S::largest(largest);
        for j in whole..seen {
            top = top.max(*row.add(j));
        }
        if top == f32::MIN {
            std::slice::from_raw_parts_mut(row, keys).fill(0.0);
            return;
        }
        // What is below e^-87 becomes zero: products with denormal numbers are slow.
        let least = S::splat(1.7e-38);
        let mut sums = S::splat(0.0);
        for j in (0..seen).step_by(S::LANES) {
            let count = S::LANES.min(seen - j);
            let x = S::load_some(row.add(j), count);
            let e = S::sub(exp::<S>(S::sub(x, S::splat(top))), least);
            S::store_some(row.add(j), S::max(S::splat(0.0), e), count);
        }
        for j in (0..seen).step_by(S::LANES) {
            let count = S::LANES.min(seen - j);
            sums = S::add(sums, S::load_some(row.add(j), count));
        }
        let factor = S::splat(1.0 / S::sum(sums));
        for j in (0..seen).step_by(S::LANES) {
            let count = S::LANES.min(seen - j);
            let x = S::load_some(row.add(j), count);
            S::store_some(row.add(j), S::mul(x, factor), count);
        }
        std::slice::from_raw_parts_mut(row.add(seen), keys - seen).fill(0.0);
    }
}
