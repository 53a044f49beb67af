//! AVX2 with FMA, and AVX-512.

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
    unsafe fn sqrt(x: __m256) -> __m256 {
        unsafe { _mm256_sqrt_ps(x) }
    }
    #[inline(always)]
    unsafe fn where_positive(x: __m256, y: __m256) -> __m256 {
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(x, _mm256_setzero_ps()), y) }
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
    unsafe fn sqrt(x: __m512) -> __m512 {
        unsafe { _mm512_sqrt_ps(x) }
    }
    #[inline(always)]
    unsafe fn where_positive(x: __m512, y: __m512) -> __m512 {
        unsafe {
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, _mm512_setzero_ps());
            _mm512_maskz_mov_ps(positive, y)
        }
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
