//! Kernels for AVX-512 with VNNI.
//!
//! A vector of weights holds 16 outputs by 4 inputs as unsigned bytes; four activations are broadcast against it, so
//! one instruction does 64 multiplications and no sum runs across a vector. That weights are unsigned (the
//! instruction's first operand must be) is made up for by starting sums at [`Tile::offsets`].

use std::arch::x86_64::*;

use super::kernel::{AFFINE, BLOCK, Kernels, LANES, MIN, PLAIN, Tile};
use crate::float::simd::Avx512;

/// Kernels of `M` rows by `P` panels.
macro_rules! table {
    ($function:ident, $panels:literal) => {
        Kernels {
            panels: $panels,
            wide: &[
                $function::<1, $panels>,
                $function::<2, $panels>,
                $function::<3, $panels>,
                $function::<4, $panels>,
                $function::<5, $panels>,
                $function::<6, $panels>,
            ],
            single: &[
                $function::<1, 1>,
                $function::<2, 1>,
                $function::<3, 1>,
                $function::<4, 1>,
                $function::<5, 1>,
                $function::<6, 1>,
            ],
            finishes: true,
        }
    };
}

pub(super) use table;

pub(super) const INT8: Kernels = table!(int8, 2);
pub(super) const INT8_MIXED: Kernels = table!(int8_mixed, 2);
pub(super) const INT4: Kernels = table!(int4, 2);
pub(super) const INT4_MIN: Kernels = table!(int4_min, 2);
pub(super) const INT4_AFFINE: Kernels = table!(int4_affine, 2);
pub(super) const F16: Kernels = table!(f16, 4);
pub(super) const BF16: Kernels = table!(bf16, 4);

/// `sum over blocks of w_scale * x_scale * (x . w)`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn int8<const M: usize, const P: usize>(tile: &Tile) {
    let mut sums = [[_mm512_setzero_ps(); P]; M];
    for block in 0..tile.blocks {
        // SAFETY: the tile's pointers are valid for all its rows and blocks.
        unsafe { add_block(tile, &mut sums, 0, tile.blocks, block) };
    }
    // SAFETY: as for the tile.
    unsafe { store(tile, sums) };
}

/// The same over high bytes, and over low bytes where a row has any.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn int8_mixed<const M: usize, const P: usize>(tile: &Tile) {
    let mut sums = [[_mm512_setzero_ps(); P]; M];
    let row = 2 * tile.blocks;
    for block in 0..tile.blocks {
        // SAFETY: the tile's pointers are valid for all its rows, planes and blocks.
        unsafe {
            add_block(tile, &mut sums, 0, row, block);
            let low = tile.x_scales.add(tile.blocks + block);
            let any = (0..M).fold(0, |any, m| any | (*low.add(m * row)).to_bits());
            if any != 0 {
                add_block(tile, &mut sums, 1, row, block);
            }
        }
    }
    // SAFETY: as for the tile.
    unsafe { store(tile, sums) };
}

/// What one block of a plane adds to the sums; `row` is the number of blocks of a row in all planes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add_block<const M: usize, const P: usize>(
    tile: &Tile,
    sums: &mut [[__m512; P]; M],
    plane: usize,
    row: usize,
    block: usize,
) {
    let at = plane * tile.blocks + block;
    let mut dots = [[_mm512_setzero_si512(); P]; M];
    // SAFETY: the tile's pointers are valid for all its rows, planes and blocks.
    unsafe {
        for (m, dots) in dots.iter_mut().enumerate() {
            *dots = [_mm512_set1_epi32(*tile.offsets.add(m * row + at)); P];
        }
        multiply_block(tile, &mut dots, tile.x.add(plane * tile.inputs), block);
        scale(tile, sums, &dots, block, tile.x_scales.add(at), row);
    }
}

