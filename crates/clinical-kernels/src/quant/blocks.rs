//! Integers that another program chose: taken over as they are, and given back.

use half::f16;

use super::codec::{Affine, OFFSET4, OFFSET8};
use super::kernel::{BLOCK, LANES};
use super::matrix::{Line, PackedMatrix};
use super::packing::{Layout, Packing};

/// 32 values of a row, each `integer * scale + least`, as the blocks Q8_0, Q5_0, Q4_0 and Q4_1 of GGUF files are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// What the integers are multiplied with; it may be negative.
    pub scale: f16,
    /// What is added to each; 0 in packings without minima.
    pub least: f16,
    /// From -128 to 127 with 8 bits, from -8 to 7 with 4, from 0 to 15 with 4 and a minimum.
    pub integers: [i8; BLOCK],
}

impl Block {
    /// The values of one block.
    pub const VALUES: usize = BLOCK;

    const ZERO: Self = Self {
        scale: f16::ZERO,
        least: f16::ZERO,
        integers: [0; BLOCK],
    };
}

impl PackedMatrix {
    /// Packs rows of whole blocks without a change to any integer or scale. `read(row, out)` fills `out` with the
    /// blocks of whole rows (at most 16) from `row` on; it is called by several threads at once.
    ///
    /// # Errors
    ///
    /// The first error of `read`.
    ///
    /// # Panics
    ///
    /// When the packing keeps no integers, a row is no whole number of blocks, an integer or a minimum is beyond the
    /// packing, or the matrix would be larger than memory can be.
    pub fn from_blocks<E: Send>(
        packing: Packing,
        outputs: usize,
        inputs: usize,
        read: impl Fn(usize, &mut [Block]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        let put = match packing {
            Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => put8,
            Packing::Int4 => put4::<OFFSET4>,
            Packing::Int4Min => put4::<0>,
            _ => panic!("{packing:?} has no integers"),
        };
        assert!(inputs.is_multiple_of(BLOCK), "whole blocks");
        Self::from_panels(packing, outputs, inputs, |row, rows, lines, scales| {
            let mut blocks = vec![Block::ZERO; rows * inputs / BLOCK];
            read(row, &mut blocks)?;
            // Lanes after the last row have the scale 0.
            for (lane, blocks) in blocks.chunks_exact(inputs / BLOCK).enumerate() {
                for (number, block) in blocks.iter().enumerate() {
                    let mut store = |at: usize, half: f16| {
                        scales[at / 2] |= u32::from(half.to_bits()) << (at % 2 * 16);
                    };
                    if packing == Packing::Int4Min {
                        store(number * 2 * LANES + lane, block.scale);
                        store((number * 2 + 1) * LANES + lane, block.least);
                    } else {
                        assert_eq!(block.least, f16::ZERO, "{packing:?} has no minima");
                        store(number * LANES + lane, block.scale);
                    }
                    put(lines, number, lane, &block.integers);
                }
            }
            Ok(())
        })
    }

    /// The integers and the scale of the inputs `32 * number` and following of one row; what stands after the last
    /// input means nothing. `None` for a packing that keeps no integers. The minimum of [`Packing::Int4Affine`] is
    /// rounded to f16.
    ///
    /// # Panics
    ///
    /// When there is no such row or block.
    #[must_use]
    pub fn block(&self, row: usize, number: usize) -> Option<Block> {
        assert!(row < self.outputs, "row {row} of {}", self.outputs);
        let blocks = self.inputs.div_ceil(BLOCK);
        assert!(number < blocks, "block {number} of {blocks}");
        let (panel, lane) = (row / LANES, row % LANES);
        let layout = Layout::new(self.packing, self.inputs);
        let line = |at: usize| &self.lines[panel * layout.panel_bytes / 64 + at].0;
        let mut integers = [0; BLOCK];
        match self.packing {
            Packing::Int8 | Packing::Int8Wide | Packing::Int8Mixed => {
                for (i, integer) in integers.iter_mut().enumerate() {
                    let byte = line(number * BLOCK / 4 + i / 4)[lane * 4 + i % 4];
                    *integer = (i32::from(byte) - OFFSET8) as i8;
                }
            }
            Packing::Int4 | Packing::Int4Min | Packing::Int4Affine => {
                let offset = if self.packing == Packing::Int4 {
                    OFFSET4
                } else {
                    0
                };
                for (i, integer) in integers.iter_mut().enumerate() {
                    let byte = line(number * BLOCK / 8 + i / 8)[lane * 4 + i % 4];
                    *integer = (i32::from(byte >> (i % 8 / 4 * 4) & 15) - offset) as i8;
                }
            }
            _ => return None,
        }
        let half = |at: usize| {
            let word = self.scales[panel * layout.panel_scales + at / 2];
            f16::from_bits((word >> (at % 2 * 16)) as u16)
        };
        let (scale, least) = match self.packing {
            Packing::Int4Affine => {
                let affine = Affine(half(number * LANES + lane).to_bits());
                let least = affine.step() * affine.zero() / -4.0;
                (f16::from_f32(affine.step()), f16::from_f32(least))
            }
            Packing::Int4Min => {
                let at = number * 2 * LANES + lane;
                (half(at), half(at + LANES))
            }
            _ => (half(number * LANES + lane), f16::ZERO),
        };
        Some(Block {
            scale,
            least,
            integers,
        })
    }
}

/// Puts the integers of a block where [`PackedMatrix`] says, `[8][16][4]` for each block.
fn put8(lines: &mut [Line], number: usize, lane: usize, integers: &[i8; BLOCK]) {
    let lines = &mut lines[number * (BLOCK / 4)..];
    for (line, four) in lines.iter_mut().zip(integers.as_chunks::<4>().0) {
        for (byte, integer) in line.0[lane * 4..].iter_mut().zip(four) {
            *byte = (i32::from(*integer) + OFFSET8) as u8;
        }
    }
}

/// The same for halves of bytes, `[4][16][4]`.
fn put4<const OFFSET: i32>(lines: &mut [Line], number: usize, lane: usize, integers: &[i8; BLOCK]) {
    let half = |integer: i8| {
        let code = i32::from(integer) + OFFSET;
        assert!((0..16).contains(&code), "{integer} is beyond the packing");
        code as u8
    };
    let lines = &mut lines[number * (BLOCK / 8)..];
    for (line, eight) in lines.iter_mut().zip(integers.as_chunks::<8>().0) {
        let (low, high) = eight.split_at(4);
        let bytes = line.0[lane * 4..].iter_mut();
        for (byte, (low, high)) in bytes.zip(low.iter().zip(high)) {
            *byte = half(*low) | half(*high) << 4;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(state: &mut u32, bits: u32) -> i8 {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((*state as i32) >> (32 - bits)) as i8
    }

    #[test]
    fn integers_and_scales_stay_as_they_are() {
        for (packing, bits) in [
            (Packing::Int8, 8),
            (Packing::Int8Wide, 8),
            (Packing::Int8, 4),
            (Packing::Int4, 4),
            (Packing::Int4Min, 4),
        ] {
            let minima = packing == Packing::Int4Min;
            for (outputs, inputs) in [(1, 32), (16, 64), (21, 160)] {
                let mut state = 5;
                let blocks: Vec<Block> = (0..outputs * inputs / BLOCK)
                    .map(|_| Block {
                        scale: f16::from_f32(f32::from(random(&mut state, 8)) / 512.0),
                        least: match minima {
                            true => f16::from_f32(f32::from(random(&mut state, 8)) / 64.0),
                            false => f16::ZERO,
                        },
                        integers: std::array::from_fn(|_| {
                            random(&mut state, bits) + if minima { 8 } else { 0 }
                        }),
                    })
                    .collect();
                let matrix = PackedMatrix::from_blocks(packing, outputs, inputs, |row, out| {
                    out.copy_from_slice(&blocks[row * inputs / BLOCK..][..out.len()]);
                    Ok::<_, std::convert::Infallible>(())
                })
                .unwrap();
                let values = blocks.iter().flat_map(|block| {
                    let (scale, least) = (block.scale.to_f32(), block.least.to_f32());
                    let value = |integer: i8| f32::from(integer) * scale + least;
                    block.integers.map(value)
                });
                assert_eq!(matrix.to_f32(), values.collect::<Vec<_>>());
                for (i, block) in blocks.iter().enumerate() {
                    let each = inputs / BLOCK;
                    assert_eq!(matrix.block(i / each, i % each), Some(*block));
                }
                // The kernels meet every integer, -128 and negative scales too.
                let x: Vec<f32> = (0..inputs).map(|i| (i * 37 % 255) as f32 - 127.0).collect();
                let y = matrix.multiply(&x, 1, None);
                for (row, found) in matrix.to_f32().chunks(inputs).zip(y) {
                    let expected: f32 = row.iter().zip(&x).map(|(w, x)| w * x).sum();
                    let size: f32 = row.iter().map(|w| w.abs()).sum();
                    // Half a step of the activations.
                    assert!(
                        (found - expected).abs() <= size * 0.51 + 1e-3,
                        "{packing:?}"
                    );
                }
            }
        }
        let half = PackedMatrix::new(Packing::F16, 1, 1, &[1.0]);
        assert_eq!(half.block(0, 0), None);
    }

    #[test]
    fn an_error_of_the_reader_is_passed_on() {
        let read = |_: usize, _: &mut [Block]| Err("end");
        let matrix = PackedMatrix::from_blocks(Packing::Int8, 3, 32, read);
        assert_eq!(matrix.err(), Some("end"));
        let empty = PackedMatrix::from_blocks(Packing::Int8, 0, 32, read);
        assert_eq!(empty.unwrap().outputs(), 0);
    }
}
