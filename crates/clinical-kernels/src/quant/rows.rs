//! Activations as small integers, quantised when they arrive.

use std::ops::Range;

use super::codec::{self, Affine, OFFSET4, OFFSET8};
use super::kernel::{BLOCK, SHARED};
use super::packing::{Layout, Packing};
use crate::InstructionSet;

/// How many times the typical largest value of a row's blocks a block must reach to get 16 bits. Below it the error of
/// rounding to 8 bits is that of other blocks, a few times over.
const OUTSTANDING: f32 = 4.0;

/// Bytes after each row, so that rows whose length is a power of two do not share the sets of a cache.
const GAP: usize = 64;

/// Values that are worth a task of their own.
const PIECE: usize = 1 << 15;

/// Rows of activations for a product with int8 or int4 weights.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Inputs with their padding.
    pub inputs: usize,
    /// 1, or 2 for 16-bit activations: the high bytes of a row, then the low ones.
    pub planes: usize,
    /// Blocks of a plane.
    pub blocks: usize,
    /// Bytes from one row to the next.
    pub step: usize,
    pub values: Vec<i8>,
    /// `[row][plane][block]`, see [`Tile::offsets`](super::kernel::Tile::offsets).
    pub offsets: Vec<i32>,
    /// `[row][plane][block]`.
    pub scales: Vec<f32>,
}

impl Rows {
    /// Quantises `[rows, inputs]`. A block that holds a value which is not finite gets the scale NaN.
    pub(super) fn fill(&mut self, set: InstructionSet, packing: Packing, rows: usize, x: &[f32]) {
        let inputs = x.len().checked_div(rows).unwrap_or(0);
        let sums = match packing {
            Packing::Int4 => Sums::Offset(OFFSET4),
            Packing::Int4Min => Sums::Value,
            Packing::Int4Affine => Sums::Quarters,
            _ => Sums::Offset(OFFSET8),
        };
        self.inputs = Layout::new(packing, inputs).inputs;
        let bits = match packing {
            Packing::Int8Wide => Bits::Sixteen,
            Packing::Int8Mixed => Bits::Mixed,
            _ => Bits::Eight,
        };
        self.planes = if bits == Bits::Eight { 1 } else { 2 };
        self.blocks = inputs.div_ceil(BLOCK);
        self.step = self.planes * self.inputs + GAP;
        // Padding is overwritten too, so old contents do not matter; nothing is cleared that has been there before.
        let count = rows * self.planes * self.blocks;
        // The gaps alone could be more than memory holds.
        let bytes = rows.checked_mul(self.step);
        grow(
            &mut self.values,
            bytes.expect("as many rows as memory can hold"),
        );
        grow(&mut self.offsets, count);
        grow(&mut self.scales, count);
        if inputs == 0 {
            return;
        }
        let parts = Parts {
            values: self.values.as_mut_ptr(),
            offsets: self.offsets.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
        };
        let (step, planes, blocks, padded) = (self.step, self.planes, self.blocks, self.inputs);
        crate::pool::pieces(rows, (PIECE / inputs).max(1), |range| {
            for row in range {
                let at = row * planes * blocks;
                // SAFETY: each row is in one range alone, and the buffers have room for all rows.
                let (values, offsets, scales) =
                    unsafe { parts.row(row * step, step, at, planes * blocks) };
                let x = &x[row * inputs..][..inputs];
                let sizes = Sizes {
                    blocks,
                    padded,
                    sums,
                };
                dispatch(set, bits, x, &sizes, values, offsets, scales);
            }
        });
    }
}

/// At least `len` values. To make it shorter would mean to clear it the next time.
fn grow<T: Copy + Default>(values: &mut Vec<T>, len: usize) {
    if values.len() < len {
        values.resize(len, T::default());
    }
}

/// The buffers, of which each thread takes the rows that are its own.
struct Parts {
    values: *mut i8,
    offsets: *mut i32,
    scales: *mut f32,
}

// SAFETY: `row` is called for different rows by different threads.
unsafe impl Sync for Parts {}

