//! Products of matrices.
//!
//! Three ways, by the number of rows on the left: [`thin`] and [`dots`] read the right side once, as it lies, for a few
//! rows; [`product`] packs both sides into panels that the inner loop reads in order (Goto and van de Geijn 2008).

mod few;
mod operands;
mod packed;

pub(crate) use few::{THIN, dots, dots_half, thin, thin_half};
pub(crate) use operands::{Finish, Matrix, Target};
pub(crate) use packed::{Right, product_alone};

use super::simd::{Level, Simd, dispatch};
use crate::pool;
use few::{few_rows, few_rows_transposed};
use packed::{HEIGHT, many_rows};

/// `out = finish(a b)` on all threads: `a` is `[m, k]`, `b` is `[k, n]`.
///
/// # Safety
///
/// The matrices must be as large as said, and `out` must not overlap them.
pub(crate) unsafe fn product(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Matrix,
    out: Target,
    finish: Finish,
) {
    if m == 0 || n == 0 {
        return;
    }
    unsafe {
        if k == 0 {
            for i in 0..m {
                std::slice::from_raw_parts_mut(out.at(i, 0), n).fill(0.0);
            }
            return finish_rows(level, m, n, out, finish);
        }
        if m <= THIN && a.column == 1 && b.column == 1 && n >= 16 {
            return few_rows(level, [m, n, k], a, b, out, finish);
        }
        if m <= THIN && a.column == 1 && b.row == 1 {
            return few_rows_transposed(level, [m, n, k], a, b, out, finish);
        }
        product_by(level, [m, n, k], a, &b, out, finish, false);
    }
}

/// `out = finish(a b)` on all threads by columns of `b` that it is asked for, or `out = finish(out + a b)`. No size is
/// zero.
///
/// # Safety
///
/// That of [`product`]; with `onto`, `out` holds values.
pub(crate) unsafe fn product_by(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: &impl Right,
    out: Target,
    finish: Finish,
    onto: bool,
) {
    let chunks = m.div_ceil(HEIGHT);
    for chunk in 0..chunks {
        let (start, end) = (part(chunk, chunks, m), part(chunk + 1, chunks, m));
        unsafe {
            let (a, out, finish) = (a.from(start, 0), out.from(start, 0), finish.from(start, 0));
            many_rows(level, [end - start, n, k], a, b, out, finish, onto);
        }
    }
}

/// `finish` over rows that are written already.
pub(crate) unsafe fn finish_rows(level: Level, m: usize, n: usize, out: Target, finish: Finish) {
    if !finish.is_none() {
        unsafe { finish_all(level, m, n, out, finish) };
    }
}

dispatch! {
    unsafe fn finish_all = finish_kernel(m: usize, n: usize, out: Target, finish: Finish)
}

#[inline(always)]
unsafe fn finish_kernel<S: Simd>(m: usize, n: usize, out: Target, finish: Finish) {
    unsafe {
        let whole = n - n % S::LANES;
        for i in 0..m {
            // Without masks, so that what has just been stored need not have reached the cache.
            for j in (0..whole).step_by(S::LANES) {
                let x = finish.apply::<S>(S::load(out.at(i, j)), i, j, S::LANES);
                S::store(out.at(i, j), x);
            }
            if whole < n {
                let x = S::load_some(out.at(i, whole), n - whole);
                let x = finish.apply::<S>(x, i, whole, n - whole);
                S::store_some(out.at(i, whole), x, n - whole);
            }
        }
    }
}

/// Where part `index` of `parts` nearly equal ones begins, of `all`.
pub(crate) fn part(index: usize, parts: usize, all: usize) -> usize {
    // The product of the two may pass 64 bits, the quotient does not.
    (index as u128 * all as u128 / parts as u128) as usize
}

/// `work` on all threads over `0..len` in pieces of at least `least`, a multiple of `step` but for the last, at most
/// `per_thread` for each thread.
pub(crate) fn ranges(
    len: usize,
    least: usize,
    step: usize,
    per_thread: usize,
    work: impl Fn(std::ops::Range<usize>) + Sync,
) {
    let pieces = (crate::threads() * per_thread).min(len.div_ceil(least.max(1)));
    let size = len.div_ceil(pieces.max(1)).next_multiple_of(step.max(1));
    pool::pieces(len, size, work);
}
