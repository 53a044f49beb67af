//! Work on one row after another: norms, rotation, gates.

use super::math::{Activation, exp};
use super::simd::{Simd, dispatch};

/// `1 / sqrt(squares / n + epsilon)`, rounded once: what is wrong with it is wrong with the whole row, and scores of
/// queries and keys that were normalised alike have it twice.
#[inline(always)]
fn inverse_root(squares: f32, n: usize, epsilon: f32) -> f32 {
    let mean = f64::from(squares) / n as f64 + f64::from(epsilon);
    (1.0 / mean.sqrt()) as f32
}

/// What a row was normalised by: `(x - mean) * scale`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    /// 0 in an RMS norm.
    pub mean: f32,
    pub scale: f32,
}

dispatch! {
    /// `y = x / sqrt(mean(x^2) + epsilon) * weight` for `rows` rows of `n` values, one after another. What each row is
    /// multiplied by is left in `kept`, if it is not null.
    pub(crate) unsafe fn rms_norm = rms_norm_kernel(
        rows: usize, n: usize, x: *const f32, weight: *const f32, epsilon: f32, y: *mut f32, kept: *mut Moments
    )
}

#[inline(always)]
unsafe fn rms_norm_kernel<S: Simd>(
    rows: usize,
    n: usize,
    x: *const f32,
    weight: *const f32,
    epsilon: f32,
    y: *mut f32,
    kept: *mut Moments,
) {
    unsafe {
        for row in 0..rows {
            let (x, y) = (x.add(row * n), y.add(row * n));
            let mut squares = S::splat(0.0);
            for j in (0..n).step_by(S::LANES) {
                let v = S::load_some(x.add(j), n - j);
                squares = S::fma(v, v, squares);
            }
            let scale = inverse_root(S::sum(squares), n, epsilon);
            if !kept.is_null() {
                *kept.add(row) = Moments { mean: 0.0, scale };
            }
            let scale = S::splat(scale);
            for j in (0..n).step_by(S::LANES) {
                let v = S::mul(S::load_some(x.add(j), n - j), scale);
                let v = S::mul(v, S::load_some(weight.add(j), n - j));
                S::store_some(y.add(j), v, n - j);
            }
        }
    }
}

