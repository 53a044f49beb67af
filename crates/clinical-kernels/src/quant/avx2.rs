//! Kernels for AVX2 with FMA and F16C.
//!
//! Without VNNI the byte product saturates, so int8 goes through 16-bit values; int4 does not need to, since 8 products
//! of a 4-bit and an 8-bit value twice over stay below 2^15.

use std::arch::x86_64::*;

use super::kernel::{AFFINE, BLOCK, Kernels, LANES, MIN, PLAIN, Tile};

pub(super) const INT8: Kernels = Kernels {
    panels: 1,
    wide: &[int8::<1>, int8::<2>],
    single: &[int8::<1>, int8::<2>],
    finishes: false,
};
pub(super) const INT4: Kernels = Kernels {
    panels: 1,
    wide: &[int4::<1>, int4::<2>, int4::<3>],
    single: &[int4::<1>, int4::<2>, int4::<3>],
    finishes: false,
};
pub(super) const INT4_MIN: Kernels = Kernels {
    panels: 1,
    wide: &[int4_min::<1>, int4_min::<2>, int4_min::<3>],
    single: &[int4_min::<1>, int4_min::<2>, int4_min::<3>],
    finishes: false,
};
pub(super) const INT4_AFFINE: Kernels = Kernels {
    panels: 1,
    wide: &[int4_affine::<1>, int4_affine::<2>],
    single: &[int4_affine::<1>, int4_affine::<2>],
    finishes: false,
};
pub(super) const F16: Kernels = Kernels {
    panels: 2,
    wide: &[f16::<1, 2>, f16::<2, 2>],
    single: &[f16::<1, 1>, f16::<2, 1>, f16::<3, 1>, f16::<4, 1>],
    finishes: false,
};
pub(super) const BF16: Kernels = Kernels {
    panels: 2,
    wide: &[bf16::<1, 2>, bf16::<2, 2>],
    single: &[bf16::<1, 1>, bf16::<2, 1>, bf16::<3, 1>, bf16::<4, 1>],
    finishes: false,
};

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn int8<const M: usize>(tile: &Tile) {
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    let row = tile.planes * tile.blocks;
    for plane in 0..tile.planes {
        for block in 0..tile.blocks {
            // SAFETY: the tile's pointers are valid for all its rows, planes and blocks.
            unsafe {
                let x_scales = tile.x_scales.add(plane * tile.blocks + block);
                if plane > 0 && (0..M).all(|m| *x_scales.add(m * row) == 0.0) {
                    continue;
                }
                // Quarter `q` has the outputs 4q .. 4q + 4, each as two sums of two products.
                let mut pairs = [[_mm256_setzero_si256(); 4]; M];
                let x = tile.x.add(plane * tile.inputs + block * BLOCK);
                for four in 0..BLOCK / 4 {
                    let mut weights = [_mm256_setzero_si256(); 4];
                    for (quarter, weights) in weights.iter_mut().enumerate() {
                        let start = (block * BLOCK + four * 4) * LANES + quarter * 16;
                        let at = tile.weights.add(start);
                        *weights = _mm256_cvtepu8_epi16(_mm_load_si128(at.cast()));
                    }
                    for (m, pairs) in pairs.iter_mut().enumerate() {
                        let x = x.add(m * tile.x_step + four * 4).cast::<i32>();
                        let x = _mm256_cvtepi8_epi16(_mm_set1_epi32(x.read_unaligned()));
                        for (pair, weights) in pairs.iter_mut().zip(weights) {
                            *pair = _mm256_add_epi32(*pair, _mm256_madd_epi16(weights, x));
                        }
                    }
                }
                for half in 0..2 {
                    let at = tile.scales.add(block * LANES * 2 + half * 16);
                    let scale = _mm256_cvtph_ps(_mm_loadu_si128(at.cast()));
                    for m in 0..M {
                        let at = m * row + plane * tile.blocks + block;
                        let offset = _mm256_set1_epi32(*tile.offsets.add(at));
                        let x_scale = _mm256_set1_ps(*x_scales.add(m * row));
                        let both = _mm256_hadd_epi32(pairs[m][2 * half], pairs[m][2 * half + 1]);
                        let dots = _mm256_permute4x64_epi64::<0b11_01_10_00>(both);
                        sums[m][half] = _mm256_fmadd_ps(
                            _mm256_cvtepi32_ps(_mm256_add_epi32(dots, offset)),
                            _mm256_mul_ps(scale, x_scale),
                            sums[m][half],
                        );
                    }
                }
            }
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        // SAFETY: as for the tile.
        unsafe { store(tile, m, 0, *sums) };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn int4<const M: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { nibbles::<M, PLAIN>(tile) };
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn int4_min<const M: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { nibbles::<M, MIN>(tile) };
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn int4_affine<const M: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { nibbles::<M, AFFINE>(tile) };
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn nibbles<const M: usize, const KIND: u8>(tile: &Tile) {
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    let low = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    for block in 0..tile.blocks {
        // SAFETY: the tile's pointers are valid for all its rows and blocks.
        unsafe {
            let mut pairs = [[_mm256_setzero_si256(); 2]; M];
            let x = tile.x.add(block * BLOCK);
            for eight in 0..BLOCK / 8 {
                for half in 0..2 {
                    let at = tile
                        .weights
                        .add(block * (BLOCK / 2) * LANES + eight * 64 + half * 32);
                    let both = _mm256_load_si256(at.cast());
                    let first = _mm256_and_si256(both, low);
                    let second = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low);
                    for (m, pairs) in pairs.iter_mut().enumerate() {
                        let at = x.add(m * tile.x_step + eight * 8).cast::<i32>();
                        let one = _mm256_set1_epi32(at.read_unaligned());
                        let two = _mm256_set1_epi32(at.add(1).read_unaligned());
                        let products = _mm256_add_epi16(
                            _mm256_maddubs_epi16(first, one),
                            _mm256_maddubs_epi16(second, two),
                        );
                        pairs[half] = _mm256_add_epi16(pairs[half], products);
                    }
                }
            }
            let step = LANES * if KIND == MIN { 4 } else { 2 };
            for half in 0..2 {
                let at = tile.scales.add(block * step + half * 16);
                let mut bits = _mm_loadu_si128(at.cast());
                // A minimum, or a zero point.
                let mut least = _mm256_setzero_ps();
                if KIND == MIN {
                    least = _mm256_cvtph_ps(_mm_loadu_si128(at.add(LANES * 2).cast()));
                }
                if KIND == AFFINE {
                    let zeros = _mm_and_si128(bits, _mm_set1_epi16(63));
                    least = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(zeros));
                    bits = _mm_srli_epi16::<1>(_mm_andnot_si128(_mm_set1_epi16(63), bits));
                }
                let scale = _mm256_cvtph_ps(bits);
                for m in 0..M {
                    let at = m * tile.blocks + block;
                    let dots = _mm256_madd_epi16(pairs[m][half], ones);
                    let offset = *tile.offsets.add(at);
                    let x_sum = _mm256_set1_ps(f32::from_bits(offset.cast_unsigned()));
                    let mut sum = sums[m][half];
                    let dots = match KIND {
                        PLAIN => {
                            let dots = _mm256_add_epi32(dots, _mm256_set1_epi32(offset));
                            _mm256_cvtepi32_ps(dots)
                        }
                        MIN => {
                            sum = _mm256_fmadd_ps(least, x_sum, sum);
                            _mm256_cvtepi32_ps(dots)
                        }
                        _ => _mm256_fmadd_ps(least, x_sum, _mm256_cvtepi32_ps(dots)),
                    };
                    let x_scale = _mm256_set1_ps(*tile.x_scales.add(at));
                    sums[m][half] = _mm256_fmadd_ps(dots, _mm256_mul_ps(scale, x_scale), sum);
                }
            }
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        // SAFETY: as for the tile.
        unsafe { store(tile, m, 0, *sums) };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn f16<const M: usize, const P: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { stored::<M, P, false>(tile) };
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn bf16<const M: usize, const P: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { stored::<M, P, true>(tile) };
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn stored<const M: usize, const P: usize, const BF16: bool>(tile: &Tile) {
    let mut sums = [[[_mm256_setzero_ps(); 2]; P]; M];
    for input in 0..tile.inputs {
        // SAFETY: the tile's pointers are valid for all its rows and inputs.
        unsafe {
            for p in 0..P {
                for half in 0..2 {
                    let at = tile
                        .weights
                        .add(p * tile.weights_step + input * LANES * 2 + half * 16);
                    let bits = _mm_load_si128(at.cast());
                    let weights = if BF16 {
                        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
                    } else {
                        _mm256_cvtph_ps(bits)
                    };
                    for (m, sums) in sums.iter_mut().enumerate() {
                        let x = *tile.x.add(m * tile.x_step + input * 4).cast::<f32>();
                        sums[p][half] = _mm256_fmadd_ps(_mm256_set1_ps(x), weights, sums[p][half]);
                    }
                }
            }
        }
    }
    for (m, sums) in sums.iter().enumerate() {
        for (p, sums) in sums.iter().enumerate() {
            // SAFETY: as for the tile.
            unsafe { store(tile, m, p, *sums) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn store(tile: &Tile, row: usize, panel: usize, sums: [__m256; 2]) {
    let mut values = [0f32; LANES];
    let first = panel * LANES;
    let left = tile.outputs.saturating_sub(first).min(LANES);
    // SAFETY: only outputs that exist are read and written.
    unsafe {
        _mm256_storeu_ps(values.as_mut_ptr(), sums[0]);
        _mm256_storeu_ps(values.as_mut_ptr().add(8), sums[1]);
        for (lane, value) in values.iter().enumerate().take(left) {
            let bias = match tile.bias.is_null() {
                true => 0.0,
                false => *tile.bias.add(first + lane),
            };
            *tile.out.add(row * tile.out_step + first + lane) = value + bias;
        }
    }
}
