//! Work on the weights of one query.

use super::super::super::simd::{Simd, dispatch};
use super::super::task::{Kept, weight};

dispatch! {
    /// `weights *= factors`.
    pub(super) unsafe fn multiply = multiply_kernel(len: usize, factors: *const f32, weights: *mut f32)
}

#[inline(always)]
unsafe fn multiply_kernel<S: Simd>(len: usize, factors: *const f32, weights: *mut f32) {
    unsafe {
        for j in (0..len).step_by(S::LANES) {
            let factor = S::load_some(factors.add(j), len - j);
            let v = S::mul(S::load_some(weights.add(j), len - j), factor);
            S::store_some(weights.add(j), v, len - j);
        }
    }
}

dispatch! {
    /// The weights of scores whose sum of exponentials is known: what `soften` made of them, bit for bit.
    pub(super) unsafe fn recall = recall_kernel(
        row: *mut f32, len: usize, scale: f32, bias: *const f32, hidden: *const u8, kept: Kept
    )
}

#[inline(always)]
unsafe fn recall_kernel<S: Simd>(
    row: *mut f32,
    len: usize,
    scale: f32,
    bias: *const f32,
    hidden: *const u8,
    kept: Kept,
) {
    unsafe {
        let (factor, inverse) = (S::splat(scale), S::splat(kept.inverse));
        for j in (0..len).step_by(S::LANES) {
            let mut x = S::mul(S::load_some(row.add(j), len - j), factor);
            if !bias.is_null() {
                x = S::add(x, S::load_some(bias.add(j), len - j));
            }
            let e = S::mul(weight::<S>(x, kept.top), inverse);
            S::store_some(row.add(j), e, len - j);
        }
        if !hidden.is_null() {
            for j in 0..len {
                if *hidden.add(j) != 0 {
                    *row.add(j) = 0.0;
                }
            }
        }
    }
}

dispatch! {
    /// The backward pass of a softmax. `slopes` are those of the weights after dropout and become those of what is
    /// multiplied by `scale` in front of it; `weights` are multiplied by the `factors` of dropout, if not null; the
    /// slopes of the scores are added to `bias`, if not null.
    pub(super) unsafe fn slope = slope_kernel(
        weights: *mut f32, slopes: *mut f32, factors: *const f32, bias: *mut f32, len: usize, scale: f32
    )
}

#[inline(always)]
unsafe fn slope_kernel<S: Simd>(
    weights: *mut f32,
    slopes: *mut f32,
    factors: *const f32,
    bias: *mut f32,
    len: usize,
    scale: f32,
) {
    unsafe {
        let mut sums = S::splat(0.0);
        for j in (0..len).step_by(S::LANES) {
            let left = len - j;
            let mut slope = S::load_some(slopes.add(j), left);
            if !factors.is_null() {
                slope = S::mul(slope, S::load_some(factors.add(j), left));
                S::store_some(slopes.add(j), slope, left);
            }
            sums = S::fma(slope, S::load_some(weights.add(j), left), sums);
        }
        let mean = S::splat(S::sum(sums));
        let scale = S::splat(scale);
        for j in (0..len).step_by(S::LANES) {
            let left = len - j;
            let weight = S::load_some(weights.add(j), left);
            let slope = S::sub(S::load_some(slopes.add(j), left), mean);
            let slope = S::mul(slope, weight);
            S::store_some(slopes.add(j), S::mul(slope, scale), left);
            if !bias.is_null() {
                let sum = S::add(S::load_some(bias.add(j), left), slope);
                S::store_some(bias.add(j), sum, left);
            }
            if !factors.is_null() {
                let weight = S::mul(weight, S::load_some(factors.add(j), left));
                S::store_some(weights.add(j), weight, left);
            }
        }
    }
}
