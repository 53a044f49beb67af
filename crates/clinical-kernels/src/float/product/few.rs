//! A few rows on the left: the right side is read once, as it lies.

use half::f16;

use super::super::simd::{Cell, Level, Simd, dispatch};
use super::{Finish, Matrix, Target, finish_rows, ranges};

/// Rows up to which the right side is read as it lies.
pub(crate) const THIN: usize = 8;

/// A few rows, the right side as `[k, n]`: threads take columns.
pub(super) unsafe fn few_rows(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Matrix,
    out: Target,
    finish: Finish,
) {
    // A piece reads at least 32 KiB; more pieces than threads let a late helper take fewer.
    let least = (8192 / k.max(1)).max(64);
    ranges(n, least, 16, 2, |columns| unsafe {
        let (start, n) = (columns.start, columns.len());
        let out = out.from(0, start);
        thin(level, m, n, k, a, b.from(0, start), out);
        finish_rows(level, m, n, out, finish.from(0, start));
    });
}

/// A few rows, the right side as `[n, k]`: threads take its rows.
pub(super) unsafe fn few_rows_transposed(
    level: Level,
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Matrix,
    out: Target,
    finish: Finish,
) {
    let least = (8192 / k.max(1)).max(8);
    ranges(n, least, 4, 2, |columns| unsafe {
        let (start, n) = (columns.start, columns.len());
        let out = out.from(0, start);
        dots(level, m, n, k, a, b.from(0, start), out);
        finish_rows(level, m, n, out, finish.from(0, start));
    });
}

dispatch! {
    /// `out = a b` for up to [`THIN`] rows with unit column strides; `k` is not zero.
    pub(crate) unsafe fn thin = thin_kernel(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, out: Target)
}

dispatch! {
    /// [`thin`] by halves.
    pub(crate) unsafe fn thin_half = thin_kernel(m: usize, n: usize, k: usize, a: Matrix, b: Matrix<f16>, out: Target)
}

#[inline(always)]
unsafe fn thin_kernel<S: Simd>(
    m: usize,
    n: usize,
    k: usize,
    a: Matrix,
    b: Matrix<impl Cell>,
    out: Target,
) {
    unsafe {
        match m {
            1 => thin_rows::<S, 1, 8>(n, k, a, b, out),
            2 => thin_rows::<S, 2, 8>(n, k, a, b, out),
            3 => thin_rows::<S, 3, 4>(n, k, a, b, out),
            4 => thin_rows::<S, 4, 4>(n, k, a, b, out),
            5 => thin_rows::<S, 5, 4>(n, k, a, b, out),
            6 => thin_rows::<S, 6, 4>(n, k, a, b, out),
            7 => thin_rows::<S, 7, 4>(n, k, a, b, out),
            _ => thin_rows::<S, 8, 4>(n, k, a, b, out),
        }
    }
}

/// The sums that [`thin_rows`] goes over with one group of rows of the right side: they stay in the first-level cache.
/// Shorter strips leave a page of the right side after a few lines, which halves the rate on wide matrices.
const STRIP: usize = 4096;

#[inline(always)]
unsafe fn thin_rows<S: Simd, const M: usize, const U: usize>(
    n: usize,
    k: usize,
    a: Matrix,
    b: Matrix<impl Cell>,
    out: Target,
) {
    unsafe {
        let strip = STRIP / M;
        for start in (0..n).step_by(strip) {
            let n = strip.min(n - start);
            let (b, out) = (b.from(0, start), out.from(0, start));
            let mut depth = 0;
            while depth + U <= k {
                thin_group::<S, M, U>(n, depth, a, b, out);
                depth += U;
            }
            while depth < k {
                thin_group::<S, M, 1>(n, depth, a, b, out);
                depth += 1;
            }
        }
    }
}