/// `dots += x . w` for one block of bytes; `x` is its plane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn multiply_block<const M: usize, const P: usize>(
    tile: &Tile,
    dots: &mut [[__m512i; P]; M],
    x: *const u8,
    block: usize,
) {
    for four in 0..BLOCK / 4 {
        // SAFETY: as for the tile.
        unsafe {
            let mut weights = [_mm512_setzero_si512(); P];
            for (p, weights) in weights.iter_mut().enumerate() {
                let start = (block * BLOCK + four * 4) * LANES;
                let at = tile.weights.add(p * tile.weights_step + start);
                *weights = _mm512_load_si512(at.cast());
            }
            for (m, dots) in dots.iter_mut().enumerate() {
                let at = x.add(m * tile.x_step + block * BLOCK + four * 4);
                let x = _mm512_set1_epi32(at.cast::<i32>().read_unaligned());
                for (dot, weights) in dots.iter_mut().zip(weights) {
                    *dot = _mm512_dpbusd_epi32(*dot, weights, x);
                }
            }
        }
    }
}

/// `sums += w_scale * x_scale * dots` for one block; `row` is from one row's scale to the next.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn scale<const M: usize, const P: usize>(
    tile: &Tile,
    sums: &mut [[__m512; P]; M],
    dots: &[[__m512i; P]; M],
    block: usize,
    x_scales: *const f32,
    row: usize,
) {
    for p in 0..P {
        // SAFETY: as for the tile.
        unsafe {
            let scales = tile.scales.add(p * tile.scales_step + block * LANES * 2);
            let scales = _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()));
            for m in 0..M {
                let x_scale = _mm512_set1_ps(*x_scales.add(m * row));
                let scale = _mm512_mul_ps(scales, x_scale);
                sums[m][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[m][p]), scale, sums[m][p]);
            }
        }
    }
}

/// `sum over blocks of w_scale * x_scale * (x . w)`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn int4<const M: usize, const P: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { nibbles::<M, P, PLAIN>(tile) };
}

/// `sum over blocks of w_scale * x_scale * (x . w) + w_min * x_sum`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn int4_min<const M: usize, const P: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { nibbles::<M, P, MIN>(tile) };
}

/// `sum over blocks of w_scale * x_scale * (x . w - w_zero * x_sum)`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn int4_affine<const M: usize, const P: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { nibbles::<M, P, AFFINE>(tile) };
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn nibbles<const M: usize, const P: usize, const KIND: u8>(tile: &Tile) {
    let mut sums = [[_mm512_setzero_ps(); P]; M];
    let low = _mm512_set1_epi8(15);
    for block in 0..tile.blocks {
        // SAFETY: the tile's pointers are valid for all its rows and blocks.
        unsafe {
            let mut dots = [[_mm512_setzero_si512(); P]; M];
            if KIND == PLAIN {
                for (m, dots) in dots.iter_mut().enumerate() {
                    let offset = *tile.offsets.add(m * tile.blocks + block);
                    *dots = [_mm512_set1_epi32(offset); P];
                }
            }
            let x = tile.x.add(block * BLOCK);
            // A vector of 64 bytes has the inputs 8i .. 8i + 4 in its low halves, the next four in the high ones.
            for eight in 0..BLOCK / 8 {
                let [mut lows, mut highs] = [[_mm512_setzero_si512(); P]; 2];
                for (p, (lower, upper)) in lows.iter_mut().zip(&mut highs).enumerate() {
                    let start = block * (BLOCK / 2) * LANES + eight * 64;
                    let at = tile.weights.add(p * tile.weights_step + start);
                    let both = _mm512_load_si512(at.cast());
                    *lower = _mm512_and_si512(both, low);
                    *upper = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low);
                }
                for (half, weights) in [lows, highs].iter().enumerate() {
                    for (m, dots) in dots.iter_mut().enumerate() {
                        let four = x.add(m * tile.x_step + eight * 8 + half * 4).cast::<i32>();
                        let four = _mm512_set1_epi32(four.read_unaligned());
                        for (dot, weights) in dots.iter_mut().zip(weights) {
                            *dot = _mm512_dpbusd_epi32(*dot, *weights, four);
                        }
                    }
                }
            }
            match KIND {
                PLAIN => {
                    let x_scales = tile.x_scales.add(block);
                    scale(tile, &mut sums, &dots, block, x_scales, tile.blocks);
                }
                _ => scale_with::<M, P, KIND>(tile, &mut sums, &dots, block),
            }
        }
    }
    // SAFETY: as for the tile.
    unsafe { store(tile, sums) };
}

