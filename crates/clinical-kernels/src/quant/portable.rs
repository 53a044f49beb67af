//! Kernels in plain Rust, for processors without the others and as their reference. One row by one panel.

use super::codec::Affine;
use super::kernel::{BLOCK, Kernels, LANES, Tile};

pub(super) const INT8: Kernels = Kernels {
    panels: 1,
    wide: &[int8],
    single: &[int8],
    finishes: false,
};
pub(super) const INT4: Kernels = Kernels {
    panels: 1,
    wide: &[int4],
    single: &[int4],
    finishes: false,
};
pub(super) const INT4_MIN: Kernels = Kernels {
    panels: 1,
    wide: &[int4_min],
    single: &[int4_min],
    finishes: false,
};
pub(super) const INT4_AFFINE: Kernels = Kernels {
    panels: 1,
    wide: &[int4_affine],
    single: &[int4_affine],
    finishes: false,
};
pub(super) const F16: Kernels = Kernels {
    panels: 1,
    wide: &[f16],
    single: &[f16],
    finishes: false,
};
pub(super) const BF16: Kernels = Kernels {
    panels: 1,
    wide: &[bf16],
    single: &[bf16],
    finishes: false,
};

unsafe fn int8(tile: &Tile) {
    let mut sums = [0f32; LANES];
    for plane in 0..tile.planes {
        for block in 0..tile.blocks {
            let at = plane * tile.blocks + block;
            // SAFETY: the tile's pointers are valid for all planes and blocks.
            let (offset, x_scale, x, weights, scales) = unsafe {
                (
                    *tile.offsets.add(at),
                    *tile.x_scales.add(at),
                    &*tile
                        .x
                        .add(plane * tile.inputs + block * BLOCK)
                        .cast::<[[i8; 4]; BLOCK / 4]>(),
                    &*tile
                        .weights
                        .add(block * BLOCK * LANES)
                        .cast::<[[[u8; 4]; LANES]; BLOCK / 4]>(),
                    &*tile.scales.add(block * LANES * 2).cast::<[u16; LANES]>(),
                )
            };
            if plane > 0 && x_scale == 0.0 {
                continue;
            }
            let mut dots = [offset; LANES];
            for (x, weights) in x.iter().zip(weights) {
                for (dot, weights) in dots.iter_mut().zip(weights) {
                    for (x, weight) in x.iter().zip(weights) {
                        *dot += i32::from(*x) * i32::from(*weight);
                    }
                }
            }
            scale(&mut sums, dots, scales, x_scale);
        }
    }
    // SAFETY: as for the tile.
    unsafe { store(tile, &sums) };
}

/// `sums += w_scale * x_scale * dots` for one block.
fn scale(sums: &mut [f32; LANES], dots: [i32; LANES], scales: &[u16; LANES], x_scale: f32) {
    for ((sum, dot), scale) in sums.iter_mut().zip(dots).zip(scales) {
        *sum += dot as f32 * (half::f16::from_bits(*scale).to_f32() * x_scale);
    }
}

unsafe fn int4(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe {
        halves(tile, |sums, halves, block| {
            let scales = &*tile.scales.add(block * LANES * 2).cast::<[u16; LANES]>();
            scale(sums, halves.dots(halves.x_sum), scales, halves.x_scale);
        });
    }
}

unsafe fn int4_min(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe {
        halves(tile, |sums, halves, block| {
            let x_sum = f32::from_bits(halves.x_sum.cast_unsigned());
            let [scales, mins] = &*tile
                .scales
                .add(block * LANES * 4)
                .cast::<[[u16; LANES]; 2]>();
            for (sum, least) in sums.iter_mut().zip(mins) {
                *sum += half::f16::from_bits(*least).to_f32() * x_sum;
            }
            scale(sums, halves.dots(0), scales, halves.x_scale);
        });
    }
}

unsafe fn int4_affine(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe {
        halves(tile, |sums, halves, block| {
            let x_sum = f32::from_bits(halves.x_sum.cast_unsigned());
            let scales = &*tile.scales.add(block * LANES * 2).cast::<[Affine; LANES]>();
            let dots = halves.dots(0);
            for ((sum, dot), affine) in sums.iter_mut().zip(dots).zip(scales) {
                let dot = dot as f32 + affine.zero() * x_sum;
                *sum += dot * (affine.step() * Affine::STEPS * halves.x_scale);
            }
        });
    }
}

/// One block of weights of 4 bits and of the activations that they meet.
struct Halves<'a> {
    /// [`Tile::offsets`].
    x_sum: i32,
    x_scale: f32,
    x: &'a [[[i8; 4]; 2]; BLOCK / 8],
    weights: &'a [[[u8; 4]; LANES]; BLOCK / 8],
}

/// `add` for every block, then the sums are stored.
unsafe fn halves(tile: &Tile, add: impl Fn(&mut [f32; LANES], Halves<'_>, usize)) {
    let mut sums = [0f32; LANES];
    for number in 0..tile.blocks {
        // SAFETY: the tile's pointers are valid for all blocks.
        let block = unsafe {
            Halves {
                x_sum: *tile.offsets.add(number),
                x_scale: *tile.x_scales.add(number),
                x: &*tile.x.add(number * BLOCK).cast(),
                weights: &*tile.weights.add(number * (BLOCK / 2) * LANES).cast(),
            }
        };
        add(&mut sums, block, number);
    }
    // SAFETY: as for the tile.
    unsafe { store(tile, &sums) };
}

impl Halves<'_> {
    /// `start + x . w`.
    fn dots(&self, start: i32) -> [i32; LANES] {
        let mut dots = [start; LANES];
        for ([low, high], weights) in self.x.iter().zip(self.weights) {
            for (dot, weights) in dots.iter_mut().zip(weights) {
                for i in 0..4 {
                    *dot += i32::from(low[i]) * i32::from(weights[i] & 15)
                        + i32::from(high[i]) * i32::from(weights[i] >> 4);
                }
            }
        }
        dots
    }
}

unsafe fn f16(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { stored(tile, |bits| half::f16::from_bits(bits).to_f32()) };
}

unsafe fn bf16(tile: &Tile) {
    // SAFETY: as for the tile.
    unsafe { stored(tile, |bits| f32::from_bits(u32::from(bits) << 16)) };
}

#[inline]
unsafe fn stored(tile: &Tile, widen: impl Fn(u16) -> f32) {
    let mut sums = [0f32; LANES];
    for input in 0..tile.inputs {
        // SAFETY: the tile's pointers are valid for all inputs.
        let (x, weights) = unsafe {
            (
                *tile.x.add(input * 4).cast::<f32>(),
                &*tile.weights.add(input * LANES * 2).cast::<[u16; LANES]>(),
            )
        };
        for (sum, weight) in sums.iter_mut().zip(weights) {
            *sum += x * widen(*weight);
        }
    }
    // SAFETY: as for the tile.
    unsafe { store(tile, &sums) };
}

unsafe fn store(tile: &Tile, sums: &[f32; LANES]) {
    for (lane, sum) in sums.iter().enumerate().take(tile.outputs) {
        // SAFETY: this output exists, and there is a bias for each or none.
        unsafe {
            let bias = match tile.bias.is_null() {
                true => 0.0,
                false => *tile.bias.add(lane),
            };
            *tile.out.add(lane) = sum + bias;
        }
    }
}