/// Adds the products with rows `depth..depth + U` of the right side, over `n` columns.
#[inline(always)]
unsafe fn thin_group<S: Simd, const M: usize, const U: usize>(
    n: usize,
    depth: usize,
    a: Matrix,
    b: Matrix<impl Cell>,
    out: Target,
) {
    unsafe {
        let factors: [[f32; U]; M] =
            std::array::from_fn(|i| std::array::from_fn(|u| *a.at(i, depth + u)));
        let rows: [*const _; U] = std::array::from_fn(|u| b.at(depth + u, 0));
        let mut j = 0;
        while j + S::LANES <= n {
            let mut sums = [S::splat(0.0); M];
            if depth > 0 {
                for i in 0..M {
                    sums[i] = S::load(out.at(i, j));
                }
            }
            for u in 0..U {
                let x = Cell::load::<S>(rows[u].add(j));
                for i in 0..M {
                    sums[i] = S::fma(S::splat(factors[i][u]), x, sums[i]);
                }
            }
            for i in 0..M {
                S::store(out.at(i, j), sums[i]);
            }
            j += S::LANES;
        }
        if j < n {
            let count = n - j;
            for i in 0..M {
                let mut sum = match depth {
                    0 => S::splat(0.0),
                    _ => S::load_some(out.at(i, j), count),
                };
                for u in 0..U {
                    let x = Cell::load_some::<S>(rows[u].add(j), count);
                    sum = S::fma(S::splat(factors[i][u]), x, sum);
                }
                S::store_some(out.at(i, j), sum, count);
            }
        }
    }
}

dispatch! {
    /// `out[i, j] = sum(a[i, .] * b[., j])` for `b` as `[n, k]` in memory; both with unit strides along `k`.
    pub(crate) unsafe fn dots = dots_kernel(m: usize, n: usize, k: usize, a: Matrix, b: Matrix, out: Target)
}

dispatch! {
    /// [`dots`] with halves.
    pub(crate) unsafe fn dots_half = dots_kernel(m: usize, n: usize, k: usize, a: Matrix, b: Matrix<f16>, out: Target)
}

#[inline(always)]
unsafe fn dots_kernel<S: Simd>(
    m: usize,
    n: usize,
    k: usize,
    a: Matrix,
    b: Matrix<impl Cell>,
    out: Target,
) {
    unsafe {
        // As many columns at a time as there are registers for: each is a stream from memory.
        match m {
            1 => return dots_columns::<S, 1, 8>(n, k, a, b, out),
            2 if S::ROWS > 8 => return dots_columns::<S, 2, 8>(n, k, a, b, out),
            _ => {}
        }
        // A group of columns stays in the cache for the second half of the rows.
        for j in (0..n).step_by(4) {
            let (n, b) = (4.min(n - j), b.from(0, j));
            for i in (0..m).step_by(4) {
                let (a, out) = (a.from(i, 0), out.from(i, j));
                match m - i {
                    1 => dots_columns::<S, 1, 4>(n, k, a, b, out),
                    2 => dots_columns::<S, 2, 4>(n, k, a, b, out),
                    3 => dots_columns::<S, 3, 4>(n, k, a, b, out),
                    _ => dots_columns::<S, 4, 4>(n, k, a, b, out),
                }
            }
        }
    }
}

/// `M` rows against `C` columns at a time.
#[inline(always)]
unsafe fn dots_columns<S: Simd, const M: usize, const C: usize>(
    n: usize,
    k: usize,
    a: Matrix,
    b: Matrix<impl Cell>,
    out: Target,
) {
    unsafe {
        for j in (0..n).step_by(C) {
            let columns = C.min(n - j);
            // A column beyond the last is the last again.
            let at: [*const _; C] = std::array::from_fn(|c| b.at(0, j + c.min(columns - 1)));
            let mut sums = [[S::splat(0.0); C]; M];
            let mut p = 0;
            while p + S::LANES <= k {
                let mut x = [S::splat(0.0); M];
                for i in 0..M {
                    x[i] = S::load(a.at(i, p));
                }
                for c in 0..C {
                    let y = Cell::load::<S>(at[c].add(p));
                    for i in 0..M {
                        sums[i][c] = S::fma(x[i], y, sums[i][c]);
                    }
                }
                p += S::LANES;
            }
            if p < k {
                let mut x = [S::splat(0.0); M];
                for i in 0..M {
                    x[i] = S::load_some(a.at(i, p), k - p);
                }
                for c in 0..C {
                    let y = Cell::load_some::<S>(at[c].add(p), k - p);
                    for i in 0..M {
                        sums[i][c] = S::fma(x[i], y, sums[i][c]);
                    }
                }
            }
            for i in 0..M {
                for c in 0..columns {
                    *out.at(i, j + c) = S::sum(sums[i][c]);
                }
            }
        }
    }
}
