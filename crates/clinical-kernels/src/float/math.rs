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

/// `x Phi(x)` with Phi from the complementary error function of Abramowitz and Stegun, 7.1.26 (error 1.5e-7).
#[inline(always)]
unsafe fn gelu<S: Simd>(x: S::V) -> S::V {
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
        // erfc(|x| / sqrt 2) / 2: the probability beyond |x|.
        let beyond = S::mul(
            S::mul(p, S::splat(0.5)),
            exp::<S>(S::mul(S::mul(z, z), S::splat(-1.0))),
        );
        // x >= 0: x - x * beyond; x < 0: x * beyond. Both are max(x, 0) - |x| * beyond.
        S::sub(S::max(S::splat(0.0), x), S::mul(S::abs(x), beyond))
    }
}