dispatch! {
    /// `y = (x - mean) / sqrt(var + epsilon) * weight + bias` for `rows` rows of `n` values, one after another. What
    /// each row is normalised by is left in `kept`, if it is not null.
    pub(crate) unsafe fn layer_norm = layer_norm_kernel(
        rows: usize, n: usize, x: *const f32, weight: *const f32, bias: *const f32, epsilon: f32, y: *mut f32,
        kept: *mut Moments
    )
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn layer_norm_kernel<S: Simd>(
    rows: usize,
    n: usize,
    x: *const f32,
    weight: *const f32,
    bias: *const f32,
    epsilon: f32,
    y: *mut f32,
    kept: *mut Moments,
) {
    unsafe {
        for row in 0..rows {
            let (x, y) = (x.add(row * n), y.add(row * n));
            let mut sum = S::splat(0.0);
            for j in (0..n).step_by(S::LANES) {
                sum = S::add(sum, S::load_some(x.add(j), n - j));
            }
            let mean = S::sum(sum) / n as f32;
            let mut squares = 0.0;
            let mut sum = S::splat(0.0);
            let whole = n - n % S::LANES;
            for j in (0..whole).step_by(S::LANES) {
                let v = S::sub(S::load(x.add(j)), S::splat(mean));
                sum = S::fma(v, v, sum);
            }
            for j in whole..n {
                let v = *x.add(j) - mean;
                squares += v * v;
            }
            squares += S::sum(sum);
            let scale = inverse_root(squares, n, epsilon);
            if !kept.is_null() {
                *kept.add(row) = Moments { mean, scale };
            }
            let scale = S::splat(scale);
            for j in (0..n).step_by(S::LANES) {
                let v = S::sub(S::load_some(x.add(j), n - j), S::splat(mean));
                let v = S::mul(S::mul(v, scale), S::load_some(weight.add(j), n - j));
                let v = S::add(v, S::load_some(bias.add(j), n - j));
                S::store_some(y.add(j), v, n - j);
            }
        }
    }
}

dispatch! {
    /// `y = activation(gate) * x` over `n` values.
    pub(crate) unsafe fn gate = gate_kernel(
        n: usize, activation: Activation, gate: *const f32, x: *const f32, y: *mut f32
    )
}

#[inline(always)]
unsafe fn gate_kernel<S: Simd>(
    n: usize,
    activation: Activation,
    gate: *const f32,
    x: *const f32,
    y: *mut f32,
) {
    unsafe {
        for j in (0..n).step_by(S::LANES) {
            let open = activation.apply::<S>(S::load_some(gate.add(j), n - j));
            let v = S::mul(open, S::load_some(x.add(j), n - j));
            S::store_some(y.add(j), v, n - j);
        }
    }
}

dispatch! {
    /// Rotates a row of `2 half` values by `half` angles: `y1 = x1 cos - x2 sin`, `y2 = x2 cos + x1 sin`.
    pub(crate) unsafe fn rotate = rotate_kernel(
        half: usize, x: *const f32, cos: *const f32, sin: *const f32, y: *mut f32
    )
}

#[inline(always)]
unsafe fn rotate_kernel<S: Simd>(
    half: usize,
    x: *const f32,
    cos: *const f32,
    sin: *const f32,
    y: *mut f32,
) {
    unsafe {
        for j in (0..half).step_by(S::LANES) {
            let left = half - j;
            let (x1, x2) = (
                S::load_some(x.add(j), left),
                S::load_some(x.add(half + j), left),
            );
            let (c, s) = (
                S::load_some(cos.add(j), left),
                S::load_some(sin.add(j), left),
            );
            S::store_some(y.add(j), S::sub(S::mul(x1, c), S::mul(x2, s)), left);
            S::store_some(y.add(half + j), S::add(S::mul(x2, c), S::mul(x1, s)), left);
        }
    }
}

dispatch! {
    /// `y = activation(x)` over `n` values.
    pub(crate) unsafe fn activate = activate_kernel(
        n: usize, activation: Activation, x: *const f32, y: *mut f32
    )
}

#[inline(always)]
unsafe fn activate_kernel<S: Simd>(n: usize, activation: Activation, x: *const f32, y: *mut f32) {
    unsafe {
        for j in (0..n).step_by(S::LANES) {
            let v = activation.apply::<S>(S::load_some(x.add(j), n - j));
            S::store_some(y.add(j), v, n - j);
        }
    }
}

dispatch! {
    /// `to = gradient * activation'(x)` over `n` values, which may lie where the gradient does.
    pub(crate) unsafe fn slope = slope_kernel(
        n: usize, activation: Activation, x: *const f32, gradient: *const f32, to: *mut f32
    )
}

#[inline(always)]
unsafe fn slope_kernel<S: Simd>(
    n: usize,
    activation: Activation,
    x: *const f32,
    gradient: *const f32,
    to: *mut f32,
) {
    unsafe {
        for j in (0..n).step_by(S::LANES) {
            let slope = activation.slope::<S>(S::load_some(x.add(j), n - j));
            let v = S::mul(slope, S::load_some(gradient.add(j), n - j));
            S::store_some(to.add(j), v, n - j);
        }
    }
}

/// Rows whose sum is taken before it is added to that of the rows before: errors of rounding grow with the number of
/// blocks and of rows in a block, not with their product.
const SUMMED: usize = 64;

dispatch! {
    /// The sums of `n` columns over `rows` rows, the distance between which is `row`, in a fixed order; with `onto`
    /// added to what is there.
    pub(crate) unsafe fn column_sums = column_sums_kernel(
        rows: usize, n: usize, x: *const f32, row: usize, sums: *mut f32, onto: bool
    )
}

#[inline(always)]
unsafe fn column_sums_kernel<S: Simd>(
    rows: usize,
    n: usize,
    x: *const f32,
    row: usize,
    sums: *mut f32,
    onto: bool,
) {
    unsafe {
        let zero = S::splat(0.0);
        for j in (0..n).step_by(S::LANES) {
            let mut all = match onto {
                true => S::load_some(sums.add(j), n - j),
                false => zero,
            };
            for block in (0..rows).step_by(SUMMED) {
                let mut sum = zero;
                for i in block..rows.min(block + SUMMED) {
                    sum = S::add(sum, S::load_some(x.add(i * row + j), n - j));
                }
                all = S::add(all, sum);
            }
            S::store_some(sums.add(j), all, n - j);
        }
    }
}

dispatch! {
    /// `y += x` over `n` values.
    pub(crate) unsafe fn add = add_kernel(n: usize, x: *const f32, y: *mut f32)
}

#[inline(always)]
unsafe fn add_kernel<S: Simd>(n: usize, x: *const f32, y: *mut f32) {
    unsafe {
        for j in (0..n).step_by(S::LANES) {
            let v = S::add(S::load_some(x.add(j), n - j), S::load_some(y.add(j), n - j));
            S::store_some(y.add(j), v, n - j);
        }
    }
}

dispatch! {
    /// `loss = log(sum(e^x)) - x[label]` of a row of `n` logits. With a `factor` that is not zero they become its
    /// derivative, `factor * (softmax(x) - [label])`.
    pub(crate) unsafe fn cross_entropy = cross_entropy_kernel(
        n: usize, x: *mut f32, label: usize, factor: f32, loss: *mut f32
    )
}

#[inline(always)]
unsafe fn cross_entropy_kernel<S: Simd>(
    n: usize,
    x: *mut f32,
    label: usize,
    factor: f32,
    loss: *mut f32,
) {
    unsafe {
        let whole = n - n % S::LANES;
        let mut largest = S::splat(f32::NEG_INFINITY);
        for j in (0..whole).step_by(S::LANES) {
            largest = S::max(largest, S::load(x.add(j)));
        }
        let mut largest = S::largest(largest);
        for j in whole..n {
            largest = largest.max(*x.add(j));
        }
        let wanted = *x.add(label);
        let shift = S::splat(largest);
        let mut sum = 0.0;
        // Sums of blocks, so that the error of rounding does not grow with the vocabulary.
        for block in (0..whole).step_by(SUMMED * S::LANES) {
            let mut part = S::splat(0.0);
            for j in (block..whole.min(block + SUMMED * S::LANES)).step_by(S::LANES) {
                let e = exp::<S>(S::sub(S::load(x.add(j)), shift));
                S::store(x.add(j), e);
                part = S::add(part, e);
            }
            sum += S::sum(part);
        }
        if whole < n {
            let e = exp::<S>(S::sub(S::load_some(x.add(whole), n - whole), shift));
            S::store_some(x.add(whole), e, n - whole);
            for j in whole..n {
                sum += *x.add(j);
            }
        }
        *loss = sum.ln() - (wanted - largest);
        if factor != 0.0 {
            let scale = S::splat(factor / sum);
            for j in (0..n).step_by(S::LANES) {
                let v = S::mul(S::load_some(x.add(j), n - j), scale);
                S::store_some(x.add(j), v, n - j);
            }
            *x.add(label) -= factor;
        }
    }
}
