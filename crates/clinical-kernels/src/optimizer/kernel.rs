//! Passes over a parameter and its gradient.

use crate::float::simd::{Simd, dispatch};

/// Rows whose squares are summed in columns before they are added to those of the rows before.
const SUMMED: usize = 64;

dispatch! {
    /// The sums of the squares of `rows` rows of `n` values, and of the columns, with room for twice `n` values.
    pub(super) unsafe fn squares = squares_kernel(
        rows: usize, n: usize, g: *const f32, of_rows: *mut f32, of_columns: *mut f32
    )
}

#[inline(always)]
unsafe fn squares_kernel<S: Simd>(
    rows: usize,
    n: usize,
    g: *const f32,
    of_rows: *mut f32,
    of_columns: *mut f32,
) {
    unsafe {
        let part = of_columns.add(n);
        for j in 0..n {
            *of_columns.add(j) = 0.0;
        }
        for block in (0..rows).step_by(SUMMED) {
            for j in 0..n {
                *part.add(j) = 0.0;
            }
            for i in block..rows.min(block + SUMMED) {
                let g = g.add(i * n);
                let mut sum = S::splat(0.0);
                for j in (0..n).step_by(S::LANES) {
                    let v = S::load_some(g.add(j), n - j);
                    let v = S::mul(v, v);
                    sum = S::add(sum, v);
                    let column = S::add(v, S::load_some(part.add(j), n - j));
                    S::store_some(part.add(j), column, n - j);
                }
                *of_rows.add(i) = S::sum(sum);
            }
            for j in 0..n {
                *of_columns.add(j) += *part.add(j);
            }
        }
    }
}

dispatch! {
    /// The sum of the squares of `g * row * column`, and with `p` of those of the parameter.
    pub(super) unsafe fn update_squares = update_squares_kernel(
        rows: usize, n: usize, g: *const f32, row: *const f32, column: *const f32, p: *const f32, sums: *mut f64
    )
}

#[inline(always)]
unsafe fn update_squares_kernel<S: Simd>(
    rows: usize,
    n: usize,
    g: *const f32,
    row: *const f32,
    column: *const f32,
    p: *const f32,
    sums: *mut f64,
) {
    unsafe {
        for i in 0..rows {
            let g = g.add(i * n);
            let (mut updates, mut values) = (S::splat(0.0), S::splat(0.0));
            let scale = S::splat(*row.add(i));
            for j in (0..n).step_by(S::LANES) {
                let v = S::mul(S::load_some(g.add(j), n - j), scale);
                let v = S::mul(v, S::load_some(column.add(j), n - j));
                updates = S::fma(v, v, updates);
                if !p.is_null() {
                    let v = S::load_some(p.add(i * n + j), n - j);
                    values = S::fma(v, v, values);
                }
            }
            *sums += f64::from(S::sum(updates));
            *sums.add(1) += f64::from(S::sum(values));
        }
    }
}

dispatch! {
    /// `p -= lost * p + g * row * column * factor`.
    pub(super) unsafe fn factored = factored_kernel(
        rows: usize, n: usize, p: *mut f32, g: *const f32, row: *const f32, column: *const f32, factor: f32, lost: f32
    )
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn factored_kernel<S: Simd>(
    rows: usize,
    n: usize,
    p: *mut f32,
    g: *const f32,
    row: *const f32,
    column: *const f32,
    factor: f32,
    lost: f32,
) {
    unsafe {
        for i in 0..rows {
            let (p, g) = (p.add(i * n), g.add(i * n));
            let scale = S::splat(*row.add(i));
            for j in (0..n).step_by(S::LANES) {
                let left = n - j;
                let mut x = S::load_some(p.add(j), left);
                if lost != 0.0 {
                    x = S::sub(x, S::mul(x, S::splat(lost)));
                }
                let v = S::mul(S::load_some(g.add(j), left), scale);
                let v = S::mul(v, S::load_some(column.add(j), left));
                S::store_some(p.add(j), S::sub(x, S::mul(v, S::splat(factor))), left);
            }
        }
    }
}

/// Factors of AdamW in f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factors {
    pub beta1: f32,
    pub beta2: f32,
    pub rest1: f32,
    pub rest2: f32,
    pub epsilon: f32,
    /// One over the root of the correction.
    pub root: f32,
    pub rate: f32,
    pub keep: f32,
}

dispatch! {
    /// A step over `n` values.
    pub(super) unsafe fn adamw = adamw_kernel(
        n: usize, p: *mut f32, g: *const f32, mean: *mut f32, square: *mut f32, f: Factors
    )
}

#[inline(always)]
unsafe fn adamw_kernel<S: Simd>(
    n: usize,
    p: *mut f32,
    g: *const f32,
    mean: *mut f32,
    square: *mut f32,
    f: Factors,
) {
    unsafe {
        for j in (0..n).step_by(S::LANES) {
            let left = n - j;
            let v = S::load_some(g.add(j), left);
            let m = S::mul(S::load_some(mean.add(j), left), S::splat(f.beta1));
            let m = S::add(m, S::mul(v, S::splat(f.rest1)));
            let s = S::mul(S::load_some(square.add(j), left), S::splat(f.beta2));
            let s = S::add(s, S::mul(S::mul(v, v), S::splat(f.rest2)));
            S::store_some(mean.add(j), m, left);
            S::store_some(square.add(j), s, left);
            let root = S::mul(S::sqrt(s), S::splat(f.root));
            let update = S::div(m, S::add(root, S::splat(f.epsilon)));
            let x = S::mul(S::load_some(p.add(j), left), S::splat(f.keep));
            S::store_some(p.add(j), S::sub(x, S::mul(update, S::splat(f.rate))), left);
        }
    }
}
