//! Functions of vectors.

use super::simd::Simd;

/// What follows a product, value by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activation {
    /// `x`.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `x * Phi(x)`.
    Gelu,
    /// The tanh form of GELU (Hendrycks and Gimpel 2016).
    GeluTanh,
    /// `x * sigmoid(x)`.
    Silu,
}

impl Activation {
    #[inline(always)]
    pub(crate) unsafe fn apply<S: Simd>(self, x: S::V) -> S::V {
        unsafe {
            match self {
                Self::None => x,
                Self::Relu => S::max(S::splat(0.0), x),
                Self::Gelu => gelu::<S>(x),
                Self::GeluTanh => {
                    // x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 x^3)).
                    let inner = S::fma(
                        S::mul(x, x),
                        S::splat(2.0 * 0.797_884_6 * 0.044_715),
                        S::splat(2.0 * 0.797_884_6),
                    );
                    S::mul(x, sigmoid::<S>(S::mul(x, inner)))
                }
                Self::Silu => S::mul(x, sigmoid::<S>(x)),
            }
        }
    }

    /// The derivative at `x`. That of ReLU at 0 is 0, as everywhere.
    #[inline(always)]
    pub(crate) unsafe fn slope<S: Simd>(self, x: S::V) -> S::V {
        unsafe {
            let one = S::splat(1.0);
            match self {
                Self::None => one,
                Self::Relu => S::where_positive(x, one),
                Self::Gelu => {
                    let (beyond, density) = normal::<S>(x);
                    let below = S::sub(one, S::add(beyond, beyond));
                    let phi = S::add(beyond, S::where_positive(x, below));
                    // The density of the normal distribution is `e^(-x^2 / 2) / sqrt(2 pi)`.
                    S::fma(S::mul(x, S::splat(0.398_942_3)), density, phi)
                }
                Self::GeluTanh => {
                    // With u = x (a + b x^2) and s = sigmoid(u): s + x s (1 - s) u', u' = a + 3 b x^2.
                    let square = S::mul(x, x);
                    let (a, b) = (
                        S::splat(2.0 * 0.797_884_6),
                        S::splat(2.0 * 0.797_884_6 * 0.044_715),
                    );
                    let (open, closed) = gate::<S>(S::mul(x, S::fma(square, b, a)));
                    let inner = S::fma(square, S::mul(b, S::splat(3.0)), a);
                    let rest = S::mul(S::mul(x, inner), closed);
                    S::fma(open, rest, open)
                }
                Self::Silu => {
                    // s + x s (1 - s).
                    let (open, closed) = gate::<S>(x);
                    S::fma(S::mul(open, x), closed, open)
                }
            }
        }
    }
}

/// `e^x` to within 2 units in the last place; below -87 it is as good as zero, above 88 the largest power it has.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    unsafe {
        // In this order what is not a number stays so.
        let x = S::min(S::splat(88.0), S::max(S::splat(-87.0), x));
        // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts keeps r exact.
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::fma(n, S::splat(-355.0 / 512.0), x);
        let r = S::fma(n, S::splat(2.121_944_4e-4), r);
        // The Taylor series to the seventh power.
        let mut p = S::splat(1.0 / 5040.0);
        for factor in [
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ] {
            p = S::fma(p, r, S::splat(factor));
        }
        S::mul(p, S::power_of_two(n))
    }
}

#[inline(always)]
unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let e = exp::<S>(S::sub(S::splat(0.0), x));
        S::div(S::splat(1.0), S::add(S::splat(1.0), e))
    }
}

/// `sigmoid(x)` and `sigmoid(-x)`, which for a large `x` is far smaller than the rounding of `1 - sigmoid(x)`.
#[inline(always)]
unsafe fn gate<S: Simd>(x: S::V) -> (S::V, S::V) {
    unsafe {
        let e = exp::<S>(S::sub(S::splat(0.0), x));
        let open = S::div(S::splat(1.0), S::add(S::splat(1.0), e));
        (open, S::mul(e, open))
    }
}

/// `x Phi(x)`.
#[inline(always)]
unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let (beyond, _) = normal::<S>(x);
        // x >= 0: x - x * beyond; x < 0: x * beyond. Both are max(x, 0) - |x| * beyond.
        S::sub(S::max(S::splat(0.0), x), S::mul(S::abs(x), beyond))
    }
}

/// `Phi(-|x|)`, by the complementary error function of Abramowitz and Stegun, 7.1.26 (error 1.5e-7), and `e^(-x^2 / 2)`.
#[inline(always)]
unsafe fn normal<S: Simd>(x: S::V) -> (S::V, S::V) {
    unsafe {
        let z = S::mul(S::abs(x), S::splat(std::f32::consts::FRAC_1_SQRT_2));
        let t = S::div(
            S::splat(1.0),
            S::fma(z, S::splat(0.327_591_1), S::splat(1.0)),
        );
        let mut p = S::splat(1.061_405_4);
        for factor in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6, 0.0] {
            p = S::fma(p, t, S::splat(factor));
        }
        let density = exp::<S>(S::mul(S::mul(z, z), S::splat(-1.0)));
        // erfc(|x| / sqrt 2) / 2: the probability beyond |x|.
        (S::mul(S::mul(p, S::splat(0.5)), density), density)
    }
}