impl Parts {
    /// # Safety
    ///
    /// The ranges must lie in the buffers and in no other thread's.
    #[allow(clippy::mut_from_ref)]
    unsafe fn row(
        &self,
        start: usize,
        length: usize,
        at: usize,
        count: usize,
    ) -> (&mut [i8], &mut [i32], &mut [f32]) {
        // SAFETY: as demanded.
        unsafe {
            (
                std::slice::from_raw_parts_mut(self.values.add(start), length),
                std::slice::from_raw_parts_mut(self.offsets.add(at), count),
                std::slice::from_raw_parts_mut(self.scales.add(at), count),
            )
        }
    }
}

/// What activations become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bits {
    Eight,
    Sixteen,
    Mixed,
}

struct Sizes {
    blocks: usize,
    padded: usize,
    sums: Sums,
}

/// What a kernel gets of the sum of a block's integers.
#[derive(Debug, Clone, Copy)]
enum Sums {
    /// That it is to be taken this many times: it was added to the weights.
    Offset(i32),
    /// The sum of the values: the weights have minima.
    Value,
    /// A quarter of it: the weights have zero points. Scales are for steps that are kept in a multiple.
    Quarters,
}

/// A block as it lies in memory, or with zeros after the last value.
#[inline(always)]
fn whole<'a>(x: &'a [f32], number: usize, padded: &'a mut [f32; BLOCK]) -> &'a [f32; BLOCK] {
    let x = &x[number * BLOCK..];
    match x.first_chunk() {
        Some(block) => block,
        None => {
            padded[..x.len()].copy_from_slice(x);
            padded
        }
    }
}

#[inline(always)]
fn row8(x: &[f32], sizes: &Sizes, values: &mut [i8], offsets: &mut [i32], scales: &mut [f32]) {
    let mut padded = [0.0; BLOCK];
    let values = values.as_chunks_mut::<BLOCK>().0;
    for (number, values) in values.iter_mut().enumerate().take(sizes.blocks) {
        let x = whole(x, number, &mut padded);
        let mut sum = 0i32;
        scales[number] = match codec::largest(x) {
            None => {
                *values = [0; BLOCK];
                f32::NAN
            }
            Some(largest) => {
                let inverse = codec::inverse(largest, 127.0);
                for (value, x) in values.iter_mut().zip(x) {
                    // SAFETY: the product of a finite value and the factor is at most 127 and a little.
                    let q: i32 = unsafe { (x * inverse).round_ties_even().to_int_unchecked() };
                    sum += q;
                    *value = q as i8;
                }
                if inverse == 0.0 { 0.0 } else { largest / 127.0 }
            }
        };
        offsets[number] = match sizes.sums {
            Sums::Offset(offset) => -offset * sum,
            Sums::Value => (scales[number] * sum as f32).to_bits().cast_signed(),
            Sums::Quarters => {
                scales[number] /= Affine::STEPS;
                (sum as f32 * -0.25).to_bits().cast_signed()
            }
        };
    }
}

/// 16 bits as a high and a low signed byte. [`SHARED`] blocks have one scale.
#[inline(always)]
fn row16(x: &[f32], sizes: &Sizes, values: &mut [i8], offsets: &mut [i32], scales: &mut [f32]) {
    for first in (0..sizes.blocks).step_by(SHARED) {
        let group = first..sizes.blocks.min(first + SHARED);
        split(x, sizes, group, values, offsets, scales);
    }
}

/// 8 bits, and low bytes for the blocks that stand out. Others get 0 as the scale of their low bytes.
#[inline(always)]
fn row_mixed(x: &[f32], sizes: &Sizes, values: &mut [i8], offsets: &mut [i32], scales: &mut [f32]) {
    row8(x, sizes, values, offsets, scales);
    let (high, low) = scales.split_at_mut(sizes.blocks);
    low.fill(0.0);
    let most = OUTSTANDING * typical(high);
    for number in 0..sizes.blocks {
        // Not so for NaN.
        if scales[number] > most {
            split(x, sizes, number..number + 1, values, offsets, scales);
        }
    }
}

