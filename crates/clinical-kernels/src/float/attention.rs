//! `softmax(q k^T * scale + bias) v`, head by head: the scores of a few queries stay in the cache and are never tensors.

use std::ops::Range;

use half::f16;

#[cfg(target_arch = "x86_64")]
use super::attention_bf16;
use super::math::exp;
use super::product::{Matrix, THIN, Target, dots, dots_half, product_alone, thin, thin_half};
use super::scratch::scratch;
use super::simd::{Cell, Level, Simd, dispatch};
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
    if inputs.bf16 && sizes.queries > THIN && level == Level::Avx512 && attention_bf16::available()
    {
        // SAFETY: the caller's promise; the instructions are there.
        return unsafe { attention_bf16::attention(sizes, inputs, see, out) };
    }
    pool::run(sizes.batch * heads * blocks, |i| {
        // The last blocks see most keys, so they come first.
        let block = blocks - 1 - i % blocks;
        let (batch, head) = (i / blocks / heads, i / blocks % heads);
        let first = block * sizes.queries / blocks;
        let (head, key_head, rows) = match single {
            true => (head * group, head, group),
            false => {
                let end = (block + 1) * sizes.queries / blocks;
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

/// Keys or values in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Vectors {
    F32(*const f32),
    /// One after another, as blocks keep them.
    F16(*const f16),
}

impl Vectors {
    /// Those from a place on, which must exist.
    unsafe fn add(self, count: usize) -> Self {
        unsafe {
            match self {
                Self::F32(data) => Self::F32(data.add(count)),
                Self::F16(data) => Self::F16(data.add(count)),
            }
        }
    }
}

/// Keys and values of one head at some positions.
#[derive(Debug, Clone, Copy)]
struct Run {
    key: Vectors,
    key_row: isize,
    value: Vectors,
    value_row: isize,
    len: usize,
}

/// Calls `work` with `len` vectors of `d` values as f32: where they lie, or a copy.
unsafe fn widened(
    level: Level,
    vectors: Vectors,
    row: isize,
    [len, d]: [usize; 2],
    work: impl FnOnce(*const f32, isize),
) {
    match vectors {
        Vectors::F32(data) => work(data, row),
        Vectors::F16(data) => scratch(len * d, |wide| {
            debug_assert_eq!(row, d as isize, "halves lie one vector after another");
            // SAFETY: the caller's promise; the copy has room for all.
            unsafe { widen(level, len * d, data, wide) };
            work(wide, row);
        }),
    }
}

dispatch! {
    /// Halves to f32.
    unsafe fn widen = widen_kernel(len: usize, from: *const f16, to: *mut f32)
}

#[inline(always)]
unsafe fn widen_kernel<S: Simd>(len: usize, from: *const f16, to: *mut f32) {
    unsafe {
        let whole = len - len % S::LANES;
        for j in (0..whole).step_by(S::LANES) {
            S::store(to.add(j), S::load_half(from.add(j)));
        }
        if whole < len {
            let rest = f16::load_some::<S>(from.add(whole), len - whole);
            S::store_some(to.add(whole), rest, len - whole);
        }
    }
}

/// What one row of queries looks at.
pub(super) struct Sight {
    pub keys: Range<usize>,
    /// From the first key on, as `hidden`; null where there is none.
    pub bias: *const f32,
    pub hidden: *const u8,
}

/// Rows that share keys: queries of one head, or heads of one query.
#[derive(Debug, Clone, Copy)]
struct Task {
    rows: usize,
    d: usize,
    d_value: usize,
    scale: f32,
    query: Matrix,
    out: Target,
}

impl Task {
    /// `runs` are the keys and values in order; later rows see no less far, and do not begin to see earlier.
    unsafe fn run(
        self,
        level: Level,
        runs: impl Iterator<Item = Run> + Clone,
        see: impl Fn(usize) -> Sight,
    ) {
        let Self {
            rows, query, out, ..
        } = self;
        let (first, keys) = (see(0).keys.start, see(rows - 1).keys.end);
        // Runs that no row sees are not read.
        let seen = runs
            .scan(0, |at, run| {
                let start = *at;
                let len = run.len.min(keys - start);
                *at += len;
                Some((start, Run { len, ..run }))
            })
            .filter(|(start, run)| run.len > 0 && start + run.len > first);
        scratch(rows * keys, |scores| unsafe {
            let scores = Target {
                data: scores,
                row: keys,
            };
            for (start, run) in seen.clone() {
                self.scores(level, query, run, scores.from(0, start));
            }
            for row in 0..rows {
                let sight = see(row);
                let start = sight.keys.start;
                let all = std::slice::from_raw_parts_mut(scores.at(row, 0), keys);
                all[..start].fill(0.0);
                all[sight.keys.end..].fill(0.0);
                let bias = match sight.bias.is_null() {
                    true => sight.bias,
                    false => sight.bias.add(start),
                };
                let hidden = match sight.hidden.is_null() {
                    true => sight.hidden,
                    false => sight.hidden.add(start),
                };
                let row = all[sight.keys].as_mut_ptr_range();
                let len = row.end.offset_from(row.start) as usize;
                soften(level, row.start, len, self.scale, bias, hidden);
            }
            let mut written = false;
            for (start, run) in seen {
                let weights = Matrix {
                    data: scores.at(0, start),
                    row: keys as isize,
                    column: 1,
                };
                if !written {
                    self.weighted(level, weights, run, out);
                    written = true;
                    continue;
                }
                scratch(rows * self.d_value, |more| {
                    let more = Target {
                        data: more,
                        row: self.d_value,
                    };
                    self.weighted(level, weights, run, more);
                    for row in 0..rows {
                        for j in 0..self.d_value {
                            *out.at(row, j) += *more.at(row, j);
                        }
                    }
                });
            }
            if !written {
                for row in 0..rows {
                    std::slice::from_raw_parts_mut(out.at(row, 0), self.d_value).fill(0.0);
                }
            }
        });
    }

    /// `out = query * keys of the run`.
    unsafe fn scores(self, level: Level, query: Matrix, run: Run, out: Target) {
        let (rows, len, d) = (self.rows, run.len, self.d);
        let (row, column) = (1, run.key_row);
        unsafe {
            match run.key {
                Vectors::F32(data) if rows <= THIN => {
                    let key = Matrix { data, row, column };
                    dots(level, rows, len, d, query, key, out);
                }
                Vectors::F16(data) if rows <= THIN => {
                    let key = Matrix { data, row, column };
                    dots_half(level, rows, len, d, query, key, out);
                }
                vectors => widened(level, vectors, column, [len, d], |data, column| {
                    let key = Matrix { data, row, column };
                    product_alone(level, [rows, len, d], query, key, out);
                }),
            }
        }
    }

    /// `out = weights * values of the run`.
    unsafe fn weighted(self, level: Level, weights: Matrix, run: Run, out: Target) {
        let (rows, len, d) = (self.rows, run.len, self.d_value);
        let (row, column) = (run.value_row, 1);
        unsafe {
            match run.value {
                Vectors::F32(data) if rows <= THIN => {
                    let value = Matrix { data, row, column };
                    thin(level, rows, d, len, weights, value, out);
                }
                Vectors::F16(data) if rows <= THIN => {
                    let value = Matrix { data, row, column };
                    thin_half(level, rows, d, len, weights, value, out);
                }
                vectors => widened(level, vectors, row, [len, d], |data, row| {
                    let value = Matrix { data, row, column };
                    product_alone(level, [rows, d, len], weights, value, out);
                }),
            }
        }
    }
}

/// Some positions of a row: keys `[key heads, capacity, d]`, then values in the same order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub data: Vectors,
    pub capacity: usize,
    pub len: usize,
}

/// The queries of one row, and what they look at.
#[derive(Debug, Clone)]
pub(crate) struct RowOf<'a, P> {
    /// The place of its first query among all.
    pub first: usize,
    pub queries: usize,
    /// The sum of the parts' lengths.
    pub keys: usize,
    pub parts: &'a [P],
}

/// What holds for all rows of [`attention_of_rows`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared {
    pub heads: usize,
    pub key_heads: usize,
    pub d: usize,
    /// `[1, heads, all queries, d]`.
    pub query: Heads<f32>,
    /// `[1, heads, 1, keys]` for rows of one query; the given number of values, of which the last belongs to the last key.
    pub bias: Option<(Heads<f32>, usize)>,
    pub causal: bool,
    /// How many keys a query sees, itself included.
    pub window: usize,
    pub scale: f32,
}

