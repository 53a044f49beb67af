//! Rows that share keys: their scores, the softmax and the product with the values, on one thread.

use std::ops::Range;

use half::f16;

use super::super::math::exp;
use super::super::product::{
    Matrix, THIN, Target, dots, dots_half, product_alone, thin, thin_half,
};
use super::super::scratch::scratch;
use super::super::simd::{Cell, Level, Simd, dispatch};

/// Keys or values in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Vectors {
    F32(*const f32),
    /// One after another, as blocks keep them.
    F16(*const f16),
}

impl Vectors {
    /// Those from a position on, which must exist.
    pub(super) unsafe fn add(self, count: usize) -> Self {
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
pub(super) struct Run {
    pub key: Vectors,
    pub key_row: isize,
    pub value: Vectors,
    pub value_row: isize,
    pub len: usize,
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
            assert_eq!(row, d as isize, "halves lie one vector after another");
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
pub(super) struct Task {
    pub rows: usize,
    pub d: usize,
    pub d_value: usize,
    pub scale: f32,
    pub query: Matrix,
    pub out: Target,
}

impl Task {
    /// `runs` are the keys and values in order; later rows see no less far, and do not begin to see earlier.
    pub(super) unsafe fn run(
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
                let kept = std::ptr::null_mut();
                soften(level, row.start, len, self.scale, bias, hidden, kept);
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
                    product_alone(level, [rows, len, d], query, key, out, false);
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
                    product_alone(level, [rows, d, len], weights, value, out, false);
                }),
            }
        }
    }
}

/// What is kept of a row of scores: its logarithm of the sum of exponentials as two numbers, so that the same weights
/// come out again, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kept {
    /// The largest score.
    pub top: f32,
    /// One divided by the sum of `e^(score - top)`; 0 for a row that sees nothing.
    pub inverse: f32,
}

impl Kept {
    /// Of a row that sees nothing.
    pub(crate) const NOTHING: Self = Self {
        top: f32::MIN,
        inverse: 0.0,
    };
}

dispatch! {
    /// `softmax(row * scale + bias)` of `len` values, zeros where `hidden`; all zeros if nothing is left. What makes
    /// the same of the same scores again is left in `kept`, if it is not null.
    pub(super) unsafe fn soften = soften_kernel(
        row: *mut f32, len: usize, scale: f32, bias: *const f32, hidden: *const u8, kept: *mut Kept
    )
}

#[inline(always)]
unsafe fn soften_kernel<S: Simd>(
    row: *mut f32,
    seen: usize,
    scale: f32,
    bias: *const f32,
    hidden: *const u8,
    kept: *mut Kept,
) {
    unsafe {
        let whole = seen - seen % S::LANES;
        let rest = seen - whole;
        let factor = S::splat(scale);
        let mut largest = S::splat(f32::MIN);
        for j in (0..whole).step_by(S::LANES) {
            let mut x = S::mul(S::load(row.add(j)), factor);
            if !bias.is_null() {
                x = S::add(x, S::load(bias.add(j)));
            }
            largest = S::max(largest, x);
            S::store(row.add(j), x);
        }
        if rest > 0 {
            let mut x = S::mul(S::load_some(row.add(whole), rest), factor);
            if !bias.is_null() {
                x = S::add(x, S::load_some(bias.add(whole), rest));
            }
            S::store_some(row.add(whole), x, rest);
        }
        if !hidden.is_null() {
            for j in 0..seen {
                if *hidden.add(j) != 0 {
                    *row.add(j) = f32::MIN;
                }
            }
            largest = S::splat(f32::MIN);
            for j in (0..whole).step_by(S::LANES) {
                largest = S::max(largest, S::load(row.add(j)));
            }
        }
        let mut top = S::largest(largest);
        for j in whole..seen {
            top = top.max(*row.add(j));
        }
        if top == f32::MIN {
            if !kept.is_null() {
                *kept = Kept::NOTHING;
            }
            std::slice::from_raw_parts_mut(row, seen).fill(0.0);
            return;
        }
        let mut sums = S::splat(0.0);
        for j in (0..whole).step_by(S::LANES) {
            let e = weight::<S>(S::load(row.add(j)), top);
            sums = S::add(sums, e);
            S::store(row.add(j), e);
        }
        if rest > 0 {
            let e = weight::<S>(S::load_some(row.add(whole), rest), top);
            S::store_some(row.add(whole), e, rest);
            // Zeros after the last.
            sums = S::add(sums, S::load_some(row.add(whole), rest));
        }
        let inverse = 1.0 / S::sum(sums);
        if !kept.is_null() {
            *kept = Kept { top, inverse };
        }
        let factor = S::splat(inverse);
        for j in (0..whole).step_by(S::LANES) {
            S::store(row.add(j), S::mul(S::load(row.add(j)), factor));
        }
        if rest > 0 {
            let x = S::mul(S::load_some(row.add(whole), rest), factor);
            S::store_some(row.add(whole), x, rest);
        }
    }
}

/// `e^(x - top)`. What is below e^-87 becomes zero: products with denormal numbers are slow.
#[inline(always)]
pub(super) unsafe fn weight<S: Simd>(x: S::V, top: f32) -> S::V {
    unsafe {
        let e = exp::<S>(S::sub(x, S::splat(top)));
        S::max(S::splat(0.0), S::sub(e, S::splat(1.7e-38)))
    }
}
