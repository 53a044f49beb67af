//! Vectors of f32: AVX-512, AVX2 with FMA, and portable code, one trait over all three.
//!
//! A kernel is written once, generic over [`Simd`] and `#[inline(always)]`; [`dispatch!`] makes a copy of it for each
//! instruction set and chooses one at run time.

use std::sync::OnceLock;

use half::f16;

/// The instruction sets that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Plain Rust; on 64-bit Arm the compiler makes NEON of it.
    Portable,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best of this machine.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| *Self::all().last().expect("portable code is always there"))
    }

    /// All that this machine has, the best one last.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
            {
                all.push(Self::Avx2);
                if is_x86_feature_detected!("avx512f") {
                    all.push(Self::Avx512);
                }
            }
        }
        all
    }
}

/// A vector of [`LANES`](Self::LANES) f32.
///
/// # Safety
///
/// Methods may only be called where the instruction set is there, which [`dispatch!`] sees to; pointers must be good for
/// as many values as are read or written.
pub(crate) trait Simd: Copy + 'static {
    /// Values in a vector.
    const LANES: usize;
    /// Rows of a product that a kernel computes at once, so that sums, factors and one broadcast fit the registers.
    const ROWS: usize;
    type V: Copy;

    /// Brings the line at an address nearer; any address is allowed.
    unsafe fn prefetch(from: *const f32);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, x: Self::V);
    /// The first `count` values, the others zero.
    unsafe fn load_some(from: *const f32, count: usize) -> Self::V;
    unsafe fn store_some(to: *mut f32, x: Self::V, count: usize);
    /// [`LANES`](Self::LANES) halves as f32.
    unsafe fn load_half(from: *const f16) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` where one is not a number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn round(x: Self::V) -> Self::V;
    /// `2^n` for whole `n` from -126 to 127.
    unsafe fn power_of_two(n: Self::V) -> Self::V;
    unsafe fn abs(x: Self::V) -> Self::V;
    unsafe fn sum(x: Self::V) -> f32;
    unsafe fn largest(x: Self::V) -> f32;
    /// Turns a square of [`LANES`](Self::LANES) rows: `to[p * distance + j] = from[j * row + p]`.
    unsafe fn turn(from: *const f32, row: isize, to: *mut f32, distance: usize);
}

/// A type of the right side of a product, read as f32.
pub(crate) trait Cell: Copy + 'static {
    unsafe fn load<S: Simd>(from: *const Self) -> S::V;
    /// The first `count` values, fewer than a vector has, the others zero.
    unsafe fn load_some<S: Simd>(from: *const Self, count: usize) -> S::V;
}

impl Cell for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const f32) -> S::V {
        unsafe { S::load(from) }
    }
    #[inline(always)]
    unsafe fn load_some<S: Simd>(from: *const f32, count: usize) -> S::V {
        unsafe { S::load_some(from, count) }
    }
}

impl Cell for f16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const f16) -> S::V {
        unsafe { S::load_half(from) }
    }
    #[inline(always)]
    unsafe fn load_some<S: Simd>(from: *const f16, count: usize) -> S::V {
        let mut some = [f16::ZERO; 16];
        unsafe {
            std::ptr::copy_nonoverlapping(from, some.as_mut_ptr(), count.min(S::LANES));
            S::load_half(some.as_ptr())
        }
    }
}

/// Plain Rust over eight values.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

const P: usize = 8;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; P] {
    std::array::from_fn(f)
}

impl Simd for Portable {
    const LANES: usize = P;
    const ROWS: usize = 4;
    type V = [f32; P];

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self::V {
        [x; P]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: Self::V) {
        unsafe { to.cast::<Self::V>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn load_some(from: *const f32, count: usize) -> Self::V {
        let mut x = [0.0; P];
        unsafe { std::ptr::copy_nonoverlapping(from, x.as_mut_ptr(), count.min(P)) };
        x
    }
    #[inline(always)]
    unsafe fn store_some(to: *mut f32, x: Self::V, count: usize) {
        unsafe { std::ptr::copy_nonoverlapping(x.as_ptr(), to, count.min(P)) };
    }
    #[inline(always)]
    unsafe fn load_half(from: *const f16) -> Self::V {
        each(|i| unsafe { *from.add(i) }.to_f32())
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // `mul_add` would be a library call on a processor without FMA; 64-bit Arm always has it.
        if cfg!(target_arch = "aarch64") {
            each(|i| a[i].mul_add(b[i], c[i]))
        } else {
            each(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn round(x: Self::V) -> Self::V {
        // Adding and taking away 1.5 * 2^23 rounds to even, for the sizes that kernels have.
        const MAGIC: f32 = 12_582_912.0;
        each(|i| (x[i] + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn power_of_two(n: Self::V) -> Self::V {
        each(|i| f32::from_bits(((n[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn abs(x: Self::V) -> Self::V {
        each(|i| x[i].abs())
    }
    #[inline(always)]
    unsafe fn sum(x: Self::V) -> f32 {
        ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]))
    }
    #[inline(always)]
    unsafe fn largest(x: Self::V) -> f32 {
        x.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn turn(from: *const f32, row: isize, to: *mut f32, distance: usize) {
        for j in 0..P {
            for p in 0..P {
                unsafe { *to.add(p * distance + j) = *from.offset(j as isize * row).add(p) };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use half::f16;
    use std::arch::x86_64::*;

    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2;

    /// Lanes below `count`.
    #[inline(always)]
    unsafe fn lanes(count: usize) -> __m256i {
        unsafe {
            _mm256_cmpgt_epi32(
                _mm256_set1_epi32(count as i32),
                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
            )
        }
    }

    impl Simd for Avx2 {
        const LANES: usize = 8;
        const ROWS: usize = 6;
        type V = __m256;

        #[inline(always)]
        unsafe fn prefetch(from: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, x: __m256) {
            unsafe { _mm256_storeu_ps(to, x) }
        }
        #[inline(always)]
        unsafe fn load_some(from: *const f32, count: usize) -> __m256 {
            unsafe { _mm256_maskload_ps(from, lanes(count)) }
        }
        #[inline(always)]
        unsafe fn store_some(to: *mut f32, x: __m256, count: usize) {
            unsafe { _mm256_maskstore_ps(to, lanes(count), x) }
        }
        #[inline(always)]
        unsafe fn load_half(from: *const f16) -> __m256 {
            unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn round(x: __m256) -> __m256 {
            unsafe { _mm256_round_ps::<NEAREST>(x) }
        }
        #[inline(always)]
        unsafe fn power_of_two(n: __m256) -> __m256 {
            unsafe {
                let n = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(n))
            }
        }
        #[inline(always)]
        unsafe fn abs(x: __m256) -> __m256 {
            unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), x) }
        }
        #[inline(always)]
        unsafe fn sum(x: __m256) -> f32 {
            unsafe {
                let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
                let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
                _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
            }
        }
        #[inline(always)]
        unsafe fn largest(x: __m256) -> f32 {
            unsafe {
                let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
                let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
                _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
            }
        }
        #[inline(always)]
        unsafe fn turn(from: *const f32, row: isize, to: *mut f32, distance: usize) {
            unsafe {
                // `fours[4 * g + c]` holds the columns `c` and `4 + c` of the rows `4 * g` to `4 * g + 3`.
                let mut fours = [_mm256_setzero_ps(); 8];
                for g in 0..2 {
                    let at = |i: isize| _mm256_loadu_ps(from.offset((4 * g as isize + i) * row));
                    let (a, b, c, d) = (at(0), at(1), at(2), at(3));
                    let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    let (low2, high2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                    fours[4 * g] = _mm256_shuffle_ps::<0x44>(low, low2);
                    fours[4 * g + 1] = _mm256_shuffle_ps::<0xEE>(low, low2);
                    fours[4 * g + 2] = _mm256_shuffle_ps::<0x44>(high, high2);
                    fours[4 * g + 3] = _mm256_shuffle_ps::<0xEE>(high, high2);
                }
                for c in 0..4 {
                    let (a, b) = (fours[c], fours[4 + c]);
                    let to = to.add(c * distance);
                    _mm256_storeu_ps(to, _mm256_permute2f128_ps::<0x20>(a, b));
                    let second = _mm256_permute2f128_ps::<0x31>(a, b);
                    _mm256_storeu_ps(to.add(4 * distance), second);
                }
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512;

    #[inline(always)]
    fn mask(count: usize) -> __mmask16 {
        ((1u32 << count.min(16)) - 1) as u16
    }

    impl Simd for Avx512 {
        const LANES: usize = 16;
        const ROWS: usize = 14;
        type V = __m512;

        #[inline(always)]
        unsafe fn prefetch(from: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, x: __m512) {
            unsafe { _mm512_storeu_ps(to, x) }
        }
        #[inline(always)]
        unsafe fn load_some(from: *const f32, count: usize) -> __m512 {
            unsafe { _mm512_maskz_loadu_ps(mask(count), from) }
        }
        #[inline(always)]
        unsafe fn store_some(to: *mut f32, x: __m512, count: usize) {
            unsafe { _mm512_mask_storeu_ps(to, mask(count), x) }
        }
        #[inline(always)]
        unsafe fn load_half(from: *const f16) -> __m512 {
            unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn round(x: __m512) -> __m512 {
            unsafe { _mm512_roundscale_ps::<NEAREST>(x) }
        }
        #[inline(always)]
        unsafe fn power_of_two(n: __m512) -> __m512 {
            unsafe {
                let n = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(n))
            }
        }
        #[inline(always)]
        unsafe fn abs(x: __m512) -> __m512 {
            unsafe { _mm512_abs_ps(x) }
        }
        #[inline(always)]
        unsafe fn sum(x: __m512) -> f32 {
            unsafe { _mm512_reduce_add_ps(x) }
        }
        #[inline(always)]
        unsafe fn largest(x: __m512) -> f32 {
            unsafe { _mm512_reduce_max_ps(x) }
        }
        #[inline(always)]
        unsafe fn turn(from: *const f32, row: isize, to: *mut f32, distance: usize) {
            unsafe {
                // `fours[4 * g + c]` holds the columns `c`, `4 + c`, ... of the rows `4 * g` to `4 * g + 3`.
                let mut fours = [_mm512_setzero_ps(); 16];
                for g in 0..4 {
                    let at = |i: isize| _mm512_loadu_ps(from.offset((4 * g as isize + i) * row));
                    let (a, b, c, d) = (at(0), at(1), at(2), at(3));
                    let (low, high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                    let (low2, high2) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                    fours[4 * g] = _mm512_shuffle_ps::<0x44>(low, low2);
                    fours[4 * g + 1] = _mm512_shuffle_ps::<0xEE>(low, low2);
                    fours[4 * g + 2] = _mm512_shuffle_ps::<0x44>(high, high2);
                    fours[4 * g + 3] = _mm512_shuffle_ps::<0xEE>(high, high2);
                }
                for c in 0..4 {
                    let (a, b, d, e) = (fours[c], fours[4 + c], fours[8 + c], fours[12 + c]);
                    let low = _mm512_shuffle_f32x4::<0x44>(a, b);
                    let low2 = _mm512_shuffle_f32x4::<0x44>(d, e);
                    let high = _mm512_shuffle_f32x4::<0xEE>(a, b);
                    let high2 = _mm512_shuffle_f32x4::<0xEE>(d, e);
                    let to = to.add(c * distance);
                    _mm512_storeu_ps(to, _mm512_shuffle_f32x4::<0x88>(low, low2));
                    let second = _mm512_shuffle_f32x4::<0xDD>(low, low2);
                    _mm512_storeu_ps(to.add(4 * distance), second);
                    let third = _mm512_shuffle_f32x4::<0x88>(high, high2);
                    _mm512_storeu_ps(to.add(8 * distance), third);
                    let fourth = _mm512_shuffle_f32x4::<0xDD>(high, high2);
                    _mm512_storeu_ps(to.add(12 * distance), fourth);
                }
            }
        }
    }
}

/// Makes `fn $name(level, args)` of the generic `unsafe fn $kernel::<S: Simd>(args)`: compiled for each instruction set, the
/// one of `level` called.
macro_rules! dispatch {
    ($(#[$doc:meta])* $visible:vis unsafe fn $name:ident = $kernel:ident($($arg:ident: $type:ty),* $(,)?)) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $visible unsafe fn $name(level: $crate::float::simd::Level, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx2($($arg: $type),*) {
                unsafe { $kernel::<$crate::float::simd::Avx2>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx512($($arg: $type),*) {
                unsafe { $kernel::<$crate::float::simd::Avx512>($($arg),*) }
            }
            // SAFETY: a level is only there if the machine has it; the rest is the caller's promise.
            unsafe {
                match level {
                    $crate::float::simd::Level::Portable => {
                        $kernel::<$crate::float::simd::Portable>($($arg),*)
                    }
                    #[cfg(target_arch = "x86_64")]
                    $crate::float::simd::Level::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::float::simd::Level::Avx512 => avx512($($arg),*),
                }
            }
        }
    };
}
pub(crate) use dispatch;