/// `sums += w_scale * x_scale * dots + w_min * x_sum` for one block, or with zero points
/// `w_scale * x_scale * (dots - w_zero * x_sum)`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn scale_with<const M: usize, const P: usize, const KIND: u8>(
    tile: &Tile,
    sums: &mut [[__m512; P]; M],
    dots: &[[__m512i; P]; M],
    block: usize,
) {
    let step = LANES * if KIND == MIN { 4 } else { 2 };
    for p in 0..P {
        // SAFETY: as for the tile.
        unsafe {
            let at = tile.scales.add(p * tile.scales_step + block * step);
            let mut bits = _mm256_loadu_si256(at.cast());
            // Minima, or zero points.
            let least = if KIND == MIN {
                _mm512_cvtph_ps(_mm256_loadu_si256(at.add(LANES * 2).cast()))
            } else {
                let zeros = _mm256_and_si256(_mm256_set1_epi16(63), bits);
                bits = _mm256_srli_epi16::<1>(_mm256_andnot_si256(_mm256_set1_epi16(63), bits));
                _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(zeros))
            };
            let scales = _mm512_cvtph_ps(bits);
            for m in 0..M {
                let at = m * tile.blocks + block;
                let scale = _mm512_mul_ps(scales, _mm512_set1_ps(*tile.x_scales.add(at)));
                let x_sum = _mm512_set1_ps(*tile.offsets.add(at).cast::<f32>());
                let (mut dots, mut sum) = (_mm512_cvtepi32_ps(dots[m][p]), sums[m][p]);
                if KIND == MIN {
                    sum = _mm512_fmadd_ps(least, x_sum, sum);
                } else {
                    // Whole quarters below 2^17, so this is exact.
                    dots = _mm512_fmadd_ps(least, x_sum, dots);
                }
                sums[m][p] = _mm512_fmadd_ps(dots, scale, sum);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn f16<const M: usize, const P: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { half::<M, P, false>(tile) };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn bf16<const M: usize, const P: usize>(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { half::<M, P, true>(tile) };
}

/// f32 activations by weights that become f32 on the way.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn half<const M: usize, const P: usize, const BF16: bool>(tile: &Tile) {
    let mut sums = [[_mm512_setzero_ps(); P]; M];
    for input in 0..tile.inputs {
        // SAFETY: the tile's pointers are valid for all its rows and inputs.
        unsafe {
            let mut weights = [_mm512_setzero_ps(); P];
            for (p, weights) in weights.iter_mut().enumerate() {
                let at = tile.weights.add(p * tile.weights_step + input * LANES * 2);
                let bits = _mm256_load_si256(at.cast());
                *weights = if BF16 {
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
                } else {
                    _mm512_cvtph_ps(bits)
                };
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = *tile.x.add(m * tile.x_step + input * 4).cast::<f32>();
                let x = _mm512_set1_ps(x);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_fmadd_ps(x, weights, *sum);
                }
            }
        }
    }
    // SAFETY: as for the tile.
    unsafe { store(tile, sums) };
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn store<const M: usize, const P: usize>(tile: &Tile, sums: [[__m512; P]; M]) {
    for p in 0..P {
        let left = tile.outputs.saturating_sub(p * LANES).min(LANES);
        let mask = ((1u32 << left) - 1) as __mmask16;
        // SAFETY: the mask keeps to outputs that exist.
        unsafe {
            let bias = if tile.bias.is_null() {
                _mm512_setzero_ps()
            } else {
                _mm512_maskz_loadu_ps(mask, tile.bias.wrapping_add(p * LANES))
            };
            for (m, sums) in sums.iter().enumerate() {
                let out = tile.out.wrapping_add(m * tile.out_step + p * LANES);
                let sum = _mm512_add_ps(sums[p], bias);
                let mut sum = tile.finish.activation.apply::<Avx512>(sum);
                if !tile.finish.residual.is_null() {
                    let at = m * tile.finish.residual_row + p * LANES;
                    let residual = tile.finish.residual.wrapping_add(at);
                    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, residual));
                }
                // What is read again at once must not have been stored through a mask: that waits for the cache.
                if left == LANES {
                    _mm512_storeu_ps(out, sum);
                } else {
                    _mm512_mask_storeu_ps(out, mask, sum);
                }
            }
        }
    }
}
