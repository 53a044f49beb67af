//! Backward passes of the work on one row after another.

use super::math::Activation;
use super::rows::Moments;
use super::simd::{Simd, dispatch};

dispatch! {
    /// The backward pass of a norm, for `rows` rows of `n` values: `x` and what they were normalised by, the slopes of
    /// the result, and where those of `x` go, which may be the same place; nowhere, if null. Those of weight and bias
    /// are added to `[n]` each, if not null. `centred` for a layer norm, not for an RMS norm.
    pub(crate) unsafe fn norm = norm_kernel(
        rows: usize, n: usize, x: *const f32, kept: *const Moments, weight: *const f32, centred: bool,
        slopes: *const f32, to: *mut f32, to_weight: *mut f32, to_bias: *mut f32
    )
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn norm_kernel<S: Simd>(
    rows: usize,
    n: usize,
    x: *const f32,
    kept: *const Moments,
    weight: *const f32,
    centred: bool,
    slopes: *const f32,
    to: *mut f32,
    to_weight: *mut f32,
    to_bias: *mut f32,
) {
    unsafe {
        for row in 0..rows {
            let (x, slopes) = (x.add(row * n), slopes.add(row * n));
            let Moments { mean, scale } = *kept.add(row);
            let (mean, scale) = (S::splat(mean), S::splat(scale));
            // With g = slope * weight and h the normalised value: x gets scale * (g - mean(g) - h mean(g h)).
            let (mut sums, mut products) = (S::splat(0.0), S::splat(0.0));
            for j in (0..n).step_by(S::LANES) {
                let left = n - j;
                let slope = S::load_some(slopes.add(j), left);
                let h = S::mul(S::sub(S::load_some(x.add(j), left), mean), scale);
                let gradient = S::mul(slope, S::load_some(weight.add(j), left));
                sums = S::add(sums, gradient);
                products = S::fma(gradient, h, products);
                if !to_weight.is_null() {
                    let sum = S::fma(slope, h, S::load_some(to_weight.add(j), left));
                    S::store_some(to_weight.add(j), sum, left);
                }
                if !to_bias.is_null() {
                    let sum = S::add(slope, S::load_some(to_bias.add(j), left));
                    S::store_some(to_bias.add(j), sum, left);
                }
            }
            if to.is_null() {
                continue;
            }
            let to = to.add(row * n);
            let share = 1.0 / n as f32;
            let sum = S::splat(if centred { S::sum(sums) * share } else { 0.0 });
            let product = S::splat(S::sum(products) * share);
            for j in (0..n).step_by(S::LANES) {
                let left = n - j;
                let h = S::mul(S::sub(S::load_some(x.add(j), left), mean), scale);
                let gradient = S::mul(
                    S::load_some(slopes.add(j), left),
                    S::load_some(weight.add(j), left),
                );
                let gradient = S::sub(S::sub(gradient, sum), S::mul(h, product));
                S::store_some(to.add(j), S::mul(gradient, scale), left);
            }
        }
    }
}

dispatch! {
    /// The backward pass of `activation(gate) * x` over `n` values: `to_gate` gets `slope * x * activation'(gate)`, and
    /// `to`, which may lie where the slopes do, `slope * activation(gate)`.
    pub(crate) unsafe fn gate = gate_kernel(
        n: usize, activation: Activation, gate: *const f32, x: *const f32, slopes: *const f32, to_gate: *mut f32,
        to: *mut f32
    )
}

#[inline(always)]
unsafe fn gate_kernel<S: Simd>(
    n: usize,
    activation: Activation,
    gate: *const f32,
    x: *const f32,
    slopes: *const f32,
    to_gate: *mut f32,
    to: *mut f32,
) {
    unsafe {
        for j in (0..n).step_by(S::LANES) {
            let left = n - j;
            let (gate, slope) = (
                S::load_some(gate.add(j), left),
                S::load_some(slopes.add(j), left),
            );
            let x = S::mul(slope, S::load_some(x.add(j), left));
            S::store_some(to_gate.add(j), S::mul(x, activation.slope::<S>(gate)), left);
            S::store_some(to.add(j), S::mul(slope, activation.apply::<S>(gate)), left);
        }
    }
}
