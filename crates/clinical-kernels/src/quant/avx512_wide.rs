//! The kernel for activations of 16 bits, for AVX-512 with VNNI.
//!
//! The high bytes of a block are multiplied first, their sums moved up by eight bits, and the low bytes added to them:
//! one conversion and one scale serve both, and the weights of a block are read from memory once.

use std::arch::x86_64::*;

use super::avx512::{multiply_block, store, table};
use super::kernel::{Kernels, LANES, SHARED, Tile};

pub(super) const INT8_WIDE: Kernels = table!(int8_wide, 2);

/// `sum over groups of x_scale * sum over their blocks of w_scale * (x . w)`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn int8_wide<const M: usize, const P: usize>(tile: &Tile) {
    let mut sums = [[_mm512_setzero_ps(); P]; M];
    for first in (0..tile.blocks).step_by(SHARED) {
        // SAFETY: as for the tile.
        unsafe { add_group(tile, &mut sums, first) };
    }
    // SAFETY: as for the tile.
    unsafe { store(tile, sums) };
}

/// What the blocks from `first` on that share a scale add to the sums. It is not inlined, so that its own sums have the
/// registers and those of the row the memory.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn add_group<const M: usize, const P: usize>(
    tile: &Tile,
    sums: &mut [[__m512; P]; M],
    first: usize,
) {
    let row = 2 * tile.blocks;
    let mut parts = [[_mm512_setzero_ps(); P]; M];
    for block in first..tile.blocks.min(first + SHARED) {
        let mut dots = [[_mm512_setzero_si512(); P]; M];
        // SAFETY: the tile's pointers are valid for all its rows, planes and blocks.
        unsafe {
            for (m, dots) in dots.iter_mut().enumerate() {
                *dots = [_mm512_set1_epi32(*tile.offsets.add(m * row + block)); P];
            }
            multiply_block(tile, &mut dots, tile.x, block);
            for (m, dots) in dots.iter_mut().enumerate() {
                let low = _mm512_set1_epi32(*tile.offsets.add(m * row + tile.blocks + block));
                for dot in dots {
                    // At most 32 x 127 x 255 in magnitude, so 29 bits.
                    *dot = _mm512_add_epi32(_mm512_slli_epi32::<8>(*dot), low);
                }
            }
            multiply_block(tile, &mut dots, tile.x.add(tile.inputs), block);
            for p in 0..P {
                let at = tile.scales.add(p * tile.scales_step + block * LANES * 2);
                let scales = _mm512_cvtph_ps(_mm256_loadu_si256(at.cast()));
                for (parts, dots) in parts.iter_mut().zip(&dots) {
                    parts[p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[p]), scales, parts[p]);
                }
            }
        }
    }
    for (m, (sums, parts)) in sums.iter_mut().zip(parts).enumerate() {
        // SAFETY: as above; this is the scale of the low bytes.
        let x_scale = unsafe { *tile.x_scales.add(m * row + tile.blocks + first) };
        for (sum, part) in sums.iter_mut().zip(parts) {
            *sum = _mm512_fmadd_ps(part, _mm512_set1_ps(x_scale), *sum);
        }
    }
}