/// The geometric mean of the scales that are numbers and not zero, nearly: the bits of an f32 grow as its logarithm. A
/// few outliers do not move it.
#[inline(always)]
fn typical(scales: &[f32]) -> f32 {
    let counts = |scale: f32| scale > 0.0 && scale < f32::INFINITY;
    let (sum, count) = scales.iter().fold((0u64, 0u64), |(sum, count), scale| {
        let counts = counts(*scale);
        let bits = if counts { scale.to_bits() } else { 0 };
        (sum + u64::from(bits), count + u64::from(counts))
    });
    f32::from_bits(sum.checked_div(count).unwrap_or(0) as u32)
}

/// Blocks as 16 bits under one scale.
#[inline(always)]
fn split(
    x: &[f32],
    sizes: &Sizes,
    group: Range<usize>,
    values: &mut [i8],
    offsets: &mut [i32],
    scales: &mut [f32],
) {
    let (high, low) = values.split_at_mut(sizes.padded);
    let high = high.as_chunks_mut::<BLOCK>().0;
    let low = low.as_chunks_mut::<BLOCK>().0;
    let Sums::Offset(offset) = sizes.sums else {
        unreachable!("weights of 4 bits meet 8");
    };
    let mut padded = [0.0; BLOCK];
    let largest = codec::largest(&x[group.start * BLOCK..x.len().min(group.end * BLOCK)]);
    let inverse = largest.map_or(0.0, |largest| codec::inverse(largest, 32_512.0));
    let scale = match largest {
        None => f32::NAN,
        Some(_) if inverse == 0.0 => 0.0,
        Some(largest) => largest / 32_512.0,
    };
    for number in group {
        let (high, low) = (&mut high[number], &mut low[number]);
        let mut sums = (0i32, 0i32);
        if largest.is_none() {
            *high = [0; BLOCK];
            *low = [0; BLOCK];
        } else {
            let x = whole(x, number, &mut padded);
            for ((high, low), x) in high.iter_mut().zip(low).zip(x) {
                // SAFETY: the product of a finite value and the factor is at most 32,512 and a little.
                let q: i32 = unsafe { (x * inverse).round_ties_even().to_int_unchecked() };
                let upper = (q + 128) >> 8;
                let lower = q - (upper << 8);
                sums.0 += upper;
                sums.1 += lower;
                *high = upper as i8;
                *low = lower as i8;
            }
        }
        scales[number] = scale * 256.0;
        scales[sizes.blocks + number] = scale;
        offsets[number] = -offset * sums.0;
        offsets[sizes.blocks + number] = -offset * sums.1;
    }
}

#[inline(always)]
fn row(
    bits: Bits,
    x: &[f32],
    sizes: &Sizes,
    values: &mut [i8],
    offsets: &mut [i32],
    scales: &mut [f32],
) {
    match bits {
        Bits::Eight => row8(x, sizes, values, offsets, scales),
        Bits::Sixteen => row16(x, sizes, values, offsets, scales),
        Bits::Mixed => row_mixed(x, sizes, values, offsets, scales),
    }
}

/// [`row`] compiled for the instructions of `set`.
fn dispatch(
    set: InstructionSet,
    bits: Bits,
    x: &[f32],
    sizes: &Sizes,
    values: &mut [i8],
    offsets: &mut [i32],
    scales: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        fn avx512(
            bits: Bits,
            x: &[f32],
            sizes: &Sizes,
            values: &mut [i8],
            offsets: &mut [i32],
            scales: &mut [f32],
        ) {
            row(bits, x, sizes, values, offsets, scales);
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(
            bits: Bits,
            x: &[f32],
            sizes: &Sizes,
            values: &mut [i8],
            offsets: &mut [i32],
            scales: &mut [f32],
        ) {
            row(bits, x, sizes, values, offsets, scales);
        }
        // SAFETY: the caller answers for the set being there.
        unsafe {
            match set {
                InstructionSet::Avx512 => {
                    return avx512(bits, x, sizes, values, offsets, scales);
                }
                InstructionSet::Avx2 => return avx2(bits, x, sizes, values, offsets, scales),
                InstructionSet::Portable => {}
            }
        }
    }
    let _ = set;
    row(bits, x, sizes, values, offsets, scales);
}