/// Attention of rows of any lengths, each to its own keys, on all threads; `out` is `[all queries, heads, d]`.
///
/// # Safety
///
/// That of [`attention`], for every row that `part` gives the memory of.
pub(crate) unsafe fn attention_of_rows<P: Sync>(
    level: Level,
    shared: Shared,
    rows: &[RowOf<'_, P>],
    part: impl Fn(&P) -> Part + Sync,
    out: Target,
) {
    let Shared {
        heads,
        key_heads,
        d,
        ..
    } = shared;
    let group = heads / key_heads;
    let mut tasks = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let blocks = row.queries.div_ceil(QUERIES);
        let heads = if row.queries == 1 { key_heads } else { heads };
        for block in (0..blocks).rev() {
            let first = block * row.queries / blocks;
            let end = (block + 1) * row.queries / blocks;
            tasks.extend((0..heads).map(|head| (at, head, first, end)));
        }
    }
    pool::run(tasks.len(), |i| {
        let (at, head, first, end) = tasks[i];
        let row = &rows[at];
        let single = row.queries == 1;
        let (head, key_head, count) = match single {
            true => (head * group, head, group),
            false => (head, head / group, end - first),
        };
        // SAFETY: the caller's promise; tasks write different rows or heads.
        unsafe {
            let task = Task {
                rows: count,
                d,
                d_value: d,
                scale: shared.scale,
                query: Matrix {
                    data: shared.query.at(0, head, row.first + first),
                    row: shared.query.strides[if single { 1 } else { 2 }],
                    column: 1,
                },
                out: Target {
                    data: out.from(0, ((row.first + first) * heads + head) * d).data,
                    row: if single { d } else { heads * d },
                },
            };
            let runs = row.parts.iter().map(|of| {
                let Part {
                    data,
                    capacity,
                    len,
                } = part(of);
                let key = data.add(key_head * capacity * d);
                Run {
                    key,
                    key_row: d as isize,
                    value: key.add(key_heads * capacity * d),
                    value_row: d as isize,
                    len,
                }
            });
            let see = |of: usize| {
                let query = if single { 0 } else { first + of };
                let end = match shared.causal {
                    true => (row.keys + query + 1).saturating_sub(row.queries),
                    false => row.keys,
                };
                let bias = match shared.bias {
                    Some((bias, len)) => bias.at(0, head + of, 0).add(len - row.keys),
                    None => std::ptr::null(),
                };
                Sight {
                    keys: end.saturating_sub(shared.window)..end,
                    bias,
                    hidden: std::ptr::null(),
                }
            };
            task.run(level, runs, see);
        }
    });
}

dispatch! {
    /// `softmax(row * scale + bias)` of `len` values, zeros where `hidden`; all zeros if nothing is left.
    unsafe fn soften = soften_kernel(row: *mut f32, len: usize, scale: f32, bias: *const f32, hidden: *const u8)
}

#[inline(always)]
unsafe fn soften_kernel<S: Simd>(
    row: *mut f32,
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
            std::slice::from_raw_parts_mut(row, seen).fill(0.0);
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
    }
}
